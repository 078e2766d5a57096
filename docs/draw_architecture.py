"""Draw docs/architecture.svg from the code: `python docs/draw_architecture.py`.

The rows are the layers of the import contract in pyproject.toml, the boxes the parts of `darl/`, the arrows their
imports as grimp reads them from the source. An arrow that a chain of other arrows implies is left out (transitive
reduction), so that the picture stays legible; the SVG's description lists all of them.
"""

import tomllib
from pathlib import Path

import grimp
import matplotlib
import networkx
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
WHAT = {
    "cli": "commands, flags, dry run",
    "distributed": "everything that imports Ray",
    "report": "findings, answer, figures, page",
    "sweep": "search, design, statistics",
    "results": "tables, rows, recorder",
    "evaluation": "probes, denoising error",
    "export": "timm, the Hub, ONNX",
    "training": "loop, checkpoints, trackers",
    "experiment": "the record of a run",
    "data": "sources, decoding, batches",
    "model": "trunk, objectives, noise",
    "optim": "AdamW, learning rate",
    "finetuning": "its settings",
    "metrics": "names, directions, units",
    "records": "dataclasses as JSON and rows",
    "storage": "addresses, folders, leases",
    "variants": "families of classes",
    "aspects": "what a field changes",
    "errors": "the user's mistakes",
    "randomness": "draws by purpose",
}
"""A few words on each part."""
WIDTH, HEIGHT = 1.9, 0.62
"""Of a box, in inches."""


def layers() -> list[list[str]]:
    """The parts of each layer, top first: the import contract's."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [layer.split(" | ") for layer in contract["layers"]]


def imports() -> list[tuple[str, str]]:
    """Which part imports which, sorted."""
    graph = grimp.build_graph("darl", cache_dir=None)
    found = set[tuple[str, str]]()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = (*(f"{name}.".split(".")[1] for name in (module, imported)),)
            if ends[0] != ends[1] and all(ends):
                found.add(ends)
    return sorted(found)


def describe() -> str:
    """All imports between parts as text: what the picture's description holds, and a test compares."""
    return "; ".join(f"{part} imports {other}" for part, other in imports())


def draw() -> Figure:
    """Layers as rows of boxes, top first, with arrows down."""
    rows = layers()
    across = max(map(len, rows))
    figure = Figure(figsize=(across * 2.4 + 0.2, len(rows) * 1.05))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, across * 2.4 + 0.2), ylim=(-len(rows) * 1.05, 0))
    axes.set_axis_off()
    centres: dict[str, tuple[float, float]] = {}
    for row, parts in enumerate(rows):
        for column, part in enumerate(parts):
            x = (across * 2.4 + 0.2) / 2 + (column - (len(parts) - 1) / 2) * 2.4
            centres[part] = (x, -row * 1.05 - 0.52)
    reduced = networkx.transitive_reduction(networkx.DiGraph(imports()))
    for part, other in sorted(reduced.edges):
        (x0, y0), (x1, y1) = centres[part], centres[other]
        ends = ((x0, y0 - HEIGHT / 2), (x1, y1 + HEIGHT / 2))
        axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, color="#7b8794", linewidth=1.1))
    for part, (x, y) in centres.items():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        box = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "#eef3f8", "edgecolor": "#0072b2"}
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, **box))
        axes.text(x, y + 0.1, part, ha="center", va="center", fontsize=11, fontweight="bold", color="#1b1d21")
        axes.text(x, y - 0.14, WHAT[part], ha="center", va="center", fontsize=7.5, color="#3d444d")
    return figure


if __name__ == "__main__":
    with matplotlib.rc_context({"svg.hashsalt": "darl", "font.family": "DejaVu Sans"}):
        draw().savefig(PICTURE, metadata={"Date": None, "Description": describe()}, facecolor="#fefefd")
    print(PICTURE.relative_to(ROOT))
