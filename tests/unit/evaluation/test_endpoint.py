"""The client of OpenAI-compatible endpoints against a stand-in on this machine that misbehaves in every way we know."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.evaluation.answers import Answer, Question
from grpo_project.evaluation.endpoint import Endpoint, EndpointConfig, EndpointError
from grpo_project.evaluation.evaluate import count_usage
from grpo_project.prompting import ChatOptions

KEY = "sk-secret-7f3a9"  # of the stand-in
QUESTIONS = [Question(index, sample, f"prompt {index}") for index in range(4) for sample in (0, 1)]


def completion(text: str | None, finish: str = "stop", **usage: int) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": usage}


def echo(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
    return 200, {}, completion(f"plan for {body['messages'][0]['content']}", prompt_tokens=7, completion_tokens=3)


def config(server: Any, **changes: Any) -> EndpointConfig:
    return EndpointConfig(**{"base_url": server.url, "model": "m", "max_tokens": 9, "first_wait_seconds": 0.01, **changes})


def answers_of(endpoint: Endpoint, questions: list[Question] = QUESTIONS) -> dict[tuple[int, int], Answer]:
    found: dict[tuple[int, int], Answer] = {}
    threads = set()

    def record(question: Question, answer: Answer) -> None:
        threads.add(threading.current_thread())
        found[question.row_index, question.sample] = answer

    endpoint(questions, record)
    assert threads <= {threading.current_thread()}  # a journal is written from one thread
    return found


def test_every_question_gets_its_own_answer_and_says_how_it_wants_it(stand_in: Any) -> None:
    server = stand_in(echo)
    found = answers_of(Endpoint(config(server, temperature=0.7, request_fields={"top_p": 0.9, "seed": None}), KEY))
    assert {key: answer.text for key, answer in found.items()} == {
        (q.row_index, q.sample): f"plan for prompt {q.row_index}" for q in QUESTIONS
    }
    assert all((a.prompt_tokens, a.completion_tokens, a.cut_off) == (7, 3, False) for a in found.values())
    assert all(a.seconds is not None and a.seconds > 0 for a in found.values())
    assert {(r["path"], r["key"], r["model"], r["max_tokens"], r["top_p"]) for r in server.requests} == {
        ("/v1/chat/completions", f"Bearer {KEY}", "m", 9, 0.9)
    }
    assert sorted(r["temperature"] for r in server.requests) == [0.0] * 4 + [0.7] * 4
    assert not any("seed" in r for r in server.requests)


def test_chats_go_along_where_they_are_asked_for_and_only_then(stand_in: Any) -> None:
    server = stand_in(echo)
    chat = ChatOptions("Write plans.", enable_thinking=False, chat_template_kwargs='{"effort": "low"}')
    Endpoint(config(server, chat=chat)).answer(QUESTIONS[0])
    Endpoint(config(server)).answer(QUESTIONS[0])
    asked, plain = server.requests
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert asked["messages"][0]["content"] == "Write plans."
    assert asked["chat_template_kwargs"] == {"effort": "low", "enable_thinking": False}
    assert [message["role"] for message in plain["messages"]] == ["user"] and "chat_template_kwargs" not in plain


def test_an_answer_that_a_server_cut_off_while_thinking_is_counted_as_such(stand_in: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> tuple[int, dict[str, str], Any]:
        message = {"content": None if number < 3 else "(p a)", "reasoning_content": "first I pick"}
        return 200, {}, {"choices": [{"message": message, "finish_reason": "stop" if number == 2 else "length"}]}

    endpoint = Endpoint(config(stand_in(behave)))
    answers = [endpoint.answer(question) for question in QUESTIONS[:3]]
    assert [answer.text for answer in answers] == ["<think>first I pick", "", "(p a)"]
    usage = count_usage({(index, 0): answer for index, answer in enumerate(answers)})
    assert (usage["cut_off"], usage["cut_off_while_thinking"]) == (2, 1)


def test_seeds_differ_by_question_and_are_the_same_again(stand_in: Any) -> None:
    server = stand_in(echo)
    for _ in range(2):
        answers_of(Endpoint(config(server)))
    seeds = [r["seed"] for r in server.requests]
    assert len(set(seeds)) == len(QUESTIONS) and sorted(seeds[:8]) == sorted(seeds[8:])
    assert server.requests[0]["key"] is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_passing_troubles_are_waited_out(stand_in: Any, status: int) -> None:
    server = stand_in(lambda n, body, h: (status, {}, {"error": {"message": "busy"}}) if n % 2 else echo(n, body, h))
    heard: list[str] = []
    endpoint = Endpoint(config(server, concurrency=1), KEY, lambda reason, seconds: heard.append(reason))
    assert len(answers_of(endpoint)) == 8
    assert heard == [f"HTTP {status}: busy"] * 8


def test_waits_double_and_a_server_that_names_a_time_is_heard(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (500, {}, b"") if n <= 4 else echo(n, body, h))
    waits: list[float] = []
    answers_of(Endpoint(config(server), on_retry=lambda reason, seconds: waits.append(seconds)), QUESTIONS[:1])
    assert len(waits) == 4 and all(0.7 * 0.01 * 2**i <= w <= 1.3 * 0.01 * 2**i for i, w in enumerate(waits))

    server = stand_in(lambda n, body, h: (429, {"Retry-After": "0.3"}, b"") if n == 1 else echo(n, body, h))
    answers_of(Endpoint(config(server)), QUESTIONS[:1])
    assert server.times[1] - server.times[0] >= 0.3


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>oops</html>", b'{"choices": []}', b'{"choices": [{"message": 3}]}', b"[]", b"\xff\xfe", b'{"choices": [{"mess'],
)
def test_an_answer_that_is_none_is_asked_for_again(stand_in: Any, garbage: bytes) -> None:
    server = stand_in(lambda n, body, h: (200, {}, garbage) if n == 1 else echo(n, body, h))
    assert answers_of(Endpoint(config(server)), QUESTIONS[:1])[0, 0].text == "plan for prompt 0"
    assert len(server.requests) == 2


def test_a_slow_server_is_given_up_on_and_asked_again(stand_in: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        if number == 1:
            time.sleep(1.0)
        return echo(number, body, headers)

    server = stand_in(behave)
    heard: list[str] = []
    endpoint = Endpoint(config(server, timeout_seconds=0.3), on_retry=lambda reason, seconds: heard.append(reason))
    assert answers_of(endpoint, QUESTIONS[:1])[0, 0].text == "plan for prompt 0"
    assert heard == ["no answer within 0.3 s"]


def test_a_server_that_never_recovers_ends_in_one_line_and_keeps_what_was_answered(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (500, {}, b"down") if n > 3 else echo(n, body, h))
    kept: list[Question] = []
    with pytest.raises(EndpointError, match=r"no answer after 3 tries: HTTP 500: down\. Run the same command") as caught:
        Endpoint(config(server, max_retries=2, concurrency=1))(QUESTIONS, lambda question, answer: kept.append(question))
    assert "\n" not in str(caught.value)
    assert kept == QUESTIONS[:3]
    assert len(server.requests) == 6


def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(EndpointError, match="no connection"):
        Endpoint(EndpointConfig("http://127.0.0.1:9/v1", "m", 9, max_retries=0)).answer(QUESTIONS[0])


@pytest.mark.parametrize(("key", "told"), [(KEY, "refuses the key"), (None, "wants a key, and the environment names none")])
def test_a_wrong_key_stops_everything_at_once_and_is_never_shown(stand_in: Any, key: str | None, told: str) -> None:
    server = stand_in(lambda n, body, h: (401, {}, {"error": {"message": f"bad key: {h.get('Authorization')}"}}))
    with pytest.raises(ConfigError, match=told) as caught:
        answers_of(Endpoint(config(server, concurrency=1), key))
    assert KEY not in str(caught.value) and "--api_key_env" in str(caught.value)
    assert len(server.requests) == 1


def test_a_refused_request_is_no_matter_of_patience(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": "max_tokens is too large"}}))
    with pytest.raises(EndpointError, match="HTTP 400: max_tokens is too large"):
        answers_of(Endpoint(config(server, concurrency=1)))
    assert len(server.requests) == 1


def test_a_redirect_does_not_get_the_key(stand_in: Any) -> None:
    elsewhere = stand_in(echo)
    server = stand_in(lambda n, body, h: (302, {"Location": f"{elsewhere.url}/chat/completions"}, b""))
    with pytest.raises(ConfigError, match="points elsewhere"):
        answers_of(Endpoint(config(server, concurrency=1), KEY))
    assert elsewhere.requests == []


def test_a_server_that_repeats_the_key_gets_it_into_no_text(stand_in: Any) -> None:
    heard: list[str] = []

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        told = headers["Authorization"]
        return (500, {}, told.encode()) if number == 1 else (200, {}, completion(f"you said {told}"))

    endpoint = Endpoint(config(stand_in(behave)), KEY, lambda reason, seconds: heard.append(reason))
    answer = endpoint.answer(QUESTIONS[0])
    assert answer.text == "you said Bearer [key]"
    assert heard == ["HTTP 500: Bearer [key]"]
    assert KEY not in repr(endpoint) and KEY not in repr(endpoint.config)


def test_as_many_requests_at_a_time_as_allowed(stand_in: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        time.sleep(0.05)
        return echo(number, body, headers)

    for concurrency in (1, 3):
        server = stand_in(behave)
        answers_of(Endpoint(config(server, concurrency=concurrency)))
        assert server.most_at_once == concurrency


def test_requests_begin_no_faster_than_allowed(stand_in: Any) -> None:
    server = stand_in(echo)
    answers_of(Endpoint(config(server, requests_per_minute=1200, concurrency=8)))
    assert server.times[-1] - server.times[0] >= 7 * 0.05 * 0.95


@pytest.mark.parametrize(("content", "text"), [(None, ""), ("\ud800x", "?x")])
def test_an_answer_without_words_is_an_answer(stand_in: Any, content: str | None, text: str) -> None:
    server = stand_in(lambda n, body, h: (200, {}, completion(content, "length")))
    answer = Endpoint(config(server)).answer(QUESTIONS[0])
    assert (answer.text, answer.cut_off, answer.prompt_tokens) == (text, True, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "host/v1"}, "base_url"),
        ({"base_url": "https://user:hidden@host/v1"}, "base_url"),
        ({"base_url": "https://host/v1?api_key=hidden"}, "base_url"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_retries": -1}, "max_retries"),
        ({"requests_per_minute": -1.0}, "requests_per_minute"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"max_tokens": 0}, "max_completion_length"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_showing_secrets(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        EndpointConfig(**{"base_url": "https://host/v1", "model": "m", "max_tokens": 9, **changes})
    assert "hidden" not in str(caught.value)


def test_a_key_with_a_line_end_is_refused_without_being_shown() -> None:
    with pytest.raises(GrpoProjectError) as caught:
        Endpoint(EndpointConfig("https://host/v1", "m", 9), "sk-1\n")
    assert "sk-1" not in str(caught.value)


def test_plain_http_to_another_machine_is_noticed() -> None:
    assert EndpointConfig("http://example.com/v1", "m", 9).sends_keys_in_the_open
    assert not EndpointConfig("https://example.com/v1", "m", 9).sends_keys_in_the_open
    assert not EndpointConfig("http://localhost:8000/v1", "m", 9).sends_keys_in_the_open


def test_after_an_interruption_what_is_under_way_is_kept_and_nothing_more_is_asked(stand_in: Any) -> None:
    server = stand_in(echo)
    kept: list[Question] = []
    told: list[int] = []

    def record(question: Question, answer: Answer) -> None:
        kept.append(question)
        if len(kept) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Endpoint(config(server, concurrency=3), on_stop=told.append)(QUESTIONS, record)
    assert len(kept) == len(server.requests) <= 4 and len(told) == 1
    assert len(answers_of(Endpoint(config(server)))) == 8


def test_an_endpoint_that_failed_once_can_be_asked_again(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (500, {}, b"") if n == 1 else echo(n, body, h))
    endpoint = Endpoint(config(server, max_retries=0, concurrency=1))
    with pytest.raises(EndpointError):
        answers_of(endpoint)
    assert len(answers_of(endpoint)) == 8
