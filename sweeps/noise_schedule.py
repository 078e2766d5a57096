"""Which Beta(a, b) noise schedule gives the best representation?

Question   The diffusion objective gives each patch its own signal fraction gamma ~ Beta(a, b). The paper (section 4.3)
           finds that the best schedule is far noisier than the usual ones, about a = 0.03, b = 1. Is it so for your
           data, model and training length?
Space      a and b, each log-uniform. Known points run first: the paper's, the uniform one, and the Beta nearest to the
           conventional cosine schedule.
Objective  The linear probe's accuracy on frozen features. Training losses under different schedules cannot be
           compared, so they decide nothing.
Search     Optuna's TPE; after about 1/9 and 1/3 of the epochs, trials not in the best third by probe are stopped.
Cost       The default (digits, a nano model, 12 trials of 30 epochs): some 3 minutes on 2 CPU cores.
Result     RESULTS/noise_schedule/trials and curves, Parquet tables for pandas. The same command goes on where it
           stopped, and with more --trials searches further.
"""

from darl.noise import Beta, Cosine, nearest_beta
from darl.options import Options
from darl.script import run_sweep
from darl.sweep import LogUniform, Sweep
from darl.variants import require


def noise_schedule(options: Options) -> Sweep:
    """The search that the flags describe."""
    flags, base = options.flags, options.experiment()
    require(base.objective.uses_noise, "--objective", "be diffusion: others have no noise schedule", flags.objective)
    known = {"paper": Beta(a=0.03, b=1.0), "uniform": Beta(a=1.0, b=1.0), "cosine": nearest_beta(Cosine())}
    return Sweep(
        name="noise_schedule",
        question="Which Beta(a, b) noise schedule gives the best representation?",
        base=base.changed({"noise": known["paper"]}),
        space={"noise.a": LogUniform(low=0.003, high=10.0), "noise.b": LogUniform(low=0.03, high=10.0)},
        first={name: {"noise.a": beta.a, "noise.b": beta.b} for name, beta in known.items()},
        metric=flags.objective_metric,
        trials=flags.trials,
        seeds=flags.seeds,
    )


if __name__ == "__main__":
    run_sweep(noise_schedule, __doc__, trials=12)
