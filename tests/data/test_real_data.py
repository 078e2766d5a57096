"""The real image sets load as they are known."""

import pickle

import numpy as np
import pandas
import pytest

from darl.data import Augment, Defaults, batches, defaults, load
from tests.data.example_images import write_parquet

RICH = Augment(crop_min=0.2, flip=True)


def test_cifar(real_data):
    folder = real_data / "cifar10"
    assert defaults(str(folder)) == Defaults(32, 3, 4, RICH)
    data = load(str(folder / "test-*.parquet"), image_size=32, channels=3)
    assert (len(data.train), len(data.validation)) == (8000, 2000)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(data.validation.labels).tolist() == [200] * 10
    np.testing.assert_allclose(data.mean, (0.494, 0.485, 0.450), atol=2e-3)
    np.testing.assert_allclose(data.std, (0.247, 0.243, 0.262), atol=2e-3)
    assert data.skipped == ()


@pytest.mark.slow
def test_all_of_cifar(real_data):
    data = load(str(real_data / "cifar10"), image_size=32, channels=3)
    assert (len(data.train), len(data.validation), len(data.test)) == (40_000, 10_000, 10_000)
    assert np.bincount(data.validation.labels).tolist() == np.bincount(data.test.labels).tolist() == [1000] * 10
    np.testing.assert_allclose(data.mean, (0.4914, 0.4822, 0.4465), atol=1e-3)  # the published ones, of all 50,000
    np.testing.assert_allclose(data.std, (0.2470, 0.2435, 0.2616), atol=1e-3)


def test_photographs_in_memory_and_as_a_stream(real_data, tmp_path):
    folder = real_data / "imagenette_subset"
    assert defaults(str(folder)) == Defaults(224, 3, 16, RICH)
    rows = pandas.read_parquet(folder / "validation-00000-of-00001.parquet")[:80]
    write_parquet(tmp_path / "x.parquet", [row["bytes"] for row in rows["image"]], rows["label"].tolist())
    memory = load(str(tmp_path), image_size=64, channels=3)
    stream = load(str(tmp_path), image_size=64, channels=3, memory_limit=0, loader_workers=2)
    np.testing.assert_allclose(memory.mean, stream.mean, rtol=1e-6)
    np.testing.assert_allclose(memory.mean, (0.46, 0.45, 0.42), atol=0.08)
    (batch,) = batches(stream, seed=0, epoch=0, batch_size=60, augment=RICH, device="cpu")
    assert batch.images.shape == (60, 3, 64, 64)
    assert abs(float(batch.images.mean())) < 0.3
    assert pickle.loads(pickle.dumps(stream)).train.labels.tolist() == stream.train.labels.tolist()
