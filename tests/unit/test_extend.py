"""The reward and the curriculum of docs/extend.md, taken from the page, loaded by the registries and run."""

import re
from itertools import takewhile
from pathlib import Path

import pytest

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.curriculum.engine import LAG, CurriculumEngine
from grpo_project.curriculum.registry import CurriculumInputs, make_curriculum
from grpo_project.data.rows import read_rows
from grpo_project.rewards import make_reward_function, parse_rewards
from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extend.md"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """mine.py with both blocks of the page, in the working directory."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    assert max(len([line for line in block.splitlines() if line.strip()]) for block in blocks) <= 10
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("\n\n".join(reversed(blocks)), encoding="utf-8")


def given(flag):
    """The values that the page's commands give to a flag: the same in each."""
    found = []
    for words in bash_commands(PAGE):
        if flag in words:
            found.append(list(takewhile(lambda word: not word.startswith("--"), words[words.index(flag) + 1 :])))
    assert len(found) == 2 and found[0] == found[1]
    return found[0]


def test_the_reward_of_the_page_adds_to_the_preset_on_two_rows(mine):
    table = read_rows(ROOT / "data" / "test", ["ferry", "spanner"])
    rows = [0, 0, table.indices_of("spanner")[0]]
    plan = table.rows[0].response
    answers = [plan, "I cannot plan.", table.rows[rows[2]].response]
    seen = []
    totals = make_reward_function(table, parse_rewards(given("--reward")), seen.extend)(None, answers, row_index=rows)
    steps = [len(text.strip().splitlines()) for text in answers]
    assert totals == [1.0 + 0.2 * (1 / steps[0]), -1.0, 1.0 + 0.2 * (1 / steps[2])]
    assert [set(item.rewards) for item in seen] == [{"dense", "brief"}] * 3


def test_the_curriculum_of_the_page_steers_the_engine_and_goes_on_from_its_state(mine):
    def engine():
        inputs = CurriculumInputs({"ferry": {"easy": [0], "medium": [1], "hard": [2]}}, lambda step, max_steps: {})
        return CurriculumEngine(make_curriculum(given("--curriculum")[0], inputs), {"ferry": 2}, 10)

    first, second = engine(), engine()
    assert first.feedback
    assert first.decide(0).weights == {"ferry": {"easy": 1, "medium": 0, "hard": 0}}
    first.observe_groups(0, [])
    first.observe_evaluation(EvaluationOutcome(1, {"ferry": {"easy": (6, 10)}}))
    second.load_state_dict(first.state_dict())
    even = {"ferry": dict.fromkeys(("easy", "medium", "hard"), pytest.approx(1 / 3))}
    for run in (first, second):
        assert [run.decide(number).weights for number in (LAG - 1, LAG)] == [first.decide(0).weights, even]
