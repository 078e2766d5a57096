"""Pretraining: exact resumption, the same result for any number of workers, errors, checkpoints."""

import dataclasses
import json
from collections.abc import Iterator
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
from darl.model.encoder_config import EncoderConfig, size_of
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.objectives.mse import Mse
from darl.model.positions import Learned
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.loop import NonFiniteLossError
from darl.training.parallel import World
from darl.training.pretrain import fit

CPU = torch.device("cpu")
EVALUATED: Any = {"full": standard_evaluation(), "evaluate_at": {2: standard_evaluation()}}
SIZE = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
RIVALS: dict[str, Any] = {
    kind: {"objective": Objective.parse(kind), "noise": None, "causal": False}
    for kind in ("mae", "masked", "supervised")
}
"""What an experiment with a rival of next-patch prediction changes."""
RIVALS["supervised"]["content"] = DataContent(train=96, validation=64, classes=10, fingerprint="0" * 16)
SLOW = pytest.param(RIVALS["supervised"], marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    """96 digits to train on: three steps of 32 an epoch."""
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:96], labels=digits.train.labels[:96])
    held = digits.validation
    validation = dataclasses.replace(held, pixels=held.pixels[:64], labels=held.labels[:64])
    return dataclasses.replace(digits, train=train, validation=validation)


def experiment(**changes: Any) -> Experiment:
    return Experiment(**{"model": SIZE, "epochs": 4, "batch_size": 32, "noise": Beta(a=0.5, b=1.0), **changes})


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def stop_after(events: Iterator[Event], step: int) -> list[Event]:
    """Events up to the checkpoint of `step`: then the process is as if killed."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Saved) and event.step == step:
            return seen
    raise AssertionError(f"no checkpoint at step {step}")


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


@pytest.mark.parametrize(("changes", "stop"), KILLED)
def test_a_run_killed_after_any_checkpoint_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, stop: int, changes: dict[str, Any]
) -> None:
    trained = experiment(augment=Augment(crop_min=0.5, flip=True), **changes)
    whole = list(fit(trained, small, device=CPU, folder=tmp_path / "whole", **EVALUATED))
    first = stop_after(
        fit(trained, small, device=CPU, folder=tmp_path / "cut", **EVALUATED, save_every=1),
        stop,
    )
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(trained, small, device=CPU, folder=tmp_path / "cut", resume=newest, **EVALUATED))
    assert losses(first)[:stop] + losses(rest) == losses(whole)
    last = [checkpoint.latest(tmp_path / part) for part in ("whole", "cut")]
    for name in sorted(path.name for path in last[0].glob("*.safetensors")):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()

    def curve(events: list[Event]) -> list[tuple[int, Any, Any]]:
        return [(e.epoch, e.metrics, e.train_loss) for e in events if isinstance(e, Evaluated)]

    assert curve(rest) == curve(whole)


@pytest.mark.parametrize("changes", [{}, RIVALS["mae"], RIVALS["masked"]], ids=["diffusion", "mae", "masked"])
def test_microbatches_give_the_step_of_the_whole(small: Dataset, changes: dict[str, Any]) -> None:
    whole = losses(list(fit(experiment(**changes), small, device=CPU, full=standard_evaluation())))
    parts = losses(list(fit(experiment(accumulate=4, **changes), small, device=CPU, full=standard_evaluation())))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)


@pytest.mark.parametrize("stop", [2, 3, 6, 12], ids=["in an epoch", "at its end", "before an evaluation", "at the end"])
def test_a_stopped_run_saves_and_is_resumed_bit_for_bit(small: Dataset, tmp_path: Path, stop: int) -> None:
    whole = list(fit(experiment(), small, device=CPU, folder=tmp_path / "whole", **EVALUATED))
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
    last = [checkpoint.latest(tmp_path / part) / "model.safetensors" for part in ("whole", "cut")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_a_run_without_the_weights_that_its_record_names_is_refused(small: Dataset) -> None:
    with pytest.raises(UserError, match=r"init must come with its weights \(`initial`\), got 'sha256:00'"):
        next(fit(experiment(init="sha256:00"), small, device=CPU, full=standard_evaluation()))
    with pytest.raises(UserError, match="init must be set where initial weights are given, got None"):
        next(fit(experiment(), small, device=CPU, full=standard_evaluation(), initial={}))


def _worker(rank: int, size: int, record: dict[str, Any], data: Dataset, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    trace = losses(list(fit(Experiment.from_record(record), data, device=CPU, full=standard_evaluation())))
    if rank == 0:
        (Path(folder) / "trace.json").write_text(json.dumps(trace))
    dist.destroy_process_group()


@pytest.mark.parametrize("changes", [{}, RIVALS["mae"], SLOW], ids=["diffusion", "mae", "supervised"])
def test_two_workers_give_the_loss_trace_of_one(small: Dataset, tmp_path: Path, changes: dict[str, Any]) -> None:
    shared = experiment(augment=Augment(crop_min=0.5, flip=True), epochs=8, **changes)
    alone = losses(list(fit(shared, small, device=CPU, full=standard_evaluation())))
    mp.spawn(_worker, (2, shared.to_record(), small, str(tmp_path)), nprocs=2)
    together = json.loads((tmp_path / "trace.json").read_text())
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=1e-5, atol=0)


def test_a_loss_that_is_not_finite_stops_the_run_naming_the_step(small: Dataset) -> None:
    wild = experiment(learning_rate=1e30, optim=Optimizer(warmup=0, clip=0))
    message = r"^loss is (nan|inf) at step 2 with learning rate 9\.\d+e\+29; the batch's images are \d+(, \d+){7}, …$"
    with pytest.raises(NonFiniteLossError, match=message):
        list(fit(wild, small, device=CPU, full=standard_evaluation()))


def test_features_that_are_not_finite_stop_the_run(small: Dataset) -> None:
    wild = experiment(learning_rate=1e30, epochs=1, batch_size=96, optim=Optimizer(warmup=0, clip=0))
    with pytest.raises(ArithmeticError, match="the features are not finite: training has diverged"):
        list(fit(wild, small, device=CPU, full=standard_evaluation()))


def test_a_checkpoint_appears_whole_or_not_at_all(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise OSError("disk is full")

    events = fit(experiment(), small, device=CPU, full=standard_evaluation(), folder=tmp_path, save_every=1)
    stop_after(events, 1)
    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="disk is full"):
        stop_after(events, 2)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000001"]


def test_the_weights_of_an_evaluation_are_saved_before_it_is_reported(small: Dataset, tmp_path: Path) -> None:
    """Whoever ends the run at its last evaluation, as a sweep's budget does, has that evaluation's weights."""
    events = fit(experiment(), small, device=CPU, folder=tmp_path, **EVALUATED)
    for epoch in (2, 4):
        event = next(event for event in events if isinstance(event, Evaluated) and event.epoch == epoch)
        newest = checkpoint.latest(tmp_path)
        assert newest is not None
        assert newest.name == f"step-{event.step:08d}"
    again = list(fit(experiment(), small, device=CPU, folder=tmp_path, resume=newest, **EVALUATED))
    assert [event.epoch for event in again if isinstance(event, Evaluated)] == [0, 2, 4]
    assert not losses(again)


def test_only_the_newest_checkpoints_are_kept(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=standard_evaluation(), folder=tmp_path, save_every=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000011", "step-00000012"]


def test_a_checkpoint_holds_no_code(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=standard_evaluation(), folder=tmp_path))
    path = checkpoint.latest(tmp_path)
    assert path is not None
    assert sorted(file.name for file in path.iterdir()) == ["model.safetensors", "trainer.pt"]
    assert torch.load(path / "trainer.pt", weights_only=True)["progress"]["step"] == 12


def test_a_checkpoint_is_loaded_without_anything_else(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=standard_evaluation(), folder=tmp_path))
    for path in (tmp_path, checkpoint.latest(tmp_path), checkpoint.latest(tmp_path) / "model.safetensors"):
        read = checkpoint.load_pretrained(path)
        assert read.experiment == experiment()
        assert (read.mean, read.std) == (small.mean, small.std)
        assert read.model(torch.zeros(1, 1, 8, 8), seed=0)["loss"].isfinite()


def test_the_newest_whole_checkpoint_is_read(small: Dataset, tmp_path: Path) -> None:
    list(fit(experiment(), small, device=CPU, full=standard_evaluation(), folder=tmp_path, save_every=1))
    older, newest = sorted(tmp_path.iterdir())
    changed = checkpoint.load_pretrained(older).model.state_dict()
    (tmp_path / "step-00000099").mkdir()  # files come one by one into a bucket

    def is_older(path: str) -> bool:
        """Whether the path gives the older checkpoint."""
        state = checkpoint.load_pretrained(path).model.state_dict()
        return all(torch.equal(state[name], changed[name]) for name in changed)

    assert not is_older(str(tmp_path))
    assert not is_older(f"file://{newest}/model.safetensors")
    (newest / "trainer.pt").unlink()  # as if it were still to come: the weights are there
    assert not is_older(f"file://{tmp_path}")
    data = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(data[:-1])
    assert is_older(f"file://{tmp_path}")


@pytest.mark.parametrize("file", ["model.safetensors", "ema.safetensors", "trainer.pt"])
def test_an_incomplete_checkpoint_is_passed_over(small: Dataset, tmp_path: Path, file: str) -> None:
    averaged = experiment(optim=Optimizer(ema=0.9))
    list(fit(averaged, small, device=CPU, full=standard_evaluation(), folder=tmp_path, save_every=1))
    older, newest = sorted(tmp_path.iterdir())
    assert checkpoint.latest(tmp_path) == newest
    data = (newest / file).read_bytes()
    (newest / file).write_bytes(data[: len(data) // 2])
    assert checkpoint.latest(tmp_path) == older
    (newest / file).unlink()
    assert checkpoint.latest(tmp_path) == older


def test_unreadable_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"checkpoint must be a weights file, a checkpoint or a run's folder of checkpoints, got"
    ):
        checkpoint.load_pretrained(tmp_path)
    torn = tmp_path / "model.safetensors"
    torn.write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(UserError, match="checkpoint must be a whole safetensors file, got"):
        checkpoint.load_pretrained(torn)


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
            full=standard_evaluation(),
        )
    )
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 13))
