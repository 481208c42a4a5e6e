"""Tokenizers of other families: where an answer ends, one beginning of a sequence, tokens that would reach over a border."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.errors import ModelError  # noqa: E402
from grpo_project.models.loading import load_policy  # noqa: E402
from grpo_project.prompting import end_of_answer, render_chat, stop_tokens  # noqa: E402
from grpo_project.sft.examples import tokenize_pairs  # noqa: E402

SPECIAL = ["<s>", "</s>", "<|turn|>", "<|end|>"]
TURNS = "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
OPENING = "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"


def make_tokenizer(template: str, merges: tuple[tuple[str, str], ...] = (), **named: str) -> Any:
    """Byte-level BPE with a token for each byte, the special tokens and `merges`; it writes <s> itself where it is let."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIAL, *letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, list(merges)))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, bos_token="<s>", **named)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], str]:
    """saved(tokenizer): a random Llama with it, as a model folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def save(tokenizer: Any) -> str:
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
        config.eos_token_id = tokenizer.eos_token_id
        LlamaForCausalLM(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TURNS + OPENING, "<|end|>"),
        ("{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}", "</s>"),
        (TURNS.replace("<|end|>", "<end>") + OPENING, "<end>"),  # a token of its own, though none that is called special
        ("{% for message in messages %}{{ message.content }}\n\n{% endfor %}", None),
    ],
)
def test_the_end_of_an_answer_is_read_from_the_template(template: str, end: str | None) -> None:
    tokenizer = make_tokenizer(template, eos_token="</s>")
    tokenizer.add_tokens(["<end>"])
    found = end_of_answer(tokenizer)
    assert (None if found is None else tokenizer.convert_ids_to_tokens(found)) == end


def test_generation_stops_where_the_template_ends_an_answer(saved: Callable[[Any], str]) -> None:
    wrong = load_policy(saved(make_tokenizer(TURNS + OPENING, eos_token="</s>")))
    assert "ends an answer with <|end|>, but generation stopped at </s>" in wrong.remark
    ends = wrong.tokenizer.convert_tokens_to_ids(["</s>", "<|end|>"])
    assert stop_tokens(wrong.model, wrong.tokenizer) == ends
    right = load_policy(saved(make_tokenizer(TURNS + OPENING, eos_token="<|end|>")))
    assert right.remark == "" and stop_tokens(right.model, right.tokenizer) == ends[1:]


def test_a_pad_token_that_ends_answers_too_is_kept_apart_by_the_mask(saved: Callable[[Any], str]) -> None:
    """Left padding: what stands in front of the shorter prompt does not reach its answer."""
    from grpo_project.models.generation import complete_greedy

    policy = load_policy(saved(make_tokenizer(TURNS + OPENING, eos_token="<|end|>")))
    assert policy.tokenizer.pad_token == "<|end|>"
    prompts = ["a", "a much longer prompt of many more tokens"]
    alone = [complete_greedy(policy.model, policy.tokenizer, [prompt], 8)[0] for prompt in prompts]
    assert complete_greedy(policy.model, policy.tokenizer, prompts, 8) == alone


def test_a_template_that_begins_the_sequence_is_the_only_one_to_do_so() -> None:
    tokenizer = make_tokenizer("{{ bos_token }}" + TURNS + OPENING, eos_token="<|end|>")
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id, "by itself this tokenizer writes a beginning"
    ((ids, start),) = tokenize_pairs(tokenizer, [("a", "(x)\n")])
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[:start]) == render_chat(tokenizer, "a")


def test_a_token_over_the_border_of_prompt_and_answer_is_two_as_in_rl() -> None:
    """ "\\n(" could be one token, but in RL the prompt ends with the line break that the template writes."""
    tokenizer = make_tokenizer(TURNS + OPENING, (("Ċ", "("),), eos_token="<|end|>")
    for prompt, plan in (("a", "(x)\n"), ("a", " (x)\n")):
        ((ids, start),) = tokenize_pairs(tokenizer, [(prompt, plan)])
        assert ids[:start] == tokenizer(render_chat(tokenizer, prompt), add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == render_chat(tokenizer, prompt, plan)


def test_a_tokenizer_without_an_end_token_is_refused(saved: Callable[[Any], str]) -> None:
    with pytest.raises(ModelError, match="names no end token, so no answer would end; name the token"):
        load_policy(saved(make_tokenizer(TURNS + OPENING)))
