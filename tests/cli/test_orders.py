"""`darl orders`: the ranking before training, and whether it foretold what was trained."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from darl.cli.orders import foretold
from darl.model.orders import Order
from darl.results.tables import Results
from darl.sweep.base import Sweep
from darl.sweep.record import SWEEP_FILE, to_json
from tests.report.example_trials import NOISES, ORDERS, SEARCH, THREE, cell

CallDarl = Callable[..., tuple[str, str, object]]


def swept(folder: Path, sweep: Sweep, *cells: list[dict[str, object]]) -> Path:
    """The folder of a sweep's results."""
    results = Results(str(folder), "s")
    with results.claimed():
        results.prepare()
        results.write_file(SWEEP_FILE, to_json([sweep]).encode())
        for row in (row for rows in cells for row in rows):
            results.add_trial(row)
    return folder / "s"


def test_every_order_has_its_row_the_evenest_first(call_darl: CallDarl, tmp_path: Path) -> None:
    out, _, code = call_darl("orders", "--patch-size", 4, "--output", tmp_path / "orders.parquet")
    assert code == 0
    table = pd.read_parquet(tmp_path / "orders.parquet")
    assert list(table) == ["order", "linear_loss", "first", "last", "unevenness"]
    assert set(table["order"]) == set(Order.kinds())
    assert table["unevenness"].is_monotonic_increasing
    shown = [line for line in out.splitlines() if line.startswith("│ column")]
    assert [f"{value:.3f}" for value in table.iloc[0][1:]] == shown[0].replace("│", "").split()[1:]


def test_patches_need_not_be_those_of_the_default(call_darl: CallDarl) -> None:
    out, error, code = call_darl("orders", "--image-size", 9, "--patch-size", 3)
    assert (error, code) == ("", 0)
    assert "hilbert" in out


def test_a_sweep_s_means_stand_beside_it(call_darl: CallDarl, tmp_path: Path) -> None:
    out, _, code = call_darl("orders", "--results", swept(tmp_path, ORDERS, *THREE))
    assert code == 0
    lines = {line.split()[1]: line.replace("│", "").split() for line in out.splitlines() if line.startswith("│")}
    assert {name: line[-3:] for name, line in lines.items()} == {
        "raster": ["61.0", "%", "3"], "hilbert": ["63.0", "%", "3"], "spiral": ["52.0", "%", "3"],
    }  # fmt: skip
    assert "3 orders)." in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "Evenness foretells linear probe: evener orders are better (Kendall's tau 1"),
        (
            [0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
            "Evenness misleads: evener orders are worse by linear probe (Kendall's tau -1",
        ),
        ([0.5, 0.8, 0.4, 0.9, 0.6, 0.7], "Evenness does not foretell linear probe (Kendall's tau -0.20"),
        ([0.5] * 6, "Too few orders have results to say whether evenness foretells them."),
    ],
)
def test_whether_it_foretold_is_said_with_an_interval(means: list[float], words: str) -> None:
    table = pd.DataFrame({"unevenness": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "mean": means})
    assert foretold(table, "probe_top1").startswith(words)


def test_a_low_loss_is_good() -> None:
    table = pd.DataFrame({"unevenness": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "mean": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    assert foretold(table, "val_loss").startswith("Evenness foretells validation loss: evener orders are better")


def test_mistakes_are_one_line(call_darl: CallDarl, tmp_path: Path) -> None:
    one_order = swept(tmp_path, SEARCH, *(cell(name, 0.5, sweep=SEARCH) for name in list(NOISES)[:2]))
    for words, message in (
        (["--output", "x.csv"], "--output must be a .parquet file in a folder that can be written, got 'x.csv'"),
        (["--output", "no/x.parquet"], "--output must be a .parquet file in a folder that can be written, got 'no/x"),
        (["--patch-size", 3], "--image-size must be a multiple of patch_size 3, got 8"),
        (["--results", tmp_path, "--data", "digits"], "--data must be left out with --results, got 'digits'"),
        (["--results", one_order], f"--results must hold models of two orders or more, got '{one_order}'"),
    ):
        out, err, code = call_darl("orders", *words)
        assert (out, code) == ("", 2)
        assert err.startswith(f"error: {message}")
