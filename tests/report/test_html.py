"""The HTML page: one file, all texts escaped, no network requests, alternative text for every figure."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from darl.report import html
from darl.report.figures import ReportFigure
from darl.report.figures.style import new_figure
from darl.report.findings import Findings, find
from darl.results.schema import curves_schema, trials_schema
from tests.report.example_trials import ORDERS, PAPER, SEARCH, THREE, Row, cell, lost, row

NO_CURVES = pd.DataFrame(columns=curves_schema().names)
EVIL = "<script>document.title = 'taken'</script> \" ' & <img src=http://x onerror=alert(1)>"


KNOWN_TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "p", "main", "section", "ul",
    "li", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "button", "figure", "img", "figcaption",
    "details", "summary", "pre", "code", "footer", "script", "nav", "a",
}  # fmt: skip


class Read(HTMLParser):
    """Tags with their attributes, in order, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag: str) -> Iterator[dict[str, str]]:
        return (attributes for name, attributes in self.tags if name == tag)

    def text(self, tag: str) -> list[str]:
        return [text.strip() for name, text in self.texts if name == tag and text.strip()]


def frame(*rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame([trial for cells in rows for trial in cells]).reindex(columns=trials_schema().names)


def rendered(*findings: Findings, shown: Sequence[ReportFigure] | None = ()) -> str:
    return html.render(findings, NO_CURVES, shown)


@pytest.fixture(scope="module")
def design() -> Findings:
    rows = (cell("raster", 0.60, 0.61, 0.62), cell("hilbert", 0.61, 0.63, 0.65), cell("spiral", 0.5, 0.53))
    return find(ORDERS, frame(*rows, lost("spiral", 2, EVIL)))[0]


@pytest.fixture(scope="module")
def search() -> Findings:
    race = [row(SEARCH.experiment(PAPER, repeat), 0.7) for repeat in (1, 2, 3)]
    search_rows = [row(SEARCH.experiment({"noise.a": a, "noise.b": 1.0}), 0.5 + a / 10) for a in (0.03, 0.3, 1.5)]
    return find(SEARCH, frame(race, search_rows))[0]


def test_the_answer_comes_first(design: Findings) -> None:
    text = rendered(design)
    assert text.index(design.sweep.question) < text.index(design.sentence) < text.index("<table")
    assert design.sentence in Read(text).text("p")
    assert all(note in Read(text).text("li") for note in design.notes)


def test_cells_have_the_ranks_and_texts_of_the_terminal(design: Findings) -> None:
    read = Read(rendered(design))
    assert [text for text in read.text("th") if text in ORDERS.cells][:3] == ["hilbert", "raster", "spiral"]
    assert "63.0 % ± 5.0" in read.text("td")
    assert "2 of 3 (incomplete)" in read.text("td")
    assert [row.get("class") for row in read.of("tr")][:4] == [None, None, "baseline", "incomplete"]
    assert "2 finished" not in rendered(design)
    assert "8 finished, 0 stopped early, 1 failed" in rendered(design)


def test_headers_sort_and_keys_are_numbers(design: Findings) -> None:
    read = Read(rendered(design))
    buttons = read.text("button")
    assert buttons[:4] == ["rank", "cell", "linear probe (95\u00a0%)", "seeds"]
    assert [attributes.get("aria-sort") for attributes in read.of("th") if "data-first" in attributes] == [
        "ascending",
        *[None] * (len(buttons) - 1),
    ]
    keys = [attributes["data-key"] for attributes in read.of("td") if "data-key" in attributes]
    means = [key for key in keys if key.startswith("0.6")]
    assert float(means[0]) == pytest.approx(0.63)
    assert "" in keys  # the incomplete cell has no rank


def test_a_search_shows_its_points_and_its_race(search: Findings) -> None:
    text = rendered(search)
    assert "On fresh seeds, best first" in text
    assert "Search by linear probe, one seed each: the best 3 of 3" in text
    assert text.index("a=1.5, b=1") < text.index("a=0.3, b=1")
    assert "known point: paper" in text
    assert str(search.sweep.space["noise"]) in text  # pyright: ignore


def test_users_texts_are_escaped(design: Findings) -> None:
    named = replace(ORDERS, name="orders", question=f"Which {EVIL}?")
    evil = replace(design, sweep=named, comparison=replace(design.comparison, group=EVIL), notes=[EVIL])
    figure = ReportFigure("p", EVIL, EVIL, EVIL, new_figure(2, 1))
    read = Read(rendered(evil, shown=[figure]))
    assert len(list(read.of("script"))) == 1
    assert [image["alt"] for image in read.of("img")] == [EVIL]
    assert not [attributes for _, attributes in read.tags if "onerror" in attributes]
    assert read.text("p").count(evil.sentence) == 1
    assert evil.sentence.startswith(EVIL)
    assert EVIL in read.text("td")  # the failed trial's error, whole
    assert {name for name, _ in read.tags} <= KNOWN_TAGS


def test_the_page_makes_no_network_request(design: Findings, search: Findings) -> None:
    read = Read(html.render([design, search], NO_CURVES))
    sources = [attributes.get(name, "") for _, attributes in read.tags for name in ("src", "href", "data", "action")]
    assert all(source.startswith(("data:", "#")) for source in sources if source)
    assert [source for source in sources if source.startswith("data:image/svg")]
    (style,) = [text for tag, text in read.texts if tag == "style"]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_the_pages_own_script_and_style(design: Findings) -> None:
    read = Read(rendered(design))
    (policy,) = [
        attributes["content"]
        for attributes in read.of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (text,) = [text for name, text in read.texts if name == tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [
        attributes
        for _, attributes in read.tags
        if "style" in attributes or any(name.startswith("on") for name in attributes)
    ]


def test_heading_levels_and_ids_are_valid(design: Findings, search: Findings) -> None:
    read = Read(html.render([design, search], NO_CURVES))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    identifiers = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    assert {attributes["href"].removeprefix("#") for attributes in read.of("a")} <= set(identifiers)
    assert {attributes["aria-labelledby"] for attributes in read.of("section")} <= set(identifiers)


def test_every_figure_has_alternative_text_and_a_size(design: Findings) -> None:
    read = Read(rendered(design, shown=None))
    images = list(read.of("img"))
    assert len(images) == len(list(read.of("figure"))) >= 2
    assert all(len(image["alt"]) > 40 and int(image["width"]) > 300 and int(image["height"]) > 100 for image in images)


def test_each_finding_has_its_own_section(design: Findings, search: Findings) -> None:
    read = Read(rendered(design, search))
    assert read.text("h2") == ["In short", "orders", "search on digits", "What was run"]
    assert read.text("p").count(design.sentence) == 2


def test_settings_and_versions_are_shown(design: Findings) -> None:
    read = Read(rendered(design))
    assert {"model_width", "learning_rate", "trials", "darl"} <= set(read.text("th"))
    assert {"64", "0.002", "order=spiral"} <= set(read.text("td"))
    assert 'pd.read_parquet("results/orders/trials")' in "".join(read.text("code"))
    elsewhere = Read(html.render([design], NO_CURVES, (), "s3://bucket/mine/orders"))
    assert 'pd.read_parquet("s3://bucket/mine/orders/trials")' in "".join(elsewhere.text("code"))


def test_trials_of_two_comparisons_count_once(design: Findings) -> None:
    assert "8 finished, 1 failed" in Read(rendered(design, design)).text("td")


def test_a_page_without_finished_trials() -> None:
    (failed,) = find(ORDERS, frame(lost("raster", 0, "RuntimeError: out of memory")))
    text = html.render([failed], NO_CURVES)
    assert "RuntimeError: out of memory" in text
    assert "No trial has finished" in text


def test_a_complete_design_has_no_section_of_failures() -> None:
    assert "Failed trials" not in rendered(find(ORDERS, frame(*THREE))[0])
