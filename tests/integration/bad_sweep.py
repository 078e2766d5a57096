"""A design with a cell for each way to fail."""

from bad_noise import Bad

from darl.cli.flags import Options
from darl.cli.sweep import run_sweep
from darl.sweep.design import Design


def bad_sweep(options: Options) -> Design:
    base = options.experiment().changed({"noise": Bad()})
    cells = {mode: {"noise.mode": mode} for mode in ("crash", "memory", "nan", "fine")}
    return Design(name="bad", question="Who fails, and how?", base=base, cells=cells, baseline="fine")


if __name__ == "__main__":
    run_sweep(bad_sweep, __doc__, seeds=1)
