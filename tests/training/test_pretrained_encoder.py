"""`darl.load`: the encoder of a run's newest checkpoint, wherever it lies."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moto.server import ThreadedMotoServer
from pyarrow import fs

import darl
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.optim import Optimizer, build_optimizer
from darl.training.checkpoint import MODEL_FILE, TrainingState, load_pretrained, path_of, save
from darl.training.description import Description
from darl.training.progress import TrainingProgress

SIZE = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run's checkpoint, with an average of its weights."""
    experiment = Experiment(model=SIZE, optim=Optimizer(ema=0.5))
    model, average = experiment.build(), replace(experiment, seed=1).build()
    optimizer = build_optimizer(model, experiment.optim, 1e-3)
    state = TrainingState(model=model, average=average, optimizer=optimizer, progress=TrainingProgress(step=3))
    save(tmp_path, state, Description(experiment, (0.5,), (0.25,)))
    return tmp_path


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a bucket, S3 as moto serves it on loopback."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"s3://key:secret@bucket/run?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    server.stop()


def images() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_average_of_a_run_is_loaded_as_it_is_evaluated(run: Path) -> None:
    encoder, pretrained = darl.load(run), load_pretrained(run)
    model = pretrained.model.eval()
    assert not encoder.training
    torch.testing.assert_close(encoder.forward_features(images()), model.forward_features(images()), rtol=0, atol=0)
    assert (encoder.pretrained_cfg["mean"], encoder.pretrained_cfg["std"]) == (pretrained.mean, pretrained.std)
    plain = darl.load(path_of(run, 3) / MODEL_FILE)
    assert not torch.equal(plain(images()), encoder(images()))


def test_a_run_in_a_bucket_is_loaded(run: Path, address: str) -> None:
    files, _ = fs.FileSystem.from_uri(f"{address}&allow_bucket_creation=true")
    files.create_dir("bucket")
    fs.copy_files(str(run), "bucket/run", fs.LocalFileSystem(), files)
    torch.testing.assert_close(darl.load(address)(images()), darl.load(run)(images()), rtol=0, atol=0)
