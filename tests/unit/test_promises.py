"""The table of promises in the guide names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_promise_names_a_test_that_exists():
    text = (ROOT / "GRPO_V2_README.md").read_text(encoding="utf-8").split("### Promises of the guides")[1]
    rows = [line for line in text.splitlines() if re.match(r"\| 00\d \|", line)]
    assert len(rows) >= 20 and {row[2:5] for row in rows} == {"000", "001", "002"}
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), row
