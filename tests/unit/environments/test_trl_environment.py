"""A step of TRL's GRPOTrainer with the environment: its own tool loop, over a model whose words are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

END = "<|im_end|>"


def byte_tokenizer() -> Any:
    """One token a byte, and Qwen3's chat template, which has tools."""
    import trl
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token="<|endoftext|>", padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")
    return tokenizer


def hands_in(plan: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': 'submit_plan', 'arguments': {'plan': plan}})}\n</tool_call>"


def test_plans_handed_in_by_a_tool_are_verified_and_the_last_one_is_rewarded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from datasets import Dataset
    from pddl_planning.core import RolloutSettings, load_problems
    from pddl_planning.trl_environment import factory, rows
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    problems = load_problems("data/test", "ferry", prompt_style="compact")[:1]
    right, wrong = problems[0].reference_plan, problems[0].reference_plan.strip().splitlines()[0]
    # What the model says in each turn to those rollouts that are still under way.
    turns = [
        [hands_in(right), hands_in(wrong), hands_in(wrong), right],
        ["Done.", hands_in(right), hands_in("")],
        ["Done.", "I give up."],
    ]
    heard: list[str] = []
    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=16384, **sizes))
    args = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8192,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    environment = factory(problems, RolloutSettings(repair_turns=1))
    data = Dataset.from_list(rows(problems))
    trainer = GRPOTrainer(model, args=args, train_dataset=data, processing_class=tokenizer, environment_factory=environment)

    def say(prompt_ids: list[list[int]], *others: Any, **more: Any) -> tuple[list[list[int]], None]:
        heard.extend(map(tokenizer.decode, prompt_ids))
        return [tokenizer(text + END)["input_ids"] for text in turns.pop(0)], None

    monkeypatch.setattr(trainer, "_generate_single_turn", say)
    trainer.train()
    assert turns == []
    assert [environment.get_reward() for environment in trainer.environments] == [1.0, 1.0, problems[0].reward(""), -1.0]
    assert "submit_plan" in heard[0] and problems[0].prompt.strip() in heard[0]  # the tool is described, the problem asked
    assert "The plan solves the problem." in heard[4] and problems[0].words(wrong).strip() in heard[5]
    (step,) = [line for line in trainer.state.log_history if "reward" in line]
    assert step["rewards/PlanningTool/mean"] == pytest.approx((1.0 + 1.0 + problems[0].reward("") - 1.0) / 4)
    assert step["tools/failure_frequency"] == 0.0
    assert trainer.state.global_step == 1
