"""Orders that are learned: a run resumes bit for bit, and micro-batches and workers change nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.random_orders import Learned
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.adapted import ORDER_SCORES
from darl.training.events import Evaluated, Event, Saved, Stepped
from darl.training.pretrain import fit

CPU = torch.device("cpu")


def experiment(**changes: Any) -> Experiment:
    return Experiment(
        **{
            "model": EncoderConfig(width=16, depth=1, heads=2, patch_size=4),
            "epochs": 4,
            "batch_size": 24,
            "objective": Mse(),
            "noise": None,
            "causal": False,
            "random_order": Learned(rate=0.5),
            "optim": Optimizer(ema=0.9),
            **changes,
        }
    )


def nothing(model: Any, dataset: Dataset, device: torch.device) -> dict[str, float | str | None]:
    return {}


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def scores(events: list[Event]) -> list[list[float]]:
    texts = [event.metrics[ORDER_SCORES] for event in events if isinstance(event, Evaluated)]
    return [[float(score) for score in str(text).split()] for text in texts]


@pytest.mark.parametrize("stop", [1, 5])
def test_a_run_killed_while_orders_are_learned_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, stop: int
) -> None:
    options: Any = {"device": CPU, "full": nothing, "save_every": 1}
    whole = list(fit(experiment(), small, folder=tmp_path / "whole", **options))
    for event in fit(experiment(), small, folder=tmp_path / "cut", **options):
        if isinstance(event, Saved) and event.step == stop:
            break
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(experiment(), small, folder=tmp_path / "cut", resume=newest, **options))
    assert losses(rest) == losses(whole)[stop:]
    assert scores(rest) == scores(whole)
    last = [checkpoint.latest(tmp_path / part) for part in ("whole", "cut")]
    for name in ("model.safetensors", "ema.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()


def test_scores_begin_equal_and_move_apart_and_the_checkpoint_has_them(small: Dataset, tmp_path: Path) -> None:
    first, last = scores(list(fit(experiment(), small, device=CPU, full=nothing, folder=tmp_path)))
    assert first == [0.0] * 4
    assert max(last) - min(last) > 0.05
    learned = checkpoint.load_pretrained(tmp_path).model.order_policy
    assert learned is not None
    assert bool((learned.strengths != 0).any())


def test_microbatches_give_the_step_of_the_whole(small: Dataset) -> None:
    whole, parts = (list(fit(experiment(accumulate=count), small, device=CPU, full=nothing)) for count in (1, 4))
    torch.testing.assert_close(torch.tensor(losses(parts)), torch.tensor(losses(whole)), rtol=1e-5, atol=0)
    assert scores(parts)[-1] == pytest.approx(scores(whole)[-1], abs=1e-4)


def _worker(rank: int, record: dict[str, Any], data: Dataset, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    events = list(fit(Experiment.from_record(record), data, device=CPU, full=nothing))
    (Path(folder) / f"{rank}.json").write_text(json.dumps([losses(events), scores(events)]))
    dist.destroy_process_group()


def test_two_workers_agree_and_give_the_trace_of_one(small: Dataset, tmp_path: Path) -> None:
    events = list(fit(experiment(), small, device=CPU, full=nothing))
    mp.spawn(_worker, (experiment().to_record(), small, str(tmp_path)), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    torch.testing.assert_close(torch.tensor(first[0]), torch.tensor(losses(events)), rtol=1e-5, atol=0)
    assert first[1][-1] == pytest.approx(scores(events)[-1], abs=1e-4)
