"""The tables of promises in the guide and beside it name tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("page", "heading", "fewest", "guides"),
    [
        ("GRPO_V2_README.md", "### Promises of the guides", 20, {"000", "001", "002"}),
        ("docs/diagnosis.md", "## Promises of guide 003", 11, {"003"}),
    ],
)
def test_every_promise_names_a_test_that_exists(page, heading, fewest, guides):
    text = (ROOT / page).read_text(encoding="utf-8").split(heading)[1]
    rows = [line for line in text.splitlines() if re.match(r"\| 00\d \|", line)]
    assert len(rows) >= fewest and {row[2:5] for row in rows} == guides
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), row
