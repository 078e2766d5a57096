"""Pretraining: exact resumption, the same result for any number of workers, and errors."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from darl.data import Augment, Dataset
from darl.data.content import DataContent
from darl.errors import UserError
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.model.encoder_config import size_of
from darl.model.objectives.base import Objective
from darl.model.objectives.mse import Mse
from darl.model.positions import Learned
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.loop import NonFiniteLossError
from darl.training.parallel import World
from darl.training.pretrain import fit
from tests.training.example_pretraining import CPU, EVALUATED, QUICK, experiment, losses, stop_after

RIVALS: dict[str, Any] = {
    kind: {"objective": Objective.parse(kind), "noise": None, "causal": False}
    for kind in ("mae", "masked", "supervised")
}
"""What an experiment with a rival of next-patch prediction changes."""
RIVALS["supervised"]["content"] = DataContent(train=96, validation=64, classes=10, fingerprint="0" * 16)


def test_training_lowers_the_loss_and_yields_events(small: Dataset) -> None:
    events = list(
        fit(
            experiment(epochs=20, learning_rate=5e-3),
            small,
            device=CPU,
            full=standard_evaluation(),
            evaluate_at={10: standard_evaluation()},
        )
    )
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    assert [event.epoch for event in evaluations] == [0, 10, 20]
    assert [event.step for event in evaluations] == [0, 30, 60]
    assert [event.images_seen for event in evaluations] == [0, 960, 1920]
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps] == list(range(1, 61))
    assert steps[29].epoch == 10
    assert sum(losses(events)[-10:]) < 0.8 * sum(losses(events)[:10])
    mean = sum(losses(events)[30:]) / 30
    assert evaluations[2].train_loss == pytest.approx(mean)
    assert evaluations[0].train_loss is None
    assert evaluations[2].metrics["val_loss"] < evaluations[0].metrics["val_loss"]
    assert evaluations[2].images_per_second > 0
    assert "epoch   20 of 20 | train loss" in evaluations[2].describe(20)


MSE_EMA: dict[str, Any] = {"objective": Mse(), "noise": None, "optim": Optimizer(ema=0.9)}
KILLED = [
    *(pytest.param({}, stop, id=f"diffusion-{stop}") for stop in range(1, 12)),
    *(pytest.param(MSE_EMA, stop, id=f"mse-ema-{stop}") for stop in range(1, 12)),
    pytest.param(RIVALS["mae"] | {"position": Learned()}, 4, id="mae-learned-4"),
    pytest.param(RIVALS["masked"], 8, id="masked-8"),
    pytest.param({"objective": Objective.parse("nepa"), "noise": None}, 5, id="nepa-5"),
]


Whole = Callable[[Experiment], tuple[Path, list[Event]]]


@pytest.fixture(scope="module")
def whole_run(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The checkpoints and events of a run that nobody stops, made once for each experiment."""

    @cache
    def run(trained: Experiment) -> tuple[Path, list[Event]]:
        folder = tmp_path_factory.mktemp("whole")
        return folder, list(fit(trained, small, device=CPU, folder=folder, **EVALUATED))

    return run


@pytest.mark.parametrize(("changes", "stop"), KILLED)
def test_a_run_killed_after_any_checkpoint_is_resumed_bit_for_bit(
    small: Dataset,
    whole_run: Whole,
    tmp_path: Path,
    stop: int,
    changes: dict[str, Any],
) -> None:
    trained = experiment(augment=Augment(crop_min=0.5, flip=True), **changes)
    folder, whole = whole_run(trained)
    first = stop_after(fit(trained, small, device=CPU, folder=tmp_path / "cut", **EVALUATED, save_every=1), stop)
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(trained, small, device=CPU, folder=tmp_path / "cut", resume=newest, **EVALUATED))
    assert losses(first)[:stop] + losses(rest) == losses(whole)
    last = [checkpoint.latest(part) for part in (folder, tmp_path / "cut")]
    for name in sorted(path.name for path in last[0].glob("*.safetensors")):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()

    def curve(events: list[Event]) -> list[tuple[int, Any, Any]]:
        return [(e.epoch, e.metrics, e.train_loss) for e in events if isinstance(e, Evaluated)]

    assert curve(rest) == curve(whole)


@pytest.mark.parametrize("changes", [{}, RIVALS["mae"], RIVALS["masked"]], ids=["diffusion", "mae", "masked"])
def test_microbatches_give_the_step_of_the_whole(small: Dataset, changes: dict[str, Any]) -> None:
    whole = losses(list(fit(experiment(**changes), small, device=CPU, full=QUICK)))
    parts = losses(list(fit(experiment(accumulate=4, **changes), small, device=CPU, full=QUICK)))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)


@pytest.mark.parametrize("stop", [2, 3, 6, 12], ids=["in an epoch", "at its end", "before an evaluation", "at the end"])
def test_a_stopped_run_saves_and_is_resumed_bit_for_bit(
    small: Dataset, whole_run: Whole, tmp_path: Path, stop: int
) -> None:
    folder, whole = whole_run(experiment())
    steps = iter(range(1, stop + 1))
    first = list(
        fit(experiment(), small, device=CPU, folder=tmp_path / "cut", **EVALUATED, stop=lambda: next(steps) == stop)
    )
    assert isinstance(first[-1], Saved)
    assert first[-1].step == stop
    rest = list(fit(experiment(), small, device=CPU, folder=tmp_path / "cut", resume=first[-1].path, **EVALUATED))
    assert losses(first) + losses(rest) == losses(whole)
    curves = [[(e.epoch, e.metrics, e.train_loss) for e in run if isinstance(e, Evaluated)] for run in (rest, whole)]
    assert curves[0] == curves[1]
    last = [checkpoint.latest(part) / "model.safetensors" for part in (folder, tmp_path / "cut")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_a_run_without_the_weights_that_its_record_names_is_refused(small: Dataset) -> None:
    with pytest.raises(UserError, match=r"init must come with its weights \(`initial`\), got 'sha256:00'"):
        next(fit(experiment(init="sha256:00"), small, device=CPU, full=QUICK))
    with pytest.raises(UserError, match="init must be set where initial weights are given, got None"):
        next(fit(experiment(), small, device=CPU, full=QUICK, initial={}))


TOGETHER = {"diffusion": {}, "mae": RIVALS["mae"], "supervised": RIVALS["supervised"]}


def shared(kind: str) -> Experiment:
    return experiment(augment=Augment(crop_min=0.5, flip=True), epochs=8, **TOGETHER[kind])


def _worker(rank: int, size: int, data: Dataset, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    for kind in TOGETHER:
        trace = losses(list(fit(shared(kind), data, device=CPU, full=QUICK)))
        if rank == 0:
            (Path(folder) / f"{kind}.json").write_text(json.dumps(trace))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def traces_of_two(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two workers, whose start takes longer than their work, have written the losses of each kind of run."""
    folder = tmp_path_factory.mktemp("together")
    mp.spawn(_worker, (2, small, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("kind", TOGETHER)
def test_two_workers_give_the_loss_trace_of_one(small: Dataset, traces_of_two: Path, kind: str) -> None:
    alone = losses(list(fit(shared(kind), small, device=CPU, full=QUICK)))
    together = json.loads((traces_of_two / f"{kind}.json").read_text())
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=1e-5, atol=0)


def test_a_loss_that_is_not_finite_stops_the_run_naming_the_step(small: Dataset) -> None:
    wild = experiment(learning_rate=1e30, optim=Optimizer(warmup=0, clip=0))
    message = r"^loss is (nan|inf) at step 2 with learning rate 9\.\d+e\+29; the batch's images are \d+(, \d+){7}, …$"
    with pytest.raises(NonFiniteLossError, match=message):
        list(fit(wild, small, device=CPU, full=QUICK))


def test_features_that_are_not_finite_stop_the_run(small: Dataset) -> None:
    wild = experiment(learning_rate=1e30, epochs=1, batch_size=96, optim=Optimizer(warmup=0, clip=0))
    with pytest.raises(ArithmeticError, match="the features are not finite: training has diverged"):
        list(fit(wild, small, device=CPU, full=standard_evaluation()))


def test_workers_share_out_the_batch() -> None:
    assert list(World(1, 4).rows(8)) == [2, 3]
    with pytest.raises(UserError, match="batch_size must be a multiple of the 3 workers, got 8"):
        World(0, 3).rows(8)


@pytest.mark.gpu
def test_training_on_a_gpu(small: Dataset) -> None:
    events = list(
        fit(
            experiment(model=size_of("nano", patch_size=2)),
            small,
            device=torch.device("cuda"),
            full=QUICK,
        )
    )
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 13))
