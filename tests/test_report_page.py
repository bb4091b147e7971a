"""The page in a real browser: what it shows, what it asks for, how it looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_tool.analysis.report.render import render
from llm_tool.logs.archive import Archive, read_session
from llm_tool.plan import Task
from tests.browser import browser
from tests.conftest import FINISHED
from tests.made_sessions import made_session

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]

# The contrast of every text with what is behind it (WCAG 2.1, 1.4.3), the lowest first.
_CONTRASTS = """() => {
  const parse = (colour) => {
    const n = colour.match(/[\\d.]+/g).map(Number);
    return {rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1};
  };
  const over = (top, under) => top.rgb.map((c, i) => c * top.a + under[i] * (1 - top.a));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own.rgb : over(own, behind(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || ["TITLE", "DESC"].includes(element.tagName.toUpperCase()))
      continue;
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(parse(colour).rgb), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, node.textContent.trim()]);
  }
  for (const line of document.querySelectorAll("polyline")) {
    const [a, b] = [light(parse(getComputedStyle(line).stroke).rgb), light(behind(line))];
    found.push([((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)) * 1.5, "a curve"]);  // 3 to 1
  }
  return found.sort((one, other) => one[0] - other[0]);
}"""


@pytest.fixture(scope="module")
def archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


@pytest.fixture(scope="module")
def page(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(archive, "html"), "utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def show(chromium: Browser) -> Iterator[Open]:
    """Return a function that opens a file and fails, at the end, if the page was not quiet."""
    asked: list[str] = []
    said: list[str] = []
    contexts = []

    def open_file(path: Path, **how: Any) -> Page:  # noqa: ANN401
        context = chromium.new_context(**how)
        contexts.append(context)
        opened = context.new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("dialog", lambda dialog: said.append(dialog.message))
        opened.goto(path.as_uri())
        assert asked[-1] == path.as_uri()
        return opened

    yield open_file
    assert said == []
    assert len(asked) == len(contexts)  # the files themselves, and nothing after
    for context in contexts:
        context.close()


def test_every_figure_and_table_of_a_session_is_there_and_can_be_seen(
    show: Open, page: Path, archive: Archive
) -> None:
    opened = show(page, viewport={"width": 1100, "height": 900})

    categories = archive.by_category()
    assert opened.locator("figure").count() == len(categories)
    charts = opened.locator("svg[role=img]")
    assert charts.count() == 3 * len(categories)
    for chart in charts.all():
        box = chart.bounding_box()
        assert box
        assert box["width"] > 200
        assert box["height"] > 100
        assert chart.locator("polyline").count() == 4  # two models, two seeds
        assert chart.locator(".ring").count() == 4
        assert chart.locator("title").text_content()
        drawn = chart.locator("polyline").first.bounding_box()
        assert drawn
        assert drawn["width"] > 50
    matrices = opened.locator("table.matrix")
    assert matrices.count() == len(categories)
    for matrix, trainings in zip(matrices.all(), categories.values(), strict=True):
        classes = len(trainings[0].job.task.classes)
        assert matrix.locator("td").count() == classes**2
        shown = sum(int(text.split()[0]) for text in matrix.locator("td").all_inner_texts())
        assert trainings[0].started
        assert shown == trainings[0].started.test_rows
    sections = opened.locator("section").evaluate_all("all => all.map(one => one.id)")
    assert sections == [
        "summary", "c1", "c2", "comparison", "data", "methods", "trainings", "configuration",
        "provenance",
    ]  # fmt: skip
    assert opened.locator("#trainings tbody tr").count() == len(archive.trainings)
    assert opened.locator("#comparison table").count() == 2 * len(categories)
    assert page.stat().st_size < 100_000


def test_curves_can_be_told_apart_without_colour(show: Open, page: Path) -> None:
    opened = show(page)

    legend = opened.locator("figure").first.locator(".legend li")
    styles = legend.evaluate_all(
        """all => all.map(one => getComputedStyle(one.querySelector("polyline")).strokeDasharray
           + one.querySelector(".m").tagName)"""
    )
    assert len(set(styles)) == len(styles) == 2
    labels = opened.locator("svg[role=img]").first.locator("text").all_text_contents()
    assert {"tiny-bert", "other-bert"} <= set(labels)


def test_every_link_within_the_page_leads_somewhere(show: Open, page: Path) -> None:
    opened = show(page)

    targets = opened.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert targets
    for target in targets:
        assert opened.locator(target).count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_light_and_in_dark(show: Open, page: Path, scheme: str) -> None:
    opened = show(page, color_scheme=scheme)

    contrasts = opened.evaluate(_CONTRASTS)

    assert len(contrasts) > 200
    assert contrasts[0][0] >= 4.5, contrasts[0]
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.evaluate(width))


def test_on_a_phone_only_tables_scroll_sideways(show: Open, page: Path, tmp_path: Path) -> None:
    phone = {"width": 360, "height": 740}
    assert overflow(show(page, viewport=phone)) == 0
    long = Task("x" * 150, "", ("a" * 150, "b c " * 40, "c"), ("EN",))
    path = tmp_path / "long.html"
    path.write_text(render(made_session(tmp_path, [long], models=["m" * 120]), "html"), "utf-8")
    opened = show(path, viewport=phone)
    assert overflow(opened) == 0
    wide = opened.locator(".scroll").evaluate_all("all => all.some(o => o.scrollWidth > 360)")
    assert wide  # and can be scrolled to its end
    for chart in opened.locator("svg[role=img]").all():
        box = chart.bounding_box()
        assert box
        assert box["width"] <= 360


def test_it_prints_on_paper_in_light_colours(show: Open, page: Path) -> None:
    opened = show(page, color_scheme="dark", viewport={"width": 690, "height": 900})

    pdf = opened.pdf(prefer_css_page_size=True)
    opened.emulate_media(media="print", color_scheme="dark")

    assert pdf.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 3 <= pages <= 12
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12]", pdf)  # A4
    assert (
        opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert opened.evaluate(_CONTRASTS)[0][0] >= 4.5
    assert overflow(opened) == 0


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=https://example.org/x onerror=alert(2)>',
    "{{ 7 * 7 }}",
    "</style><h1>no",
    "tab\tand \x1b[31mred\u202e",
)


def test_names_are_never_html(show: Open, tmp_path: Path) -> None:
    tasks = [
        Task("kind", "", HOSTILE, ("EN", "<b>FR</b>")),
        Task(HOSTILE[1], HOSTILE[0], ("no", "yes")),
    ]
    archive = made_session(
        tmp_path, tasks, models=HOSTILE[:2], data="<i>t</i>.csv", failed=["j0002"]
    )
    path = tmp_path / "report.html"
    path.write_text(render(archive, "html"), "utf-8")

    opened = show(path)

    for element in ("script", "img", "i", "b", "link", "iframe", "h1 + h1"):
        assert opened.locator(element).count() == 0
    shown = opened.locator("table.matrix").first.locator("tbody th").all_inner_texts()
    assert shown[:4] == list(HOSTILE[:4])
    assert shown[4] == r"tab\tand \x1b[31mred\u202e"


def test_a_session_of_28_labels_is_one_sound_page_of_modest_size(
    show: Open, tmp_path: Path
) -> None:
    tasks = [Task("area", f"v{i}", (f"not_v{i}", f"v{i}"), ("EN",)) for i in range(28)]
    path = tmp_path / "report.html"
    path.write_text(render(made_session(tmp_path, tasks, epochs=1), "html"), "utf-8")

    opened = show(path)

    assert opened.locator("figure").count() == 28
    assert opened.locator("svg[role=img] circle.ring").count() == 3 * 28  # the only epoch
    assert opened.locator("#summary tbody tr").count() == 28
    assert path.stat().st_size < 500_000
