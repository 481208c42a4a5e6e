"""The journal: what was answered is not asked again, whatever the last run left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_project.errors import DataError
from grpo_project.evaluation.answers import Answer, Journal, Question, Record, ask

QUESTIONS = [Question(index, sample, "p") for index in range(3) for sample in (0, 1)]
SETTINGS = {"model": "m", "k": (1, 2)}


def answerer(asked: list[Question], stop_after: int = 99):
    def answer(questions, record: Record) -> None:
        for question in questions:
            if len(asked) == stop_after:
                raise KeyboardInterrupt
            asked.append(question)
            record(question, Answer(f"{question.row_index}/{question.sample}", 1, 2, 0.5, False))

    return answer


def test_a_broken_off_evaluation_asks_only_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "j.jsonl"
    asked: list[Question] = []
    with pytest.raises(KeyboardInterrupt), Journal(path, SETTINGS) as journal:
        ask(QUESTIONS, answerer(asked, 4), journal)
    with Journal(path, SETTINGS) as journal:
        answers = ask(QUESTIONS, answerer(asked), journal)
        journal.remove()
    assert asked == QUESTIONS
    assert answers == ask(QUESTIONS, answerer([]))
    assert not path.exists()


@pytest.mark.parametrize("torn", [1, 5, 30])
def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, SETTINGS) as journal:
        ask(QUESTIONS, answerer([]), journal)
    content = path.read_bytes()
    path.write_bytes(content[:-torn])
    for left in (QUESTIONS[-1:], []):  # the file that comes of it is whole again
        asked: list[Question] = []
        with Journal(path, SETTINGS) as journal:
            assert len(ask(QUESTIONS, answerer(asked), journal)) == 6
        assert asked == left
        assert path.read_bytes() == content


def test_an_answer_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    answer = Answer("(a\u2028b)\x85\r\n\x0c\ufeff", 1, 2, 0.5, False)
    with Journal(path, SETTINGS) as journal:
        journal.add(QUESTIONS[0], answer)
        journal.add(QUESTIONS[1], answer)
    with Journal(path, SETTINGS) as journal:
        assert list(journal.answers.values()) == [answer, answer]


def test_a_journal_killed_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"settin', encoding="utf-8")
    with Journal(path, SETTINGS) as journal:
        assert len(ask(QUESTIONS, answerer([]), journal)) == 6
    with Journal(path, SETTINGS) as journal:
        assert len(journal.answers) == 6


def test_another_evaluation_is_refused_by_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, SETTINGS):
        pass
    with pytest.raises(DataError, match="model = 'm', now it is 'n'"):
        Journal(path, {**SETTINGS, "model": "n"})
    with pytest.raises(DataError, match="seed = None, now it is 3"):
        Journal(path, {**SETTINGS, "seed": 3})
    with Journal(path, SETTINGS):
        pass


@pytest.mark.parametrize("content", ["my notes\n", '{"a": 1}\n', "[]\n"])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="no journal"):
        Journal(path, SETTINGS)
    assert path.read_text(encoding="utf-8") == content


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, SETTINGS) as journal:
        ask(QUESTIONS, answerer([]), journal)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:2], '{"row_index": 0}\n', *lines[3:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"j\.jsonl:3"):
        Journal(path, SETTINGS)


def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl", SETTINGS):
        with pytest.raises(DataError, match="in use"):
            Journal(tmp_path / "j.jsonl", SETTINGS)
    Journal(tmp_path / "j.jsonl", SETTINGS).__exit__(None, None, None)


def test_a_device_is_no_journal() -> None:
    """/dev/zero would be read for ever."""
    with pytest.raises(DataError, match="/dev/zero is no file that a journal can be kept in"):
        Journal(Path("/dev/zero"), {})


def test_an_answerer_that_leaves_one_out_is_at_fault() -> None:
    with pytest.raises(ValueError, match="6 of 6"):
        ask(QUESTIONS, lambda questions, record: None)
