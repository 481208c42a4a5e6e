"""The client of OpenAI-compatible endpoints against a stand-in on this machine that misbehaves in every way we know."""

from __future__ import annotations

import json
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest

from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.evaluation.answers import (
    FILTERED,
    ONLY_REASONING,
    OTHERWISE,
    TOO_LONG,
    UNFINISHED,
    AllRefused,
    Answer,
    Answers,
    Key,
    Question,
    ask,
)
from grpo_project.evaluation.endpoint import Endpoint, EndpointConfig, EndpointError
from grpo_project.evaluation.evaluate import count_usage
from grpo_project.prompting import ChatOptions

KEY = "sk-secret-7f3a9"  # of the stand-in
QUESTIONS = [Question(index, sample, f"prompt {index}") for index in range(4) for sample in (0, 1)]


def completion(text: Any, finish: str = "stop", **usage: int) -> dict[str, Any]:
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
        found[question.key] = answer

    endpoint(questions, record)
    assert threads <= {threading.current_thread()}  # a journal is written from one thread
    return found


def test_every_question_gets_its_own_answer_and_says_how_it_wants_it(stand_in: Any) -> None:
    server = stand_in(echo)
    found = answers_of(Endpoint(config(server, temperature=0.7, request_fields={"top_p": 0.9, "seed": None}), KEY))
    assert {key: answer.text for key, answer in found.items()} == {q.key: f"plan for prompt {q.row_index}" for q in QUESTIONS}
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


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b'{"choices": [{"mess'])
def test_an_answer_that_is_none_is_asked_for_again(stand_in: Any, garbage: bytes) -> None:
    server = stand_in(lambda n, body, h: (200, {}, garbage) if n == 1 else echo(n, body, h))
    assert answers_of(Endpoint(config(server)), QUESTIONS[:1])[Key(0)].text == "plan for prompt 0"
    assert len(server.requests) == 2


def test_a_slow_server_is_given_up_on_and_asked_again(stand_in: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        if number == 1:
            time.sleep(1.0)
        return echo(number, body, headers)

    server = stand_in(behave)
    heard: list[str] = []
    endpoint = Endpoint(config(server, timeout_seconds=0.3), on_retry=lambda reason, seconds: heard.append(reason))
    assert answers_of(endpoint, QUESTIONS[:1])[Key(0)].text == "plan for prompt 0"
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


@pytest.mark.parametrize("header", [None, "0", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
def test_where_a_server_names_no_time_to_come_the_wait_is_ours(stand_in: Any, header: str | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    server = stand_in(lambda n, body, h: (429, headers, b"") if n <= 2 else echo(n, body, h))
    waits: list[float] = []
    answers_of(Endpoint(config(server), on_retry=lambda reason, seconds: waits.append(seconds)), QUESTIONS[:1])
    assert len(waits) == 2 and all(0.7 * 0.01 * 2**i <= w <= 1.3 * 0.01 * 2**i for i, w in enumerate(waits))


def test_a_server_may_name_the_time_by_a_date(stand_in: Any) -> None:
    date = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}  # whole seconds: between 1 and 2 from now
    server = stand_in(lambda n, body, h: (429, date, b"") if n == 1 else echo(n, body, h))
    waits: list[float] = []
    answers_of(Endpoint(config(server), on_retry=lambda reason, seconds: waits.append(seconds)), QUESTIONS[:1])
    assert len(waits) == 1 and 0.5 < waits[0] <= 2
    assert server.times[1] - server.times[0] >= waits[0]


# -- refused for good ---------------------------------------------------------------------------------------------------

TOO_LONG_WORDS = [
    "This model's maximum context length is 512 tokens. However, your request has 600 input tokens.",  # OpenAI, vLLM
    "the request exceeds the available context size (4096 tokens), try increasing it",  # llama.cpp
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",  # Mistral
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",  # Gemini
    "prompt is too long: 210000 tokens > 200000 maximum",  # Anthropic
    "`inputs` tokens + `max_new_tokens` must be <= 4096",  # TGI
]


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        *((400, words, TOO_LONG) for words in TOO_LONG_WORDS),
        (413, "", TOO_LONG),
        (500, "context size has been exceeded", TOO_LONG),
        (403, "This prompt requires moderation, and was flagged for violence", FILTERED),
        (400, "The response was filtered due to Azure OpenAI's content management policy.", FILTERED),
        (422, "no", OTHERWISE),
    ],
)
def test_a_question_that_is_refused_for_good_is_that_problems_failure(
    stand_in: Any, status: int, words: str, reason: str
) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        refused = body["messages"][0]["content"] == "prompt 1"
        return (status, {}, {"error": {"message": words}}) if refused else echo(number, body, headers)

    server = stand_in(behave)
    found = ask(QUESTIONS, Endpoint(config(server, concurrency=1)))
    assert {key: answer.refusal for key, answer in found.items()} == {
        q.key: reason if q.row_index == 1 else None for q in QUESTIONS
    }
    assert found[Key(1)].text == "" and found[Key(1)].refused == f"HTTP {status}" + (f": {words}" if words else "")
    assert len(server.requests) == len(QUESTIONS)  # none was asked for again


@pytest.mark.parametrize(("words", "asked"), [("Model Not Exist", 10), ("beyond the context", 24)])
def test_where_everything_is_refused_nothing_was_measured(stand_in: Any, words: str, asked: int) -> None:
    """A setting that is wrong shows after ten requests; problems that are too long, only when all of them were."""
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": words}}))
    questions = [Question(index, 0, f"prompt {index}") for index in range(24)]
    with pytest.raises(AllRefused, match=rf"answered none of the first {asked} requests \(HTTP 400: {words}\)") as caught:
        ask(questions, Endpoint(config(server, concurrency=1)))
    assert "\n" not in str(caught.value) and len(server.requests) == asked


def test_a_model_that_is_not_there_ends_at_once(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (404, {}, {"error": {"message": "The model `m` does not exist."}}))
    with pytest.raises(EndpointError, match="HTTP 404: The model `m` does not exist"):
        ask(QUESTIONS, Endpoint(config(server, concurrency=1)))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<!doctype html><title>Chat</title>", r"answers with a web page .*--base_url must end .*/v1"),
        (429, {"error": {"message": "Quota exceeded.", "type": "insufficient_quota"}}, r"wants to be paid \(HTTP 429: Quota exc"),
        (402, {"error": {"message": "Insufficient Balance"}}, r"wants to be paid \(HTTP 402: Insufficient Balance\)"),
        (200, {"error": {"message": "no credit left", "code": 402}}, r"refuses the request \(HTTP 402: no credit left\)"),
    ],
)
def test_what_waiting_does_not_help_ends_at_once_and_keeps_what_was_answered(
    stand_in: Any, status: int, body: Any, told: str
) -> None:
    server = stand_in(lambda n, asked, h: echo(n, asked, h) if n < 3 else (status, {}, body))
    known = Answers()
    with pytest.raises(EndpointError, match=told) as caught:
        ask(QUESTIONS, Endpoint(config(server, concurrency=1)), known)
    assert "\n" not in str(caught.value) and len(server.requests) == 3 and len(known.answers) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None, "usage": {}},
        {"choices": [{"message": 3}]},
        {"detail": "no"},
        [],
        completion(7),
        completion({"text": "(sail a b)"}),
        completion([{"type": "text", "text": None}]),
        completion([3]),
    ],
)
def test_what_is_no_chat_completion_is_no_answer_and_is_not_asked_for_again(stand_in: Any, body: Any) -> None:
    server = stand_in(lambda n, asked, h: (200, {}, json.dumps(body).encode()) if n == 2 else echo(n, asked, h))
    found = ask(QUESTIONS, Endpoint(config(server, concurrency=1)))
    assert [answer.refusal for answer in found.values()] == [None, OTHERWISE, *[None] * 6]
    assert found[QUESTIONS[1].key].refused.startswith("no chat completion: ")  # type: ignore[union-attr]
    assert len(server.requests) == len(QUESTIONS)


def test_an_error_in_the_place_of_an_answer_is_what_its_code_says(stand_in: Any) -> None:
    """OpenRouter's way, with status 200."""
    busy = {"error": {"message": "Provider returned error", "code": 502}}
    server = stand_in(lambda n, body, h: (200, {}, busy) if n == 1 else echo(n, body, h))
    heard: list[str] = []
    endpoint = Endpoint(config(server), on_retry=lambda reason, seconds: heard.append(reason))
    assert endpoint.answer(QUESTIONS[0]).text == "plan for prompt 0" and heard == ["HTTP 502: Provider returned error"]


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": None, "reasoning_content": "First (debark c)"}, "stop", ONLY_REASONING),
        ({"content": [{"type": "thinking", "thinking": []}], "reasoning": "First"}, "stop", ONLY_REASONING),
        ({"content": ""}, "length", UNFINISHED),
        ({"content": None, "reasoning_content": "First"}, "content_filter", FILTERED),
        ({"content": None, "refusal": "I cannot help with that."}, "stop", OTHERWISE),
        ({"content": None, "tool_calls": []}, "tool_calls", OTHERWISE),
        ({"content": None}, {"type": "unknown"}, OTHERWISE),
        ({"content": ""}, "stop", None),  # the model had nothing to say: an empty plan
        ({"content": "(sail a b)"}, "content_filter", None),
    ],
)
def test_a_message_without_words_is_no_answer_unless_the_model_ended_it(
    stand_in: Any, message: dict[str, Any], finish: Any, reason: str | None
) -> None:
    body = {"choices": [{"message": message, "finish_reason": finish}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
    server = stand_in(lambda n, asked, h: (200, {}, body) if n == 2 else echo(n, asked, h))
    found = ask(QUESTIONS, Endpoint(config(server, concurrency=1)))
    assert [answer.refusal for answer in found.values()] == [None, reason, *[None] * 6]
    usage = count_usage(found)
    assert usage["refused"] == ({reason: 1} if reason else {})
    assert usage["completion_tokens"] == 7 * 3 + 1  # paid for, with words or without


UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def test_a_server_that_wants_the_limit_by_its_newer_name_gets_it_and_that_is_said_once(stand_in: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        return (400, {}, {"error": {"message": UNSUPPORTED}}) if "max_tokens" in body else echo(number, body, headers)

    server = stand_in(behave)
    heard: list[str] = []
    found = ask(QUESTIONS, Endpoint(config(server, max_retries=0), on_retry=lambda reason, seconds: heard.append(reason)))
    assert all(answer.text.startswith("plan") for answer in found.values())
    assert heard == [f"HTTP 400: {UNSUPPORTED}. Asking with max_completion_tokens from now on"]
    assert {r["max_completion_tokens"] for r in server.requests if "max_tokens" not in r} == {9}
    assert len(server.requests) <= len(QUESTIONS) + 4  # those that were under way at first


SEED_REFUSED = b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}'


def test_a_seed_that_is_refused_is_left_out_from_then_on(stand_in: Any) -> None:
    """Mistral's way."""
    server = stand_in(lambda n, body, h: (422, {}, SEED_REFUSED) if "seed" in body else echo(n, body, h))
    heard: list[str] = []
    endpoint = Endpoint(config(server, concurrency=1), on_retry=lambda reason, seconds: heard.append(reason))
    assert all(answer.refused is None for answer in ask(QUESTIONS, endpoint).values())
    assert len(heard) == 1 and heard[0].endswith("Asking without seed from now on")
    assert len(server.requests) == len(QUESTIONS) + 1


@pytest.mark.parametrize(
    ("refused", "fields"), [(("max_tokens", "max_completion_tokens"), {}), (("temperature",), {}), (("seed",), {"seed": 5})]
)
def test_a_field_that_is_refused_in_every_form_is_named_at_once(stand_in: Any, refused: tuple[str, ...], fields: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        named = next(name for name in refused if name in body)
        return 400, {}, {"error": {"message": f"Unsupported parameter: '{named}'"}}

    server = stand_in(behave)
    with pytest.raises(EndpointError, match=rf"refuses the field {refused[-1]} .*--request_fields '{{\"{refused[-1]}\": null}}'"):
        ask(QUESTIONS, Endpoint(config(server, concurrency=1, request_fields=fields)))
    assert len(server.requests) == len(refused)


def test_a_limit_that_is_too_large_keeps_its_name(stand_in: Any) -> None:
    words = "'max_tokens' or 'max_completion_tokens' is too large: 9. This model's maximum context length is 8 tokens"  # vLLM
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": words}}) if n == 1 else echo(n, body, h))
    heard: list[str] = []
    found = ask(QUESTIONS, Endpoint(config(server, concurrency=1), on_retry=lambda reason, seconds: heard.append(reason)))
    assert found[Key(0)].refusal == TOO_LONG and heard == []
    assert all(r["max_tokens"] == 9 for r in server.requests)


def test_a_server_that_refuses_n_is_never_asked_for_it(stand_in: Any) -> None:
    server = stand_in(lambda n, body, h: (400, {}, b"n must be 1") if "n" in body else echo(n, body, h))
    assert len(ask(QUESTIONS, Endpoint(config(server)))) == len(server.requests) == len(QUESTIONS)
    with pytest.raises(ConfigError, match="--request_fields cannot set n, stream"):
        config(server, request_fields={"stream": True, "n": 4})


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


@pytest.mark.parametrize("key", ["x", "EMPTY", "sk-1", KEY])
def test_a_key_is_struck_out_only_where_it_is_one(stand_in: Any, key: str) -> None:
    """The placeholders that people give to their own servers may be parts of words, and words of a plan."""
    plan = "(move x y)\n(unstack EMPTY sk-1)\n"

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        told = headers["Authorization"]
        asked_with = body["messages"][0]["content"]
        if number == 1:
            return 500, {}, {"error": {"message": f"maximum EMPTYness of {told}, risk-19"}}
        return 200, {}, completion(plan if "Objects" in asked_with else f"maximum: {told}")

    heard: list[str] = []
    endpoint = Endpoint(config(stand_in(behave)), key, lambda reason, seconds: heard.append(reason))
    assert endpoint.answer(Question(0, 0, "Objects: x y EMPTY sk-1")).text == plan
    assert heard == ["HTTP 500: maximum EMPTYness of Bearer [key], risk-19"]
    assert endpoint.answer(Question(0, 0, "prompt")).text == "maximum: Bearer [key]"


def test_a_garbled_answer_shows_no_half_of_a_key(stand_in: Any) -> None:
    heard: list[str] = []
    for before in range(280, 301):
        server = stand_in(lambda n, body, h, width=before: (200, {}, b"-" * width + KEY.encode()) if n == 1 else echo(n, body, h))
        Endpoint(config(server), KEY, lambda reason, seconds: heard.append(reason)).answer(QUESTIONS[0])
        server.close()
    assert len(heard) == 21 and not any(KEY[:4] in reason for reason in heard)


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


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ([], ""),
        ("\ud800x", "?x"),
        ([{"type": "text", "text": "(sail "}, {"type": "text", "text": "a b)"}], "(sail a b)"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "(no)"}]}, {"type": "text", "text": "(yes)"}], "(yes)"),
        (["(sail a b)"], "(sail a b)"),
    ],
)
def test_an_answer_in_parts_or_without_words_is_an_answer(stand_in: Any, content: Any, text: str) -> None:
    server = stand_in(lambda n, body, h: (200, {}, completion(content, "length")))
    answer = Endpoint(config(server)).answer(QUESTIONS[0])
    assert (answer.text, answer.cut_off, answer.prompt_tokens) == (text, True, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_no_part_of_the_answer(stand_in: Any, name: str) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        cut = number == 2  # in the middle of its reasoning
        message = {"content": None if cut else "(sail a b)", name: "First (debark c) ..."}
        return 200, {}, {"choices": [{"message": message, "finish_reason": "length" if cut else "stop"}]}

    endpoint = Endpoint(config(stand_in(behave)))
    assert [(a.text, a.cut_off) for a in map(endpoint.answer, QUESTIONS[:2])] == [
        ("(sail a b)", False),
        ("<think>First (debark c) ...", True),
    ]


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
        ({"request_fields": {"messages": []}}, "--request_fields cannot set messages"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_showing_secrets(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        EndpointConfig(**{"base_url": "https://host/v1", "model": "m", "max_tokens": 9, **changes})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1 sk-1", " sk-1"])
def test_a_key_with_a_space_or_line_end_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(GrpoProjectError) as caught:
        Endpoint(EndpointConfig("https://host/v1", "m", 9), key)
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
