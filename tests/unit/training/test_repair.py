"""Rollouts of several turns: what the model hears is masked, the last plan is rewarded, and a continued run goes on as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.reward import RewardConfig  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.data.rows import RowTable, read_rows  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer  # noqa: E402
from grpo_project.pddl import compile_task, find_plan, render_plan  # noqa: E402
from grpo_project.prompting import PLAIN_CHAT, render_chat  # noqa: E402
from grpo_project.prompting.chat import PROBE, between_answers  # noqa: E402
from grpo_project.reporting.shapes import well_formed  # noqa: E402
from grpo_project.rewards import make_reward_function  # noqa: E402
from grpo_project.rewards.trl import LAST_ANSWER, TURN, ScoredCompletion  # noqa: E402
from grpo_project.training.repair import RepairTurns, repair_turns  # noqa: E402
from grpo_project.training.run import train  # noqa: E402

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WRONG = "(sail l0 l0)\n"


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(Path(__file__).resolve().parents[3] / "data" / "test", ["ferry"])


@pytest.fixture(scope="module")
def plans(table: RowTable) -> list[str]:
    found = []
    for index in range(3):
        plan = find_plan(table.task(index))
        assert plan.steps is not None
        found.append(render_plan(plan.steps))
    return found


class Scripted:
    """A trainer as a rollout sees it, whose model answers what it is told to: answers by (conversation, turn)."""

    num_generations = 1

    def __init__(self, tokenizer: Any, answers: list[list[str]], cut: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.processing_class, self.eos_token_ids = tokenizer, [tokenizer.eos_token_id]
        self.rows_in_generation = list(range(len(answers)))
        self._answers, self._cut = answers, cut
        self.asked: list[list[list[int]]] = []

    def ids(self, text: str) -> list[int]:
        return list(self.processing_class(text, add_special_tokens=False)["input_ids"])

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[Any, ...]:
        return [self.ids(render_chat(self.processing_class, prompt)) for prompt in prompts], None, {}

    def answers(self, prompt_ids: list[list[int]], group: int) -> list[list[int]]:
        turn = len(self.asked)
        self.asked.append(prompt_ids)
        there = [number for number, own in enumerate(self._answers) if len(own) > turn]
        assert len(there) == len(prompt_ids), "asked for an answer that the script does not have"
        ends = [[] if (number, turn) in self._cut else self.eos_token_ids for number in there]
        return [self.ids(self._answers[number][turn]) + end for number, end in zip(there, ends, strict=True)]


def rollouts(table: RowTable, trainer: Scripted, turns: int = 2, limit: int = 2000) -> dict[str, Any]:
    prompts = ["ferry"] * len(trainer.rows_in_generation)
    return RepairTurns(table.task, turns, "step", "strict", PLAIN_CHAT, limit, "full")(prompts, trainer)


def test_a_conversation_goes_on_until_a_plan_succeeds(table: RowTable, plans: list[str]) -> None:
    tokenizer = build_planner_tokenizer()
    trainer = Scripted(tokenizer, [[plans[0]], [WRONG, plans[1]], [WRONG, WRONG, WRONG]])
    found = rollouts(table, trainer)
    assert found[TURN] == [0, 1, 2]
    assert found[LAST_ANSWER] == [plans[0], plans[1], WRONG]
    for ids, mask, answers in zip(found["completion_ids"], found["env_mask"], trainer._answers, strict=True):
        assert len(ids) == len(mask)
        written = [token for token, own in zip(ids, mask, strict=True) if own]
        assert written == [token for answer in answers for token in [*trainer.ids(answer), tokenizer.eos_token_id]]
    heard = [token for token, own in zip(found["completion_ids"][1], found["env_mask"][1], strict=True) if not own]
    assert "plan fails at step" in tokenizer.decode(heard) and tokenizer.decode(heard).endswith("<|assistant|>")
    # The second turn was asked with everything before it.
    start = found["prompt_ids"][1] + found["completion_ids"][1]
    assert start[: len(trainer.asked[1][0])] == trainer.asked[1][0]


def test_no_repair_behind_an_answer_that_was_cut_off_or_without_room(table: RowTable, plans: list[str]) -> None:
    tokenizer = build_planner_tokenizer()
    cut = rollouts(table, Scripted(tokenizer, [[WRONG]], frozenset({(0, 0)})))
    assert cut[TURN] == [0] and cut["env_mask"] == [[1] * len(cut["completion_ids"][0])]
    short = rollouts(table, Scripted(tokenizer, [[WRONG]]), limit=20)
    assert short[TURN] == [0]
    whole = rollouts(table, Scripted(tokenizer, [[WRONG, plans[0]]]))
    limit = len(whole["completion_ids"][0]) - 3
    clipped = rollouts(table, Scripted(tokenizer, [[WRONG, plans[0]]]), limit=limit)
    assert len(clipped["completion_ids"][0]) == len(clipped["env_mask"][0]) == limit


@pytest.mark.parametrize("template", ["planner", "chatml"])
def test_prompt_answer_and_what_stands_between_are_the_rendered_conversation(template: str) -> None:
    tokenizer = build_planner_tokenizer()
    if template == "chatml":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.chat_template = CHATML
    end = "<eos>" if template == "planner" else "<|im_end|>"
    whole = render_chat(tokenizer, (PROBE, WRONG.strip(), "Wrong."))
    assert whole == render_chat(tokenizer, PROBE) + WRONG.strip() + end + between_answers(tokenizer, "Wrong.")


def test_the_last_plan_is_rewarded_less_the_price_of_the_repairs(table: RowTable, plans: list[str]) -> None:
    scored: list[ScoredCompletion] = []
    reward = make_reward_function(table, RewardConfig(), scored.extend, repair_price=0.25)
    columns = {"row_index": [0, 0], LAST_ANSWER: [plans[0], plans[0]], TURN: [0, 2]}
    conversation = [[{"role": "assistant", "content": f"{WRONG} words {plans[0]}"}]] * 2
    assert reward(["p"] * 2, conversation, **columns) == [1.0, 0.5]
    assert [(one.text, one.turn, one.success) for one in scored] == [(plans[0], 0, True), (plans[0], 2, True)]


def test_what_cannot_repair_is_refused_by_name(repository: Path, tmp_path: Path) -> None:
    settings = {"data_root": str(repository / "data" / "four_domain"), "output_dir": str(tmp_path / "run"), "repair_turns": 1}
    with pytest.raises(ConfigError, match="--algorithm rloo has no --repair_turns"):
        train(
            TrainingConfig(**settings, algorithm="rloo", sources={"repair_turns": "the command line"}), lambda *_: {"easy": 1.0}
        )
    with pytest.raises(ConfigError, match="--repair_turns was not tried with --use_vllm"):
        TrainingConfig(**settings, use_vllm=True, backend="transformers")
    assert repair_turns(TrainingConfig(), lambda index: compile_task(None, None), PLAIN_CHAT, "full") is None  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_with_repairs_goes_on_as_it_was(repository: Path, tmp_path: Path) -> None:
    def run(name: str, **changed: Any) -> Path:
        settings = {
            "base_model": str(repository / "data" / "models" / "tiny-planner"),
            "data_root": str(repository / "data" / "four_domain"),
            "output_dir": str(tmp_path / name),
            "batch_size": 4,
            "num_generations": 4,
            "max_steps": 4,
            "max_completion_length": 500,
            "repair_turns": 1,
            "repair_detail": "failed",
            "logging_steps": 1,
            "save_steps": 2,
            "eval_samples": 0,
            "use_wandb": False,
            **changed,
        }
        assert train(TrainingConfig(**settings), lambda step, steps: {"easy": 0.5, "medium": 0.5, "hard": 0.0}) == 0
        return tmp_path / name

    whole, first = run("whole"), run("first")
    stopped = tmp_path / "continued"
    for folder in sorted(first.glob("checkpoint-*"))[1:]:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    first.rename(stopped)
    run("continued", resume_from_checkpoint=str(stopped / "checkpoint-2"))
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    turns = [record for record in records if "success_rate_by_turn" in record]
    assert turns, "no completion was repaired"
    assert all(well_formed(record)[1] == [] for record in records)
    for record in turns:
        rates = record["success_rate_by_turn"]
        assert rates["0"] <= rates["1"] == pytest.approx(record["success_rate"])
        assert 0 < record["repaired_completions"] <= 1 - rates["0"]
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, stopped)]
    assert weights[0] == weights[1]
