"""What servers of language models answered that broke programs of this kind (trials.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grpo_project.evaluation.answers import ONLY_REASONING, OTHERWISE, TOO_LONG, UNFINISHED, AllRefused, Answer, Question, ask
from grpo_project.evaluation.endpoint import Endpoint, EndpointConfig, EndpointError

QUESTION = Question(0, 0, "prompt")
Served = Callable[..., tuple[Answer, Any]]


def completion(message: dict[str, Any], finish: str = "stop", tokens: int | None = None) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": {"completion_tokens": tokens}}


PLAN = completion({"content": "(a b)"}, tokens=5)


@pytest.fixture
def served(stand_in: Any) -> Served:
    """Asks a server that always answers the same; the answer, and the server with its requests."""

    def answer(content: Any, status: int = 200, suffix: str = "", **how: Any) -> tuple[Answer, Any]:
        server = stand_in(lambda number, body, headers: (status, {}, content))
        given = {"model": "m", "max_tokens": 9, "max_retries": 2, "first_wait_seconds": 0.001, **how}
        return Endpoint(EndpointConfig(server.url + suffix, **given)).answer(QUESTION), server

    return answer


@pytest.mark.parametrize(
    "error",
    [
        # As one field, with an error of its own, and with the limit on the answer named as the culprit.
        {"message": "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens", "code": 400},
        {"error": {"message": "maximum context length is 16384 tokens, 122946 requested", "type": "BadRequestError"}},
        {
            "error": {
                "message": "'max_tokens' is too large: 2000. The model's context length is 2048, 1000 input tokens",
                "code": 400,
            }
        },
    ],
)
def test_a_prompt_beyond_the_context_is_that_problems_failure_and_no_field_is_blamed(served: Served, error: Any) -> None:
    answer, server = served(error, 400)
    assert answer.refusal == TOO_LONG and len(server.requests) == 1
    assert str(answer.refused).startswith("HTTP 400: ") and "{" not in str(answer.refused)
    assert server.requests[0]["max_tokens"] == 9


def test_an_empty_answer_at_the_limit_is_not_the_empty_plan(served: Served) -> None:
    answer, _ = served(completion({"content": ""}, "length", 0))
    assert answer.refusal == UNFINISHED


@pytest.mark.parametrize("content", [None, ""])
def test_words_that_a_server_lost_are_not_the_empty_plan(served: Served, content: str | None) -> None:
    lost, _ = served(completion({"content": content}, tokens=37))
    assert lost.refusal == OTHERWISE and lost.refused == "no words of 37 tokens"
    calls, _ = served(completion({"content": content, "tool_calls": [{"id": "1"}]}))
    assert calls.refusal == OTHERWISE and calls.refused == "no words, but calls of tools"
    nothing, _ = served(completion({"content": content}, tokens=1))
    assert nothing.refused is None  # the model ended at once: that is its answer


def test_a_server_that_loses_every_answer_measures_nothing(stand_in: Any) -> None:
    server = stand_in(lambda number, body, headers: (200, {}, completion({"content": None}, tokens=37)))
    endpoint = Endpoint(EndpointConfig(server.url, "m", 9, concurrency=1))
    with pytest.raises(AllRefused, match=r"none of the first 10 requests \(no words of 37 tokens\)"):
        ask([Question(index, 0, "p") for index in range(30)], endpoint)


def test_an_answer_that_was_filed_as_reasoning_is_no_answer(served: Served) -> None:
    answer, _ = served(completion({"content": "", "reasoning_content": "(a b)"}, tokens=9))
    assert answer.refusal == ONLY_REASONING


@pytest.mark.parametrize("suffix", ["", "/", "/chat/completions", "/chat/completions/"])
def test_an_address_is_taken_with_its_end_or_without(served: Served, suffix: str) -> None:
    answer, server = served(PLAN, suffix=suffix)
    assert answer.text == "(a b)" and server.requests[0]["path"] == "/v1/chat/completions"


def test_a_gateway_that_streams_by_itself_is_asked_not_to_and_else_named_at_once(served: Served) -> None:
    _, server = served(PLAN)
    assert server.requests[0]["stream"] is False
    with pytest.raises(EndpointError, match="streams its answers, although asked not to"):
        served(b'data: {"choices": [{"delta": {"content": "(a b)"}}]}\n\ndata: [DONE]\n\n')


def test_a_server_on_this_machine_is_not_behind_the_proxy(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody there
    assert served(PLAN)[0].text == "(a b)"


def test_a_servers_words_cannot_steer_the_terminal(served: Served) -> None:
    answer, _ = served({"error": {"message": "no\x1b[2J\x1b]0;title\x07 plan\r\nfor you"}}, 422)
    assert answer.refused == "HTTP 422: no?[2J?]0;title? plan for you"
