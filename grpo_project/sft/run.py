"""Warm start: supervised training on reference plans, from scratch or from a model, loss on the plan's tokens only.

`_run` is the page on which it can be read from top to bottom; a small planner and a language model go the same way. What batch
comes when is a function of (seed, epoch), so a warm start that was stopped goes on from its newest good checkpoint to the weights
it would have reached anyway. Not so with `compile`: compiled code rounds in its own way from run to run.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from grpo_project.callbacks.interrupts import Interrupts
from grpo_project.callbacks.progress import ProgressLine
from grpo_project.callbacks.timing import StepTimer
from grpo_project.common import ranks
from grpo_project.common.files import read_json_object, write_json_atomically
from grpo_project.common.paths import REPOSITORY, locate_model
from grpo_project.data.asked_words import table_in_asked_words
from grpo_project.data.origin import Origin
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError
from grpo_project.evaluation import evaluate
from grpo_project.models.depth_upscaling import with_more_layers
from grpo_project.models.export import base_to_merge, merge
from grpo_project.models.loading import (
    LoadPlan,
    Policy,
    choose_backend,
    fitted_chat,
    load_policy,
    plan_load,
    quiet_hugging_face,
    write_card,
)
from grpo_project.prompting import ChatOptions
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import replace_folder
from grpo_project.runs.identity import RunIdentity, hash_of, of_the_machine
from grpo_project.runs.observer import Control, Observer, Observers
from grpo_project.runs.states import RUN_STATE, RunStates
from grpo_project.sft.config import SftConfig
from grpo_project.sft.examples import read_examples
from grpo_project.training.console import say, silence_libraries
from grpo_project.training.endings import SUCCESS, Ending, Stopped, open_folder
from grpo_project.training.evaluations import greedy_completions
from grpo_project.training.launch import Start
from grpo_project.training.records import save_model

MERGED = "merged"  # in the run folder, beside model/
LOSSES_KEPT = 60  # points of the loss curve in the record


def train_sft(config: SftConfig) -> int:
    """Trains, and writes the model folder to output_dir/model. Returns 0, 130 after Ctrl-C or 143 after SIGTERM.

    `config`: as sft/config.py's `resolve_settings` gives it. Raises RunExists for an output folder in use, ConfigError,
    DataError and ModelError as the parts do.
    """
    asked, output_dir = config.resume_from_checkpoint, Path(config.output_dir)
    checkpoint = Path(asked) if asked not in (None, "auto") else None
    if checkpoint is None and not (asked == "auto" and run_folder.may_begin_again(output_dir)):
        run_folder.refuse_used_folder(output_dir)
    base_model = locate_model(config.base_model) if config.base_model is not None else ""
    if config.merge:
        base_to_merge(base_model, choose_backend(config.backend)[0])
    ending = Ending(Start(base_model, checkpoint, output_dir), config.use_gradient_checkpointing)
    try:
        with ending.told():
            return _run(config, ending)
    except Stopped as stopped:
        return stopped.status


def _run(config: SftConfig, ending: Ending) -> int:
    start = ending.start
    quiet_hugging_face(start.model)

    # -- the model, what it learns from, and whether a continued warm start is still the same one
    plan = plan_to_train(config)
    if plan is None:
        config = config.suited(small=True, rank=0)
    else:
        config = config.suited(small=plan.small, rank=plan.rank, alpha=plan.alpha)
    policy = policy_to_train(config)
    silence_libraries()  # not before: Unsloth must be the first to import transformers
    if policy.remark:
        say(f"warning: {policy.remark}")
    say(f"Backend: {policy.name}, because {policy.reason}")
    model, tokenizer = policy.model, policy.tokenizer
    if not torch.cuda.is_available() and (plan is None or plan.small):
        # A step takes a fifth less: sdpa's backward pass is slow for small heads on CPUs. At the width of a 135 M model it is the
        # faster one (16 rows of 160 tokens through 3 layers: 3.2 s, eagerly 4.1 s).
        model.set_attn_implementation("eager")
    longest = min(config.max_seq_length, getattr(model.config, "max_position_embeddings", config.max_seq_length))
    roots = [Origin.of(root, config.problem_root or ()) for root in config.data_roots]
    dataset = read_examples(roots, tokenizer, policy.prompt_style, longest, policy.chat)
    tokens = int(dataset.lengths.sum())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    adapters = f", {trained / 1e6:.2f} M of them trained (LoRA of rank {config.lora_rank})" if config.lora_rank else ""
    what = f"model with {parameters / 1e6:.2f} M parameters{adapters}, vocabulary {len(tokenizer)}"
    repeated = f" ({dataset.repeats} of them repeat another, word by word)" if dataset.repeats else ""
    say(f"{len(dataset)} rows{repeated}, {tokens} tokens; {what}")
    learned = {"tokenizer": hash_of([tokenizer.get_vocab(), tokenizer.chat_template]), "data": dataset.fingerprint}
    identity = RunIdentity(asdict(config), of_the_machine(start.model, ranks.world_size()) | learned)
    if start.checkpoint is not None:
        identity.refuse_changes(start.checkpoint)
    folder = open_folder(start, ending)
    environment = run_folder.describe_environment(REPOSITORY)
    described = {**identity.state_dict(), "command_line": sys.argv, "environment": environment}
    folder.write_json(run_folder.RESOLVED_CONFIG if start.checkpoint is None else f"resumed_at_{start.step}.json", described)

    # -- who follows it, in the order in which they hear of it
    rows_per_step = config.batch_size * config.gradient_accumulation_steps
    steps = config.max_steps if config.max_steps > 0 else math.ceil(config.epochs * math.ceil(len(dataset) / rows_per_step))
    progress = ProgressLine(steps, lambda step: {})
    held_out = HeldOutSuccess(config, policy, int((dataset.lengths - dataset.starts).max()), steps, progress.say)
    interrupts = Interrupts(may_save=lambda step: True)
    states = RunStates({RUN_STATE: identity, "held_out_success": held_out})
    if start.checkpoint is not None:
        states.load(start.checkpoint)

    # -- training
    from transformers import TrainerState  # here and below: after the backend

    from grpo_project.callbacks.trainer_events import TrainerEvents
    from grpo_project.sft.plan_trainer import plan_trainer

    events = TrainerEvents(Observers([held_out, progress, interrupts]), StepTimer())
    trainer = plan_trainer(config, policy, dataset, steps, states, [events])
    began = time.perf_counter()
    with interrupts.caught(), closing(progress):
        if start.checkpoint is not None and start.step >= steps:  # `train` would take one step more in the middle of an epoch
            trainer._load_from_checkpoint(str(start.checkpoint))
            trainer.state = TrainerState.load_from_json(str(start.checkpoint / "trainer_state.json"))
        else:
            trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint is not None else None)
    seconds = time.perf_counter() - began
    tokens_seen = (trainer.state.global_step - start.step) * rows_per_step * tokens / len(dataset)  # by this process, about
    if interrupts.interrupted:
        ending.signal_number = interrupts.signal_number
        raise KeyboardInterrupt

    # -- the model folder
    losses = [{"step": row["step"], "loss": float(row["loss"])} for row in trainer.state.log_history if "loss" in row]
    checkpoint = start.checkpoint and start.checkpoint.name
    manifests = [root.data_root / "manifest.json" for root in roots]  # how script/generate_data.py made them
    settings = asdict(config) | {"data_roots": [root.data_root.name for root in roots], "resume_from_checkpoint": checkpoint}
    del settings["output_dir"]  # says nothing about the model
    record = {
        "config": settings,
        "data": [read_json_object(path) if path.is_file() else None for path in manifests],
        "rows": len(dataset),
        "tokens": tokens,
        "parameters": parameters,
        "steps": trainer.state.global_step,
        "resumed_at_step": start.step if start.checkpoint else None,
        "wall_seconds": round(seconds, 1),
        "tokens_per_second": round(tokens_seen / (seconds - held_out.seconds)),
        "final_loss": losses[-1]["loss"] if losses else None,
        "losses": losses[:: max(1, len(losses) // LOSSES_KEPT)],
        "held_out": held_out.history,
        "environment": environment,
    }

    save_model(folder, lambda aside: _save_planner(policy, aside, record))
    say(f"{trainer.state.global_step} steps in {seconds / 60:.1f} minutes. Model: {folder.model}")
    if config.merge:
        aside = folder.path / ".merged"
        shutil.rmtree(aside, ignore_errors=True)
        how = merge(str(folder.model), aside, backend=policy.name, trust_remote_code=config.trust_remote_code)
        replace_folder(aside, folder.path / MERGED)
        say(f"The whole model (merged by {how}): {folder.path / MERGED}")
    return SUCCESS


def plan_to_train(config: SftConfig) -> LoadPlan | None:
    """How --base_model will be loaded; None for a new planner. Raises ModelError or BackendMissing."""
    if config.base_model is None:
        return None
    return plan_load(
        locate_model(config.base_model),
        training=True,
        load_in_4bit=config.load_in_4bit,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        backend=config.backend,
    )


def policy_to_train(config: SftConfig) -> Policy:
    """The base model, deeper where that is asked for; without one a new planner. Raises ModelError or ConfigError."""
    chat = ChatOptions.of(asdict(config))
    if config.base_model is None:
        from grpo_project.models.tokenizer import build_planner_tokenizer

        tokenizer = build_planner_tokenizer()
        chat = fitted_chat(tokenizer, {}, chat)
        style = config.prompt_style or "compact"
        return Policy(new_planner(config, tokenizer), tokenizer, "transformers", "it is a new planner", style, chat=chat)
    policy = load_policy(
        config.base_model,
        chat=chat,
        training=True,
        max_sequence_length=config.max_seq_length,
        load_in_4bit=config.load_in_4bit,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        use_gradient_checkpointing=config.use_gradient_checkpointing,
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
        backend=config.backend,
    )
    if config.prompt_style is not None:
        policy = _asked_otherwise(policy, config.prompt_style)
    return replace(policy, model=with_more_layers(policy.model, config.add_layers)) if config.add_layers else policy


def _asked_otherwise(policy: Policy, style: str) -> Policy:
    """A planner that is asked in this style from now on, with today's vocabulary. Raises ConfigError for a model that is none of
    ours."""
    from grpo_project.models.tokenizer import build_planner_tokenizer
    from grpo_project.models.vocabulary import with_vocabulary

    if not policy.card:
        raise ConfigError(f"--prompt_style {style} is for small planners; a language model is asked in the full style")
    tokenizer = build_planner_tokenizer()
    if style == policy.prompt_style and tokenizer.get_vocab() == policy.tokenizer.get_vocab():
        return policy
    model = with_vocabulary(policy.model, policy.tokenizer, tokenizer)
    card = {**policy.card, "prompt_style": style}
    return replace(policy, model=model, tokenizer=tokenizer, prompt_style=style, card=card)


def new_planner(config: SftConfig, tokenizer: Any) -> Any:
    """A Llama of the configured size, embeddings tied, with weights drawn from --seed."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(config.seed)
    model_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        # The default of 0.02 is made for thousands of dimensions; here it leaves attention nearly uniform and its gradients tiny.
        initializer_range=config.hidden_size**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(model_config)


class HeldOutSuccess(Observer):
    """Greedy success every --eval_every steps (0: never) and after the last of `steps`, one line each; `seconds` spent on it.

    Draws nothing from any random state. A continued warm start keeps `history`.
    """

    def __init__(self, config: SftConfig, policy: Policy, longest_plan: int, steps: int, say: Callable[[str], None]) -> None:
        self._every, self._steps, self._say = config.eval_every, steps, say
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        if self._every:
            table = read_rows(Origin.of(config.eval_data or "", config.problem_root or ()))
            self._table = table_in_asked_words(table, policy.prompt_style)
            self._indices = [i for name in table.domains for i in table.different_of(name)[: config.eval_samples]]
            self._complete = greedy_completions(policy, longest_plan, None)

    def step_ended(self, step: int, control: Control) -> None:
        if not self._every or (step % self._every and step != self._steps):
            return
        result = evaluate(self._table, self._indices, self._complete)
        rates = {name: round(result.rate(name), 4) for name in result.domains}
        self.history.append({"step": step, "greedy_success": rates, "problems": len(self._indices)})
        shown = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
        self._say(f"step {step}: held-out success, greedy: {shown} ({result.seconds:.0f} s)")
        self.seconds += result.seconds

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history = list(state["history"])


def _save_planner(policy: Policy, folder: Path, record: dict[str, Any]) -> None:
    """Hugging Face files, training_record.json, and planner.json, which says how this model wants its prompts."""
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    write_card(folder, policy.new_card())
    write_json_atomically(folder / "training_record.json", record)
