"""The `darl` command."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from darl import checkpoint
from darl.config import Experiment
from darl.data import Dataset, defaults, locate
from darl.evaluate import evaluate, evenly
from darl.events import Evaluated
from darl.figures import pictures
from darl.inputs import check_batch, load_data, results_root, workers_of
from darl.options import Options, Parser, add_experiment_flags, add_run_flags, speak_plainly
from darl.place import below, named
from darl.present import findings_of, print_findings, print_plain, stages_of, wide_console, write_page, write_pictures
from darl.results import Results, require_sweep
from darl.results import load as load_table
from darl.rows import curve_row, image_flops, now, provenance, trial_row
from darl.train import fit
from darl.variants import require
from darl.wording import several

__all__ = ["main"]

Tell = Callable[[Evaluated], None]
_CHECKPOINT = "a run's folder of checkpoints, one of them, or a .safetensors file; also at s3:// or gs://"


def main() -> None:
    """The `darl` command."""
    parser = Parser(prog="darl", description="Pretrain DARL, evaluate it, and read what sweeps have found.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for function, text in (
        (_pretrain, "pretrain a model, over one worker or many"),
        (_evaluate, "linear probe, kNN and validation loss of a checkpoint"),
        (_generate, "draw images with a checkpoint, patch by patch"),
        (_report, "the answer of a sweep's tables"),
        (_doctor, "what this machine and installation can do"),
    ):
        command = commands.add_parser(function.__name__[1:], help=text, description=text)
        _FLAGS[function](command)
        command.set_defaults(run=function)
    flags = parser.parse_args()
    speak_plainly(lambda: flags.run(flags))


def _pretrain_flags(parser: argparse.ArgumentParser) -> None:
    add_experiment_flags(parser)
    add_run_flags(parser)
    parser.add_argument("--evaluations", type=int, default=4, help="evaluations during the run, evenly spaced")
    parser.add_argument("--no-ray", action="store_true", help="the plain loop in this process, without Ray")


def _pretrain(flags: argparse.Namespace) -> None:
    experiment = Options(flags).experiment()
    dataset = load_data(experiment, flags)
    require(not (flags.no_ray and flags.workers > 1), "--workers", "be 1 with --no-ray", flags.workers)
    check_batch(experiment, dataset, flags)
    results = Results(results_root(flags.results), flags.name or "pretrain")
    trials = results.trials()
    own = trials[trials["trial_id"] == experiment.trial_id]
    if "finished" in set(own["status"]):
        print(f"{experiment.trial_id} is finished already: {results.trials_path}")
        return
    checkpoints = below(results.path, f"checkpoints/{experiment.trial_id}")
    if checkpoint.begun(checkpoints):
        print("going on from the last checkpoint; what was evaluated before it is told again", flush=True)
    began, evaluations = now(), list[dict[str, Any]]()

    def tell(event: Evaluated) -> None:
        evaluations.append(asdict(event))
        print(event.describe(experiment.epochs), flush=True)

    error = (_pretrain_here if flags.no_ray else _pretrain_on_ray)(experiment, dataset, results, flags, tell)
    if error is None and (not evaluations or evaluations[-1]["epoch"] < experiment.epochs):
        error = "the last evaluation was not reported"
    row = trial_row(
        experiment,
        evaluations,
        status="failed" if error else "finished",
        attempt=len(own) + 1,
        started_at=began,
        workers=flags.workers,
        device="cuda" if flags.gpus_per_worker else "cpu",
        flops=image_flops(experiment),
        error=error,
    )
    results.add_curve(experiment.trial_id, len(own) + 1, [curve_row(event) for event in evaluations])
    results.add_trial(row | provenance())
    if error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"checkpoints: {checkpoints}\ntables: {results.trials_path}")


def _pretrain_here(
    experiment: Experiment, dataset: Dataset, results: Results, flags: argparse.Namespace, tell: Tell
) -> str | None:
    require("://" not in results.path, "--results", "be a local folder with --no-ray", flags.results)
    require(not flags.gpus_per_worker or torch.cuda.is_available(), "--gpus-per-worker", "be 0: no GPU is here", 1)
    results.prepare()
    folder = Path(results.path) / "checkpoints" / experiment.trial_id
    try:
        for event in fit(
            experiment,
            dataset,
            device=torch.device("cuda" if flags.gpus_per_worker else "cpu"),
            folder=folder,
            resume=checkpoint.latest(folder),
            evaluate_at=evenly(experiment.epochs, flags.evaluations),
            save_every=flags.save_every,
            compiled=flags.compile,
        ):
            if isinstance(event, Evaluated):
                tell(event)
    except (ArithmeticError, MemoryError, RuntimeError) as error:  # diverged, or torch has no room for it
        return named(error)
    return None


def _pretrain_on_ray(
    experiment: Experiment, dataset: Dataset, results: Results, flags: argparse.Namespace, tell: Tell
) -> str | None:
    import ray

    from darl.distributed import cluster, trainer

    print(f"starting Ray, then {several(flags.workers, 'workers')} as soon as there is room", flush=True)
    cluster.connect()
    cluster.require_resources(flags.workers, flags.gpus_per_worker)
    results.prepare()
    cluster.require_shared(results.path)
    return trainer.pretrain(
        experiment,
        ray.put(dataset),
        workers_of(flags),
        storage=below(results.path, "checkpoints"),
        evaluate_at=evenly(experiment.epochs, flags.evaluations),
        tell=tell,
    )


def _evaluate_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help=_CHECKPOINT)
    parser.add_argument("--data", help="other data than it was trained on")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--memory-limit", type=float, default=4.0, help="GiB of decoded images held in memory")
    parser.add_argument("--loader-workers", type=int, default=0, help="decoding processes beyond that")


def _evaluate(flags: argparse.Namespace) -> None:
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    experiment = replace(pretrained.experiment, data=flags.data or pretrained.experiment.data)
    dataset = replace(load_data(experiment, flags), mean=pretrained.mean, std=pretrained.std)
    require(flags.device in ("cpu", "cuda"), "--device", "be cpu or cuda", flags.device)
    require(flags.device == "cpu" or torch.cuda.is_available(), "--device", "be cpu: no GPU is here", flags.device)
    device = torch.device(flags.device)
    metrics = evaluate(pretrained.model.to(device), dataset, device=device)
    table = Table("metric", "value", title=f"{flags.checkpoint} on {experiment.data}")
    for name, value in metrics.items():
        table.add_row(name, "-" if value is None else f"{value:.4f}")
    Console().print(table)


def _generate_flags(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A model that was pretrained with nearly pure noise, as by the paper's schedule\n"
        "beta:a=0.03,b=1, has hardly learned the last steps from little noise to none: its\n"
        "images are all alike. For images that differ, pretrain with --noise beta:a=1,b=1."
    )
    parser.add_argument("checkpoint", help=_CHECKPOINT)
    parser.add_argument("--count", type=int, default=16, help="images")
    parser.add_argument("--steps", type=int, default=32, help="noise levels per patch")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--output", default="generated.png", help="a PNG file: the images in a square")


def _generate(flags: argparse.Namespace) -> None:
    from torchvision.utils import save_image

    output = Path(flags.output)
    writable = output.suffix.lower() == ".png" and output.parent.is_dir() and os.access(output.parent, os.W_OK)
    require(writable, "--output", "be a PNG file in a folder that can be written", flags.output)
    pretrained = checkpoint.load_pretrained(flags.checkpoint)
    images = pretrained.model.generate(flags.count, steps=flags.steps, seed=flags.seed)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (pretrained.mean, pretrained.std))
    save_image((images * std + mean).clamp(0, 1), flags.output, nrow=max(1, round(flags.count**0.5)))
    print(flags.output)


def _report_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", help="a sweep's folder, RESULTS/SWEEP")
    parser.add_argument("--metric", help="what is ranked by, if not what the sweep was judged by")
    parser.add_argument("--html", metavar="FILE", help="also write the report as one HTML file, pictures and all")
    parser.add_argument("--figures", metavar="FOLDER", help="also write its pictures, as PNG files")


def _report(flags: argparse.Namespace) -> None:
    place, mark, query = flags.results.partition("?") if "://" in flags.results else (flags.results, "", "")
    if "://" not in place:
        path = Path(place).expanduser()
        place = str(path.resolve() if path.name in ("", "..") else path.absolute())
    root, _, name = place.rstrip("/").rpartition("/")
    results = Results(f"{root or '/'}{mark}{query}", name)
    require_sweep(results.path)
    trials, console = load_table(results.trials_path), wide_console()
    stages = stages_of(results)
    if not stages:
        pictured = flags.html or flags.figures
        require(not pictured, "results", "be of a sweep: only its report has pictures", flags.results)
        return print_plain(console, trials, flags.metric or "probe_top1")
    curves = results.curves()
    findings = findings_of(stages, trials, curves, flags.metric)
    print_findings(console, findings)
    drawn = pictures(findings, curves) if flags.html or flags.figures else []
    if flags.figures:
        write_pictures(drawn, flags.figures)
        print(flags.figures)
    if flags.html:
        write_page(findings, curves, flags.html, drawn, results)
        print(flags.html)
    return None


def _doctor_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="digits", help="data to look at")


def _doctor(flags: argparse.Namespace) -> None:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    table = Table("what", "found")
    table.add_row("python", platform.python_version())
    for name in ("darl", "torch", "torchvision", "timm", "ray", "optuna", "pyarrow", "pandas"):
        try:
            table.add_row(name, version(name))
        except PackageNotFoundError:
            table.add_row(name, "not installed")
    table.add_row("CPU threads", str(torch.get_num_threads()))
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    table.add_row("GPUs", ", ".join(names) or "none")
    table.add_row("data", f"{locate(flags.data)}: {_describe_data(flags.data)}")
    Console().print(table)


def _describe_data(name: str) -> str:
    usual = defaults(name)
    return f"{usual.image_size} pixels, {usual.channels} channels, patches of {usual.patch_size}"


_FLAGS = {
    _pretrain: _pretrain_flags,
    _evaluate: _evaluate_flags,
    _generate: _generate_flags,
    _report: _report_flags,
    _doctor: _doctor_flags,
}


if __name__ == "__main__":
    main()
