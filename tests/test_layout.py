"""The layout: files stay short, and the picture of the architecture is of this code."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 300


def test_no_file_is_longer_than_300_lines() -> None:
    files = [path for folder in ("darl", "sweeps", "tests", "docs") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert len(lengths) > 100
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_the_architecture_picture_shows_the_imports_of_this_code() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import draw_architecture
    finally:
        sys.path.pop(0)
    picture = draw_architecture.PICTURE.read_text(encoding="utf-8")
    assert f"<dc:description>{draw_architecture.describe()}</dc:description>" in picture, (
        "run `python docs/draw_architecture.py`"
    )
