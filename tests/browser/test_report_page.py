"""The report page in a real browser: no error, every control by mouse and by keyboard, readable when narrow and when dark.

Needs playwright (requirements-dev.txt) and an installed Chromium, such as Debian's `chromium` or `chromium-headless-shell`;
CHROMIUM names another one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_project.reporting import page_data, read_run, read_runs, render_page
from tests.report_runs import DOMAINS, HOSTILE, write_drawn_evaluation, write_problems, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements-dev.txt")

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
FOUND = os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, NAMES) if path), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason=f"no browser: none of {', '.join(NAMES)} is installed, and CHROMIUM is not set"),
]
SECTIONS = {
    "alarms",
    "heldout",
    "learning",
    "curriculum",
    "batches",
    "verdicts",
    "reasons",
    "course",
    "timing",
    "plans",
    "configuration",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """one: a finished run; several: it and one in progress; empty: a run that has logged nothing; long: 65 log lines."""
    folder = tmp_path_factory.mktemp("report")
    problems = write_problems(folder / "problems")
    first = write_run(folder / "first", problems)
    write_drawn_evaluation(first, "drawn early", whole=3)
    write_drawn_evaluation(first, "drawn late", whole=6)
    one = first.path
    two = write_run(folder / "second", problems, steps=4, max_steps=12, prefer=1).path
    with open(two / "metrics.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 5, "loss"')
    empty = folder / "empty"
    empty.mkdir()
    (empty / "resolved_config.json").write_text("{}")
    long = folder / "long"
    long.mkdir()
    counted = {"completions": 8, "completions_by_domain": {"ferry": 8}, "reward_by_domain": {"ferry": 0.1}}
    lines = [{"step": step, **counted, "success_rate_by_domain": {"ferry": step % 9 / 8}} for step in range(1, 66)]
    (long / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    made = {"one": [one], "several": [one, two], "empty": [empty], "long": [long]}
    files = {}
    for name, runs in made.items():
        files[name] = folder / f"{name}.html"
        files[name].write_text(render_page(page_data(read_runs(runs))), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # The sandbox of Chromium refuses to run as root, which containers do.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=FOUND, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """visit(file, width, scheme) -> the page when it is drawn. The test fails for any message on the console."""
    said: list[str] = []
    opened: list[Any] = []

    def go(file: Path, width: int = 1400, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        page.set_default_timeout(10_000)
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        opened.append(page)
        return page

    yield go
    for page in opened:
        page.close()
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["one", "several", "empty"])
def test_nothing_sticks_out_and_every_section_is_there(visit, pages, name, width, scheme):
    page = visit(pages[name], width, scheme)
    sections = {node.get_attribute("id") for node in page.locator("main section").all()}
    assert sections >= SECTIONS - ({"reasons"} if name == "empty" else set())  # which is there once an answer was saved
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.wait_for_timeout(100)
    # Nothing is wider than its section unless it can be scrolled there.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main svg, main .panel, main .tile, main button, main select")]
        .filter(node => !node.closest(".scroll") && node.getBoundingClientRect().width > 0
          && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))"""
    )
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visit, pages, scheme):
    """WCAG's contrast of 4.5 for the ordinary text of the page, measured on the colours the browser computed."""
    page = visit(pages["several"], 1400, scheme)
    poor = page.evaluate(
        """() => {
        const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
        const rgb = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
        const behind = node => { for (; node; node = node.parentElement) {
          const found = rgb(getComputedStyle(node).backgroundColor);
          if (found.length < 4 || found[3] > .99) return found; } return [255, 255, 255]; };
        const poor = [];
        const texts = "p, td, th, h1, h2, h3, b, li, summary, .label, .under, .badge, nav a, pre, .status";
        for (const node of document.querySelectorAll(texts)) {
          if (!node.textContent.trim() || !node.getClientRects().length) continue;
          const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
          const contrast = (a + .05) / (b + .05);
          if (contrast < 4.5) poor.push([node.tagName, node.className, node.textContent.slice(0, 30), contrast]);
        }
        return poor; }"""
    )
    assert poor == []


def test_drawn_answers_are_shown_as_pass_at_k_and_can_be_read_by_keyboard(visit, pages):
    page = visit(pages["several"])
    charts = page.locator("#heldout svg[aria-label^='pass@k, ']")
    assert charts.count() == len(DOMAINS)
    charts.first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # scrolling hides what was told before
    charts.first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("End")
    told = page.locator("#tip").inner_text()
    assert "k 8" in told and "drawn early" in told and "drawn late" in told and "%" in told
    assert visit(pages["empty"]).locator("svg[aria-label^='pass@k']").count() == 0


def test_the_mouse_switches_curves_and_runs(visit, pages):
    page = visit(pages["several"])
    learning = page.locator("#learning")
    assert learning.locator("figcaption b").all_inner_texts() == list(DOMAINS)
    learning.get_by_role("button", name="difficulty", exact=True).click()
    assert learning.locator("figcaption b").all_inner_texts() == ["easy", "medium", "hard"]
    learning.get_by_role("button", name="domain", exact=True).click()
    learning.get_by_role("button", name="reward").click()
    assert "Reward lies in" in learning.inner_text()
    lines = learning.locator("svg.chart path[fill=none]")
    both = lines.count()
    page.locator("#runs").get_by_role("button", name="second").click()
    assert 0 < lines.count() < both
    page.locator("#runs").get_by_role("button", name="first").click()  # the last one shown stays
    assert lines.count() > 0


def test_a_chart_tells_its_values_to_mouse_and_keyboard(visit, pages):
    page = visit(pages["one"])
    chart = page.locator("#learning svg.chart").first
    chart.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # scrolling hides what the mouse said before
    chart.hover()
    tip = page.locator("#tip")
    assert tip.is_visible() and "/" in tip.inner_text()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    chart.focus()
    page.keyboard.press("End")
    assert tip.inner_text().startswith("step 12")
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("step 11")
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_held_out_success_is_read_out_domain_by_domain(visit, pages):
    page = visit(pages["one"])
    chart = page.locator("#heldout svg[aria-label^='Held-out success.']")
    chart.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    chart.focus()
    page.keyboard.press("Home")
    assert page.locator("#tip").inner_text().startswith(DOMAINS[0])
    page.keyboard.press("ArrowDown")
    told = page.locator("#tip").inner_text()
    assert told.startswith(DOMAINS[1]) and "held-out before" in told and "held-out after" in told and "3/3" in told


def test_a_hidden_run_leaves_charts_tables_and_its_own_blocks(visit, pages):
    page = visit(pages["several"])
    page.locator("#runs").get_by_role("button", name="second").focus()
    page.keyboard.press("Enter")
    for section in ("heldout", "learning", "verdicts", "batches"):
        assert "second" not in page.locator(f"#{section}").inner_text(), section
    assert page.evaluate("document.activeElement.textContent") == "second"  # the keys stay where they were
    page.keyboard.press("Enter")
    assert "second" in page.locator("#verdicts").inner_text()


def test_a_long_log_can_be_shown_line_by_line(visit, pages):
    page = visit(pages["long"])
    learning = page.locator("#learning")
    chart = learning.locator("svg.chart").first
    corners = "node => node.querySelector('path[fill=none]').getAttribute('d').split('L').length"
    pooled = chart.evaluate(corners)
    learning.get_by_role("button", name="single").click()
    assert pooled <= 30 < chart.evaluate(corners) == 65


def failing_sample(page: Any, domain: str) -> str:
    """Opens a plan of the domain that fails on a precondition; its status text at the failing step."""
    page.get_by_role("group", name="Domain").get_by_role("button", name=domain).click()
    page.get_by_label("Verdict", exact=True).select_option("precondition_violation")
    page.get_by_role("button", name="To the last step, or the one that fails").click()
    return page.locator("#viewer .status").inner_text()


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_plan_is_drawn_up_to_its_failing_step_with_the_unmet_literal(visit, pages, domain):
    data = page_data([read_run(pages["one"].parent / "first")])["runs"][0]
    page = visit(pages["one"])
    status = failing_sample(page, domain)
    file = page.locator("#viewer p .code").first.inner_text()
    failing = [
        made["verdict"]
        for made in data["traces"]
        if made["problem_file"] == file and made["verdict"]["class"] == "precondition_violation"
    ]
    assert any(f"Step {verdict['failing_step']} cannot run" in status and verdict["unmet"][0] in status for verdict in failing)
    drawing = page.locator("#viewer .stage svg")
    assert drawing.count() == 1 and drawing.locator("rect").count() > 1
    assert page.locator("#viewer .stage .wrong").count() > 0
    page.get_by_role("button", name="To the start").click()
    assert "Before the first step" in page.locator("#viewer .status").inner_text()
    assert page.locator("#viewer .stage .wrong").count() == 0


def test_the_keyboard_walks_through_a_plan(visit, pages):
    page = visit(pages["one"])
    page.get_by_role("group", name="Domain").get_by_role("button", name="ferry").click()
    page.get_by_label("Verdict", exact=True).select_option("success_plans")
    status, before = page.locator("#viewer .status"), page.locator("#viewer .stage").inner_html()
    page.get_by_role("button", name="One step on").focus()
    page.keyboard.press("ArrowRight")
    assert status.inner_text().startswith("Step 1 of")
    assert page.locator("#viewer .stage").inner_html() != before
    page.keyboard.press("Enter")  # the button that has the focus
    assert status.inner_text().startswith("Step 2 of")
    page.keyboard.press("End")
    assert "the goal is reached" in status.inner_text()
    page.keyboard.press("Home")
    assert "Before the first step" in status.inner_text()
    page.locator("#viewer input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    assert status.inner_text().startswith("Step 1 of")


def test_every_control_can_be_reached_by_the_tab_key(visit, pages):
    page = visit(pages["several"])
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("button:not(:disabled), select, input, summary, a[href], svg[tabindex]")]
        .filter(node => node.getClientRects().length).length"""
    )
    reached = set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => document.activeElement === document.body ? '' : "
                "(document.activeElement.dataset.number ||= String(Math.random()))"
            )
        )
    assert len(reached - {""}) >= wanted > 30


def test_playing_a_plan_ends_at_its_end_and_can_be_paused(visit, pages):
    page = visit(pages["one"])
    page.get_by_role("group", name="Domain").get_by_role("button", name="ferry").click()
    page.get_by_label("Verdict", exact=True).select_option("success_plans")
    page.get_by_role("button", name="Play the plan").click()
    playwright.expect(page.locator("#viewer .status")).to_contain_text("Step 1 of")
    page.get_by_role("button", name="Play the plan").click()
    counter = page.locator("#viewer .counter").inner_text()
    page.wait_for_timeout(900)
    assert page.locator("#viewer .counter").inner_text() == counter
    page.get_by_role("button", name="Play the plan").click()
    playwright.expect(page.locator("#viewer .status")).to_contain_text("the goal is reached", timeout=10_000)
    playwright.expect(page.get_by_role("button", name="Play the plan")).to_have_text("Play")


def test_a_hostile_completion_is_shown_as_text(visit, pages):
    traces = page_data([read_run(pages["one"].parent / "first")])["runs"][0]["traces"]
    domain = next(made["domain"] for made in traces if made["text"].startswith(HOSTILE[:20]))
    page = visit(pages["one"])
    page.get_by_role("group", name="Domain").get_by_role("button", name=domain).click()
    page.get_by_label("Verdict", exact=True).select_option("plan_format_error")
    page.get_by_text("What the model wrote").click()
    shown = page.locator("#viewer pre.completion")
    assert shown.inner_text().startswith(HOSTILE.split("\u2028")[0])
    assert "\u27e8U+202E\u27e9" in shown.inner_text()  # a direction mark is named, not obeyed
    assert page.evaluate("window.broken") is None
    assert page.locator("img, iframe, object, embed").count() == 0


def test_settings_are_found(visit, pages):
    page = visit(pages["several"])
    configuration = page.locator("#configuration")
    assert "learning_rate" not in configuration.locator("table").first.inner_text()  # the runs agree on it
    configuration.get_by_role("button", name="all", exact=True).click()
    configuration.get_by_label("Find a setting").fill("learn")
    assert configuration.locator("tbody tr").first.inner_text().startswith("learning_rate")


def test_an_empty_run_says_what_is_missing(visit, pages):
    page = visit(pages["empty"])
    for name in ("learning", "curriculum", "verdicts", "timing", "plans", "configuration"):
        assert page.locator(f"#{name} .empty").count() == 1, name
