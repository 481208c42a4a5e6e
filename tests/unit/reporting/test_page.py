"""One file, no network, and nothing that a model or a file says can become markup or code."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from grpo_project.reporting import page_data, read_run, render_page
from grpo_project.reporting.page import ASSETS, embedded_json
from tests.report_runs import HOSTILE


class Elements(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.text = {}  # element -> what was written after its beginning

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found:
            last, _ = self.found[-1]
            self.text[last] = self.text.get(last, "") + data


def parsed(page):
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements


@pytest.fixture(scope="module")
def page(finished_run):
    return render_page(page_data([read_run(finished_run.path)]))


def test_a_hostile_completion_adds_no_element(finished_run, page):
    data = page_data([read_run(finished_run.path)])
    assert any("<script>" in made["text"] for made in data["runs"][0]["traces"]), "the run holds no hostile completion"
    for run in data["runs"]:
        run["traces"] = []
    plain = parsed(render_page(data))
    assert [tag for tag, _ in parsed(page).found] == [tag for tag, _ in plain.found]


def test_the_data_come_back_as_they_were(finished_run, page):
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    held = json.loads(block)
    texts = [made["text"] for made in held["runs"][0]["traces"]]
    assert any(text.startswith("</script><script>window.broken = 1") and "@@DATA@@" in text for text in texts)


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>", "&lt;", "\u2028", "a\\", HOSTILE])
def test_embedded_text_holds_no_angle_bracket_and_reads_back(text):
    held = embedded_json({text: text})
    assert not set("<>&") & set(held) and held.isascii()
    assert json.loads(held) == {text: text}


def test_a_hostile_name_stays_text(bare_run):
    data = page_data([read_run(bare_run([{"step": 1, "loss": 1.0}]))], title="</title><script>alert(1)</script>@@SCRIPT@@")
    elements = parsed(render_page(data))
    assert elements.text["title"].strip() == "</title><script>alert(1)</script>@@SCRIPT@@"
    assert sum(tag == "script" for tag, _ in elements.found) == 2


def test_the_page_asks_for_nothing(page):
    for tag, attributes in parsed(page).found:
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), f"{tag} {attributes}"
    assert "default-src 'none'" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", re.sub(r'id="data">.*?</script>', "", page, flags=re.S))
    assert "@import" not in page and "url(" not in page


def test_the_page_is_ascii_whatever_it_holds(page):
    assert page.isascii()
    for asset in ASSETS.iterdir():
        assert asset.read_bytes().isascii(), f"{asset.name}: write \\u escapes, an entity inside a script stays an entity"


def test_scripts_never_make_markup_of_text():
    for asset in ASSETS.glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in asset.read_text(), f"{asset.name} uses {word}"


def test_problems_that_training_has_are_not_called_new_on_the_page(finished_run, page):
    assert "problems the model never trains on" in page
    data = page_data([read_run(finished_run.path)])
    data["runs"][0]["held_out_remark"] = "4 of 8 problems of here are training problems too"
    shown = render_page(data)
    assert "4 of 8 problems of here are training problems too" in shown and "problems the model never trains on" not in shown
