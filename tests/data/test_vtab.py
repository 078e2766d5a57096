"""VTAB-1k: 19 tasks, each from a local copy, torchvision or the Hub, with 1,000 training images and the test split."""

import inspect
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from darl.data.torchvision_tasks import TorchvisionTask, clevr_count, clevr_distance, kitti_distance, open_torchvision
from darl.data.vtab import GROUPS, TASKS, Task, load_task, tasks_named
from darl.errors import UserError
from tests.data.example_images import HubSplit, channels_first, encoded, hub_of, picture, pngs, write, write_parquet

TINY = tuple(encoded(picture(number, 4, 4)) for number in range(8))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data's folder; nothing can be downloaded."""
    monkeypatch.setenv("DARL_DATA_ROOT", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    for name in ("download_url", "download_and_extract_archive", "download_file_from_google_drive"):
        monkeypatch.setattr(f"torchvision.datasets.utils.{name}", refuse)
    for task in TASKS:
        if task.torchvision is not None:
            kind = getattr(datasets, task.torchvision.name)
            for name in ("download", "_download"):
                if name in vars(kind) or any(name in vars(base) for base in kind.__mro__):
                    monkeypatch.setattr(kind, name, refuse)
    monkeypatch.setitem(sys.modules, "datasets", hub_of(refuse))  # type: ignore[arg-type]
    return tmp_path


def local_copy(task: Task, **images: int) -> None:
    """Tiny Parquet files in the task's folder, labels in a cycle."""
    for split, count in images.items():
        labels = [number % min(task.classes, 4) for number in range(count)]
        write_parquet(task.folder / f"{split}.parquet", [TINY[n % 8] for n in range(count)], labels, rows_per_group=500)


def task_named(name: str) -> Task:
    (task,) = tasks_named(f"vtab:{name}")
    return task


def test_the_tasks_are_those_of_the_paper() -> None:
    assert Counter(task.group for task in TASKS) == {"natural": 7, "specialised": 4, "structured": 8}
    assert [task.group for task in TASKS] == sorted((task.group for task in TASKS), key=GROUPS.index)
    assert len({task.name for task in TASKS}) == 19 == len(tasks_named("vtab"))
    classes = [task.classes for task in TASKS]
    assert classes == [102, 100, 47, 102, 37, 397, 10, 2, 10, 45, 5, 8, 6, 6, 4, 16, 16, 18, 9]


def test_an_unknown_task_is_told_the_names() -> None:
    with pytest.raises(UserError, match=r"data must be vtab or vtab: and one of caltech101, .*, got 'vtab:dogs'"):
        tasks_named("vtab:dogs")


@pytest.mark.parametrize("task", [task for task in TASKS if task.torchvision], ids=lambda task: task.name)
def test_torchvision_has_the_set_with_these_splits(task: Task) -> None:
    """Its class and the names of its splits; the data itself cannot be downloaded here."""
    own = task.torchvision
    assert own is not None
    kind = getattr(datasets, own.name)
    parameters = inspect.signature(kind).parameters
    assert {"root", "download"} <= set(parameters)
    splits = {split for split in (own.train, own.validation, own.test) if split is not None}
    if "split" in parameters:
        source = inspect.getsource(kind)
        assert [split for split in splits if f'"{split}"' not in source] == []
    else:
        assert own.validation is None
        assert own.test is None or "train" in parameters


def test_a_copy_of_vtab_1k_is_used_as_it_is() -> None:
    task = task_named("dtd")
    local_copy(task, train=800, val=200, test=30)
    data, note = load_task(task, image_size=4, channels=3)
    assert (len(data.train), len(data.validation), data.split, data.test) == (1000, 30, "test", None)
    assert note == "4 of its 47 classes occur"
    assert data.name == "vtab:dtd"
    np.testing.assert_array_equal(data.train.pixels[9], channels_first(picture(1, 4, 4)))  # type: ignore[union-attr]
    np.testing.assert_array_equal(data.train.labels, [*(n % 4 for n in range(800)), *(n % 4 for n in range(200))])


def test_a_train_split_of_a_thousand_holds_its_validation_images_already() -> None:
    task = task_named("svhn")
    local_copy(task, train=1000, val=200, test=20)
    data, note = load_task(task, image_size=4, channels=1)
    assert (len(data.train), note) == (1000, "4 of its 10 classes occur")
    np.testing.assert_array_equal(data.train.labels, [n % 4 for n in range(1000)])


def test_a_larger_source_gives_a_drawn_thousand_always_the_same() -> None:
    task = task_named("svhn")
    local_copy(task, train=1500, val=300, test=20)
    first, note = load_task(task, image_size=4, channels=1)
    again, _ = load_task(task, image_size=4, channels=1)
    assert len(first.train) == 1000
    assert note == "1,000 training images drawn, not the paper's; 4 of its 10 classes occur"
    np.testing.assert_array_equal(first.train.pixels, again.train.pixels)  # type: ignore[union-attr]
    assert first.content == again.content


def test_a_source_without_a_test_split_is_tested_on_images_that_it_is_not_fitted_to() -> None:
    task = task_named("eurosat")
    count = 60
    names = [encoded(picture(number, 4, 4)) for number in range(count)]
    write_parquet(task.folder / "all.parquet", names, [number % 3 for number in range(count)])
    data, note = load_task(task, image_size=4, channels=3)
    assert (len(data.train), len(data.validation)) == (48, 12)
    assert "48 training images, all there are; tested on a drawn fifth: the source has no test split" in (note or "")
    every = [image.tobytes() for split in (data.train, data.validation) for image in split.pixels]  # type: ignore[union-attr]
    assert len(set(every)) == count


def test_images_are_resized_whole() -> None:
    task = task_named("kitti_distance")
    left = picture(0, 16, 4).copy()
    left.paste((255, 0, 0), (0, 0, 4, 4))  # a centre crop would lose it
    images = [encoded(left)] * 4
    for split in ("train", "test"):
        write_parquet(task.folder / f"{split}.parquet", images, [0, 1, 2, 3])
    data, _ = load_task(task, image_size=4, channels=3)
    assert (data.train.pixels[0, 0, :, 0] > 200).all()  # type: ignore[union-attr]
    assert (data.train.pixels[0, 1:, :, 0] < 60).all()  # type: ignore[union-attr]


def test_labels_that_the_task_does_not_have_are_refused() -> None:
    task = task_named("patch_camelyon")
    for split in ("train", "test"):
        write_parquet(task.folder / f"{split}.parquet", pngs(6, 4), [0, 1, 2] * 2)
    with pytest.raises(UserError, match="data must have the task's 2 classes, got 'vtab:patch_camelyon with 3'"):
        load_task(task, image_size=4, channels=3)


@pytest.mark.parametrize("name", ["dtd", "dsprites_location"])
def test_a_task_that_is_nowhere_says_where_it_was_looked_for(name: str, root: Path) -> None:
    task = task_named(name)
    with pytest.raises(UserError) as mistake:
        load_task(task, image_size=4, channels=3)
    said = str(mistake.value)
    assert f"{root}/vtab/{name} is no folder" in said
    assert ("torchvision's DTD is not in" in said) == (name == "dtd")
    assert ("hub:clip-benchmark/wds_vtab-dtd must" in said) == (name == "dtd")
    assert "put a copy with train, val and test into that folder" in said


def test_the_hub_is_the_last_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class WebDataset(HubSplit):
        features = {**{"picture": HubSplit.features["picture"]}, "cls": "an integer"}  # noqa: RUF012

    def load_dataset(name: str) -> dict[str, HubSplit]:
        assert name == "clip-benchmark/wds_vtab-dmlab"
        rows = [{"picture": {"bytes": png, "path": None}, "cls": n % 3} for n, png in enumerate(pngs(9, 4))]
        return {"train": WebDataset(rows), "test": WebDataset(rows[:3])}

    monkeypatch.setitem(sys.modules, "datasets", hub_of(load_dataset))
    data, note = load_task(task_named("dmlab"), image_size=4, channels=3)
    assert (len(data.train), len(data.validation)) == (9, 3)
    assert note == "9 training images, all there are; 3 of its 6 classes occur"


def write_clevr(root: Path, objects: dict[str, list[list[float]]]) -> None:
    """CLEVR in small: for each split a list of the distances of each image's objects."""
    folder = root / "clevr" / "CLEVR_v1.0"
    for split, images in objects.items():
        scenes: list[dict[str, Any]] = []
        for number, distances in enumerate(images):
            name = f"CLEVR_{split}_{number:06d}.png"
            write(folder / "images" / split / name, encoded(picture(number, 6, 4)))
            scenes.append({"image_filename": name, "objects": [{"pixel_coords": [1, 1, far]} for far in distances]})
        write(folder / "scenes" / f"CLEVR_{split}_scenes.json", json.dumps({"scenes": scenes}).encode())


def test_clevr_has_the_labels_of_vtab(root: Path) -> None:
    """Numbers of objects less 3, and ranges of the closest distance that end at 8, 8.5, 9, 9.5, 10."""
    images = [[9.0, 7.9, 12.0], [8.2, 20, 20, 20], [8.9] * 10, [9.5] * 3, [9.51] * 3, [10.5] * 3]
    write_clevr(root, {"train": images, "val": images[:2]})
    for label, expected in ((clevr_count, [0, 1, 7, 0, 0, 0]), (clevr_distance, [0, 1, 2, 3, 4, 5])):
        splits = open_torchvision(TorchvisionTask("CLEVRClassification", test="val", label=label), root)
        assert list(splits.train.labels or ()) == expected
        assert splits.test is not None
        assert list(splits.test.labels or ()) == expected[:2]
    data, _ = load_task(task_named("clevr_distance"), image_size=4, channels=3)
    np.testing.assert_array_equal(data.train.labels, [0, 1, 2, 3, 4, 5])


def test_kitti_has_the_labels_of_vtab(root: Path) -> None:
    """The closest car, van or truck is nearer than 8 m, than 20 m, farther, or there is none."""
    things = [[("Car", 7.0), ("Van", 30.0)], [("Truck", 8.5), ("Cyclist", 2.0)], [("Van", 25.0)], [("Pedestrian", 5.0)]]
    folder = root / "Kitti" / "raw" / "training"
    for number, image in enumerate(things):
        write(folder / "image_2" / f"{number:06d}.png", encoded(picture(number, 12, 4)))
        lines = [f"{kind} 0 0 0 0 0 1 1 1 1 1 0 0 {far} 0" for kind, far in image]
        write(folder / "label_2" / f"{number:06d}.txt", "\n".join(lines).encode())
    splits = open_torchvision(TorchvisionTask("Kitti", label=kitti_distance), root)
    names = [Path(path).stem for path in splits.train._items.images]  # type: ignore[attr-defined]
    by_name = dict(zip(names, splits.train.labels or (), strict=True))
    assert [by_name[f"{number:06d}"] for number in range(4)] == [0, 1, 2, 3]
