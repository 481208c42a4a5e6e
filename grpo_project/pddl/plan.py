r"""From raw model text to plan steps, or a format fault. Strict and total: never an exception, never a guess.

What is read, from the outside in:

1. Chat marks: one header in front (<|im_start|>assistant, <|assistant|>, Assistant:, ...), up to 4 end-of-turn marks behind.
2. Reasoning: closed blocks <think>...</think>, or those of another family (REASONING), in front of the answer. A closing mark
   alone also ends it: chat templates that open the block put the opening tag into the prompt (where the template is known,
   prompting/chat.py puts it back, so that an answer cut off in there is not read as a plan). One never closed is a fault, and
   so is reasoning with nothing behind it, since that is no plan.
3. A wrapper around the whole plan: a code fence, <answer>...</answer>, <plan>...</plan>, [PLAN]...[PLAN END] and its like, or
   (plan (name argument ...) ...), \boxed{...}, or two of them, one inside the other.
4. Steps "(name argument ...)", any number a line, in any case, white space at will. A step may have a number or a time stamp in
   front ("3.", "3)", "3:", "0.5:"; those with a colon must increase, since VAL would sort them) and a duration behind ("[1]").
5. `;` comments to the end of their line.

Everything else is a fault, prose above all: VAL drops a plan from the first prose on and validates what is left, be it empty, and
a reward would pay for it. An empty text, or one with nothing but comments, is the empty plan. Time and memory are linear in the
text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from grpo_project.pddl.model import Step
from grpo_project.pddl.syntax import NAME

MAXIMUM_CHARACTERS = 1_000_000
MAXIMUM_STEPS = 10_000
MAXIMUM_END_MARKS = 4
MAXIMUM_WRAPPERS = 2

# The quantifiers are possessive (`*+`) where what follows cannot start with what they took: nothing is ever tried twice.
_HEADER = (
    r"<\|im_start\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|?assistant\|?>|<start_of_turn>model"
    r"|<\|turn>model"
    r"|<\|start\|>\s*assistant|\[\|assistant\|\]|<\|CHATBOT_TOKEN\|>|\[/INST\]|{0}(?:###\s*)?assistant\s*:"
)
ANSWER_HEADER = re.compile(_HEADER.format("^[ \t]*+"), re.IGNORECASE | re.MULTILINE)  # anywhere; one in words begins its line
_FIRST_HEADER = re.compile(rf"(?:{_HEADER.format('')})\s*+", re.IGNORECASE)
END_OF_TURN = (
    *("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end|>", "<end_of_turn>", "<turn|>", "<eos>", "</s>"),
    *("<|return|>", "[|endofturn|]", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>"),
)
# family: how its reasoning is opened, how it is closed.
REASONING = {
    # Qwen3, DeepSeek-R1, GLM-4.5, MiniMax-M2 (docs.vllm.ai, Reasoning Outputs); the others are what prompts ask models for
    "tags": (r"<(?:think|thinking|reasoning|reflection)>", r"</(?:think|thinking|reasoning|reflection)>"),
    "EXAONE Deep": (r"<thought>", r"</thought>"),  # arXiv 2503.12524
    "Mistral": (r"\[THINK\]", r"\[/THINK\]"),  # docs.mistral.ai, Reasoning
    "Seed-OSS": (r"<seed:think>", r"</seed:think>"),  # docs.vllm.ai, seedoss_reasoning_parser
    "Kimi": (r"◁think▷", r"◁/think▷"),  # docs.nvidia.com/dynamo, Reasoning
    "Cohere": (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # docs.cohere.com, Reasoning
    "Gemma 4": (r"<\|channel>thought", r"<channel\|>"),  # ai.google.dev/gemma/docs/core/prompt-formatting-gemma4
    # Sky-T1, and what is trained on OpenThoughts (their system prompt, github.com/NovaSky-AI/SkyThought)
    "Sky-T1": (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    # gpt-oss: the channels of cookbook.openai.com, OpenAI Harmony Response Format
    "gpt-oss": (
        r"<\|channel\|>(?:analysis|commentary)[^<]*+<\|message\|>",
        r"<\|channel\|>final[^<]*+(?:<\|constrain\|>[^<]*+)?<\|message\|>",
    ),
    # the same where special tokens were left out of the text
    "gpt-oss, plain": (r"(?-i:\Aanalysis(?=[A-Z]))", r"(?-i:assistantfinal)"),
}
_REASONING_MARK = re.compile(
    f"(?P<open>{'|'.join(opening for opening, _ in REASONING.values())})"
    f"|(?P<close>{'|'.join(closing for _, closing in REASONING.values())})",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[ \t]*+(?:pddl|lisp|plan|text|plaintext)?[ \t]*+\r?\n", re.IGNORECASE)
# kind of wrapper: how it is opened, how it is closed. [PLAN] is that of PlanBench's prompts (Valmeekam et al., 2023), and of what
# models make of it; (plan ...) is that of planners' and textbooks' plan files.
WRAPPERS = {
    "answer": (r"<answer>", r"</answer>"),
    "plan": (r"<plan>", r"</plan>"),
    "[PLAN]": (r"\[(?:begin[ _])?plan(?:[ _](?:begin|start))?\]", r"\[(?:plan[ _]end|end[ _](?:of[ _])?plan|/plan)\]"),
    "response": (r"<\|START_RESPONSE\|>", r"<\|END_RESPONSE\|>"),  # Cohere's, behind its reasoning
    "ERNIE": (r"<response>", r"</response>"),  # behind its reasoning; docs.vllm.ai, ernie45_reasoning_parser
    "solution": (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),  # Sky-T1's
    "box": (r"<\|begin_of_box\|>", r"<\|end_of_box\|>"),  # GLM-4.1V and 4.5V
    # as models are taught to end mathematics
    "boxed": (r"(?:\$\$?+|\\[(\[]\s*+)?+\\boxed\s*+\{(?:\\text\s*+\{)?+", r"\}\s*+\}?+\s*+(?:\$\$?+|\\[)\]])?+"),
    "(plan": (r"\(\s*+plan\s*+(?=\(|\d|;)", r"\)\Z"),
}
_WRAPPERS = [(re.compile(opening, re.I), re.compile(closing, re.I)) for opening, closing in WRAPPERS.values()]
_PLAN_LIST = _WRAPPERS[-1][0]
_MARKS = ("<", "`", ":", "]", "\\", "◁", "assistantfinal")  # without any, rules 1 to 3 have nothing to say but of (plan ...)
_COMMENT = re.compile(r";[^\n]*+")
PLAIN_STEP = re.compile(rf"\({NAME}(?: {NAME})*+\)", re.ASCII)  # a step as this suite writes it
_PLAIN_PLAN = re.compile(rf"(?:\s*+\(\s*+{NAME}(?:\s++{NAME})*+\s*+\))*+\s*+", re.ASCII)
_STEP = re.compile(
    r"\s*+(?:(\d++(?:\.\d++)?+)\s*+([:.)])\s*+)?"  # a step number or a time stamp
    rf"\(\s*+({NAME}(?:\s++{NAME})*+)\s*+\)"
    r"(?:\s*+\[\s*+\d++(?:\.\d++)?+\s*+\])?+\s*+",  # a duration
    re.ASCII,
)


@dataclass(frozen=True)
class Extraction:
    """`steps` (lower case) or, where the text is no plan, None and the `fault`.

    `cut_off`: the text ends inside a step, as an answer does that ran into its token limit.
    """

    steps: tuple[Step, ...] | None
    fault: str | None = None
    cut_off: bool = False


def extract_plan(text: str) -> Extraction:
    """Total: every string gives an Extraction. See the module for the rules."""
    if len(text) > MAXIMUM_CHARACTERS:
        return Extraction(None, f"the answer is longer than {MAXIMUM_CHARACTERS} characters")
    body = text.strip()
    if any(mark in body for mark in _MARKS) or _PLAN_LIST.match(body):
        unwrapped = _unwrap(body)
        if isinstance(unwrapped, Extraction):
            return unwrapped
        body = unwrapped
    if ";" in body:
        body = _COMMENT.sub("", body)
    if _PLAIN_PLAN.fullmatch(body):
        steps = tuple([tuple(step.split()) for step in body.lower().replace("(", " ").split(")")[:-1]])
        return Extraction(steps) if len(steps) <= MAXIMUM_STEPS else _too_many()
    return _extract_stamped(body)


def render_plan(steps: Iterable[Step]) -> str:
    """One step a line, each line ended: the only form in which we write plans."""
    return "".join(f"({' '.join(step)})\n" for step in steps)


def render_answer(reasoning: Sequence[str], steps: Iterable[Step]) -> str:
    """The words of the reasoning in one <think> block, if there are any, and the plan."""
    return (f"<think> {' '.join(reasoning)} </think>\n" if reasoning else "") + render_plan(steps)


def open_reasoning(text: str) -> str:
    """The mark of the reasoning block that `text` ends in, since it was never closed; "" where it ends outside of any."""
    last = _last_reasoning_mark(text)
    return last["open"] or "" if last else ""


def without_reasoning(text: str) -> str:
    """What stands behind the last closed reasoning block, without blank ends; "" where the text ends in an open one."""
    last = _last_reasoning_mark(text)
    if last is None:
        return text.strip()
    return text[last.end() :].strip() if last["close"] else ""


def reasoning_of(text: str) -> str:
    """The one closed block of reasoning that an answer begins with, marks included; "" where it does not, or holds several."""
    marks = list(islice(_REASONING_MARK.finditer(text), 3))
    if [mark.lastgroup for mark in marks] != ["open", "close"] or text[: marks[0].start()].strip():
        return ""
    return text[marks[0].start() : marks[1].end()]


def _last_reasoning_mark(text: str) -> re.Match[str] | None:
    return next(iter(deque(_REASONING_MARK.finditer(text), 1)), None)


def without_end_marks(text: str) -> str:
    """`text` without blank ends and up to MAXIMUM_END_MARKS marks that end a turn."""
    text = text.rstrip()
    for _ in range(MAXIMUM_END_MARKS):
        mark = next((mark for mark in END_OF_TURN if text.endswith(mark)), None)
        if mark is None:
            break
        text = text[: -len(mark)].rstrip()
    return text


def _unwrap(body: str) -> str | Extraction:
    """The text inside chat marks, reasoning and one wrapper (rules 1 to 3)."""
    header = _FIRST_HEADER.match(body)
    body = without_end_marks(body[header.end() :] if header else body)
    first, last = _REASONING_MARK.search(body), _last_reasoning_mark(body)
    if first and last:
        if last["open"]:
            return Extraction(None, f"{last.group()} is never closed: the answer was cut off inside its reasoning", True)
        if first["open"] and body[: first.start()].strip():
            return Extraction(None, f"text stands before {first.group()}: {body[:40]!r}")
        body = body[last.end() :].strip()
        if not body:
            return Extraction(None, "nothing stands after the reasoning")
    for _ in range(MAXIMUM_WRAPPERS):
        unwrapped = _without_wrapper(body)
        if unwrapped is None or isinstance(unwrapped, Extraction):
            return unwrapped or body
        body = unwrapped
    return body


def _without_wrapper(body: str) -> str | Extraction | None:
    """The text inside the wrapper that `body` begins with; None where it begins with none."""
    fence = _FENCE.match(body)
    if fence:
        if not body.endswith("```") or len(body) < fence.end() + 3:
            return Extraction(None, "the code fence is never closed, or text stands after it", cut_off="```" not in body[3:])
        return body[fence.end() : -3].strip()
    for opening, closing in _WRAPPERS:
        wrapper = opening.match(body)
        if wrapper and opening is _PLAN_LIST:  # a bracket in a comment closes nothing
            body = _COMMENT.sub("", body).rstrip()
            wrapper = opening.match(body)
        if wrapper:
            ends = list(closing.finditer(body, wrapper.end()))
            if not ends or ends[-1].end() < len(body):
                return Extraction(None, f"{wrapper.group()} is never closed, or text stands after it", cut_off=not ends)
            return body[wrapper.end() : ends[-1].start()].strip()
    return None


def _extract_stamped(body: str) -> Extraction:
    """Step by step, for plans with numbers, stamps or durations, and for faults."""
    body = body.strip()
    steps: list[Step] = []
    position = 0
    last_stamp = -1.0
    while position < len(body):
        match = _STEP.match(body, position)
        if match is None:
            rest = body[position : position + 40]
            cut_off = ")" not in body[position:] and re.match(r"(?:\d[\d.]*+\s*+[:.)]?\s*+)?(?:\(|\Z)", rest) is not None
            return Extraction(None, f"step {len(steps) + 1}: expected '(action ...)', found {rest!r}", cut_off)
        if len(steps) >= MAXIMUM_STEPS:
            return _too_many()
        stamp, mark, words = match.groups()
        if mark == ":":
            if float(stamp) <= last_stamp:
                return Extraction(None, f"step {len(steps) + 1}: time stamp {stamp[:20]} does not come after the one before it")
            last_stamp = float(stamp)
        steps.append(tuple(words.lower().split()))
        position = match.end()
    return Extraction(tuple(steps))


def _too_many() -> Extraction:
    return Extraction(None, f"more than {MAXIMUM_STEPS} steps")
