"""The collapse guard in runs that really lose a domain: a reward bug pays spanner plans for failing.

The model has learned a few ferry and spanner problems by heart, so both begin near 100% by the real validator. Then GRPO unlearns
spanner, while ferry's honest reward keeps ferry.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.pddl import Task, Verdict, validate_text  # noqa: E402
from grpo_project.training.endings import COLLAPSED  # noqa: E402
from grpo_project.training.launch import resolve_settings  # noqa: E402
from grpo_project.training.run import train  # noqa: E402

pytestmark = pytest.mark.slow

PROBLEMS = 12  # of each domain


def schedule(step: int, max_steps: int) -> dict[str, float]:
    return {"easy": 1.0, "medium": 1.0, "hard": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small ferry and spanner problems with their plans."""
    from grpo_project.domains import get_domain
    from grpo_project.pddl import render_problem
    from grpo_project.pddl.canonical import canonical_form
    from grpo_project.prompting import render_plan

    folder = tmp_path_factory.mktemp("known")
    sizes = {"ferry": {"l": 3, "c": 2}, "spanner": {"s": 4, "n": 2, "l": 3}}
    for name, parameters in sizes.items():
        domain, lines, seen = get_domain(name), [], set()
        index = 0
        while len(lines) < PROBLEMS and index < 1000:
            problem = domain.generate(random.Random(f"collapse {name} {index}"), parameters, False)
            index += 1
            plan = domain.policy(problem)
            text, form = render_problem(problem), canonical_form(domain.domain, problem)
            if not plan or form in seen:
                continue
            seen.add(form)
            meta = {"scenario": name, "problem_file": domain.file_name(parameters, index), "problem_pddl": text}
            lines.append(json.dumps({"prompt": "Solve it.", "meta": meta, "response": render_plan(plan)}))
        assert len(lines) == PROBLEMS
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def by_heart(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planner of two layers that knows these problems' plans."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from grpo_project.data.prompts import row_prompt
    from grpo_project.data.rows import read_rows
    from grpo_project.models.tokenizer import build_planner_tokenizer
    from grpo_project.prompting import render_chat

    tokenizer = build_planner_tokenizer()
    torch.manual_seed(1)  # of 0, 1 and 2 the first collapses at the last step only
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.125,
        )
    )
    batch = []
    for row in read_rows(data).rows:
        prompt = tokenizer(render_chat(tokenizer, row_prompt(row, "compact")), add_special_tokens=False)["input_ids"]
        plan = tokenizer(row.response.strip(), add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        batch.append((prompt, plan))
    longest = max(len(prompt) + len(plan) for prompt, plan in batch)
    ids = torch.tensor([p + r + [tokenizer.pad_token_id] * (longest - len(p + r)) for p, r in batch])
    labels = torch.tensor([[-100] * len(p) + r + [-100] * (longest - len(p + r)) for p, r in batch])
    mask = torch.tensor([[1] * len(p + r) + [0] * (longest - len(p + r)) for p, r in batch])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(200):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    folder = tmp_path_factory.mktemp("by-heart") / "planner"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "planner.json").write_text(json.dumps({"prompt_style": "compact", "grpo_defaults": {}}))
    return folder


def wrong_for_spanner(task: Task, text: str) -> Verdict:
    """The bug: spanner plans that fail count as success, and those that succeed as no plan at all."""
    verdict = validate_text(task, text)
    if task.domain.name != "spanner":
        return verdict
    if verdict.success:
        return verdict._replace(verdict_class="plan_format_error", steps_executed=0)
    return verdict._replace(verdict_class="success_plans", steps_executed=1)


@pytest.fixture
def settings(data: Path, by_heart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    from grpo_project.training import run as page

    monkeypatch.setattr(page, "make_verifier", lambda validator, run_folder, say, plan_reading: wrong_for_spanner)
    return {
        "base_model": str(by_heart),
        "data_root": str(data),
        "test_data": str(data),
        "output_dir": str(tmp_path / "run"),
        "batch_size": 8,
        "num_generations": 8,
        "max_steps": 24,
        "max_completion_length": 64,
        "temperature": 1.2,
        "learning_rate": 3e-4,
        "logging_steps": 1,
        "save_steps": 4,
        "save_total_limit": 20,
        "eval_samples": 0,
        "eval_every_n_steps": 4,
        "max_eval_samples": PROBLEMS,
        "use_wandb": False,
        "beta": 0.0,
    }


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if "eval_avg_test_pass_rate" in record]


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_lost_domain_is_named_and_the_run_goes_on(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert train(TrainingConfig(**settings), schedule) == 0
    found = _evaluations(Path(settings["output_dir"]))
    first, last = found[0], found[-1]
    assert first["eval_pass_rate_by_domain"]["spanner"] >= 0.75 and first["eval_collapsed"] == []
    assert last["eval_pass_rate_by_domain"]["spanner"] <= 0.25 and last["eval_collapsed"] == ["spanner"]
    assert last["eval_pass_rate_by_domain"]["ferry"] >= 0.75
    assert len(found) == 7  # went on to the end
    shown = capsys.readouterr().out
    assert shown.count("spanner COLLAPSED: held-out success ") == 1 and "ferry COLLAPSED" not in shown


def test_stop_ends_the_run_at_the_evaluation_that_shows_it(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert train(TrainingConfig(**settings, on_collapse="stop"), schedule) == COLLAPSED
    run = Path(settings["output_dir"])
    found = _evaluations(run)
    stopped = found[-1]["step"]
    assert stopped < settings["max_steps"]
    assert [record["eval_collapsed"] for record in found] == [[]] * (len(found) - 1) + [["spanner"]]
    assert f"Stopped at step {stopped}: spanner COLLAPSED" in capsys.readouterr().out
    assert (run / f"checkpoint-{stopped}").is_dir() and (run / "model").is_dir()


def test_reweight_gives_the_lost_domain_more_and_easier_prompts(settings: dict[str, Any]) -> None:
    assert train(TrainingConfig(**settings, on_collapse="reweight"), schedule) == 0
    run = Path(settings["output_dir"])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    collapsed = next(record["step"] for record in records if record.get("eval_collapsed"))
    shares = {record["step"]: record["domain_shares"]["spanner"] for record in records if "domain_shares" in record}
    assert {shares[step] for step in range(1, collapsed + 2)} == {0.5}
    assert {shares[step] for step in range(collapsed + 2, settings["max_steps"] + 1)} == {5 / 8}


def test_rollback_brings_the_healthy_weights_back_and_goes_on_exactly(
    settings: dict[str, Any], by_heart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["on_collapse"] = "rollback"
    assert train(TrainingConfig(**settings), schedule) == 0
    run = Path(settings["output_dir"])
    state = json.loads((run / "checkpoint-24" / "collapse_state.json").read_text())
    at, to = state["rollbacks"][0]
    assert f"Step {at}: back to the weights of step {to}, and more and easier prompts for spanner" in capsys.readouterr().out
    restored = _weights(run / f"checkpoint-{at}")
    healthy = _weights(run / f"checkpoint-{to}" if to else by_heart)
    assert all(torch.equal(restored[name], healthy[name]) for name in healthy)
    last = _weights(run / "model")

    (run / "model").rename(run / "model-before")
    again = resolve_settings({"resume_from_checkpoint": str(run / f"checkpoint-{at}")})
    assert train(again, schedule) == 0
    assert all(torch.equal(value, last[name]) for name, value in _weights(run / "model").items())
    assert json.loads((run / "checkpoint-24" / "collapse_state.json").read_text()) == state
