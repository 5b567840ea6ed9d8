"""The page in headless Chromium: nothing from a network, light and dark, and readable on a phone."""

from collections.abc import Iterator

import pytest

from tests.proof.report import records
from tests.proof.report.browser import CHROMIUM, Page, browser
from tests.proof.report.measured import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: `apt install chromium`)")

EVIL = "<img src=https://example.com/x.png onerror=alert(1)>&\u202e" + "long" * 60


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "metrics.jsonl"
    records.write(path, 2000)
    text = path.read_text("utf-8").replace('"acme"', repr(EVIL).replace("'", '"').replace("\\u202e", "\u202e"))
    path.write_text(text.replace("no_response", EVIL), "utf-8")
    report(path, "--html", folder / "report.html", "--by", "customer")
    with browser() as page:
        page.open(folder / "report.html")
        yield page


def test_it_asks_no_network_and_nothing_fails(page: Page) -> None:
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("file:")] == []
    assert [event for event in page.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")] == []


def test_text_of_the_records_is_text(page: Page) -> None:
    assert page.value("document.images.length") == 0
    assert page.value("document.scripts.length") == 0
    assert "<img src=https://example.com/x.png onerror=alert(1)>&\ufffd" in page.value("document.body.innerText")


def test_every_plot_has_something_in_it(page: Page) -> None:
    page.look(1100)
    headings = page.value("[...document.querySelectorAll('figure h2')].map(h => h.textContent)")
    assert headings[:6] == [
        *("How long callers waited", "Waits over time", "Cost over time", "Tokens by modality"),
        *("Context by response", "Cost by response"),
    ]
    assert headings[6].startswith("The call with the longest wait: AJ_")
    counts = page.value("[...document.querySelectorAll('svg')].map(s => s.querySelectorAll('rect, circle').length)")
    assert min(counts) >= 5


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_is_drawn_outside_of_its_plot(width: int, page: Page) -> None:
    page.look(width)
    outside = page.value(
        "[...document.querySelectorAll('svg')].flatMap(s => [...s.querySelectorAll('rect, circle, text')].filter(e => {"
        "const b = e.getBBox(), v = s.viewBox.baseVal;"
        "return b.x < -2 || b.y < -2 || b.x + b.width > v.width + 2 || b.y + b.height > v.height + 2})"
        ".map(e => e.outerHTML))"
    )
    assert outside == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_it_fits_every_screen(width: int, dark: bool, page: Page) -> None:
    page.look(width, dark)
    assert page.value("document.documentElement.scrollWidth") <= width
    smallest = "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    assert page.value(smallest) >= 10


def test_light_and_dark_follow_the_system_and_can_be_read(page: Page) -> None:
    contrasts = []
    for dark in (False, True):
        page.look(1100, dark)
        for selector in ("body", ".card .figure", "figcaption", "th"):
            colours = page.value(
                f"[getComputedStyle(document.querySelector('{selector}')).color,"
                f"getComputedStyle(document.querySelector('figure')).backgroundColor]"
            )
            contrasts.append(contrast(*colours))
        background = page.value("getComputedStyle(document.body).backgroundColor")
        assert (luminance(background) < 0.1) == dark
    assert min(contrasts) >= 4.5  # WCAG 2.2, AA


def luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in colour[4:-1].split(","))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
