"""Every setting of a training run: its name, its default, what it is for, and the flag that gives it.

`TrainingConfig` is a frozen dataclass that cannot exist in a wrong state (rules.py). The command line of the training script
and the `GRPO_*` environment variables are made from its fields; resolution.py says whose value counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import STRATEGIES, ScriptConfig
from grpo_project.configs.reward import REWARD_MODES, RewardConfig, parse_bands
from grpo_project.configs.rules import check
from grpo_project.configs.setting import flag_of_field, setting

DATA = "model and data"
RUN = "output and continuing"
BATCH = "batches and length of the run"
GRPO = "the GRPO update"
SAMPLING = "sampling"
CURRICULUM = "curriculum and reward"
MODEL = "memory and model loading"
REPORT = "reporting"
GROUPS = (DATA, RUN, BATCH, GRPO, SAMPLING, CURRICULUM, MODEL, REPORT)

EVALUATE_EVERY = 25  # steps, where nobody said how often

# A change of one of these makes a continued run another run: its batches, its gradients or its data would differ.
FIXED_ON_RESUME = (
    "base_model data_root domains batch_size micro_batch_size gradient_accumulation_steps max_steps learning_rate lr_scheduler "
    "warmup_steps weight_decay adam_beta1 adam_beta2 max_grad_norm beta epsilon epsilon_high loss_type scale_rewards "
    "mask_truncated_completions num_iterations temperature num_generations max_prompt_length max_completion_length curriculum "
    "reward reward_bands load_in_4bit lora_rank lora_alpha seed on_bad_row domain_weights eval_every_n_steps max_eval_samples "
    "on_collapse resample_zero_variance skip_zero_variance adaptive_quotas max_seq_length "
    "length_allocation_strategy repetition_penalty presence_penalty frequency_penalty min_new_tokens use_vllm fast_inference"
).split()


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
    adaptive_quotas: bool = setting(
        False,
        "bool",
        CURRICULUM,
        "move up to half of every domain's prompts to the domains whose rewards differ now; quotas stay whole numbers",
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
        check(self)
        lengths = self.script_config()
        for name in ("max_prompt_length", "max_completion_length"):
            object.__setattr__(self, name, getattr(lengths, f"script_{name}"))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    @property
    def feedback_every(self) -> int:
        """Steps between two evaluations during training; 0: none."""
        if self.eval_every_n_steps is not None:
            return self.eval_every_n_steps
        needed = self.curriculum == "stage" or self.on_collapse != "warn"
        return EVALUATE_EVERY if needed or self.eval_samples else 0

    def as_dict(self) -> dict[str, Any]:
        """Every setting as JSON-ready plain data, without `sources`."""
        values = {spec.name: getattr(self, spec.name) for spec in settings()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def settings() -> list[Any]:
    """The dataclass fields that are settings, in the order in which they are shown."""
    return [spec for spec in fields(TrainingConfig) if spec.metadata]


def flag_of(name: str) -> str:
    """`--learning_rate` for learning_rate; `--no_4bit` and the like where the flag turns something off."""
    return flag_of_field(TrainingConfig.__dataclass_fields__[name])


def default_of(name: str) -> Any:
    """The built-in default of a setting. Raises KeyError for a name that is none."""
    spec = TrainingConfig.__dataclass_fields__[name]
    if not spec.metadata or spec.default is MISSING:
        raise KeyError(name)
    return spec.default
