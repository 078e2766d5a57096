"""A small scaling study whose losses follow a law, and its rows."""

from collections.abc import Sequence

from darl.experiment import Experiment
from darl.sweep.scaling import Scaling
from tests.report.example_trials import Row, row

__all__ = ["SIZES", "STUDY", "law", "rows_of"]

SIZES = (32, 48, 64)

STUDY = Scaling(
    name="scaling",
    question="How does the loss scale?",
    base=Experiment(epochs=8),
    cells={
        f"width {width}, {epochs} epochs": {"model.width": width, "epochs": epochs}
        for width in SIZES
        for epochs in (4, 8, 16)
    },
    budgets={f"width {width}, {epochs} epochs": n for width in SIZES for n, epochs in enumerate((4, 8, 16))},
    seeds=3,
)

IMAGES = 1408
"""Images of an epoch."""


def law(size: float, images: float) -> float:
    """The loss of a model of `size` operations per image after this many images."""
    return 0.3 + 0.1 * (size / 1e6) ** -0.3 + 0.1 * (images / 1e4) ** -0.4


def rows_of(study: Scaling, *, only: Sequence[str] = (), seeds: int = 3, factor: float = 1.0) -> list[Row]:
    """Rows of every cell, or of `only` these: the law's losses, one per mille apart from seed to seed."""
    rows: list[Row] = []
    for label in only or study.cells:
        for seed in range(seeds):
            own = study.experiment(study.cells[label], seed)
            size, images = own.model_config.flops(), own.epochs * IMAGES
            loss = factor * law(size, images) * (1 + 0.001 * (seed - (seeds - 1) / 2))
            measured = {"val_loss": loss, "few_shot_5_top1": 1 - loss, "images_seen": images}
            rows.append(row(own, 1 - loss, epochs=own.epochs, flops=3 * size * images, **measured))
    return rows
