"""How data was understood: one line before anything starts, and with details in `darl doctor`."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from darl.cli.data_flags import require_one_set
from darl.cli.flags import Options, Parser, add_experiment_flags
from darl.cli.load import load_data
from darl.errors import UserError
from tests.data.example_images import write
from tests.data.example_layouts import fill

Call = Callable[..., tuple[str, str, object]]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A folder with splits, strays, an empty class and other files."""
    for split in ("train", "val"):
        fill(tmp_path / split, ["cat", "dog"])
    fill(tmp_path / "train", ["."], each=1)
    (tmp_path / "train" / "eel").mkdir()
    for number in range(5):
        write(tmp_path / f"notes{number}.txt", b"x")
    return tmp_path


LINE = (
    "data: 6 + 6 images of 2 classes; splits from folders train/ and val/; labels from folders cat/ and dog/ in "
    "train/; 1 image outside of the class folders left out: train/0.png; 1 folder empty of images: train/eel/; "
    "5 files not images; 3 channels, 24 × 24 pixels (read at 32 × 32); names: darl doctor --data {}"
)


def parsed(*words: object) -> argparse.Namespace:
    parser = Parser()
    add_experiment_flags(parser)
    return parser.parse_args([*map(str, words)])


def test_every_command_prints_the_line_when_it_loads_data(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = parsed("--data", people)
    flags.memory_limit, flags.loader_workers = 1.0, 0
    load_data(Options(flags).experiment(), flags)
    said = capsys.readouterr()
    assert (said.out, said.err) == (LINE.format(people) + "\n", "")


def test_the_doctor_has_the_details(people: Path, call_darl: Call) -> None:
    out, _, code = call_darl("doctor", "--data", people)
    assert code == 0
    assert LINE.format(people) in out
    names = "".join(f"    notes{number}.txt\n" for number in range(5))
    assert f"- 5 files not images\n{names}" in out
    assert "- splits from folders train/ and val/  (--splits)\n    train/ is train: 7 images\n" in out
    assert "- 3 channels, 24 × 24 pixels (read at 32 × 32)  (--channels, --image-size)\n" in out


def test_the_flags_decide_otherwise(people: Path, call_darl: Call) -> None:
    out, _, _ = call_darl("doctor", "--data", people, "--labels", "none", "--splits", "train=train")
    assert "data: 6 + 1 images; splits from folder train/; no labels; 6 images outside of the splits left out; " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "/no/such.csv"], "--labels must be top, innermost, none or a table of files and labels that can"),
        (["--splits", "test=val"], "--splits must name a folder to train on: train=FOLDER, got 'test=val'"),
    ],
)
def test_errors_name_the_flag(words: list[str], message: str, people: Path, call_darl: Call) -> None:
    _, error, code = call_darl("doctor", "--data", people, *words)
    assert code == 2
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_what_the_flags_say_is_in_the_record(people: Path) -> None:
    table = write(people / "labels.csv", b"file,label\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(3)))
    flat = fill(people / "flat", ["."])
    experiment = Options(parsed("--data", flat, "--labels", table)).experiment()
    assert experiment.data == f"{flat}#labels={table}"
    again = Options(parsed("--data", experiment.data)).experiment()
    assert again == experiment


def test_several_data_sets_have_their_own() -> None:
    flags = argparse.Namespace(labels="x.csv", splits=None)
    require_one_set(flags, ["one"])
    with pytest.raises(UserError) as mistake:
        require_one_set(flags, ["one", "two"])
    assert str(mistake.value) == (
        "data_labels must be left out with several data sets: each has its own in its name, as DATA#labels=…, "
        "got 'x.csv'"
    )
