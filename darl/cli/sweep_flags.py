"""The flags that all sweeps share, beside those of `darl.cli.flags`."""

import argparse

from darl.cli.flags import kinds_help
from darl.cli.parser import nonnegative, whole
from darl.cli.run_flags import add_protocols_flag
from darl.metrics import RANKING_METRICS, VALIDATION_LOSS

__all__ = ["add_sweep_flags"]

_YARDSTICKS = (
    "then also train the leader's encoder as a masked autoencoder (MAE), by masked regression, by MSE and with labels, "
    "at equal image passes and at equal floating-point operations, and compare it with these"
)


def add_sweep_flags(parser: argparse.ArgumentParser, *, trials: int | None, seeds: int) -> None:
    """Add the flags of sweeps. trials: the default number of a search; a design runs its cells × seeds."""
    from darl.sweep.base import Sweep
    from darl.sweep.samplers import Sampler, Tpe

    def usually(value: object) -> str:
        return f"(default: what the script sets, else {value})"

    add = parser.add_argument_group("the sweep").add_argument
    usual = f"{trials} points of a search, or cells × seeds of a design" if trials else "cells × seeds"
    parser.set_defaults(usual_trials=trials)
    add("--trials", type=whole, help=f"trials in all; the same command with more continues (default: {usual})")
    add(
        "--seeds",
        type=whole,
        default=seeds,
        help="seeds of each cell of a design; a search uses the first, then runs its best points on the others",
    )
    decides = f"deciding metric; {VALIDATION_LOSS.column} needs no labels, but compares neither orders nor objectives"
    add("--objective-metric", choices=list(RANKING_METRICS), help=f"{decides} {usually(Sweep.metric)}")
    add_protocols_flag(add, "before training and at the end of each trial")
    evenly = "evaluations in each trial of a design, evenly spaced, the last one after the last epoch"
    add("--evaluations", type=whole, help=f"{evenly} {usually(Sweep.evaluations)}")
    add("--sampler", help=f"sampler of a search: {kinds_help(Sampler)} {usually(Tpe.kind)}")
    add("--no-early-stopping", action="store_true", help="run all epochs of every trial of a search")
    add("--yardsticks", action="store_true", help=_YARDSTICKS)
    add("--max-concurrent", type=whole, help="trials that run at the same time (default: as many as fit)")
    add("--max-trials", type=whole, help="start at most this many trials in this call; the same command continues")
    add("--max-hours", type=nonnegative, help="end this call after this many hours; the same command continues")
    add("--max-gpu-hours", type=nonnegative, help="end this call after this many GPU-hours; the same command continues")
    add("--dry-run", action="store_true", help="print cells, seeds, trials and the estimated cost; run nothing")
    add("--report", action="store_true", help="print the answer that the tables give; run nothing")
