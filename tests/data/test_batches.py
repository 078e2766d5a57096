"""Batches are a function of seed, epoch and number: for any rows, loader workers, and start."""

import pickle

import numpy as np
import pytest
import torch

from darl.data import (
    Augment,
    Dataset,
    Images,
    Stream,
    augment_batch,
    batches,
    crop_boxes,
    epoch_order,
    evaluation_batches,
    load,
    normalize,
    steps_per_epoch,
)
from darl.data.augment import draw
from darl.data.formats import parquet as parquet_module
from darl.errors import UserError
from tests.data.example_images import channels_first, encoded, picture, pngs, write, write_parquet, write_tar

RICH = Augment(crop_min=0.3, flip=True)
SIZE = 12


def images(n=100, labels=True) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, SIZE, SIZE), dtype=np.uint8)
    pixels.flags.writeable = False  # as it comes from Ray's object store
    split = Images(pixels, np.arange(n) if labels else None)
    return Dataset("images", split, split, None, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), ())


def drawn(dataset, seed=0, epoch=0, batch_size=40, augment=RICH, **options):
    options = {"seed": seed, "epoch": epoch, "batch_size": batch_size, "augment": augment, "device": "cpu", **options}
    return list(batches(dataset, **options))


def assert_same(one, two):
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert torch.equal(left.indices, right.indices)
        assert torch.equal(left.images, right.images)


@pytest.fixture
def stream(tmp_path) -> Dataset:
    """60 training images of several sizes as a stream of Parquet rows in groups of seven."""
    files = [encoded(picture(i, 14 + i % 5, 20 - i % 7)) for i in range(60)]
    write_parquet(tmp_path / "train.parquet", files, [i % 4 for i in range(60)], rows_per_group=7)
    write_parquet(tmp_path / "validation.parquet", files[:25], [i % 4 for i in range(25)])
    return load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0)


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_batches_depend_on_seed_and_epoch(kind, request):
    dataset = images() if kind == "memory" else request.getfixturevalue("stream")
    torch.manual_seed(1)
    expected = drawn(dataset, batch_size=20)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert_same(expected, drawn(dataset, batch_size=20))
    torch.manual_seed(1)
    drawn(dataset, batch_size=20)
    assert torch.equal(torch.get_rng_state(), state)
    for other in (drawn(dataset, seed=1, batch_size=20), drawn(dataset, epoch=1, batch_size=20)):
        assert not torch.equal(expected[0].indices, other[0].indices)


@pytest.mark.parametrize("kind", ["memory", "stream"])
@pytest.mark.parametrize("augment", [RICH, Augment(), Augment(flip=True)])
def test_rows_of_workers_make_the_whole(kind, augment, request):
    dataset = images() if kind == "memory" else request.getfixturevalue("stream")
    whole = drawn(dataset, augment=augment)
    parts = [drawn(dataset, augment=augment, rows=rows) for rows in (range(0, 13), range(13, 39), range(39, 40))]
    for batch, *split in zip(whole, *parts, strict=True):
        assert torch.equal(batch.indices, torch.cat([part.indices for part in split]))
        torch.testing.assert_close(batch.images, torch.cat([part.images for part in split]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_later_batches_are_the_same_alone(kind, request):
    dataset = images() if kind == "memory" else request.getfixturevalue("stream")
    assert_same(drawn(dataset, batch_size=15)[2:], drawn(dataset, batch_size=15, first=2))


def test_an_epoch_shows_each_image_once():
    indices = torch.cat([batch.indices for batch in drawn(images(), batch_size=30)])
    assert len(indices.unique()) == len(indices) == 90


def test_memory_batch_equals_its_augmented_images():
    dataset = images()
    batch = drawn(dataset, seed=5, epoch=2)[1]
    indices = epoch_order(dataset.train, 5, 2)[40:80]
    assert torch.equal(batch.indices, indices)
    uniform, flips = draw(range(40), 5, "augment", 2, 1)
    size = torch.full((40,), SIZE)
    pixels = torch.from_numpy(dataset.train.pixels[indices.numpy()])
    boxes = crop_boxes(uniform, size, size, RICH.crop_min)
    assert torch.equal(batch.images, augment_batch(pixels, boxes, flips, dataset.mean, dataset.std))


def test_without_augmentation_only_the_normalisation_is_done(monkeypatch):
    monkeypatch.setattr("darl.data.loader.draw", None)  # nothing is drawn either
    dataset = images()
    batch = drawn(dataset, augment=Augment())[0]
    pixels = torch.from_numpy(dataset.train.pixels[batch.indices.numpy()])
    torch.testing.assert_close(batch.images, normalize(pixels, dataset.mean, dataset.std))


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_evaluation_is_in_order_and_whole(kind, request):
    dataset = images(25) if kind == "memory" else request.getfixturevalue("stream")
    shown = list(evaluation_batches(dataset, dataset.validation, batch_size=10, device="cpu"))
    assert [len(batch) for batch in shown] == [10, 10, 5]
    if kind == "memory":
        expected = normalize(torch.from_numpy(dataset.validation.pixels.copy()), dataset.mean, dataset.std)
        assert torch.equal(torch.cat(shown), expected)


def test_steps_and_their_error():
    assert steps_per_epoch(100, 30) == 3
    assert len(drawn(images(), batch_size=100)) == 1
    for call in (lambda: steps_per_epoch(100, 101), lambda: batches_unread(images(), 101)):
        with pytest.raises(UserError, match=r"^batch_size must be between 1 and the 100 training images, got 101$"):
            call()


def batches_unread(dataset, batch_size):
    return batches(dataset, seed=0, epoch=0, batch_size=batch_size, augment=RICH, device="cpu")


def test_bad_rows():
    for rows in (range(41), range(-1, 3), range(3, 3), range(0, 40, 2)):
        with pytest.raises(AssertionError):
            drawn(images(), rows=rows)


@pytest.mark.parametrize("augment", [RICH, Augment()])
def test_loader_workers_change_nothing(stream, augment):
    alone = drawn(stream, batch_size=16, augment=augment)
    stream.train.loader_workers = 2
    assert_same(alone, drawn(stream, batch_size=16, augment=augment))


def test_stream_agrees_with_memory_where_nothing_is_random(tmp_path, stream):
    memory = load(str(tmp_path), image_size=SIZE, channels=3)
    assert (stream.mean, stream.std, stream.classes) == (memory.mean, memory.std, memory.classes)
    assert stream.train.labels.tolist() == memory.train.labels.tolist()
    for batch in drawn(stream, augment=Augment()):
        pixels = torch.from_numpy(memory.train.pixels[batch.indices.numpy()])
        torch.testing.assert_close(batch.images, normalize(pixels, memory.mean, memory.std))
    shown = torch.cat(list(evaluation_batches(stream, stream.validation, batch_size=7, device="cpu")))
    kept = torch.cat(list(evaluation_batches(memory, memory.validation, batch_size=25, device="cpu")))
    torch.testing.assert_close(shown, kept)


def test_stream_crops_come_from_the_whole_image(tmp_path):
    write_tar(tmp_path / "train.tar", {f"{i:02}.png": encoded(picture(i, 50, 30)) for i in range(40)})
    write_tar(tmp_path / "val.tar", {"a.png": pngs(1)[0]})
    dataset = load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0)
    assert dataset.train.labels is None
    batch = drawn(dataset, batch_size=8)[0]
    uniform, flips = draw(range(8), 0, "augment", 0, 0)
    boxes = crop_boxes(uniform, torch.full((8,), 30), torch.full((8,), 50), RICH.crop_min)
    for row, index in enumerate(batch.indices.tolist()):
        top, left, height, width = boxes[row].tolist()
        part = picture(index, 50, 30).crop((left, top, left + width, top + height)).resize((SIZE, SIZE), 3)
        expected = normalize(torch.from_numpy(channels_first(part).copy())[None], dataset.mean, dataset.std)[0]
        torch.testing.assert_close(batch.images[row], expected.flip(2) if flips[row] else expected)


def test_streamed_row_groups_are_shuffled_and_read_once(monkeypatch, stream):
    """Windows of about three groups: an epoch goes through each group once, and mixes the rows of a window."""
    groups = stream.train.source.groups
    monkeypatch.setattr("darl.data.shuffle.WINDOW", int(groups.sizes[0]) * 3)
    order = epoch_order(stream.train, 0, 0)
    assert order.sort().values.tolist() == list(range(60))
    group = (order // 7).tolist()
    spans = [max(places) - min(places) for g in range(9) for places in [[i for i, x in enumerate(group) if x == g]]]
    assert max(spans) < 4 * 7
    assert len({tuple(group[i : i + 7]) for i in range(0, 56, 7)} & {(g,) * 7 for g in range(9)}) == 0
    assert epoch_order(stream.train, 0, 0).equal(order)
    assert not epoch_order(stream.train, 0, 1).equal(order)


def test_streamed_folder_is_shuffled_as_a_whole(tmp_path):
    for i in range(50):
        write(tmp_path / f"{i:02}.png", encoded(picture(i)))
    dataset = load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0)
    assert isinstance(dataset.train, Stream)
    assert dataset.train.source.groups is None
    assert epoch_order(dataset.train, 0, 0).sort().values.tolist() == list(range(40))
    assert (len(dataset.train), len(dataset.validation)) == (40, 10)


def test_row_group_cache_is_bounded_and_shared_by_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_module, "WINDOW", 1)
    write_parquet(tmp_path / "x.parquet", pngs(40), rows_per_group=5)
    dataset = load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0)
    assert len(drawn(dataset, batch_size=8)) == 4
    source = dataset.train.source.source
    assert len(source._cache._values) == 1
    assert len(pickle.loads(pickle.dumps(source))._cache._values) == 0


def broken_stream(tmp_path, workers):
    files = pngs(24)
    files[3] = b"broken"
    labels = [i // 3 % 2 for i in range(24)]  # the next of image 3's label is 4
    files[4] = files[4][:70]
    write_parquet(tmp_path / "train.parquet", files, labels, rows_per_group=6)
    write_parquet(tmp_path / "val.parquet", [files[3], *files[5:8]], [0, 1, 0, 0])
    with_sample = load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0, loader_workers=workers)
    return with_sample, {f"{tmp_path}/train.parquet#{row}" for row in (3, 4)}


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_of_a_stream_are_replaced(tmp_path, workers):
    dataset, broken = broken_stream(tmp_path, workers)
    assert {line.split(": ")[0] for line in dataset.skipped} == broken  # the statistics' sample met them
    shown = torch.cat([batch.indices for batch in drawn(dataset, batch_size=8)])
    assert sorted(shown.tolist()) == sorted([*(set(range(24)) - {3, 4}), 5, 5])
    with pytest.warns(UserWarning, match=r"^skipped .*val\.parquet#0: UnidentifiedImageError") as warned:
        first = next(evaluation_batches(dataset, dataset.validation, batch_size=4, device="cpu"))
    assert [each.category for each in warned if each.category is not DeprecationWarning] == [UserWarning]  # of fork
    assert torch.equal(first[0], first[2])  # the next of label 0
    next(evaluation_batches(dataset, dataset.validation, batch_size=4, device="cpu"))  # warned of once
    assert list(dataset.validation.skipped) == [f"{tmp_path}/val.parquet#0"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_deleted_file_stops_the_run(tmp_path, workers):
    for i in range(20):
        write(tmp_path / f"{i:02}.png", encoded(picture(i)))
    dataset = load(str(tmp_path), image_size=SIZE, channels=3, memory_limit=0, loader_workers=workers)
    (tmp_path / "05.png").unlink()
    (tmp_path / "06.png").unlink()
    with pytest.raises(UserError, match=r"^data must be readable, got '.*0[56]\.png' \(.*\)$"):
        drawn(dataset, batch_size=16)
