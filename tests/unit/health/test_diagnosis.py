"""Where a prompt ends and an answer begins, under several chat templates; and processes that decide alike."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from grpo_project.configs.health import HealthConfig  # noqa: E402
from grpo_project.health.boundary import Answer, Boundary  # noqa: E402
from grpo_project.health.diagnosis import Diagnosis  # noqa: E402
from grpo_project.prompting import render_chat, stop_tokens  # noqa: E402

# Of the families that users bring: special tokens, plain text, and none at all.
HEADERS = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|end_header|>\n\n{{ m['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|end_header|>\n\n{% endif %}"
)
PLAIN = (
    "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
BARE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def byte_tokenizer(template: str) -> Any:
    """One token per byte, and the special tokens of HEADERS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|eot_id|>",
        pad_token="<|eot_id|>",
        additional_special_tokens=["<|start|>", "<|end_header|>"],
        padding_side="left",
    )
    tokenizer.chat_template = template
    return tokenizer


def tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def answer(tokenizer: Any, text: str, prompt: str = "Move the (box)") -> Answer:
    return Answer("ferry", tokens(tokenizer, render_chat(tokenizer, prompt)), 0, tokens(tokenizer, text), 1.0)


@pytest.mark.parametrize(
    ("template", "opening"), [(HEADERS, "<|start|>assistant<|end_header|>\n\n"), (PLAIN, "### assistant:\n")]
)
def test_a_template_is_known_by_what_it_puts_before_the_answer(template: str, opening: str) -> None:
    tokenizer = byte_tokenizer(template)
    boundary = Boundary(tokenizer, [tokenizer.eos_token_id])
    assert boundary.opening == opening
    sound = answer(tokenizer, "(sail l0 l1)\n<|eot_id|>")
    assert boundary.opens(sound.prompt) and not boundary.leaks(sound)
    assert not boundary.opens(sound.prompt[:-1]) and not boundary.opens(tokens(tokenizer, "Move the (box)"))
    for text in (opening + "(sail l0 l1)", "\n" + opening + "(sail"):
        assert boundary.leaks(answer(tokenizer, text))
    width, plan = len(tokens(tokenizer, opening)), tokens(tokenizer, "(sail l0 l1)")
    for length in (width, width + 3, len(sound.prompt)):
        shifted = replace(sound, tokens=sound.prompt[-length:] + plan)  # what bug 4 of guide 003 does
        assert boundary.leaks(shifted)
    assert not boundary.leaks(replace(sound, tokens=sound.prompt[-width - 3 : -1] + plan))


def test_without_an_opening_only_an_echo_of_the_prompts_end_is_a_leak() -> None:
    tokenizer = byte_tokenizer(BARE)
    boundary = Boundary(tokenizer, [tokenizer.eos_token_id])
    assert boundary.opening == "" and boundary.opens(())
    assert boundary.leaks(answer(tokenizer, "the (box)(sail l0 l1)"))
    assert not boundary.leaks(answer(tokenizer, "(box)(sail l0 l1)")), "five tokens can be chance"


def test_a_tokenizer_that_does_not_give_back_its_text_makes_no_prompt_a_fault() -> None:
    from tokenizers import decoders

    tokenizer = byte_tokenizer(PLAIN)
    tokenizer.backend_tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("\n", "")])
    boundary = Boundary(tokenizer, [tokenizer.eos_token_id])
    assert boundary.opening == "" and boundary.opens(answer(tokenizer, "(a)").prompt)


def test_every_token_that_ends_a_turn_is_counted_by_name(tiny_model: Any) -> None:
    tokenizer = byte_tokenizer(HEADERS)
    tiny_model.generation_config.eos_token_id = [7, 9]
    assert set(stop_tokens(tiny_model, tokenizer)) == {7, 9, tokenizer.eos_token_id}
    tokenizer.eos_token = "<|start|>"  # <|eot_id|> ends turns all the same
    boundary = Boundary(tokenizer, [tokenizer.eos_token_id])
    assert boundary.tell_ends(tokens(tokenizer, "(a)<|eot_id|><|eot_id|>")) == "2个<|eot_id|>"
    assert boundary.tell_ends(tokens(tokenizer, "(a)")) == "0个<|start|>"


def step_of(diagnosis: Diagnosis, tokenizer: Any, text: str, control: Any, step: int = 1) -> None:
    prompt, words = tokens(tokenizer, render_chat(tokenizer, "x")), tokens(tokenizer, text)
    batch = {
        "prompt_ids": torch.tensor([[0, *prompt]] * 4),
        "prompt_mask": torch.tensor([[0, *[1] * len(prompt)]] * 4),
        "completion_ids": torch.tensor([words] * 4),
        "completion_mask": torch.ones(4, len(words), dtype=torch.long),
        "advantages": torch.zeros(4),
    }
    diagnosis.completions_generated([0] * 4, batch)
    diagnosis.step_ended(step, control)


def test_what_one_process_sees_stops_all_of_them_at_that_step() -> None:
    tokenizer, barrier = byte_tokenizer(HEADERS), threading.Barrier(2)
    shared: dict[int, Any] = {}
    stopped: dict[int, tuple[str, ...]] = {}

    def run(rank: int, text: str) -> None:
        def gather(items: list[Any]) -> list[Any]:
            shared[rank] = items
            barrier.wait(10)
            return [item for place in sorted(shared) for item in shared[place]]

        boundary = Boundary(tokenizer, [tokenizer.eos_token_id])
        diagnosis = Diagnosis(boundary, HealthConfig(), {0: "ferry"}, 0, True, lambda line: None, gather)
        control = SimpleNamespace(should_training_stop=False, should_save=True, should_log=False)
        step_of(diagnosis, tokenizer, text, control)
        stopped[rank] = tuple(alarm.name for alarm in diagnosis.stopped_by)
        assert (control.should_training_stop, control.should_save, control.should_log) == (True, False, True)

    threads = [
        threading.Thread(target=run, args=(rank, text))
        for rank, text in enumerate(("(sail l0 l1)<|eot_id|>", "<|start|>assistant<|end_header|>\n\n(sail l0 l1)"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert stopped == {0: ("prompt_in_answers",), 1: ("prompt_in_answers",)}


def test_a_fault_is_told_once_while_it_stands_and_again_when_it_returns() -> None:
    tokenizer, said = byte_tokenizer(HEADERS), []
    make = lambda: Diagnosis(  # noqa: E731
        Boundary(tokenizer, [tokenizer.eos_token_id]), HealthConfig(), {0: "ferry"}, 0, False, said.append
    )
    control = SimpleNamespace(should_training_stop=False)
    sound, broken = "(sail l0 l1)<|eot_id|>", "<|start|>assistant<|end_header|>\n\n(sail l0 l1)"
    whole, records = make(), []
    for step in range(1, 13):
        step_of(whole, tokenizer, broken if step in (1, 2, 3, 9) else sound, control, step)
        if step % 2 == 0:
            record: dict[str, Any] = {"step": step, "loss": 0.1}
            whole.record_due(record)
            records.append(record)
    assert [[alarm["step"] for alarm in record.get("alarms", ())] for record in records] == [[1], [], [], [], [9], []]
    assert [record.get("alarm") for record in records] == [
        {"prompt_in_answers": stands} if stands is not None else None for stands in (1, 1, 0, None, 1, 0)
    ]
    assert [record["prompt_in_answers"] for record in records] == [1.0, 0.5, 0.0, 0.0, 0.5, 0.0]
    assert len(said) == 2 and not control.should_training_stop
    for stop in (2, 4, 8):  # what was read from the log again is told no second time
        again = make()
        again.recall(records[: stop // 2])
        told = []
        for step in range(stop + 1, 13):
            step_of(again, tokenizer, broken if step in (1, 2, 3, 9) else sound, control, step)
            if step % 2 == 0:
                record = {"step": step, "loss": 0.1}
                again.record_due(record)
                told.append(record)
        assert told == records[stop // 2 :]
