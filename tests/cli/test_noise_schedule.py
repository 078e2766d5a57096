"""`sweeps/noise_schedule.py`: which schedules race beside those of the search."""

import importlib.util
from pathlib import Path

import pytest

from darl.cli.flags import Options, Parser, add_experiment_flags
from darl.cli.recipes import DIGITS
from darl.cli.run_flags import add_run_flags
from darl.cli.sweep_flags import add_sweep_flags
from darl.errors import UserError
from darl.sweep.search import Search
from tests.data.example_images import write_folder

SCRIPT = Path(__file__).parents[2] / "sweeps" / "noise_schedule.py"


def built(*arguments: str) -> Search:
    """The search that the script builds from these flags."""
    spec = importlib.util.spec_from_file_location("noise_schedule", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    parser = Parser()
    add_experiment_flags(parser, on_digits=DIGITS)
    add_sweep_flags(parser, trials=10, seeds=4)
    add_run_flags(parser)
    script.add_flags(parser)
    search = script.noise_schedule(Options(parser.parse_args(arguments)))
    assert isinstance(search, Search)
    return search


def test_infonoise_races_on_the_digits_where_it_is_asked_for() -> None:
    assert dict(built().guests) == {}
    assert dict(built("--adaptive").guests) == {"infonoise": {"noise": "infonoise"}}


def test_it_races_on_other_data_unless_it_does_not_suit_the_loss(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", [f"{kind}/{number}.png" for kind in "ab" for number in range(5)])
    assert "infonoise" in built("--data", str(folder)).guests
    assert dict(built("--data", str(folder), "--no-adaptive").guests) == {}
    eps = ("--objective", "diffusion:prediction=eps")
    assert dict(built("--data", str(folder), *eps).guests) == {}
    with pytest.raises(UserError, match="noise must be a fixed schedule for objective diffusion"):
        built("--adaptive", *eps)
