"""The cut of a step, GRPOConfig without defaults, and the same gradient from less work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from trainers import grpo_arguments, grpo_trainer  # noqa: E402

from grpo_project.configs.batches import batch_shape  # noqa: E402
from grpo_project.configs.settings import default_of  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.errors import BackendMissing, ConfigError  # noqa: E402
from grpo_project.models.cpu_planner import Regrouping, regroup, trim_padding  # noqa: E402
from grpo_project.training.algorithms import ALGORITHMS, trainer_arguments  # noqa: E402
from grpo_project.training.algorithms.base import refuse_changes  # noqa: E402
from grpo_project.training.trainer import OF_TRANSFORMERS, OF_TRL, planning_trainer, require_methods  # noqa: E402


def test_a_batch_counts_prompts_and_a_step_is_generated_at_once() -> None:
    config = TrainingConfig(batch_size=24, num_generations=8, gradient_accumulation_steps=2)
    shape = batch_shape(config, "cpu")
    assert (shape.micro_batch_size, shape.micro_batches, shape.prompts_per_step) == (6, 8, 48)
    arguments = grpo_arguments(config, shape, "cpu", "transformers", "out")
    completions = arguments["per_device_train_batch_size"] * arguments["gradient_accumulation_steps"]
    assert completions == 48 * 8
    assert arguments["steps_per_generation"] == arguments["gradient_accumulation_steps"]


@pytest.mark.parametrize(
    ("batch_size", "generations", "device", "micro"),
    [
        (8, 8, "cuda", 1),
        (24, 8, "cpu", 6),
        (10, 8, "cpu", 5),
        (7, 16, "cpu", 1),
        (4, 2, "cpu", 4),
        (8, 64, "cpu", 1),
        (8, 4, "cuda", 2),
    ],
)
def test_a_micro_batch_that_was_not_given_divides_the_batch(batch_size: int, generations: int, device: str, micro: int) -> None:
    assert batch_shape(TrainingConfig(batch_size=batch_size, num_generations=generations), device).micro_batch_size == micro


def test_a_micro_batch_that_was_given_is_kept() -> None:
    assert batch_shape(TrainingConfig(batch_size=12, micro_batch_size=3), "cpu").micro_batches == 4


def test_a_knob_that_a_library_changed_is_named(tmp_path: Path) -> None:
    from trl import GRPOConfig

    for scaled in ("group", "none"):
        config = TrainingConfig(loss_type="grpo", scale_rewards=scaled, save_steps=1)
        asked = grpo_arguments(config, batch_shape(config, "cpu"), "cpu", "transformers", str(tmp_path))
        made = GRPOConfig(**asked)
        refuse_changes(asked, made, "transformers")
        made.per_device_train_batch_size = 3
        made.scale_rewards = "batch"
        with pytest.raises(
            ConfigError, match=r"unsloth changed .*scale_rewards from \w+ to batch, per_device_train_batch_size from 32 to 3"
        ) as told:
            refuse_changes(asked, made, "unsloth")
        assert "--backend transformers" in str(told.value)
    made = GRPOConfig(**asked)
    made.bf16 = True
    with pytest.raises(ConfigError, match="unsloth changed what was asked for: bf16 from False to True"):
        refuse_changes(asked, made, "unsloth")


def test_no_knob_that_decides_what_is_learned_is_left_to_a_default(tmp_path: Path) -> None:
    from trl import GRPOConfig

    config = TrainingConfig()
    arguments = grpo_arguments(config, batch_shape(config, "cpu"), "cpu", "transformers", str(tmp_path))
    assert arguments["shuffle_dataset"] is False
    assert arguments["mask_truncated_completions"] is False
    assert arguments["epsilon_high"] == arguments["epsilon"]
    assert arguments["bf16"] is False and arguments["use_cpu"] is True
    made = GRPOConfig(**arguments)
    assert {name: getattr(made, name) for name in ("loss_type", "scale_rewards", "beta", "num_iterations")} == {
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "beta": 0.02,
        "num_iterations": 1,
    }
    # TRL's own fields that choose a loss, a sampling rule or a batch must all be named; a new release may add some.
    ours = {field.name for field in dataclasses.fields(GRPOConfig)} - {
        field.name for field in dataclasses.fields(GRPOConfig.__mro__[2])
    }
    silent = (
        "vllm",
        "log_",
        "transformers_",
        "use_transformers",
        "ref_model_",
    )
    other = {
        "model_init_kwargs",
        "trust_remote_code",
        "router_aux_loss_coef",
        "num_generations_eval",
        "ds3_gather_for_generation",
        "pad_to_multiple_of",
        "generation_batch_size",
        "max_tool_calling_iterations",
        "num_completions_to_print",
    }
    assert len(ours) > 40
    assert {name for name in ours - set(arguments) - other if not name.startswith(silent)} == set()


def _trainer(model: Any, tokenizer: Any, folder: Path, reward: Any, shortcuts: bool = True, **settings: Any) -> Any:
    from datasets import Dataset

    values: dict[str, Any] = {"batch_size": 4, "num_generations": 4, "max_steps": 2, "max_completion_length": 12}
    config = TrainingConfig(**{**values, **settings})
    shape = batch_shape(config, "cpu")
    rows = [[{"role": "user", "content": f"w{index} w{index + 1}"}] for index in range(8)]
    order = [row for _ in range(config.max_steps) for _ in range(shape.micro_batches) for row in range(4) for _ in range(4)]
    return grpo_trainer(
        config,
        shape,
        str(folder),
        shortcuts,
        row_sampler=order,
        model=model,
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": rows, "row_index": list(range(8))}),
        processing_class=tokenizer,
    )


def _micro_batches(rows: int, parts: int, beta: float, reused: bool = False) -> list[dict[str, Any]]:
    """Random completions, four to a prompt; the first half of the rows has no advantage. `reused`: drawn by other weights than
    the current ones."""
    generator = torch.Generator().manual_seed(1)
    prompt, completion = 6, 10
    prompt_lengths = torch.randint(2, prompt, (rows // 4,), generator=generator).repeat_interleave(4)
    lengths = torch.randint(1, completion - 1, (rows,), generator=generator)
    batch = {
        "prompt_ids": torch.randint(5, 40, (rows // 4, prompt), generator=generator).repeat_interleave(4, 0),
        "prompt_mask": (torch.arange(prompt) >= prompt - prompt_lengths[:, None]).long(),
        "completion_ids": torch.randint(5, 40, (rows, completion), generator=generator),
        "completion_mask": (torch.arange(completion) < lengths[:, None]).long(),
        "advantages": torch.cat([torch.zeros(rows // 2), torch.randn(rows - rows // 2, generator=generator)]),
    }
    if beta:
        batch["ref_per_token_logps"] = -torch.rand((rows, completion), generator=generator) * 5
    if reused:
        batch["old_per_token_logps"] = -4.0 + torch.rand((rows, completion), generator=generator)
    order = torch.randperm(rows, generator=generator)
    size = rows // parts
    total = batch["completion_mask"].sum()
    return [
        {**{name: value[order[part * size : (part + 1) * size]] for name, value in batch.items()}, "num_items_in_batch": total}
        for part in range(parts)
    ]


def _gradient(trainer: Any, batches: list[dict[str, Any]], shortcuts: bool = False) -> Any:
    trainer._shortcuts = shortcuts
    model = trainer.model.train()
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = len(batches)
    for batch in batches:
        trainer._compute_loss(model, batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def _difference(first: Any, second: Any) -> float:
    """Length of the difference as a share of the length; the angles of positions are float32 even in a float64 model."""
    return float((first - second).norm() / second.norm().clamp(min=1e-9))


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo", "gspo"])
def test_regrouping_leaves_the_gradient_as_it_was(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, loss_type: str, beta: float
) -> None:
    reused = loss_type in ("cispo", "sapo", "luspo", "gspo")  # vespo gives such completions a weight of next to nothing
    settings = {"importance_sampling_level": "sequence"} if loss_type in ("luspo", "gspo") else {}
    settings["loss_type"] = loss_type.replace("gspo", "grpo")
    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, lambda **_: [0.0], beta=0.0, micro_batch_size=1, **settings)
    trainer.beta = beta
    tiny_model.double()  # a real difference would stay, rounding goes
    batches = _micro_batches(16, 4, beta, reused)
    plain = _gradient(trainer, batches)
    how = ALGORITHMS["grpo"].regrouping(TrainingConfig(beta=beta, **settings))
    assert (how is None) == (loss_type == "bnpo")  # which averages over a micro-batch's own tokens
    regrouped = batches if how is None else regroup(batches, how)
    assert plain.abs().max() > 1e-4
    assert _difference(_gradient(trainer, regrouped, shortcuts=True), plain) < 1e-5
    rows = sum(len(batch["completion_ids"]) for batch in regrouped)
    assert rows == (8 if beta == 0.0 and loss_type != "bnpo" else 16)


def test_what_looks_at_the_entropies_of_a_micro_batch_leaves_it_as_it_is() -> None:
    for changed in ({"entropy_coef": 0.1}, {"top_entropy_quantile": 0.2}, {"grpo": ("use_adaptive_entropy=true",)}):
        assert ALGORITHMS["grpo"].regrouping(TrainingConfig(loss_type="dapo", **changed)) is None
    assert ALGORITHMS["grpo"].regrouping(TrainingConfig(loss_type="dapo")) is not None


@pytest.mark.parametrize("masked", [False, True])
def test_cut_off_completions_leave_the_loss_only_where_asked(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, masked: bool
) -> None:
    reward = lambda completions, **_: [float(index % 2) for index in range(len(completions))]  # noqa: E731
    how = {"max_steps": 1, "beta": 0.0, "max_completion_length": 24}
    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, reward, mask_truncated_completions=masked, **how)
    seen: list[Any] = []
    inner = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: seen.append(inner(inputs)) or seen[-1]
    trainer.train()
    (outputs,) = seen
    ids = outputs["completion_ids"]
    # A random model says the padding token too, and TRL takes one in the last place for an end.
    ended = (ids == tiny_tokenizer.eos_token_id).any(1) | (ids[:, -1] == tiny_tokenizer.pad_token_id)
    assert 0 < int(ended.sum()) < len(ended)
    assert torch.equal(outputs["completion_mask"].any(1), ended if masked else torch.ones_like(ended))
    assert torch.equal(outputs["advantages"] != 0, torch.ones_like(ended))  # a cut one still counts in its group's mean


def test_a_step_that_teaches_nothing_still_runs(tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, lambda **_: [0.0], beta=0.0, micro_batch_size=1)
    for advantages in (0, 1):
        batches = _micro_batches(16, 4, 0.0)
        for number, batch in enumerate(batches):
            batch["advantages"] = torch.zeros(4)
            if number < advantages:
                batch["advantages"][0] = 1.0
        plain = _gradient(trainer, batches)
        regrouped = regroup(batches, Regrouping(drop_idle=True, per_completion=True))
        assert [len(batch["completion_ids"]) for batch in regrouped] == [1] * 4
        assert _difference(_gradient(trainer, regrouped, shortcuts=True), plain) < 1e-5
        assert bool(plain.abs().max() > 0) == bool(advantages)


def test_trimming_takes_only_columns_that_are_padding_in_every_row() -> None:
    batch = _micro_batches(8, 2, 0.1)[0]
    trimmed = trim_padding(batch)
    assert trimmed["prompt_mask"].shape[1] == batch["prompt_mask"].sum(1).max()
    assert trimmed["completion_mask"].shape[1] == batch["completion_mask"].sum(1).max()
    assert trimmed["ref_per_token_logps"].shape == trimmed["completion_ids"].shape
    assert trimmed["prompt_mask"].sum() == batch["prompt_mask"].sum()
    assert trimmed["completion_mask"].sum() == batch["completion_mask"].sum()


@pytest.mark.parametrize("shortcuts", [True, False])
def test_two_real_steps_reach_the_reward_in_the_samplers_order(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, shortcuts: bool
) -> None:
    seen: list[list[int]] = []

    def reward(completions: list[Any], row_index: list[int], **_: Any) -> list[float]:
        seen.append(list(row_index))
        return [float(len(completion[0]["content"].split()) % 3) for completion in completions]

    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, reward, shortcuts, beta=0.0, micro_batch_size=2, learning_rate=1e-3)
    before = [parameter.detach().clone() for parameter in tiny_model.parameters()]
    trainer.train()
    assert seen == [[0] * 4 + [1] * 4 + [2] * 4 + [3] * 4] * 2
    assert any(not torch.equal(old, new) for old, new in zip(before, tiny_model.parameters(), strict=True))
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("changed", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
def test_truncated_sampling_draws_from_what_is_left(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """With one token left to each draw, sampling at a high temperature is greedy."""
    tiny_model.train()

    def completions(**settings: Any) -> Any:
        trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, lambda **_: [0.0], beta=0.0, **settings)
        ids, images, fields = trainer._tokenize_prompts(
            [[{"role": "user", "content": f"w{index} w{2 * index}"}] for index in range(4) for _ in range(4)]
        )
        return trainer._generate_single_turn(ids, images, fields, 4)[0]

    greedy = completions(temperature=1e-3)
    assert completions(temperature=2.0, **changed) == greedy != completions(temperature=2.0)


def test_our_loop_samples_as_trl_does(tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Same prompts, near-zero temperature: the same tokens, stop token included, cut at the same length."""
    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, lambda **_: [0.0], temperature=1e-3, beta=0.0)
    tiny_model.train()
    prompts = [[{"role": "user", "content": f"w{index} w{2 * index}"}] for index in range(12) for _ in range(4)]
    ids, images, fields = trainer._tokenize_prompts(prompts)
    ours, _ = trainer._generate_single_turn(ids, images, fields, 4)
    trainer._shortcuts = False
    theirs, _ = trainer._generate_single_turn(ids, images, fields, 4)
    assert ours == theirs
    assert tiny_model.training
    assert {row[-1] == trainer.eos_token_ids[0] for row in ours} == {True, False}


@pytest.mark.parametrize("shortcuts", [True, False])
@pytest.mark.parametrize("with_log_probabilities", [True, False])
def test_sampled_in_parts_every_completion_stays_with_its_prompt(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, shortcuts: bool, with_log_probabilities: bool
) -> None:
    """At a temperature near zero, where the order of random draws does not show; RLOO's trainer brings no log-probabilities."""
    from trl import GRPOTrainer

    trainer = _trainer(tiny_model, tiny_tokenizer, tmp_path, lambda **_: [0.0], shortcuts, temperature=1e-3, beta=0.0)
    prompts = [[{"role": "user", "content": f"w{index} w{2 * index}"}] for index in range(5) for _ in range(4)]
    ids, images, fields = trainer._tokenize_prompts(prompts)
    whole, _ = trainer._generate_single_turn(ids, images, fields, 4)
    trainer._sampled_at_once, trainer._with_log_probabilities = 8, with_log_probabilities
    asked: list[int] = []
    sample = trainer._sample

    def counted(prompt_ids: Any, *arguments: Any) -> Any:
        asked.append(len(prompt_ids))
        found = sample(prompt_ids, *arguments)
        return found[0] if isinstance(found, tuple) and not with_log_probabilities else found

    trainer._sample = counted
    found = trainer._generate_single_turn(ids, images, fields, 4)
    assert found == ((whole, None) if with_log_probabilities else whole)
    assert asked == [8, 8, 4] and isinstance(trainer, GRPOTrainer)


def test_a_method_that_a_library_renamed_is_named_at_start_up() -> None:
    from trl import GRPOTrainer, RLOOTrainer

    for base in (GRPOTrainer, RLOOTrainer):
        require_methods(base, (*OF_TRANSFORMERS, *OF_TRL))

    class Renamed(GRPOTrainer):
        _calculate_rewards = None

    with pytest.raises(BackendMissing, match=r"Renamed has no _calculate_rewards, .*requirements.txt pins"):
        planning_trainer(Renamed)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_setting_of_the_same_name_reaches_trls_config(name: str, tmp_path: Path) -> None:
    config = TrainingConfig(temperature=0.7, max_grad_norm=0.3, learning_rate=3e-4, beta=0.5, num_iterations=2, save_steps=4)
    algorithm = ALGORITHMS[name]
    config_class, _ = algorithm.classes()
    made = config_class(
        **trainer_arguments(algorithm, config_class, config, batch_shape(config, "cpu"), "cpu", "transformers", str(tmp_path))
    )
    for setting in ("temperature", "max_grad_norm", "learning_rate", "beta", "num_iterations", "save_steps", "seed"):
        assert getattr(made, setting) == getattr(config, setting)


@pytest.mark.parametrize("value", ["dapo", default_of("loss_type")])
def test_a_setting_that_an_algorithm_does_not_have_is_refused_where_somebody_gave_it(value: str) -> None:
    given = TrainingConfig(algorithm="rloo", loss_type=value, sources={"loss_type": "command line"})
    with pytest.raises(ConfigError, match="--algorithm rloo has no --loss_type: leave it out"):
        ALGORITHMS["rloo"].refuse_settings(given)
    for source in ("some/model/planner.json", "the run being continued"):  # a continued run keeps what the card proposed
        ALGORITHMS["rloo"].refuse_settings(TrainingConfig(algorithm="rloo", loss_type="dapo", sources={"loss_type": source}))
    ALGORITHMS["grpo"].refuse_settings(given)
