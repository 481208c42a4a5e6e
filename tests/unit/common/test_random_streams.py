"""Named streams: the same everywhere, and never the same twice."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from grpo_project.common.random_streams import stream


def test_a_stream_is_seeded_with_the_names_joined_by_slashes() -> None:
    assert stream(7, "batch", 3, "ferry").random() == random.Random("7/batch/3/ferry").random()


def test_another_process_with_another_hash_seed_draws_the_same() -> None:
    code = "from grpo_project.common.random_streams import stream; print(stream(1, 'a', 2).getrandbits(64))"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert drawn == {str(stream(1, "a", 2).getrandbits(64))}


names = st.lists(st.text(alphabet="a/%2F5", max_size=3) | st.integers(0, 20).map(str), max_size=3).map(tuple)


@given(first=names, second=names)
def test_different_names_are_different_streams(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    same = stream(0, *first).getrandbits(128) == stream(0, *second).getrandbits(128)
    assert same == (first == second)


def test_seed_and_item_do_not_trade_places() -> None:
    draws = {stream(seed, item).getrandbits(64) for seed in range(30) for item in range(30)}
    assert len(draws) == 900
