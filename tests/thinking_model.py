"""A random model whose tokenizer and chat template behave as Qwen3's are documented to, small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# https://qwen.readthedocs.io, "enable_thinking": with False the template itself writes an empty reasoning block after the header
# of the answer; without it the model opens one. An answer in the last turn is written with such a block, too.
QWEN3 = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# As the Thinking models of 2507 and DeepSeek-R1: no switch, and the reasoning is opened by the prompt.
ALWAYS_THINKS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# As Qwen3's and R1's own: what an assistant's turn says before its last closing mark is taken out of it.
TAKES_REASONING_OUT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message['content'].split('</think>')[-1].lstrip() }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PLAIN = ALWAYS_THINKS.replace("<think>\n", "")
# As GLM-4.5: nothing ends an answer but the header of the turn behind it.
ENDS_BY_NEXT_TURN = PLAIN.replace("<|im_end|>\n", "")
NO_SYSTEM_TURN = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
DROPS_SYSTEM_TURN = PLAIN.replace("{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}")
# What no run could be trained on, and what is said of it.
UNSOUND = {
    "no_opening": (
        PLAIN.partition("{% if add_generation_prompt %}")[0],
        "ignores add_generation_prompt: a prompt ends without the",
    ),
    "parts": (PLAIN.replace("{{ message['content'] }}", "{{ message['content'][0].text }}"), "leaves out what the user says"),
    "no_answer": (PLAIN.replace("messages %}", "messages if message['role'] == 'user' %}"), "leaves out what the assistant says"),
    "no_end": (PLAIN.replace("<|im_end|>", "[end]"), r"ends an answer with '\[end\]\\n', which is no token that could stop"),
    "rewrites": ("{{ messages | length }} " + PLAIN, "writes a prompt otherwise once its answer follows"),
    "raises": ("{{ raise_exception('no plans here') }}", "fails: no plans here"),
    "raises_at_answers": (
        PLAIN + "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}",
        "fails: one turn only",
    ),
    "does_not_parse": ("{% for %}", "fails: "),
    "does_not_compile": ("{% break %}", "fails: 'break' outside loop"),
}


def thinking_tokenizer(template: str = QWEN3) -> Any:
    """One token a byte, so that text comes back as it was; turns and reasoning marks are tokens of their own."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(BPE({letter: index for index, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    backend.add_tokens(["<think>", "</think>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left"
    )
    tokenizer.chat_template = template
    return tokenizer


def write_thinking_model(folder: Path, template: str = QWEN3, **grpo_defaults: Any) -> Path:
    """A random Llama of two layers with that tokenizer, which reads compact prompts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = thinking_tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "planner.json").write_text(json.dumps({"prompt_style": "compact", "grpo_defaults": grpo_defaults}))
    return folder
