"""Every setting of a training run: described once, checked once, and traced back to where its value came from.

`TrainingConfig` is a frozen dataclass that cannot exist in a wrong state. The command line of the training script and the
`GRPO_*` environment variables are made from its fields, so a setting is named, explained and bounded in this file alone.
Precedence: command line > environment > --config_file > run being continued > `grpo_defaults` of the model's planner.json >
built-in default.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import STRATEGIES, ScriptConfig
from grpo_project.configs.reward import REWARD_MODES, RewardConfig, parse_bands
from grpo_project.errors import ConfigError, ModelError

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_CARD = "planner.json"
BUILT_IN = "built-in default"

DATA = "model and data"
RUN = "output and continuing"
BATCH = "batches and length of the run"
GRPO = "the GRPO update"
SAMPLING = "sampling"
CURRICULUM = "curriculum and reward"
MODEL = "memory and model loading"
REPORT = "reporting"
GROUPS = (DATA, RUN, BATCH, GRPO, SAMPLING, CURRICULUM, MODEL, REPORT)

TRACKERS = ("wandb", "tensorboard", "trackio")
CURRICULA = ("step", "uniform", "stage", "adaptive")
EVALUATE_EVERY = 25  # steps, where nobody said how often

# What a model folder may bring along as its own defaults: how to train it, never where to write or what to read.
MODEL_MAY_SET = frozenset(
    "batch_size micro_batch_size gradient_accumulation_steps max_steps learning_rate lr_scheduler warmup_steps weight_decay "
    "adam_beta1 adam_beta2 max_grad_norm beta epsilon epsilon_high loss_type scale_rewards mask_truncated_completions "
    "num_iterations temperature num_generations max_prompt_length max_completion_length curriculum reward reward_bands "
    "save_steps logging_steps eval_samples lora_rank lora_alpha".split()
)
# A change of one of these makes a continued run another run: its batches, its gradients or its data would differ.
FIXED_ON_RESUME = (
    "base_model data_root domains batch_size micro_batch_size gradient_accumulation_steps max_steps learning_rate lr_scheduler "
    "warmup_steps weight_decay adam_beta1 adam_beta2 max_grad_norm beta epsilon epsilon_high loss_type scale_rewards "
    "mask_truncated_completions num_iterations temperature num_generations max_prompt_length max_completion_length curriculum "
    "reward reward_bands load_in_4bit lora_rank lora_alpha seed on_bad_row domain_weights eval_every_n_steps max_eval_samples "
    "on_collapse resample_zero_variance skip_zero_variance max_seq_length length_allocation_strategy repetition_penalty "
    "presence_penalty frequency_penalty min_new_tokens use_vllm fast_inference"
).split()


def setting(default: Any, kind: str, group: str, text: str, *, choices: Sequence[str] = (), flag: str = "") -> Any:
    """A field that is also a flag. `kind`: str, int, float, bool or names; `flag` is given where it is not --<name>."""
    meta = {"kind": kind, "group": group, "help": text, "choices": tuple(choices), "flag": flag}
    return field(default=default, metadata=meta)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of one run. Raises ConfigError, naming the flag, when a value is out of range or contradicts another.

    None stands for "decided later": `test_data` (data/test when it exists), `domains` (every file of the data root),
    `output_dir` and `run_name` (named after the time), `micro_batch_size` (what fits the device), `lora_rank` (by device).
    `sources` tells for every setting where its value came from.
    """

    base_model: str = setting(
        "data/models/tiny-planner", "str", DATA, "model folder or Hugging Face name; looked up here, then in the repository"
    )
    data_root: str = setting("data/four_domain", "str", DATA, "folder with one <domain>.jsonl of training problems per domain")
    test_data: str | None = setting(
        None, "str", DATA, "folder of held-out problems; without one data/test, or else problems generated from a named seed"
    )
    domains: tuple[str, ...] | None = setting(
        None, "names", DATA, "domains to train on, separated by spaces or commas; default: every file of the data root"
    )
    on_bad_row: str = setting(
        "skip",
        "str",
        DATA,
        "skip rows that do not parse (they are named and counted), or stop at the first",
        choices=("skip", "error"),
    )

    output_dir: str | None = setting(
        None, "str", RUN, "new or empty folder for everything the run writes; default: outputs/<run name or time>"
    )
    run_name: str | None = setting(None, "str", RUN, "name of the run in W&B and of its default output folder")
    resume_from_checkpoint: str | None = setting(
        None, "str", RUN, "checkpoint folder to go on from, or 'auto' for the newest complete one in --output_dir"
    )
    config_file: str | None = setting(
        None, "str", RUN, "JSON object with settings by name; the command line and the environment are stronger"
    )
    save_steps: int = setting(100, "int", RUN, "steps between two checkpoints")
    save_total_limit: int = setting(3, "int", RUN, "checkpoints kept; the oldest goes first")

    batch_size: int = setting(8, "int", BATCH, "PROMPTS per batch, the same number from every domain: must divide evenly")
    num_generations: int = setting(8, "int", BATCH, "completions sampled per prompt; GRPO compares them with each other")
    micro_batch_size: int | None = setting(
        None, "int", BATCH, "prompts in memory at once; changes speed and memory, never what a batch holds; divides batch_size"
    )
    gradient_accumulation_steps: int = setting(1, "int", BATCH, "whole batches per optimizer step")
    max_steps: int = setting(1000, "int", BATCH, "optimizer steps of the run; the curriculum is spread over them")
    seed: int = setting(42, "int", BATCH, "decides batches, sampling and initial adapters; same seed, same run")

    learning_rate: float = setting(1e-5, "float", GRPO, "peak learning rate; 1e-5 to 5e-6 for 7B, lower for larger models")
    lr_scheduler: str = setting(
        "constant_with_warmup",
        "str",
        GRPO,
        "course of the learning rate after the warm-up",
        choices=("constant", "constant_with_warmup", "linear", "cosine"),
    )
    warmup_steps: int = setting(0, "int", GRPO, "steps over which the learning rate rises from 0")
    weight_decay: float = setting(0.0, "float", GRPO, "decoupled weight decay of AdamW")
    adam_beta1: float = setting(0.9, "float", GRPO, "AdamW: memory of the gradient")
    adam_beta2: float = setting(0.99, "float", GRPO, "AdamW: memory of its square; RL gradients change fast, so below 0.999")
    max_grad_norm: float = setting(1.0, "float", GRPO, "gradients are scaled down to this norm; 0 turns clipping off")
    beta: float = setting(
        0.02, "float", GRPO, "strength of the KL pull towards the starting model; 0 needs no reference model and is faster"
    )
    epsilon: float = setting(0.2, "float", GRPO, "clip range of the probability ratio, downwards")
    epsilon_high: float | None = setting(None, "float", GRPO, "clip range upwards; default: as --epsilon")
    loss_type: str = setting(
        "dr_grpo",
        "str",
        GRPO,
        "how tokens are averaged: grpo per completion, bnpo and dapo per token, dr_grpo by the maximum length (no length bias)",
        choices=("grpo", "bnpo", "dapo", "dr_grpo"),
    )
    scale_rewards: str = setting(
        "none",
        "str",
        GRPO,
        "divide advantages by the standard deviation of the group, of the batch, or not at all (keeps easy groups from shouting)",
        choices=("group", "batch", "none"),
    )
    mask_truncated_completions: bool = setting(
        False, "bool", GRPO, "completions cut off at the maximum length take no part in the loss; they keep their reward"
    )
    num_iterations: int = setting(1, "int", GRPO, "optimizer steps taken on one set of completions; above 1 is off-policy")

    temperature: float = setting(1.0, "float", SAMPLING, "sampling temperature; log-probabilities are computed at the same one")
    repetition_penalty: float = setting(
        1.0,
        "float",
        SAMPLING,
        "divides the logit of a token that the answer already holds; the prompt is not counted; off-policy",
    )
    presence_penalty: float = setting(
        0.0,
        "float",
        SAMPLING,
        "taken from the logit of a token that the answer already holds; the prompt is not counted; off-policy",
    )
    frequency_penalty: float = setting(
        0.0, "float", SAMPLING, "the same for each time that the answer holds it; the prompt is not counted; off-policy"
    )
    min_new_tokens: int = setting(0, "int", SAMPLING, "the end token is held back until an answer has so many; off-policy")
    max_prompt_length: int = setting(
        2048, "int", SAMPLING, "tokens; a longer prompt is left out and counted, since a cut problem is another problem"
    )
    max_completion_length: int = setting(512, "int", SAMPLING, "tokens a plan may take before it is cut off")
    max_seq_length: int | None = setting(
        None, "int", SAMPLING, "tokens of prompt and completion together; default: the sum of the two lengths"
    )
    length_allocation_strategy: str = setting(
        "custom",
        "str",
        SAMPLING,
        "the prompt's share of --max_seq_length: balanced half, completion_heavy a quarter, prompt_heavy three quarters; custom: "
        "as the two lengths say",
        choices=STRATEGIES,
    )

    curriculum: str = setting(
        "step",
        "str",
        CURRICULUM,
        "step: get_curriculum_weights(step, max_steps) in this script; uniform: difficulties as they come (the control); stage: "
        "from foundation on by held-out success; adaptive: what has reward variance now; path/to/file.py:function: your own",
    )
    domain_weights: tuple[str, ...] | None = setting(
        None, "names", CURRICULUM, "share of a domain in every batch, as ferry=2 spanner=3; whole numbers, 1 where not named"
    )
    eval_every_n_steps: int | None = setting(
        None,
        "int",
        CURRICULUM,
        "steps between two held-out evaluations during training, for curriculum and collapse guard; 0: none; default: 25, or 0 "
        "where --eval_samples is 0 and neither --curriculum nor --on_collapse needs them",
    )
    max_eval_samples: int = setting(24, "int", CURRICULUM, "problems per domain in an evaluation during training")
    on_collapse: str = setting(
        "warn",
        "str",
        CURRICULUM,
        "when a domain's held-out success falls significantly below its best: name it; give it more and easier prompts; go back "
        "to the weights of the last evaluation without a fallen domain, and reweight; stop",
        choices=("warn", "reweight", "rollback", "stop"),
    )
    resample_zero_variance: int = setting(
        0, "int", CURRICULUM, "times a group whose rewards are all equal is replaced by another problem's; each costs completions"
    )
    skip_zero_variance: int = setting(
        0, "int", CURRICULUM, "steps for which a problem is not drawn again after a group whose rewards were all equal; 0: off"
    )
    reward: str = setting(
        "dense",
        "str",
        CURRICULUM,
        "dense: progress of the part that ran counts below success; banded: within --reward_bands too; sparse: success or not",
        choices=REWARD_MODES,
    )
    reward_bands: str = setting(
        "",
        "str",
        CURRICULUM,
        "CLASS=LOW:HIGH,... ranges of the verdict classes for --reward banded; without it every plan that ran and failed has one",
    )

    validator: str = setting(
        "builtin",
        "str",
        CURRICULUM,
        "who decides rewards: builtin; val (that program, 5 ms a plan); both: builtin, and every disagreement is kept",
        choices=("builtin", "val", "both"),
    )

    backend: str = setting(
        "auto",
        "str",
        MODEL,
        "auto: Unsloth where CUDA and unsloth are there and the model is large, plain transformers elsewhere",
        choices=("auto", "unsloth", "transformers"),
    )
    use_gradient_checkpointing: bool = setting(
        False, "bool", MODEL, "recompute activations: less GPU memory, about a fifth slower"
    )
    load_in_4bit: bool = setting(True, "bool", MODEL, "load GPU models in full precision instead of 4 bit", flag="--no_4bit")
    lora_rank: int | None = setting(
        None,
        "int",
        MODEL,
        "rank of the LoRA adapters, 0 trains all weights; default: 16 on a GPU; 0 on a CPU or for a small model",
    )
    lora_alpha: int = setting(32, "int", MODEL, "LoRA scale (the adapters count lora_alpha / lora_rank)")
    use_vllm: bool = setting(
        False,
        "bool",
        MODEL,
        "sample completions with vLLM (package vllm, CUDA, --backend transformers); a continued run then repeats the problems, "
        "not the completions",
    )
    vllm_mode: str = setting(
        "colocate",
        "str",
        MODEL,
        "vLLM in this process, on the same GPU, or in a server that `vllm serve` started on another GPU",
        choices=("colocate", "server"),
    )
    vllm_gpu_memory_utilization: float = setting(
        0.3, "float", MODEL, "share of the GPU's memory that vLLM takes for itself (colocate and --fast_inference)"
    )
    vllm_server_host: str = setting("127.0.0.1", "str", MODEL, "where the vLLM server is")
    vllm_server_port: int = setting(8000, "int", MODEL, "its port for requests")
    vllm_server_timeout: float = setting(240.0, "float", MODEL, "seconds TRL waits for the server's answer when a run begins")
    vllm_group_port: int = setting(51216, "int", MODEL, "port over which changed weights are sent to the server")
    fast_inference: bool = setting(
        False,
        "bool",
        MODEL,
        "Unsloth's own way of sampling with vLLM (package vllm, --backend unsloth, adapters); not exact to resume",
    )
    trust_remote_code: bool = setting(
        False, "bool", MODEL, "let a downloaded model run its own code; only for models you have read"
    )

    logging_steps: int = setting(10, "int", REPORT, "steps per line of metrics.jsonl, W&B point and console line")
    eval_samples: int = setting(
        200, "int", REPORT, "held-out problems per domain, solved greedily before and after; 0: no evaluation"
    )
    diagnose_steps: int = setting(
        2,
        "int",
        REPORT,
        "first steps whose prompts and answers are shown at their boundary, with end tokens, padding and entropy",
    )
    on_anomaly: str = setting(
        "stop",
        "str",
        REPORT,
        "when prompts, answers, the first steps' entropy or gradients are broken, so that nothing sound can be learned: stop, "
        "with exit status 4 and no checkpoint of it, or warn and go on; docs/diagnosis.md names the conditions",
        choices=("stop", "warn"),
    )
    alarm_thresholds: tuple[str, ...] | None = setting(
        None,
        "names",
        REPORT,
        "thresholds of the health monitor and the report, as kl=0.5 window=20; docs/diagnosis.md lists them",
    )
    use_wandb: bool = setting(
        True,
        "bool",
        REPORT,
        "no W&B; metrics.jsonl is written either way (W&B goes offline by itself when nobody is logged in)",
        flag="--no_wandb",
    )
    report_to: tuple[str, ...] = setting(
        ("wandb",), "names", REPORT, "trackers beside metrics.jsonl, all with the same numbers: wandb, tensorboard, trackio, none"
    )
    wandb_project: str = setting("pddl-grpo-v2", "str", REPORT, "W&B project")
    wandb_continuity: str = setting(
        "continue",
        "str",
        REPORT,
        "the W&B run of a resumed training: the same one; a new one with a copy of the points so far (fork); a new, empty one; "
        "the same one, written here and sent later (offline)",
        choices=("continue", "fork", "new", "offline"),
    )
    force_new_wandb_run: bool = setting(False, "bool", REPORT, "the same as --wandb_continuity new")

    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def script_config(self) -> ScriptConfig:
        """The lengths, checked against each other. Raises ConfigError for a strategy without --max_seq_length."""
        return ScriptConfig.of(self.as_dict())

    def reward_config(self) -> RewardConfig:
        """How verdicts become rewards. Raises ConfigError for ranges that make no sense."""
        return RewardConfig(mode=self.reward, bands=parse_bands(self.reward_bands))

    def health_config(self) -> HealthConfig:
        """From which figures on the run is called unwell. Raises ConfigError for a threshold that there is not."""
        return HealthConfig.of(self.alarm_thresholds or ())

    def __post_init__(self) -> None:
        for name in ("batch_size", "gradient_accumulation_steps", "max_steps", "num_iterations", "logging_steps"):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("save_steps", "save_total_limit", "max_prompt_length", "max_completion_length", "lora_alpha"):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("eval_samples", "warmup_steps", "seed", "resample_zero_variance", "skip_zero_variance", "diagnose_steps"):
            self._require(name, getattr(self, name) >= 0, "must be 0 or more")
        self._check_curriculum()
        for name in ("beta", "weight_decay", "max_grad_norm"):
            self._require(name, math.isfinite(getattr(self, name)) and getattr(self, name) >= 0, "must be 0 or more")
        for name in ("adam_beta1", "adam_beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "must lie in [0, 1)")
        self._require(
            "num_generations", self.num_generations >= 2, "must be at least 2: a completion is compared with its siblings"
        )
        self._require("learning_rate", 0 < self.learning_rate < 1, "must lie above 0 and below 1")
        self._require("temperature", 0 < self.temperature <= 10, "must lie above 0, and at most at 10")
        self._require("repetition_penalty", 0 < self.repetition_penalty <= 10, "must lie above 0, and at most at 10; 1 is off")
        for name in ("presence_penalty", "frequency_penalty"):
            self._require(name, -10 <= getattr(self, name) <= 10, "must lie in [-10, 10]; 0 is off")
        self._require("min_new_tokens", self.min_new_tokens >= 0, "must be 0 or more")
        self._require("epsilon", 0 < self.epsilon < 1, "must lie between 0 and 1")
        self._require("epsilon_high", self.epsilon_high is None or 0 < self.epsilon_high < 10, "must lie above 0 and below 10")
        self._require("seed", self.seed < 2**32, "must be below 4294967296")
        self._require("lora_rank", self.lora_rank is None or self.lora_rank >= 0, "must be 0 or more")
        self._require("base_model", bool(self.base_model.strip()), "must name a model")
        self._require("domains", self.domains is None or len(self.domains) > 0, "must name at least one domain")
        if self.domains is not None and len(set(self.domains)) != len(self.domains):
            raise ConfigError(f"--domains names a domain twice: {' '.join(self.domains)}")
        for spec in fields(self):
            choices = spec.metadata.get("choices")
            if choices and getattr(self, spec.name) not in choices:
                raise ConfigError(f"{flag_of(spec.name)} must be one of {', '.join(choices)}; got {getattr(self, spec.name)!r}")
        unknown = sorted(set(self.report_to) - {*TRACKERS, "none"})
        self._require("report_to", bool(self.report_to) and not unknown, f"must name some of {', '.join(TRACKERS)}, or be none")
        self._require("report_to", self.report_to == ("none",) or "none" not in self.report_to, "may be none, or others")
        self._require("reward_bands", not self.reward_bands or self.reward == "banded", "needs --reward banded")
        self.reward_config()
        self.health_config()
        self._require("max_seq_length", self.max_seq_length is None or self.max_seq_length >= 2, "must be at least 2")
        lengths = self.script_config()
        for name in ("max_prompt_length", "max_completion_length"):
            object.__setattr__(self, name, getattr(lengths, f"script_{name}"))
        self._require("min_new_tokens", self.min_new_tokens < self.max_completion_length, "must be below --max_completion_length")
        micro = self.micro_batch_size
        if micro is not None and (micro < 1 or self.batch_size % micro):
            sizes = ", ".join(str(size) for size in range(1, self.batch_size + 1) if self.batch_size % size == 0)
            raise ConfigError(f"--micro_batch_size {micro} does not divide --batch_size {self.batch_size}: use {sizes}")
        if self.loss_type == "dr_grpo" and self.scale_rewards != "none":
            raise ConfigError(
                f"--loss_type dr_grpo is defined without reward scaling, but --scale_rewards is {self.scale_rewards}: "
                "choose --scale_rewards none, or --loss_type grpo"
            )
        if self.save_steps % self.num_iterations:
            raise ConfigError(
                f"--save_steps {self.save_steps} must be a multiple of --num_iterations {self.num_iterations}: a checkpoint "
                "between two uses of the same completions could not be continued exactly"
            )
        self._check_vllm()
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    def _check_vllm(self) -> None:
        self._require("vllm_gpu_memory_utilization", 0 < self.vllm_gpu_memory_utilization < 1, "must lie above 0 and below 1")
        self._require("vllm_server_timeout", 0 < self.vllm_server_timeout < math.inf, "must be above 0 seconds")
        for name in ("vllm_server_port", "vllm_group_port"):
            self._require(name, 0 < getattr(self, name) < 65536, "must be a port, 1 to 65535")
        if not (self.use_vllm or self.fast_inference):
            return
        if self.use_vllm and self.fast_inference:
            raise ConfigError("--use_vllm (TRL's way) and --fast_inference (Unsloth's way) are two ways to vLLM: leave one out")
        flag = "--use_vllm" if self.use_vllm else "--fast_inference"
        neutral = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_new_tokens": 0}
        for name, value in neutral.items():
            if getattr(self, name) != value:
                raise ConfigError(f"{flag_of(name)} is counted over the answer alone, which {flag} cannot do: leave one out")

    def _check_curriculum(self) -> None:
        if self.curriculum not in CURRICULA and ".py:" not in self.curriculum:
            raise ConfigError(
                f"--curriculum must be one of {', '.join(CURRICULA)}, or path/to/file.py:function; got {self.curriculum!r}"
            )
        every = self.eval_every_n_steps
        self._require("eval_every_n_steps", every is None or every >= 0, "must be 0 or more")
        self._require("max_eval_samples", self.max_eval_samples >= 1, "must be at least 1")
        if every == 0 and (self.curriculum == "stage" or self.on_collapse != "warn"):
            what = "--curriculum stage" if self.curriculum == "stage" else f"--on_collapse {self.on_collapse}"
            raise ConfigError(f"{what} acts on held-out success, so --eval_every_n_steps may not be 0")

    @property
    def feedback_every(self) -> int:
        """Steps between two evaluations during training; 0: none."""
        if self.eval_every_n_steps is not None:
            return self.eval_every_n_steps
        needed = self.curriculum == "stage" or self.on_collapse != "warn"
        return EVALUATE_EVERY if needed or self.eval_samples else 0

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            source = self.sources.get(name, "")
            where = f" (from {source})" if source not in ("", "command line", BUILT_IN) else ""
            raise ConfigError(f"{flag_of(name)} {rule}, got {getattr(self, name)}{where}")

    def as_dict(self) -> dict[str, Any]:
        """Every setting as JSON-ready plain data, without `sources`."""
        values = {spec.name: getattr(self, spec.name) for spec in settings()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def settings() -> list[Any]:
    """The dataclass fields that are settings, in the order in which they are shown."""
    return [spec for spec in fields(TrainingConfig) if spec.metadata]


def flag_of(name: str) -> str:
    """`--learning_rate` for learning_rate; `--no_4bit` and the like where the flag turns something off."""
    spec = TrainingConfig.__dataclass_fields__[name]
    return spec.metadata.get("flag") or f"--{name}"


def default_of(name: str) -> Any:
    """The built-in default of a setting. Raises KeyError for a name that is none."""
    spec = TrainingConfig.__dataclass_fields__[name]
    if not spec.metadata or spec.default is MISSING:
        raise KeyError(name)
    return spec.default


def convert(name: str, text: str, where: str) -> Any:
    """The value of a setting written as text. Raises ConfigError naming `where` when the text does not fit its kind."""
    spec = TrainingConfig.__dataclass_fields__[name]
    kind = spec.metadata["kind"]
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.strip().lower()]
        if kind == "names":
            return tuple(part for part in text.replace(",", " ").split())
    except (ValueError, KeyError):
        wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
        raise ConfigError(f"{where} must be {wanted}, got {text!r}") from None
    return text


def resolve(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> TrainingConfig:
    """The config in which every setting has the value of the first layer that names it, else its built-in default.

    `layers` are (source, values) pairs, the strongest first. Raises ConfigError for an unknown name or a value out of range.
    """
    known = {spec.name for spec in settings()}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {name: BUILT_IN for name in known}
    for source, layer in layers:
        for name, value in layer.items():
            if name not in known:
                raise ConfigError(f"{source}: there is no setting {name!r}{_did_you_mean(name, known)}")
            if name not in values:
                values[name] = _of_right_kind(name, value, source)
                sources[name] = source
    return TrainingConfig(**values, sources=sources)


def describe_settings(config: TrainingConfig) -> str:
    """One line per setting: name, value, and where the value came from."""
    values = config.as_dict()
    width, middle = max(map(len, values)), max(len(json.dumps(value)) for value in values.values())
    lines = [f"{name:<{width}}  {json.dumps(values[name]):<{min(middle, 60)}}  {config.sources.get(name, '')}" for name in values]
    return "\n".join(lines)


def read_config_file(path: str) -> dict[str, Any]:
    """The settings in a JSON file. Raises ConfigError where it is none, or names a file of its own."""
    try:
        found = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config_file {path} cannot be read: {error}") from None
    if not isinstance(found, dict) or "config_file" in found:
        raise ConfigError(f"--config_file {path} must hold one JSON object of settings, without config_file among them")
    return found


def _did_you_mean(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _of_right_kind(name: str, value: Any, source: str) -> Any:
    """JSON knows no tuples and may write 1 for 1.0; anything else of a wrong kind is refused."""
    kind = TrainingConfig.__dataclass_fields__[name].metadata["kind"]
    if value is None:
        if default_of(name) is not None:
            raise ConfigError(f"{source}: {name} must have a value")
        return None
    if kind == "names" and isinstance(value, (list, tuple)):
        return tuple(str(part) for part in value)
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    wanted = {"str": str, "int": int, "bool": bool}.get(kind)
    if wanted is None or not isinstance(value, wanted) or (kind == "int" and isinstance(value, bool)):
        raise ConfigError(f"{source}: {name} must be of kind {kind}, got {value!r}")
    return value


def locate(path: str) -> Path | None:
    """`path` as it stands, or relative to the repository root; None when neither exists."""
    for candidate in (Path(path).expanduser(), REPOSITORY / path):
        if candidate.exists():
            return candidate
    return None


def locate_model(base_model: str) -> str:
    """The model folder as an absolute path, or the name unchanged when it can be a Hugging Face one.

    Raises ModelError for a path that does not exist, or a folder that holds no model.
    """
    found = locate(base_model)
    if found is None:
        parts = base_model.split("/")
        if len(parts) > 2 or base_model.startswith(("/", ".", "~")) or "\\" in base_model or not all(parts):
            raise ModelError(
                f"--base_model {base_model}: no such folder, here or in {REPOSITORY}. Give a folder that holds a model, or a "
                "Hugging Face name such as unsloth/Qwen2.5-7B-Instruct-bnb-4bit"
            )
        return base_model
    if not found.is_dir():
        raise ModelError(f"--base_model {base_model} is a file: give the folder that holds the model")
    if not (found / "config.json").exists() and not (found / "adapter_config.json").exists():
        raise ModelError(f"--base_model {base_model}: the folder has no config.json, so it holds no model")
    return str(found.resolve())


def read_model_card(model: str) -> dict[str, Any]:
    """planner.json of a model folder as plain data; {} when it has none. Raises ModelError when the file is broken."""
    path = Path(model) / MODEL_CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(card, dict) or not isinstance(card.get("grpo_defaults", {}), dict):
        raise ModelError(f"{path} must hold an object, and its grpo_defaults too")
    return card


def model_defaults(card: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`grpo_defaults` of a model card. Raises ModelError for a setting that a model may not choose."""
    defaults = dict(card.get("grpo_defaults", {}))
    for name in defaults:
        if name not in MODEL_MAY_SET:
            raise ModelError(f"{Path(model) / MODEL_CARD}: grpo_defaults may not hold {name!r}")
    return defaults
