"""Answers from an OpenAI-compatible chat endpoint: retries with backoff, a rate limit, several requests at a time.

The key comes from the environment and goes into one header of requests to the named host and nowhere else: redirects are refused,
and where a server repeats the key in an answer or an error, it is removed before it is shown or written.

Every answer is a request of its own, with a seed of its own: `n`, which not every server takes, is never asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import math
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, NoReturn

from grpo_project.common.files import json_value
from grpo_project.errors import ConfigError, GrpoProjectError, printable
from grpo_project.evaluation.answers import FILTERED, ONLY_REASONING, TOO_LONG, Answer, Question, Record, reason_in
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, to_messages
from grpo_project.prompting.content import content_text

RETRIED_STATUS = frozenset({408, 409, 425, 429})  # and every 5xx
REFUSED_STATUS = frozenset({400, 413, 422})  # of this one request; another may pass
LIMIT, NEWER_LIMIT, SEED = "max_tokens", "max_completion_tokens", "seed"
OTHER_FORM = {LIMIT: NEWER_LIMIT, SEED: None}  # of a field that a server refuses; None: it is left out
_REFUSES_A_FIELD = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden|deprecated|instead",
    re.IGNORECASE,
)
_NO_MONEY = re.compile(r"insufficient[ _](quota|balance|credit|fund)", re.IGNORECASE)  # a 429 that no waiting helps
ENDED = ("stop", "eos", "end_turn", None)  # finish_reason of an answer that the model itself ended
OWN_FIELDS = frozenset({"messages", "n", "stream"})  # as the client needs them
LONG_KEY = 8  # characters that do not stand in a text by chance; a shorter key is struck out only as a word of its own
LONGEST_WAIT_SECONDS = 60.0
NO_WORDS_TOKENS = 2  # of an answer that is none: its end mark, after a line end perhaps
LARGEST_RESPONSE_BYTES = 32 * 2**20
PATH = "/chat/completions"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class EndpointError(GrpoProjectError):
    """The endpoint refuses, or does not answer although it was asked several times."""


@dataclass(frozen=True)
class EndpointConfig:
    """How to ask. base_url ends before /chat/completions or with it. timeout_seconds: for one request. requests_per_minute 0: no
    limit. patience_seconds: so long after a question was first asked, no further try of it begins.

    chat: what stands around a prompt; its template's arguments go along, as vLLM and SGLang take them. request_fields go into
    every request's body; a null takes a field out. Raises ConfigError for what cannot be.
    """

    base_url: str
    model: str
    max_tokens: int
    temperature: float = 1.0  # of samples; greedy answers are asked for at 0
    seed: int = 0
    concurrency: int = 4
    requests_per_minute: float = 0.0
    max_retries: int = 6
    timeout_seconds: float = 300.0
    patience_seconds: float = math.inf
    first_wait_seconds: float = 1.0
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    chat: ChatOptions = PLAIN_CHAT

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--base_url must look like https://host/v1, got {_without_secrets(self.base_url)!r}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError("--base_url must hold no user, password or query: keys come from the environment only")
        timeout, rate = self.timeout_seconds, self.requests_per_minute
        own = sorted(OWN_FIELDS & set(self.request_fields))
        for holds, said in (
            (self.max_tokens >= 1, f"--max_completion_length must be at least 1, got {self.max_tokens}"),
            (self.concurrency >= 1, f"--concurrency must be at least 1, got {self.concurrency}"),
            (self.max_retries >= 0, f"--max_retries must be at least 0, got {self.max_retries}"),
            (math.isfinite(rate) and rate >= 0, f"--requests_per_minute must be at least 0, got {rate}"),
            (math.isfinite(timeout) and timeout > 0, f"--timeout must be above 0 seconds, got {timeout}"),
            (not own, f"--request_fields cannot set {', '.join(own)}: an answer is asked for alone, and read when it is whole"),
        ):
            if not holds:
                raise ConfigError(said)

    @property
    def url(self) -> str:
        return self.base_url.rstrip("/").removesuffix(PATH) + PATH

    @property
    def sends_keys_in_the_open(self) -> bool:
        """Whether a key would be sent unencrypted to another machine."""
        parts = urllib.parse.urlsplit(self.base_url)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK


class _Retry(Exception):
    """Worth another try; `wait_seconds` is what the server asked for, or None."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _Refused(Exception):
    """This request will not be answered, however often it is made. The message is the server's, without the key."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would carry the Authorization header to wherever the server points."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


class _Pace:
    """Lets requests begin at most so often, whoever makes them, and all of them wait when the server asks for it."""

    def __init__(self, per_minute: float, clock: Callable[[], float], stop: threading.Event) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock, self._stop = clock, stop
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when it is this request's turn, or at once when everything stops."""
        with self._lock:
            turn = max(self._clock(), self._next)
            self._next = turn + self._interval
        self._stop.wait(max(0.0, turn - self._clock()))

    def hold(self, seconds: float) -> None:
        """No request begins for so long."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


class Endpoint:
    """Answers questions through one endpoint. `key` is None where the server wants none; it is never shown.

    `on_retry` is called with the reason and the seconds before a request is made again; `on_stop`, after Ctrl-C, with the number
    of requests under way.
    """

    def __init__(
        self,
        config: EndpointConfig,
        key: str | None = None,
        on_retry: Callable[[str, float], None] = lambda reason, seconds: None,
        on_stop: Callable[[int], None] = lambda under_way: None,
    ) -> None:
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
            raise ConfigError("the key in the environment holds spaces, line ends or other characters that no key has")
        self.config = config
        self._key = key
        edges = ("", "") if key is None or len(key) >= LONG_KEY else (r"(?<!\w)", r"(?!\w)")
        self._written_key = re.compile(re.escape(key or "").join(edges)) if key else None
        self._forms: dict[str, str | None] = {}  # of OTHER_FORM, those that this server wants
        self._lock = threading.Lock()  # around changes of it
        self._on_retry, self._on_stop = on_retry, on_stop
        # A server on this machine is not behind the proxy that the environment may name.
        local = urllib.parse.urlsplit(config.base_url).hostname in LOOPBACK
        direct = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(_NoRedirect(), *direct)
        self._stop = threading.Event()
        self._pace = _Pace(config.requests_per_minute, time.monotonic, self._stop)

    def __repr__(self) -> str:
        return f"Endpoint({self.config.url}, {self.config.model})"

    def __call__(self, questions: Sequence[Question], record: Record) -> None:
        """Asks all questions, `concurrency` at a time, and records each answer in this thread as it comes.

        Raises EndpointError or ConfigError at the first question that gets no answer. What was answered by then is recorded, and
        so is what is under way: it has been paid for. The same after Ctrl-C; a second one does not wait.
        """
        left = iter(questions)
        running: dict[Future[Answer], Question] = {}
        failure: BaseException | None = None
        self._stop.clear()
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            try:
                while True:
                    try:
                        for question in islice(left, 0 if failure else self.config.concurrency - len(running)):
                            running[pool.submit(self.answer, question)] = question
                        if not running:
                            break
                        done, _ = wait(running, return_when=FIRST_COMPLETED)
                        for future in done:
                            error = _keep(future, running.pop(future), record)
                            failure = failure or error
                    except KeyboardInterrupt as stop:
                        if isinstance(failure, KeyboardInterrupt):
                            raise
                        failure = stop
                        self._on_stop(len(running))
                    if failure is not None:
                        self._stop.set()  # who waits for another try gives up
            finally:
                self._stop.set()
        if failure is not None:
            raise failure

    def answer(self, question: Question) -> Answer:
        """One answer, after up to `max_retries` tries more; an empty one where the server refuses this question for good.

        Raises EndpointError, or ConfigError for a refused key.
        """
        patience_ends = time.monotonic() + self.config.patience_seconds
        for attempt in range(self.config.max_retries + 1):
            self._pace.wait()
            began = time.monotonic()
            try:
                return self._read(self._ask(question), time.monotonic() - began, question)
            except _Refused as refusal:
                return Answer("", seconds=time.monotonic() - began, refused=str(refusal))
            except _Retry as retry:
                reason = self._clean(str(retry))
                seconds = self._wait_seconds(attempt, question, retry.wait_seconds)
                too_late = time.monotonic() + seconds >= patience_ends
                if attempt == self.config.max_retries or too_late or self._stop.is_set():
                    tries = f"{attempt + 1} tries" if attempt else "one try"
                    raise EndpointError(
                        f"{self.config.url} gave no answer after {tries}: {reason}. Run the same command again to go on"
                    ) from None
                if retry.wait_seconds is not None:
                    self._pace.hold(seconds)
                self._on_retry(reason, seconds)
                self._stop.wait(seconds)
        raise AssertionError("unreachable")

    def _ask(self, question: Question) -> bytes:
        """What the server answers; a field that it refuses has its other form from then on.

        Raises EndpointError for a field that has no other form, or that one is refused too.
        """
        while True:
            forms = self._forms
            body = self._body(question, forms)
            try:
                return self._post(body)
            except _Refused as refusal:
                name = _refused_field(body, str(refusal))
                if name is None:
                    raise
                if name not in OTHER_FORM or name in forms or name in self.config.request_fields:
                    raise EndpointError(
                        f"{self.config.url} refuses the field {name} ({refusal}). Set it otherwise, or take it out: "
                        f"--request_fields '{json.dumps({name: None})}'"
                    ) from None
                self._change(name, str(refusal))

    def _change(self, name: str, refusal: str) -> None:
        """From now on a field has its other form, which is said once."""
        with self._lock:
            first, self._forms = name not in self._forms, {**self._forms, name: OTHER_FORM[name]}
        if first:
            how = f"with {OTHER_FORM[name]}" if OTHER_FORM[name] else f"without {name}"
            self._on_retry(f"{refusal}. Asking {how} from now on", 0.0)

    def _body(self, question: Question, forms: Mapping[str, str | None]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": to_messages(question.turns, chat=self.config.chat),
            "chat_template_kwargs": dict(self.config.chat.arguments) or None,
            LIMIT: self.config.max_tokens,
            "temperature": 0.0 if question.greedy else self.config.temperature,
            SEED: _seed(self.config.seed, question),
            "stream": False,  # some gateways stream where nothing is said
        }
        named = {forms.get(name, name): value for name, value in body.items()} | dict(self.config.request_fields)
        return {name: value for name, value in named.items() if name is not None and value is not None}

    def _wait_seconds(self, attempt: int, question: Question, asked: float | None) -> float:
        """What the server asks for, else doubling from the first wait, with a jitter of up to a quarter."""
        if asked is not None:
            return min(asked, LONGEST_WAIT_SECONDS)
        jitter = 0.75 + 0.5 * (_seed(attempt, question) / 2**31)
        return min(self.config.first_wait_seconds * 2.0**attempt * jitter, LONGEST_WAIT_SECONDS)

    def _post(self, body: Mapping[str, Any]) -> bytes:
        request = urllib.request.Request(self.config.url, data=json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        if self._key is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=self.config.timeout_seconds) as response:
                content: bytes = response.read(LARGEST_RESPONSE_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except TimeoutError:
            raise _Retry(f"no answer within {self.config.timeout_seconds:g} s") from None
        except urllib.error.URLError as error:
            raise _Retry(f"no connection ({error.reason})") from None
        except (OSError, http.client.HTTPException) as error:
            raise _Retry(f"the connection broke ({type(error).__name__})") from None
        if len(content) > LARGEST_RESPONSE_BYTES:
            raise _Retry("the answer is longer than 32 MiB")
        return content

    def _refused(self, error: urllib.error.HTTPError) -> None:
        """Raises what a status other than 2xx means."""
        said = ""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            said = error.read(4096).decode("utf-8", errors="replace")
        self._raise(error.code, said, _retry_after(error.headers.get("Retry-After")))

    def _raise(self, status: int, said: str, wait_seconds: float | None) -> NoReturn:
        message = self._clean(_message(said))
        told = f"HTTP {status}" + (f": {message}" if message else "")
        reason = reason_in(told)
        if _NO_MONEY.search(said):
            raise EndpointError(f"{self.config.url} wants to be paid ({told}). Then run the same command again to go on")
        if status in REFUSED_STATUS or (status >= 500 and reason == TOO_LONG) or (status == 403 and reason == FILTERED):
            raise _Refused(told)
        if status in RETRIED_STATUS or status >= 500:
            raise _Retry(told, wait_seconds)
        if status in (401, 403):
            how = "refuses the key" if self._key else "wants a key, and the environment names none"
            raise ConfigError(f"{self.config.url} {how} ({told}). See --api_key_env")
        if 300 <= status < 400:
            raise ConfigError(f"{self.config.url} points elsewhere ({told}); name the final address with --base_url")
        raise EndpointError(f"{self.config.url} refuses the request ({told})")

    def _completion(self, content: bytes) -> dict[str, Any]:
        """The JSON object of an answer. A text that was cut short is asked for again; a web page, or an error in the place of an
        answer, would only come again."""
        said = content.decode("utf-8", "replace")
        try:
            value = json_value(content)
        except ValueError:
            if said.lstrip().startswith("<"):
                raise EndpointError(
                    f"{self.config.url} answers with a web page ({self._clean(said)}): --base_url must end where the server's "
                    "/chat/completions begins, mostly in /v1"
                ) from None
            if said.lstrip().startswith("data:"):
                raise EndpointError(
                    f"{self.config.url} streams its answers, although asked not to: set it to whole answers"
                ) from None
            raise _Retry(f"an answer that is no JSON: {said}") from None
        error = value.get("error") if isinstance(value, dict) else None
        if error and not value.get("choices"):
            code = error.get("code") if isinstance(error, dict) else None
            self._raise(code if isinstance(code, int) and 400 <= code < 600 else 400, said, None)
        if not isinstance(value, dict):
            raise _Refused(f"no chat completion: {self._clean(said)}")
        return value

    def _read(self, content: bytes, seconds: float, question: Question) -> Answer:
        value = self._completion(content)
        try:
            choice, usage = value["choices"][0], value.get("usage") or {}
            message, finish = choice["message"], choice.get("finish_reason")
            text = content_text(message.get("content")).encode("utf-8", "replace").decode()
            prompt_tokens, completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
            reasoning = message.get("reasoning_content") or message.get("reasoning")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _Refused(f"no chat completion: {self._clean(content.decode('utf-8', 'replace'))}") from None
        if not text and finish == "length" and isinstance(reasoning, str):
            # As a model that is loaded here would have written it: cut off while thinking.
            text = f"<think>{reasoning}".encode("utf-8", "replace").decode()
        # A word of the question is nothing that the server tells, and may be one of the plan (a key of `x`).
        asked_with_it = self._written_key is not None and any(map(self._written_key.search, question.turns))
        return Answer(
            text=text if asked_with_it else self._strike_key(text),
            prompt_tokens=prompt_tokens if isinstance(prompt_tokens, int) else None,
            completion_tokens=completion_tokens if isinstance(completion_tokens, int) else None,
            seconds=seconds,
            cut_off=finish == "length" if isinstance(finish, str) else None,
            refused=None if text else self._no_words(message, finish, reasoning, completion_tokens),
        )

    def _no_words(self, message: Mapping[str, Any], finish: Any, reasoning: Any, tokens: Any) -> str | None:
        """Why a message without words is no answer; None where the model itself ended it, having nothing to say."""
        if message.get("refusal"):
            return self._clean(f"the model declines: {message['refusal']}")
        if finish not in ENDED:
            return self._clean(f"no words, finish_reason {finish}")
        if reasoning:
            return f"no words, {ONLY_REASONING}"
        if message.get("tool_calls"):
            return "no words, but calls of tools"
        # A parser of the server's may lose what a model wrote (vllm-project/vllm#45736).
        return f"no words of {tokens} tokens" if isinstance(tokens, int) and tokens > NO_WORDS_TOKENS else None

    def _strike_key(self, text: str) -> str:
        return self._written_key.sub("[key]", text) if self._written_key else text

    def _clean(self, text: str) -> str:
        """A server's words for one line of ours."""
        return printable(" ".join(self._strike_key(text).split()))[:300]


def _keep(future: Future[Answer], question: Question, record: Record) -> GrpoProjectError | None:
    """Records an answer, or returns why there is none."""
    try:
        record(question, future.result())
    except GrpoProjectError as error:
        return error
    return None


def _message(said: str) -> str:
    """The message in an error body, by OpenAI's convention, or the body itself."""
    try:
        body = json_value(said)
        error = body.get("error", body)  # vLLM once had it bare
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return said


def _refused_field(body: Mapping[str, Any], said: str) -> str | None:
    """The field of the request that a server does not know or take: "Unsupported parameter: 'max_tokens' is not supported with
    this model" (OpenAI). None where the request itself is at fault: vLLM names both limits where a question is too long."""
    if reason_in(said) in (TOO_LONG, FILTERED) or not _REFUSES_A_FIELD.search(said):
        return None
    own = (name for name in body if name not in ("model", "messages"))
    return next((name for name in own if re.search(rf"\b{re.escape(name)}\b", said)), None)


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, from a number or a date; None where the header is missing, makes no sense or names no time to come."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _seed(seed: int, question: Question) -> int:
    """One for every question, in [0, 2**31): servers that honour seeds then give the same samples again."""
    row_index, sample, turn = question.key
    later = f"/{turn}" if turn else ""
    digest = hashlib.sha256(f"{seed}/{row_index}/{sample}{later}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _without_secrets(url: str) -> str:
    """A malformed address for a message, without what may be a password."""
    return url.rpartition("@")[2].partition("?")[0]
