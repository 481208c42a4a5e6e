"""What stands around a prompt: system turns, thinking, further arguments of the template, on templates of every kind."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

pytest.importorskip("transformers")

from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.pddl.plan import extract_plan, open_reasoning  # noqa: E402
from grpo_project.prompting import ChatOptions, end_of_answer, fit_chat, render_chat, to_messages  # noqa: E402
from grpo_project.prompting.chat import between_answers  # noqa: E402
from grpo_project.sft.examples import tokenize_pairs  # noqa: E402
from tests.thinking_model import (  # noqa: E402
    ALWAYS_THINKS,
    DROPS_SYSTEM_TURN,
    ENDS_BY_NEXT_TURN,
    NO_SYSTEM_TURN,
    PLAIN,
    QWEN3,
    TAKES_REASONING_OUT,
    UNSOUND,
    thinking_tokenizer,
)

EMPTY = "<think>\n\n</think>\n\n"
HEADER = "<|im_start|>assistant\n"
PLAN = "(pick a)\n(drop a)\n"


def test_a_template_with_the_switch_does_not_think_unless_asked_to() -> None:
    tokenizer = thinking_tokenizer()
    left = fit_chat(tokenizer, ChatOptions())
    assert left.enable_thinking is False and left == fit_chat(tokenizer, ChatOptions(enable_thinking=False))
    assert render_chat(tokenizer, "p", chat=left).endswith(HEADER + EMPTY)
    asked = fit_chat(tokenizer, ChatOptions(enable_thinking=True))
    assert render_chat(tokenizer, "p", chat=asked).endswith(HEADER)
    assert left.opened == asked.opened == ""
    plain = fit_chat(thinking_tokenizer(PLAIN), ChatOptions())
    assert plain == ChatOptions() and dict(plain.arguments) == {}


def test_the_flag_is_refused_for_a_template_without_the_switch() -> None:
    for wanted in (True, False):
        for template in (PLAIN, ALWAYS_THINKS):
            with pytest.raises(ConfigError, match="--enable_thinking: the chat template of .* has no such switch"):
                fit_chat(thinking_tokenizer(template), ChatOptions(enable_thinking=wanted))


@pytest.mark.parametrize("template", [QWEN3, PLAIN, ALWAYS_THINKS, NO_SYSTEM_TURN, DROPS_SYSTEM_TURN])
@pytest.mark.parametrize("system", [None, "You write plans."])
@pytest.mark.parametrize("thinking", [None, True])
def test_training_evaluation_and_demonstrations_see_the_same_tokens(template: str, system: str | None, thinking: Any) -> None:
    if thinking and template != QWEN3:
        return
    tokenizer = thinking_tokenizer(template)
    chat = fit_chat(tokenizer, ChatOptions(system_prompt=system, enable_thinking=thinking))
    text = render_chat(tokenizer, "the problem", chat=chat)
    ours = tokenizer(text, add_special_tokens=False)["input_ids"]
    as_trl = tokenizer.apply_chat_template(
        [to_messages("the problem", chat=chat)], add_generation_prompt=True, tokenize=True, return_dict=True, **chat.arguments
    )["input_ids"][0]
    assert ours == as_trl and tokenizer.decode(ours) == text
    ((whole, start),) = tokenize_pairs(tokenizer, [("the problem", PLAN)], chat)
    assert whole[:start] == ours and "(pick a)\n(drop a)\n<|im_end|>" in tokenizer.decode(whole[start:])
    assert (system is None) == ("You write plans." not in text)


def test_an_empty_block_that_stands_only_before_answers_that_are_asked_for_is_kept_in_demonstrations() -> None:
    tokenizer = thinking_tokenizer(QWEN3.replace("and loop.last", "and false"))
    chat = fit_chat(tokenizer, ChatOptions())
    assert render_chat(tokenizer, "p", PLAN, chat) == f"<|im_start|>user\np<|im_end|>\n{HEADER}{EMPTY}{PLAN}<|im_end|>\n"


@pytest.mark.parametrize("thinking", [None, True])
@pytest.mark.parametrize("template", [QWEN3, TAKES_REASONING_OUT, PLAIN, ALWAYS_THINKS])
def test_a_demonstration_s_reasoning_is_learned_as_it_is_and_once(template: str, thinking: bool | None) -> None:
    if thinking and template in (PLAIN, ALWAYS_THINKS):
        return  # they have no switch
    tokenizer = thinking_tokenizer(template)
    chat = fit_chat(tokenizer, ChatOptions(enable_thinking=thinking))
    answer = "<think> c1 l2 ; </think>\n(board c1 l2)\n"
    asked, whole = render_chat(tokenizer, "a problem", chat=chat), render_chat(tokenizer, "a problem", answer, chat)
    assert whole.startswith(asked)
    learned = whole[len(asked) :]
    assert chat.whole_answer(learned).replace("<think>\n", "<think>").startswith(answer)
    assert learned.count("c1 l2 ; </think>") == 1 and learned.count("<think>") == (not chat.opened)
    assert learned.endswith("(board c1 l2)\n<|im_end|>\n")


@pytest.mark.parametrize(
    ("template", "reason"), [(NO_SYSTEM_TURN, "System role not supported"), (DROPS_SYSTEM_TURN, "leaves it out")]
)
def test_a_system_text_that_the_template_does_not_take_stands_before_the_users_and_that_is_said(
    template: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = thinking_tokenizer(template)
    with caplog.at_level(logging.WARNING):
        chat = fit_chat(tokenizer, ChatOptions(system_prompt="You write plans."))
    assert reason in caplog.text and "the text stands before the user's" in caplog.text
    assert "<|im_start|>user\nYou write plans.\n\np<|im_end|>" in render_chat(tokenizer, "p", chat=chat)
    assert chat.asked() == {"system_prompt": "You write plans."}


def test_a_template_that_fails_ends_in_one_line() -> None:
    for template in ("{{ 1 / 0 }}", "{% if %}", "{{ messages[0].content + 1 }}", "{{ raise_exception('no') }}"):
        with pytest.raises(ConfigError, match="the chat template of .* fails: .+ Repair it") as told:
            fit_chat(thinking_tokenizer(template), ChatOptions())
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", UNSOUND)
def test_a_template_that_nothing_could_be_trained_on_is_refused_in_one_line(name: str) -> None:
    template, message = UNSOUND[name]
    with pytest.raises(ConfigError, match=f"^the chat template of the tokenizer {message}") as told:
        fit_chat(thinking_tokenizer(template), ChatOptions())
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ '[INST] ' + m.content + '[/INST]' if m.role == 'user' else ' ' + m.content + '<|im_end|>' }}"
        "{% endfor %}",  # Mistral: the mark that ends a prompt opens the answer, whoever asks
        PLAIN.replace("{{ message['content'] }}", "{{ message['content'] | trim }}"),
        PLAIN.replace("{% endfor %}", "{% endfor %}{% if not add_generation_prompt %}<|endoftext|>{% endif %}"),
        # gpt-oss: the model itself writes the channel between the opening and the answer
        PLAIN.replace("{{ message['content'] }}", "{% if message.role == 'assistant' %}final: {% endif %}{{ message.content }}"),
    ],
)
def test_templates_of_other_families_are_taken(template: str) -> None:
    tokenizer = thinking_tokenizer(template)
    prompt, whole = (render_chat(tokenizer, "p", answer, fit_chat(tokenizer, ChatOptions())) for answer in (None, PLAN))
    assert whole.startswith(prompt) and PLAN.strip() in whole[len(prompt) :]


def test_where_nothing_ends_an_answer_but_the_next_turn_its_header_does() -> None:
    tokenizer = thinking_tokenizer(ENDS_BY_NEXT_TURN)
    chat = fit_chat(tokenizer, ChatOptions())
    end = end_of_answer(tokenizer, chat)
    assert chat.closing == "<|im_start|>" and end == tokenizer.convert_tokens_to_ids("<|im_start|>")
    ((ids, start),) = tokenize_pairs(tokenizer, [("p", PLAN)], chat)
    assert ids[-1] == end and start < len(ids) - 1
    taught = render_chat(tokenizer, "p", PLAN, chat)
    assert taught + between_answers(tokenizer, "again", chat) == render_chat(tokenizer, ("p", PLAN, "again"), chat=chat)
    assert fit_chat(thinking_tokenizer(PLAIN), ChatOptions()).closing == ""


def test_a_template_that_writes_the_time_writes_the_same_one_always(caplog: pytest.LogCaptureFixture) -> None:
    """Else a continued run would train on other prompts than it began with. Our rendering, and TRL's with the same arguments."""
    tokenizer = thinking_tokenizer("{{ strftime_now('%Y-%m-%d %H:%M') }} " + PLAIN)
    with caplog.at_level(logging.WARNING):
        chat = fit_chat(tokenizer, ChatOptions())
    assert "writes the time: it is told 2024-07-26, always" in caplog.text
    assert render_chat(tokenizer, "p", chat=chat).startswith("2024-07-26 00:00 <|im_start|>user")
    assert pickle.loads(pickle.dumps(dict(chat.arguments))).keys() == {"strftime_now"}  # TRL keeps its arguments in a file
    assert not fit_chat(thinking_tokenizer(PLAIN), ChatOptions()).clock_stands


def test_arguments_of_the_template_reach_it_and_what_it_does_not_read_is_named(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = thinking_tokenizer("{{ effort }} " + PLAIN)
    with caplog.at_level(logging.WARNING):
        chat = fit_chat(tokenizer, ChatOptions(chat_template_kwargs='{"effort": "low", "efort": "high"}'))
    assert render_chat(tokenizer, "p", chat=chat).startswith("low <|im_start|>user")
    assert "makes the same prompts without efort" in caplog.text and "without effort" not in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "--chat_template_kwargs is no JSON"),
        ("[1]", "--chat_template_kwargs must be a JSON object"),
        ('{"enable_thinking": true}', "say it with --enable_thinking"),
        ('{"tokenize": true}', "holds tokenize, which is no argument of a template"),
    ],
)
def test_arguments_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChatOptions(chat_template_kwargs=text)


def test_what_is_said_inside_reasoning_that_the_prompt_opened_is_no_plan() -> None:
    chat = fit_chat(thinking_tokenizer(ALWAYS_THINKS), ChatOptions())
    assert chat.opened == "<think>"
    assert extract_plan(PLAN).steps is not None  # without knowing of the prompt
    cut_off = extract_plan(chat.whole_answer(PLAN))
    assert cut_off.steps is None and cut_off.cut_off and "cut off inside its reasoning" in (cut_off.fault or "")
    assert extract_plan(chat.whole_answer("first (drop a)?\n</think>\n\n" + PLAN)).steps == (("pick", "a"), ("drop", "a"))


def test_a_warm_start_takes_its_chats_from_flags_or_the_card_and_proposes_them_in_its_own() -> None:
    from grpo_project.models.loading import Policy, fitted_chat
    from script.train_sft import build_parser

    given = vars(build_parser().parse_args(["--enable_thinking", "true", "--system_prompt", "Write plans."]))
    assert given == {"enable_thinking": True, "system_prompt": "Write plans."}
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["--enable_thinking", "maybe"])
    card = {"prompt_style": "full", "grpo_defaults": {"system_prompt": "Plan.", "beta": 0.0}}

    def proposed(asked: ChatOptions) -> Any:
        tokenizer = thinking_tokenizer()
        chat = fitted_chat(tokenizer, card, asked)
        return Policy(None, tokenizer, "transformers", "", "full", card["grpo_defaults"], card, chat=chat).new_card()[
            "grpo_defaults"
        ]

    assert proposed(ChatOptions()) == {**card["grpo_defaults"], "enable_thinking": False}
    taught = proposed(ChatOptions.of(given))
    assert taught == {"system_prompt": "Write plans.", "beta": 0.0, "enable_thinking": True}
    assert Policy(None, None, "transformers", "", "compact").new_card() == {"prompt_style": "compact"}


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("<think>", "<think>"),
        ("<think>a</think>(p a)", ""),
        ("<think>a</think><reasoning>b", "<reasoning>"),
        ("(p a)", ""),
        ("a</think>(p a)", ""),
        ("a < b <THINK> c", "<THINK>"),
    ],
)
def test_reasoning_that_is_left_open_is_told_by_its_last_mark(text: str, tag: str) -> None:
    assert open_reasoning(text) == tag
