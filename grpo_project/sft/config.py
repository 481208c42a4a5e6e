"""The settings of a warm start, each declared once: flags, checks and what a continued one may change follow from it."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from grpo_project.configs import setting as declaring
from grpo_project.configs.chat import CHAT, ChatSettings
from grpo_project.configs.setting import (
    FIXED,
    FREE,
    NOT_BY_CARD,
    PER_LAUNCH,
    OnResume,
    check_alone,
    flag_of_field,
    kind_of,
    nature_of,
    placeholder,
    true_or_false,
)
from grpo_project.errors import ConfigError
from grpo_project.prompting import COMPACT, SCHEMAS
from grpo_project.runs.checkpoint import read_run_state, require_names
from grpo_project.runs.run_folder import find_checkpoint

DATA, MODEL, TRAINING, EVALUATION = ("data and output", "model", "training", "evaluation while training")
GROUPS = (DATA, MODEL, CHAT, TRAINING, EVALUATION)


def setting(default: Any, group: str, on_resume: OnResume, text: str, **more: Any) -> Any:
    """As everywhere; a model's card proposes nothing for a warm start."""
    return declaring.setting(default, group, on_resume, NOT_BY_CARD, text, **more)


@dataclass(frozen=True, kw_only=True)
class SftConfig(ChatSettings):
    """Raises ConfigError, naming the flag, when a value is out of range or contradicts another.

    `data_roots` and `base_model` may be in another folder when a warm start is continued; what they hold may not differ.
    """

    # fmt: off
    data_roots: tuple[str, ...] = setting((), DATA, FREE, "folders of <domain>.jsonl rows with responses", flag="--data_root")
    problem_root: tuple[str, ...] | None = setting(None, DATA, FREE,
        "folders in which the PDDL files that rows name are looked for too, however deep")
    output_dir: str = setting("", DATA, PER_LAUNCH, "new or empty folder: checkpoints, and the finished model under model/")
    resume_from_checkpoint: str | None = setting(None, DATA, PER_LAUNCH,
        "checkpoint folder to go on from, with its settings, or 'auto' for the newest good one in --output_dir")
    save_steps: int = setting(500, DATA, FREE, "steps between two checkpoints, of which the last two are kept", least=1)
    logging_steps: int = setting(50, DATA, FREE, "steps per console line and point of the loss curve", least=1)

    base_model: str | None = setting(None, MODEL, FREE, "start from this model")
    backend: str = setting("auto", MODEL, FIXED,
        "as in GRPO. auto: Unsloth where CUDA and unsloth are there and --base_model is large, plain transformers elsewhere",
        choices=("auto", "unsloth", "transformers"))
    load_in_4bit: bool = setting(True, MODEL, FIXED,
        "load GPU models in full precision instead of 4 bit", flag="--no_4bit")
    lora_rank: int | None = setting(None, MODEL, FIXED,
        "rank of the LoRA adapters, 0 trains all weights; default: 16 for a large --base_model on a GPU, else 0; a --base_model "
        "that is an adapter goes on with its own", least=0)
    lora_alpha: int | None = setting(None, MODEL, FIXED,
        "LoRA scale (the adapters count lora_alpha / lora_rank); default: 32, or an adapter's own", least=1)
    use_gradient_checkpointing: bool = setting(False, MODEL, FREE,
        "recompute activations: less memory, about a fifth slower")
    trust_remote_code: bool = setting(False, MODEL, FREE,
        "let a downloaded model run its own code; only for models you have read")
    merge: bool = setting(False, MODEL, FREE,
        "also write adapters and --base_model as one whole model, to merged/ in --output_dir: GRPO then puts new adapters on it, "
        "and its --beta pulls towards what SFT taught; without it GRPO goes on training the adapters in model/")
    add_layers: int = setting(0, MODEL, FIXED, "depth up-scaling: layers added to --base_model, at first without effect", least=0)
    prompt_style: str | None = setting(None, MODEL, FIXED,
        "how a planner is asked: compact (default of a new one), or schemas, which shows it the domain; where it is given, a "
        "--base_model gets the words that its vocabulary lacks, for the other style or for reasoning", choices=(COMPACT, SCHEMAS))
    hidden_size: int = setting(128, MODEL, FIXED, "of a new planner, as the next three", least=1)
    layers: int = setting(4, MODEL, FIXED, "its decoder layers", least=1)
    heads: int = setting(4, MODEL, FIXED, "its attention heads", least=1)
    intermediate_size: int = setting(384, MODEL, FIXED, "the width of its MLPs", least=1)

    max_steps: int = setting(-1, TRAINING, FIXED, "optimizer steps; overrides --epochs, which decides where it is -1", least=-1)
    epochs: float = setting(1.0, TRAINING, FIXED, "times that every row is seen", above=0)
    batch_size: int = setting(64, TRAINING, FIXED, "rows in memory at once, of about one length", least=1)
    gradient_accumulation_steps: int = setting(1, TRAINING, FIXED,
        "batches per optimizer step: 4 rows at a time for 16 steps learn what 64 at a time do, in less memory", least=1)
    max_seq_length: int = setting(2560, TRAINING, FREE,
        "tokens that prompt and plan may take together; a longer row is named, and nothing is cut", least=2)
    position_gaps_below: int = setting(0, TRAINING, FIXED,
        "half of the examples get gaps in their positions, which stay below N: for prompts longer than any example; 0: none",
        least=0)
    optimizer: str | None = setting(None, TRAINING, FIXED,
        "muon learns a small planner twice as fast; adamw is usual for a large --base_model, and default there and for adapters",
        choices=("muon", "adamw"))
    learning_rate: float | None = setting(None, TRAINING, FIXED,
        "peak; decays to 0 as a cosine; default: 6e-3 for a planner or other model below 200 MB, 2e-4 for adapters, 1e-5 for all "
        "weights of a large model", above=0)
    warmup_steps: int = setting(100, TRAINING, FIXED, "steps over which the learning rate rises from 0", least=0)
    weight_decay: float = setting(0.01, TRAINING, FIXED, "decoupled weight decay", least=0)
    seed: int = setting(1, TRAINING, FIXED, "decides a new planner's weights and the order of rows", least=0, below=2**32)
    bf16: bool = setting(False, TRAINING, FIXED, "bfloat16 autocast; faster on processors that have it")
    compile: bool = setting(False, TRAINING, FIXED,
        "torch.compile: faster after two minutes, needs a C++ compiler, and the weights are the same only up to rounding")

    eval_data: str | None = setting(None, EVALUATION, FREE, "a data root of held-out problems")
    eval_every: int = setting(0, EVALUATION, FREE, "steps between two evaluations; 0: never", least=0)
    eval_samples: int = setting(100, EVALUATION, FREE, "problems per domain", least=1)
    # fmt: on

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_roots", tuple(self.data_roots))
        for spec in fields(self):
            check_alone(spec, getattr(self, spec.name))
        if not self.data_roots or not self.output_dir:
            raise ConfigError("--data_root and --output_dir must be given, the first with one folder or more")
        if self.hidden_size % (2 * self.heads):
            raise ConfigError(f"--hidden_size {self.hidden_size} must be an even multiple of --heads {self.heads}")
        if self.max_steps == 0:
            raise ConfigError("--max_steps must be at least 1, got 0")
        if self.add_layers and self.base_model is None:
            raise ConfigError("--add_layers adds layers to --base_model; a new planner takes --layers")
        if self.eval_every and self.eval_data is None:
            raise ConfigError("--eval_every needs the problems to evaluate on: add --eval_data, data/test for instance")
        if self.merge and self.base_model is None:
            raise ConfigError("--merge puts adapters into --base_model; a new planner has none")
        if self.compile and not _can_compile():
            raise ConfigError("--compile needs a C++ compiler, g++ or clang++, and none is here: install one or leave it out")

    def suited(self, *, small: bool, rank: int, alpha: int | None = None) -> SftConfig:
        """With optimizer and learning rate that suit the model, where none was given. `small`: below 200 MB; `rank` and `alpha`:
        of the adapters that are trained.

        Raises ConfigError for what such a model cannot be trained with.
        """
        if self.add_layers and rank:
            raise ConfigError("--add_layers makes layers that are trained as a whole: add --lora_rank 0")
        if self.merge and not rank:
            raise ConfigError("--merge: all weights are trained here, so model/ is one whole model anyway: leave it out")
        if self.optimizer == "muon" and rank:
            raise ConfigError("--optimizer muon is for all weights of a model, not for adapters: take adamw, or --lora_rank 0")
        rate = 2e-4 if rank else 6e-3 if small else 1e-5
        return replace(
            self,
            lora_rank=rank,
            lora_alpha=alpha if rank else self.lora_alpha,
            optimizer=self.optimizer or ("muon" if small and not rank else "adamw"),
            learning_rate=self.learning_rate or rate,
        )


def _can_compile() -> bool:
    import torch

    return torch.cuda.is_available() or any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++")))


def build_parser(description: str | None = None) -> argparse.ArgumentParser:
    """One flag per setting of SftConfig, in its groups. A flag that is not given leaves no trace in the namespace."""
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=description, formatter_class=how, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    origin = groups[MODEL].add_mutually_exclusive_group()
    scratch = "a new planner of the size below (default)"
    origin.add_argument("--from_scratch", dest="base_model", action="store_const", const=None, help=scratch)
    for spec in fields(SftConfig):
        nature, kind, add = nature_of(spec), kind_of(spec), groups[nature_of(spec).group].add_argument
        if kind == "bool" and spec.default is not None:
            add(flag_of_field(spec), dest=spec.name, action="store_const", const=not spec.default, help=nature.help)
            continue
        (origin.add_argument if spec.name == "base_model" else add)(
            flag_of_field(spec),
            dest=spec.name,
            type=_KINDS.get(kind, str),
            choices=nature.choices or None,
            metavar=placeholder(spec),
            nargs="+" if kind.startswith("tuple") else "?" if kind == "bool" else None,
            const=True if kind == "bool" else None,
            help=nature.help + (f" [{spec.default}]" if spec.default else ""),
        )
    return parser


_KINDS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": true_or_false}


def resolve_settings(given: Mapping[str, Any]) -> SftConfig:
    """The settings given, then those of the warm start being continued, then the defaults.

    `resume_from_checkpoint` becomes the folder of a good checkpoint; it stays `auto` where there is none yet. Raises ConfigError
    for what a continued warm start may not change, and where there is nothing to go on from.
    """
    asked, output_dir = given.get("resume_from_checkpoint"), given.get("output_dir")
    checkpoint = find_checkpoint(asked, output_dir) if asked is not None else None
    if checkpoint is None:
        return SftConfig(**given)
    if output_dir is not None and Path(output_dir).resolve() != checkpoint.parent:
        raise ConfigError(f"--output_dir {output_dir} is not the folder of {checkpoint}, the run being continued: leave it out")
    known = {spec.name: spec for spec in fields(SftConfig)}
    fixed = [name for name, spec in known.items() if nature_of(spec).on_resume is FIXED]
    require_names(checkpoint, "settings", fixed)
    saved = {name: value for name, value in read_run_state(checkpoint)["settings"].items() if name in known}
    for name, value in given.items():
        if name in fixed and value != saved[name]:
            was = f"the run being continued has {saved[name]}"
            raise ConfigError(f"{flag_of_field(known[name])} is {value}, but {was}: leave it out, or start a new run")
    where = {"resume_from_checkpoint": str(checkpoint), "output_dir": str(checkpoint.parent)}
    return SftConfig(**{**saved, **given, **where})
