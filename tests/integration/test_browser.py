"""The report's page in a real browser: it opens, sorts, is accessible and legible, and makes no network request."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from darl.report import html
from darl.report.findings import find
from darl.results.schema import curves_schema, trials_schema
from tests.report.example_trials import ORDERS, cell, lost

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium, to look at the page in a browser")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no chromium and chromedriver on the PATH to look at the page with"
)
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
EVIL = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
Browser = Any


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A design whose times are 9, 12 and 100 seconds, and a trial whose error is markup."""
    rows = [
        *cell("raster", 0.60, 0.61, 0.62, seconds=100.0),
        *cell("hilbert", 0.61, 0.63, 0.65, seconds=12.0),
        *cell("spiral", 0.5, 0.53, seconds=9.0),
        *lost("spiral", 2, EVIL),
    ]
    trials = pd.DataFrame(rows).reindex(columns=trials_schema().names)
    reports = [
        {"trial_id": one, "attempt": 0, "epoch": epoch, "probe_top1": 0.3 + epoch / 20, "knn_top1": epoch / 10}
        for one in trials["trial_id"]
        for epoch in (0, 5)
    ]
    curves = pd.DataFrame(reports).reindex(columns=curves_schema().names)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(find(ORDERS, trials), curves), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.get("about:blank")
    driver.get_log("performance")  # of the browser's own first page
    driver.get(file.as_uri())
    yield driver
    driver.quit()


@pytest.fixture
def browser(opened: Browser) -> Browser:
    """The page at a laptop's width, in light colours, before any click."""
    emulate(opened, width=1280, scheme="light")
    opened.refresh()
    return opened


def emulate(browser: Browser, *, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def first_column(browser: Browser, title: str) -> list[str]:
    """The texts below a header of the first table."""
    return browser.execute_script(
        """const table = document.querySelector("table"), heads = [...table.tHead.rows[0].cells];
        const place = heads.findIndex((head) => head.textContent.trim() === arguments[0]);
        return [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);""",
        title,
    )


def header(browser: Browser, title: str) -> Any:
    return browser.find_element(By.XPATH, f"(//table)[1]//th[normalize-space()='{title}']")


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two CSS colours `rgb(…)`."""

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_page_opens_without_errors_or_network_requests(file: Path, opened: Browser) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert file.as_uri() in asked
    assert [url for url in asked if not url.startswith("data:") and url != file.as_uri()] == []
    assert opened.execute_script("return document.readyState") == "complete"


def test_the_policy_blocks_the_network_and_trial_markup(browser: Browser) -> None:
    assert browser.title == "orders: Which order?"
    assert EVIL in browser.find_element(By.CSS_SELECTOR, "td.error").text
    refused = """const done = arguments[0];
        fetch("http://localhost:9/").then(() => done("went"), (error) => done(String(error)));"""
    assert "Failed to fetch" in browser.execute_async_script(refused)
    browser.execute_script(
        """const own = document.createElement("script"); own.textContent = "document.title = 'taken'";
        document.body.append(own);"""
    )
    assert browser.title == "orders: Which order?"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_clicks_sort_numerically_in_alternating_directions(browser: Browser) -> None:
    assert first_column(browser, "cell") == ["hilbert", "raster", "spiral"]
    assert header(browser, "rank").get_attribute("aria-sort") == "ascending"
    header(browser, "time").find_element(By.TAG_NAME, "button").click()
    assert first_column(browser, "time") == ["9 s", "12 s", "100 s"]
    assert header(browser, "time").get_attribute("aria-sort") == "ascending"
    assert header(browser, "rank").get_attribute("aria-sort") is None
    header(browser, "time").find_element(By.TAG_NAME, "button").click()
    assert first_column(browser, "time") == ["100 s", "12 s", "9 s"]
    assert header(browser, "time").get_attribute("aria-sort") == "descending"
    assert (
        browser.execute_script("return document.getElementById('status').textContent") == "sorted by time, descending"
    )


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE], ids=["enter", "space"])
def test_the_keyboard_sorts(browser: Browser, key: str) -> None:
    reached = []
    for _ in range(12):  # by Tab alone, from the top of the page
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.text.strip())
        if reached[-1] == "cell":
            break
    assert reached[-1] == "cell"
    browser.switch_to.active_element.send_keys(key)
    browser.switch_to.active_element.send_keys(key)
    assert first_column(browser, "cell") == ["spiral", "raster", "hilbert"]
    assert header(browser, "cell").get_attribute("aria-sort") == "descending"


def test_missing_values_sort_last_in_both_directions(browser: Browser) -> None:
    for _ in range(2):
        header(browser, "rank").find_element(By.TAG_NAME, "button").click()
        assert first_column(browser, "cell")[-1] == "spiral"


def test_every_figure_is_shown_and_has_a_caption(browser: Browser) -> None:
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) >= 3
    for image in images:
        assert len(image.get_attribute("alt")) > 40
        assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", image)


def test_every_control_has_a_name(browser: Browser) -> None:
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    accessible = [
        (node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in tree if not node["ignored"]
    ]
    named = [
        (role, name) for role, name in accessible if role in ("button", "image", "region", "columnheader", "heading")
    ]
    assert {"button", "image", "region", "columnheader", "heading"} <= {role for role, _ in named}
    assert [role for role, name in named if not name] == []


def test_light_and_dark_differ_and_are_legible(browser: Browser) -> None:
    grounds, figures = [], []
    for scheme in ("light", "dark"):
        emulate(browser, width=1280, scheme=scheme)
        for selector in (
            "body",
            "figcaption",
            ".counts",
            ".answer",
            "td",
            "caption",
            "th button",
            "pre",
            "tr.baseline td",
        ):
            element = browser.find_element(By.CSS_SELECTOR, selector)
            ground = browser.execute_script(
                """let one = arguments[0];
                while (getComputedStyle(one).backgroundColor === "rgba(0, 0, 0, 0)") one = one.parentElement;
                return getComputedStyle(one).backgroundColor;""",
                element,
            )
            ink = browser.execute_script("return getComputedStyle(arguments[0]).color", element)
            assert contrast(ink, ground) >= 4.5, (scheme, selector, ink, ground)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        figures.append(browser.find_element(By.TAG_NAME, "img").screenshot_as_base64)
    assert contrast(*grounds) > 10
    assert figures[0] != figures[1]  # the figures follow, too


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows(browser: Browser, width: int) -> None:
    emulate(browser, width=width, scheme="light")
    assert browser.execute_script("return document.documentElement.clientWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    beyond = browser.execute_script(
        """return [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, pre, .unseen")
            && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80));"""
    )
    assert beyond == []
