"""Sharded training: DDP's losses, and exact resumption by any number of workers, with sharding and without."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from darl.data import Augment
from darl.errors import UserError
from darl.finetuning import Finetuning
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.base import Objective
from darl.model.tokenizers.dvae import Dvae
from darl.optim import Optimizer
from darl.storage.folder import ResultsFolder
from darl.training import checkpoint
from darl.training.checkpoint import latest, newest
from darl.training.checkpoint_store import CheckpointStore
from darl.training.parallel import PLAIN, Execution, Workers, World, data_parallel
from tests.training.example_workers import CPU, SHARDED, Ran, Worker, experiment, over_workers

LEAN = Execution(sharded=True, gradient_checkpointing=True)
AVERAGED: dict[str, Any] = {
    "optim": Optimizer(ema=0.9, clip=0.05, warmup=0), "accumulate": 2, "augment": Augment(crop_min=0.5, flip=True),
}  # fmt: skip
"""With a moving average, and clipped at every step."""


def close(ran: Ran, other: Ran) -> None:
    torch.testing.assert_close(torch.tensor(ran.losses), torch.tensor(other.losses), rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.tensor(ran.norms), torch.tensor(other.norms), rtol=1e-5, atol=0)


def equal(ran: Ran, other: Ran) -> None:
    """Bit for bit: the losses of the last steps, and the weights in the end."""
    assert ran.losses == other.losses[-len(ran.losses) :]
    assert ran.norms[-1] == other.norms[-1]


def last_two_steps(ran: Ran) -> Ran:
    return replace(ran, losses=ran.losses[-2:])


def _two_workers(worker: Worker) -> dict[str, Any]:
    trained, gave = experiment(**AVERAGED), dict[str, Any]()
    gave["ddp"] = ddp = worker.fit("ddp", trained, PLAIN)
    gave["whole"] = worker.fit("whole", trained, LEAN)
    gave["cut"] = cut = worker.fit("cut", trained, stop=4)
    gave["resumed"] = worker.fit("resumed", trained, resume=cut.saved)
    assert ddp.saved is not None
    gave["from ddp"] = worker.fit("from-ddp", trained, resume=ddp.saved.with_name("step-00000004"))
    tokens = experiment(**AVERAGED, tokenizer=Dvae(vocabulary=4, width=8, depth=1), token_input=True)
    gave["tokens"], gave["tokens, sharded"] = worker.fit("tokens", tokens, PLAIN), worker.fit("tokens-sharded", tokens)
    dist.destroy_process_group()
    if worker.rank == 0:
        worker.size = 1
        gave["alone"] = worker.fit("alone", trained, PLAIN, resume=cut.saved)
    return gave


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    return over_workers(tmp_path_factory.mktemp("workers"), 2, _two_workers)


def test_sharded_workers_give_the_losses_and_weights_of_ddp(ran: dict[str, Ran]) -> None:
    assert len(ran["ddp"].losses) == 6
    close(ran["whole"], ran["ddp"])


def test_a_sharded_model_may_hold_a_tokenizer(ran: dict[str, Ran]) -> None:
    """Which no worker shares: its weights are buffers."""
    close(ran["tokens, sharded"], ran["tokens"])


def test_a_killed_sharded_run_is_resumed_bit_for_bit(ran: dict[str, Ran]) -> None:
    """By as many workers; gradient checkpointing, which the uninterrupted run had, changes nothing."""
    assert len(ran["resumed"].losses) == 2
    equal(ran["resumed"], ran["whole"])
    for file in ("model.safetensors", "ema.safetensors"):
        resumed, whole = (ran[name].saved for name in ("resumed", "whole"))
        assert resumed is not None
        assert whole is not None
        assert (resumed / file).read_bytes() == (whole / file).read_bytes()


def test_it_is_resumed_by_one_worker_and_from_a_checkpoint_of_ddp(ran: dict[str, Ran]) -> None:
    for name in ("alone", "from ddp"):
        assert len(ran[name].losses) == 2
        close(ran[name], last_two_steps(ran["whole"]))


def test_a_sharded_checkpoint_is_read_like_any_other_and_holds_no_code(ran: dict[str, Ran]) -> None:
    saved = ran["cut"].saved
    assert saved is not None
    names = sorted(str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file())
    shards = [f"optimizer-2/shard-0000{number}-model-00001-of-00001.safetensors" for number in (1, 2)]
    assert names == ["ema.safetensors", "model.safetensors", *shards, "sharded.pt"]
    sizes = [(saved / shard).stat().st_size for shard in shards]
    assert max(sizes) < 1.1 * min(sizes)
    assert torch.load(saved / "sharded.pt", weights_only=True)["progress"]["step"] == 4
    read = checkpoint.load_pretrained(saved)
    assert read.experiment == experiment(**AVERAGED)
    assert read.model(torch.zeros(1, 1, 8, 8), seed=0)["loss"].isfinite()


@pytest.mark.parametrize("file", ["sharded.pt", "optimizer-2/shard-00002-model-00001-of-00001.safetensors"])
def test_an_incomplete_sharded_checkpoint_is_passed_over(ran: dict[str, Ran], tmp_path: Path, file: str) -> None:
    assert ran["cut"].saved is not None
    for step in (2, 4):
        name = f"step-{step:08d}"
        shutil.copytree(ran["cut"].saved.with_name(name), tmp_path / name)
    assert latest(tmp_path) == tmp_path / "step-00000004"
    torn = tmp_path / "step-00000004" / file
    torn.write_bytes(torn.read_bytes()[:-1])
    assert latest(tmp_path) == tmp_path / "step-00000002"
    torn.unlink()
    assert latest(tmp_path) == tmp_path / "step-00000002"
    assert newest(ResultsFolder(str(tmp_path), "results"), resumable=False) == "step-00000004"


def test_a_finished_trial_keeps_its_weights_alone(ran: dict[str, Ran], tmp_path: Path) -> None:
    assert ran["cut"].saved is not None
    trained, store = experiment(**AVERAGED), CheckpointStore(str(tmp_path))
    store.begin(trained)
    folder = tmp_path / "checkpoints" / trained.trial_id
    shutil.copytree(ran["cut"].saved, folder / "step-00000004")
    store.finish(trained.trial_id, keep_weights=True)
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert files == ["ema.safetensors", "model.safetensors"]


def test_one_worker_has_nobody_to_share_with() -> None:
    with pytest.raises(UserError, match=r"shard must be given with two or more workers, which share .* got 1"):
        Workers(execution=SHARDED)
    with pytest.raises(UserError, match=r"gpus_per_worker must be a whole number where the model is sharded, got 0\.5"):
        Workers(count=2, gpus=0.5, execution=SHARDED)
    with pytest.raises(UserError, match="shard must be given to two or more workers, got 1"):
        data_parallel(torch.nn.Linear(1, 1), World(), SHARDED, CPU, bfloat16=False)


TUNED: dict[str, Any] = {
    "causal": False, "optim": Optimizer(ema=0.9),
    "finetuning": Finetuning(drop_path=0.5, layer_decay=0.75, attentive=True),
}  # fmt: skip
MAE = {"objective": Objective.parse("mae"), "noise": None, "causal": False}


def _three_workers(worker: Worker) -> dict[str, Any]:
    trained, gave = experiment(), dict[str, Any]()
    gave["whole"] = worker.fit("whole", trained)
    cut = worker.fit("cut", trained, stop=4)
    mae = experiment(**MAE)
    gave["mae"], gave["mae, sharded"] = worker.fit("mae", mae, PLAIN), worker.fit("mae-sharded", mae, LEAN)
    tuned = experiment(**TUNED)
    gave["tuned"], gave["tuned, sharded"] = worker.fit("tuned", tuned, PLAIN), worker.fit("tuned-sharded", tuned, LEAN)
    low = experiment(precision="bfloat16")
    gave["bfloat16"], gave["bfloat16, sharded"] = worker.fit("low", low, PLAIN), worker.fit("low-sharded", low, LEAN)
    compiled = Execution(gradient_checkpointing=True, compiled=True, backend="aot_eager")
    gave["compiled"] = worker.fit("compiled", trained, compiled)
    gave["compiled, sharded"] = worker.fit("compiled-sharded", trained, replace(compiled, sharded=True))
    dist.destroy_process_group()
    if worker.rank < 2:
        meeting = f"file://{worker.folder}/again"
        dist.init_process_group("gloo", init_method=meeting, rank=worker.rank, world_size=2)
        worker.size = 2
        gave["by two"] = worker.fit("by-two", trained, resume=cut.saved)
    return gave


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_workers_of_any_objective_and_precision_compiled_and_resumed_by_two(tmp_path: Path) -> None:
    """24 rows a worker's 8; the widths 16 and 48 are no multiples of 3, so that parts differ in size."""
    ran = over_workers(tmp_path, 3, _three_workers)
    close(ran["mae, sharded"], ran["mae"])
    close(ran["tuned, sharded"], ran["tuned"])
    close(ran["compiled"], ran["whole"])
    close(ran["compiled, sharded"], ran["whole"])
    close(ran["by two"], last_two_steps(ran["whole"]))
    both = [torch.tensor(ran[name].losses) for name in ("bfloat16, sharded", "bfloat16")]
    torch.testing.assert_close(*both, rtol=1e-3, atol=0)


def _two_gpus(worker: Worker) -> dict[str, Any]:
    """Enough blocks that the state outweighs what else is held."""
    large = EncoderConfig(width=256, depth=8, heads=4, patch_size=2)
    trained, gave = experiment(model=large, precision="float32", optim=Optimizer(ema=0.9)), dict[str, Any]()
    gave["ddp"], gave["sharded"] = worker.fit("ddp", trained, PLAIN), worker.fit("sharded", trained)
    cut = worker.fit("cut", trained, stop=4)
    gave["resumed"] = worker.fit("resumed", trained, resume=cut.saved)
    low = experiment(model=large)
    gave["bfloat16"], gave["bfloat16, sharded"] = worker.fit("low", low, PLAIN), worker.fit("low-sharded", low, LEAN)
    gave["compiled"] = worker.fit("compiled", low, replace(LEAN, compiled=True))
    return gave


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus(tmp_path: Path) -> None:
    ran = over_workers(tmp_path, 2, _two_gpus, gpus=True)
    torch.testing.assert_close(torch.tensor(ran["sharded"].losses), torch.tensor(ran["ddp"].losses), rtol=1e-4, atol=0)
    assert ran["sharded"].peaks[-1] < 0.8 * ran["ddp"].peaks[-1]
    close(ran["resumed"], last_two_steps(ran["sharded"]))
    plain = torch.tensor(ran["bfloat16"].losses)
    for name in ("bfloat16, sharded", "compiled"):
        torch.testing.assert_close(torch.tensor(ran[name].losses), plain, rtol=1e-2, atol=0)
