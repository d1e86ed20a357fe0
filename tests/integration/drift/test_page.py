"""The report's page in a real browser: alone, readable on a phone, usable by keyboard, and not to be tricked."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.drift.browser import BACKSPACE, ENTER, RIGHT, Browser, missing
from tests.integration.drift.sample_page import guard, sample

from anicca import process
from anicca.cli.report import read_guard
from anicca.drift.findings import Findings
from anicca.drift.inside import Root
from anicca.drift.pages import Page, render
from anicca.drift.pile import Pile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anicca.roots.facts import GuardFacts

pytestmark = pytest.mark.integration

needs_browser = pytest.mark.skipif(bool(missing()), reason=missing())
PICTURES = os.environ.get("ANICCA_TEST_PICTURES")

CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const light = (c) => {
  const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const bad = [];
for (const element of document.querySelectorAll("h1, h2, p, dt, dd, li, td, th, summary, small, code")) {
  const box = element.getBoundingClientRect();
  if (!element.textContent.trim() || element.closest("#tree, [aria-hidden], .unseen") || box.width < 2) continue;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) bad.push(element.tagName + " " + element.textContent.slice(0, 40));
}
return bad;
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.html"
    file.write_text(render(sample()), errors="replace")
    return file


@pytest.fixture
def desktop(tmp_path: Path, page: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as browser:
        browser.open(page)
        yield browser


def test_without_scripts_everything_is_there(page: Path) -> None:
    text = page.read_text()
    body = text.partition('<script type="application/json"')[0]
    for path in ("/etc/cron.d/evil", "/home/ann/thesis.tex", "/srv/broken"):
        assert path in body
    assert body.index("/etc/cron.d/evil") < body.index("/opt/tool") < body.index("/var/lib/app/data.db")
    assert "What earlier boots forgot" in body
    assert "the root was not blank: /var was there" in body
    assert not re.search(r"""(?:src|href)\s*=\s*["']?[^"'#]|url\(|@import|https?:""", text.replace("http-equiv", ""))


def test_names_are_text_whatever_is_in_them(page: Path) -> None:
    text = page.read_text()
    assert text.count("<script") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    hostile = sample()
    facts = {**hostile.facts, "host": "</title><b>@TABLE@", "release": "@DATA@"}
    text = render(hostile._replace(facts=facts))
    assert "<b>@TABLE@" not in text
    assert text.count("<table class") == 1


def test_facts_of_the_guard_that_cannot_be_read_are_not_taken_for_no_guard(tmp_path: Path) -> None:
    (tmp_path / "run/anicca").mkdir(parents=True)
    root, findings = Root(os.fsencode(tmp_path)), Findings("x", Pile(), 1, 1, 1, 0, sees_beneath=True)
    assert read_guard(root) is None
    for content in ("", "{", '{"outcome": 1}'):
        (tmp_path / "run/anicca/guard.json").write_text(content)
        said = read_guard(root)
        assert isinstance(said, str)
        text = render(Page({"host": "h"}, findings, guard=said))
        assert "what the guard said cannot be read" in text
        assert "/run/anicca/guard.json cannot be read" in text


def test_a_clean_host_says_so() -> None:
    text = render(Page({"host": "h"}, Findings("the system of h", Pile(), 10, 10, 10, 0, sees_beneath=True)))
    assert ">No drift</h1>" in text
    assert "<table" not in text


@pytest.mark.parametrize(
    ("facts", "style", "text"),
    [
        (guard("blank"), "word", "the root was blank"),
        (guard("made"), "word", "the root was made for the first time"),
        (guard("made", "a soft reboot: asked for"), "word", "the root was made for the first time"),
        (guard("blank", "the second superblock was damaged"), "word bad", "the root was blank"),
        (guard("made-afresh", "x"), "word bad", "THE ROOT WAS MADE AFRESH"),
    ],
)
def test_the_guard_is_told_of_as_status_does(facts: GuardFacts, style: str, text: str) -> None:
    page = render(sample()._replace(guard=facts))
    assert f'<div class="{style}"><dt>This boot</dt><dd>{text}</dd>' in page
    assert str(facts) in page


def test_the_command(tmp_path: Path, root: Path) -> None:
    (root / "etc/cron.d/evil").write_text("x")
    argv: list[str | Path] = [sys.executable, "-m", "anicca", "report", "-o", tmp_path / "page.html", "--root", root]
    done = process.run(argv, check=False)
    assert (done.status, done.text) == (0, f"{tmp_path / 'page.html'}\n"), done.stderr
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert "1 path nobody declared, 1 suspicious" in (tmp_path / "page.html").read_text()


@needs_browser
def test_in_a_browser_it_is_alone_and_has_nothing_to_complain_of(desktop: Browser) -> None:
    assert desktop.says() == []
    assert desktop.run("return performance.getEntriesByType('resource').length") == 0
    nameless = """
        const all = [...document.querySelectorAll('button, input, select, a')];
        return all.filter((e) => !(e.textContent.trim() || e.ariaLabel)).length;
    """
    assert desktop.run(nameless) == 0


@needs_browser
@pytest.mark.parametrize(
    ("width", "height", "dark"), [(360, 740, False), (390, 844, True), (768, 1024, False), (1280, 900, True)]
)
def test_it_fits_and_can_be_read(tmp_path: Path, page: Path, width: int, height: int, *, dark: bool) -> None:
    with Browser(tmp_path, width=width, height=height, dark=dark) as browser:
        browser.open(page)
        assert browser.run("return innerWidth") == width
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run(CONTRAST) == []
        paper = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) < 200) is dark
        small = """
            const tiles = [...document.querySelectorAll('#tree button')];
            return tiles.filter((e) => e.offsetWidth < 2 || e.offsetHeight < 2).length;
        """
        assert browser.run(small) == 0
        if PICTURES:
            for number in range(3):
                browser.run("scrollTo(0, arguments[0] * innerHeight * .95)", number)
                browser.picture(Path(PICTURES) / f"{width}-{'dark' if dark else 'light'}-{number}.png")


@needs_browser
def test_the_table_sorts_and_filters_by_keyboard(desktop: Browser) -> None:
    desktop.run("document.querySelector('th.size button').focus()")
    desktop.press(ENTER)
    sizes = "return [...document.querySelectorAll('table.findings tbody tr')].map((row) => Number(row.dataset.size))"
    assert desktop.run(sizes) == sorted(desktop.run(sizes))
    desktop.press(ENTER)
    assert desktop.run(sizes) == sorted(desktop.run(sizes), reverse=True)
    assert desktop.run("return document.querySelector('th.size').ariaSort") == "descending"
    assert desktop.run("return document.querySelectorAll('[aria-sort]').length") == 1
    desktop.run("document.getElementById('find').focus()")
    desktop.press(*"thesis")
    assert (
        desktop.run("return document.getElementById('shown').textContent")
        == f"1 of {len(sample().findings.drift)} findings"
    )
    visible = """
        const rows = [...document.querySelectorAll('.findings tbody tr')];
        return rows.filter((row) => row.offsetHeight).map((row) => row.dataset.path);
    """
    assert desktop.run(visible) == ["/home/ann/thesis.tex"]


@needs_browser
def test_the_map_is_walked_by_keyboard(desktop: Browser) -> None:
    here = "return [...document.querySelectorAll('#crumbs button')].map((crumb) => crumb.textContent).join('')"
    focus = "return document.activeElement.ariaLabel"
    desktop.run("document.querySelector('#tree button').focus()")
    assert desktop.run(focus).startswith("var/: 13.")
    desktop.press(RIGHT)
    second = desktop.run(focus)
    assert second.startswith("srv/: ")
    # What is suspicious below it colours it, and is said.
    assert second.endswith("suspicious")
    desktop.press(ENTER)
    assert desktop.run(here) == "/srv/"
    assert "www/" in desktop.run(focus)
    desktop.press(BACKSPACE)
    assert desktop.run(here) == "/"
    desktop.run("document.querySelector('[data-weigh=number]').click()")
    assert desktop.run("return document.querySelector('#tree button').ariaLabel").startswith("var/: 13.")
    areas = """
        const tiles = [...document.querySelectorAll('#tree button')].map((e) => e.getBoundingClientRect());
        const apart = (a, b) => a.left >= b.right - 1 || a.top >= b.bottom - 1;
        return tiles.filter((a) => tiles.some((b) => a !== b && !apart(a, b) && !apart(b, a))).length;
    """
    assert desktop.run(areas) == 0


@needs_browser
def test_thousands_of_findings_are_drawn_in_a_moment(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(sample(extra=20_000)), errors="replace")
    with Browser(tmp_path) as browser:
        browser.open(page)
        took = browser.run("""
            const start = performance.now();
            document.querySelector('[data-weigh=number]').click();
            return performance.now() - start;
        """)
        assert took < 3000
        assert "more are not shown here" in browser.run("return document.getElementById('findings').textContent")
        assert browser.run("return document.querySelectorAll('.findings tbody tr').length") == 2000
