"""Every setting of a training run: its name, type and default, what it is for, and what may be done with it.

Nothing about a setting stands anywhere else: flags, GRPO_* variables, --help, checks, what a continued run may change and what a
model's card may propose are all read from here. rules.py has what settings mean for each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from grpo_project.configs.chat import CHAT, ChatSettings
from grpo_project.configs.lengths import STRATEGIES
from grpo_project.configs.setting import (
    BUILT_IN,
    BY_CARD,
    CHECKPOINT,
    COMMAND_LINE,
    FIXED,
    FREE,
    NOT_BY_CARD,
    PER_LAUNCH,
    flag_of_field,
    setting,
)
from grpo_project.errors import GrpoProjectError
from grpo_project.pddl.explanation import DETAILS

DIFFICULTY_BANDS = ("percentiles", "scores")

DATA = "model and data"
RUN = "output and continuing"
BATCH = "batches and length of the run"
GRPO = "the update"
SAMPLING = "sampling"
CURRICULUM = "curriculum and reward"
MODEL = "memory and model loading"
REPORT = "reporting"
GROUPS = (DATA, RUN, BATCH, GRPO, SAMPLING, CHAT, CURRICULUM, MODEL, REPORT)


@dataclass(frozen=True, kw_only=True)
class Settings(ChatSettings):
    """The settings alone; `TrainingConfig` is what a run is made from."""

    # fmt: off
    base_model: str = setting("data/models/any-names-planner", DATA, FIXED, NOT_BY_CARD,
        "model folder or Hugging Face name; looked up here, then in the repository", path=True)
    data_root: str = setting("data/four_domain", DATA, FIXED, NOT_BY_CARD,
        "folder with one <domain>.jsonl of training problems per domain", path=True)
    test_data: str | None = setting(None, DATA, FIXED, NOT_BY_CARD,
        "folder of held-out problems; without one data/test, or else problems generated from a named seed", path=True)
    domains: tuple[str, ...] | None = setting(None, DATA, FIXED, NOT_BY_CARD,
        "domains to train on, separated by spaces or commas; default: every file of the data root")
    problem_root: tuple[str, ...] | None = setting(None, DATA, FIXED, NOT_BY_CARD,
        "folders in which the PDDL files that rows name are looked for too, however deep", path=True)
    difficulty_pattern: str | None = setting(None, DATA, FIXED, NOT_BY_CARD,
        "regular expression for file names that follow no grammar of this suite, as 'p(\\d+)-d(\\d+)': the sum of its groups is "
        "the difficulty score; default: objects and goals of a domain that the suite does not know, else 0")
    on_bad_row: str = setting("skip", DATA, FIXED, NOT_BY_CARD,
        "skip rows that do not parse (they are named and counted), or stop at the first", choices=("skip", "error"))

    output_dir: str | None = setting(None, RUN, PER_LAUNCH, NOT_BY_CARD,
        "new or empty folder for everything the run writes; default: outputs/<run name or time>")
    run_name: str | None = setting(None, RUN, FREE, NOT_BY_CARD, "name of the run in W&B and of its default output folder")
    resume_from_checkpoint: str | None = setting(None, RUN, PER_LAUNCH, NOT_BY_CARD,
        "checkpoint folder to go on from, or 'auto' for the newest complete one in --output_dir")
    config_file: str | None = setting(None, RUN, PER_LAUNCH, NOT_BY_CARD,
        "JSON object with settings by name; the command line and the environment are stronger")
    save_steps: int = setting(100, RUN, FREE, BY_CARD, "steps between two checkpoints", least=1)
    save_total_limit: int = setting(3, RUN, FREE, NOT_BY_CARD, "checkpoints kept; the oldest goes first", least=1)

    batch_size: int = setting(8, BATCH, FIXED, BY_CARD,
        "PROMPTS per batch, the same number from every domain: must divide evenly", least=1)
    num_generations: int = setting(8, BATCH, FIXED, BY_CARD,
        "completions sampled per prompt; GRPO compares them with each other", least=2)
    micro_batch_size: int | None = setting(None, BATCH, FIXED, BY_CARD,
        "prompts trained on at once; changes speed and memory, never what a batch holds; divides batch_size; default: what suits "
        "the device, and on a GPU fits by the memory estimate", least=1)
    sampling_batch_size: int | None = setting(None, BATCH, FIXED, NOT_BY_CARD,
        "prompts sampled at once; fewer need less memory and draw other random numbers; default: all of a step, and on a GPU "
        "what fits by the memory estimate", least=1)
    gradient_accumulation_steps: int = setting(1, BATCH, FIXED, BY_CARD, "whole batches per optimizer step", least=1)
    max_steps: int = setting(1000, BATCH, FIXED, BY_CARD,
        "optimizer steps of the run; the curriculum is spread over them", least=1, most=1_000_000)
    seed: int = setting(42, BATCH, FIXED, NOT_BY_CARD,
        "decides batches, sampling and initial adapters; same seed, same run", least=0, below=2**32)

    algorithm: str = setting("grpo", GRPO, FIXED, BY_CARD,
        "how rewards become an update: grpo (Shao et al. 2024) or rloo, leave-one-out REINFORCE (Ahmadian et al. 2024)",
        choices=("grpo", "rloo"))
    learning_rate: float = setting(1e-05, GRPO, FIXED, BY_CARD,
        "peak learning rate; 1e-5 to 5e-6 for 7B, lower for larger models", above=0, below=1)
    lr_scheduler: str = setting("constant_with_warmup", GRPO, FIXED, BY_CARD,
        "course of the learning rate after the warm-up", choices=("constant", "constant_with_warmup", "linear", "cosine"))
    warmup_steps: int = setting(0, GRPO, FIXED, BY_CARD, "steps over which the learning rate rises from 0", least=0)
    weight_decay: float = setting(0.0, GRPO, FIXED, BY_CARD, "decoupled weight decay of AdamW", least=0)
    adam_beta1: float = setting(0.9, GRPO, FIXED, BY_CARD, "AdamW: memory of the gradient", least=0, below=1)
    adam_beta2: float = setting(0.99, GRPO, FIXED, BY_CARD,
        "AdamW: memory of its square; RL gradients change fast, so below 0.999", least=0, below=1)
    max_grad_norm: float = setting(1.0, GRPO, FIXED, BY_CARD,
        "gradients are scaled down to this norm; 0 turns clipping off", least=0)
    beta: float = setting(0.02, GRPO, FIXED, BY_CARD,
        "strength of the KL pull towards the starting model; 0 needs no reference model and is faster", least=0)
    epsilon: float = setting(0.2, GRPO, FIXED, BY_CARD, "clip range of the probability ratio, downwards", above=0, below=1)
    epsilon_high: float | None = setting(None, GRPO, FIXED, BY_CARD,
        "clip range upwards; default: as --epsilon; for cispo the largest weight of a token, default 5", above=0, below=10)
    loss_type: str = setting("dr_grpo", GRPO, FIXED, BY_CARD,
        "how tokens are averaged and ratios held: grpo per completion, bnpo and dapo per token, dr_grpo by the maximum length "
        "(no length bias); cispo, sapo, luspo, vespo for ratios far from 1: docs/losses.md",
        choices=("grpo", "bnpo", "dapo", "dr_grpo", "cispo", "sapo", "luspo", "vespo"))
    importance_sampling_level: str = setting("token", GRPO, FIXED, BY_CARD,
        "a probability ratio for each token, or one for the whole completion (GSPO: sequence with --loss_type grpo)",
        choices=("token", "sequence"))
    top_entropy_quantile: float = setting(1.0, GRPO, FIXED, BY_CARD,
        "share of the tokens, those of highest entropy, that the policy gradient comes from", least=0, most=1)
    entropy_coef: float = setting(0.0, GRPO, FIXED, BY_CARD, "strength of the reward for entropy in the loss", least=0)
    off_policy_mask_threshold: float | None = setting(None, GRPO, FIXED, BY_CARD,
        "completions below their group's mean whose mean log-ratio to the sampling policy is above it drop out of the loss",
        above=0)
    grpo: tuple[str, ...] | None = setting(None, GRPO, FIXED, NOT_BY_CARD,
        "further fields of TRL's GRPOConfig or RLOOConfig, as delta=4 use_bias_correction_kl=false")
    scale_rewards: str = setting("none", GRPO, FIXED, BY_CARD,
        "divide advantages by the standard deviation of the group, of the batch, or not at all (dividing gives groups of nearly"
        " equal rewards the largest updates)", choices=("group", "batch", "none"))
    mask_truncated_completions: bool = setting(False, GRPO, FIXED, BY_CARD,
        "completions cut off at the maximum length take no part in the loss; they keep their reward")
    num_iterations: int = setting(1, GRPO, FIXED, BY_CARD,
        "optimizer steps taken on one set of completions; above 1 is off-policy", least=1)

    temperature: float = setting(1.0, SAMPLING, FIXED, BY_CARD,
        "sampling temperature; log-probabilities are computed at the same one", above=0, most=10)
    top_p: float = setting(1.0, SAMPLING, FIXED, NOT_BY_CARD,
        "sample from the fewest tokens that hold this probability together; off-policy below 1", above=0, most=1)
    top_k: int = setting(0, SAMPLING, FIXED, NOT_BY_CARD,
        "sample from so many most likely tokens; 0: from all; off-policy", least=0)
    min_p: float = setting(0.0, SAMPLING, FIXED, NOT_BY_CARD,
        "sample from tokens of at least this share of the likeliest one's probability; off-policy", least=0, most=1)
    repetition_penalty: float = setting(1.0, SAMPLING, FIXED, NOT_BY_CARD,
        "divides the logit of a token that the answer already holds; the prompt is not counted; off-policy", above=0, most=10)
    presence_penalty: float = setting(0.0, SAMPLING, FIXED, NOT_BY_CARD,
        "taken from the logit of a token that the answer already holds; the prompt is not counted; off-policy",
        least=-10, most=10)
    frequency_penalty: float = setting(0.0, SAMPLING, FIXED, NOT_BY_CARD,
        "the same for each time that the answer holds it; the prompt is not counted; off-policy", least=-10, most=10)
    min_new_tokens: int = setting(0, SAMPLING, FIXED, NOT_BY_CARD,
        "the end token is held back until an answer has so many; off-policy", least=0)
    max_prompt_length: int = setting(2048, SAMPLING, FIXED, BY_CARD,
        "tokens; a longer prompt is left out and counted, since a cut problem is another problem", least=1)
    max_completion_length: int = setting(512, SAMPLING, FIXED, BY_CARD, "tokens a plan may take before it is cut off", least=1)
    max_seq_length: int | None = setting(None, SAMPLING, FIXED, NOT_BY_CARD,
        "tokens of prompt and completion together; default: the sum of the two lengths", least=2)
    length_allocation_strategy: str = setting("custom", SAMPLING, FIXED, NOT_BY_CARD,
        "the prompt's share of --max_seq_length: balanced half, completion_heavy a quarter, prompt_heavy three quarters; "
        "custom: as the two lengths say", choices=STRATEGIES)

    curriculum: str = setting("step", CURRICULUM, FIXED, BY_CARD,
        "step: get_curriculum_weights(step, max_steps) in this script; uniform: difficulties as they come (the control); stage:"
        " from foundation on by held-out success; adaptive: what has reward variance now; frontier: what is solved about half "
        "the time, by a fit of success over difficulty scores; path/to/file.py:name: your own")
    target_pass_rate: tuple[str, ...] | None = setting(None, CURRICULUM, FIXED, NOT_BY_CARD,
        "pass rate of completions that --curriculum frontier aims at, as 0.5 for all domains or ferry=0.6; default: 0.5")
    difficulty_bands: str = setting("percentiles", CURRICULUM, FIXED, BY_CARD,
        "where easy, medium and hard end in a domain. percentiles: at 40% and 80% of its rows; scores: at a third and two thirds "
        "of its range of difficulty scores, for data from small to very large problems", choices=DIFFICULTY_BANDS)
    domain_weights: tuple[str, ...] | None = setting(None, CURRICULUM, FIXED, NOT_BY_CARD,
        "share of a domain in every batch, as ferry=2 spanner=3; whole numbers, 1 where not named")
    eval_every_n_steps: int | None = setting(None, CURRICULUM, FIXED, NOT_BY_CARD,
        "steps between two held-out evaluations during training, for curriculum and collapse guard; 0: none; default: 25, or 0 "
        "where --eval_samples is 0 and neither --curriculum nor --on_collapse needs them", least=0)
    max_eval_samples: int = setting(24, CURRICULUM, FIXED, NOT_BY_CARD,
        "problems per domain in an evaluation during training", least=1, most=100_000)
    on_collapse: str = setting("warn", CURRICULUM, FIXED, NOT_BY_CARD,
        "when a domain's held-out success falls significantly below its best: name it; give it more and easier prompts; go back"
        " to the weights of the last evaluation without a fallen domain, and reweight; stop",
        choices=("warn", "reweight", "rollback", "stop"))
    resample_zero_variance: int = setting(0, CURRICULUM, FIXED, NOT_BY_CARD,
        "times a group whose rewards are all equal is replaced by another problem's; each costs completions", least=0)
    skip_zero_variance: int = setting(0, CURRICULUM, FIXED, NOT_BY_CARD,
        "steps for which a problem is not drawn again after a group whose rewards were all equal; 0: off", least=0)
    adaptive_quotas: bool = setting(False, CURRICULUM, FIXED, BY_CARD,
        "move up to half of every domain's prompts to the domains whose rewards differ now; quotas stay whole numbers")
    reward: tuple[str, ...] = setting(("dense",), CURRICULUM, FIXED, BY_CARD,
        "dense: progress of the part that ran counts below success; banded: within --reward_bands too; sparse: success or not; "
        "path/to/file.py:function: your own; several are added up, each with =WEIGHT: dense brevity.py:brevity=0.2")
    reward_bands: str = setting("", CURRICULUM, FIXED, BY_CARD,
        "CLASS=LOW:HIGH,... ranges of the verdict classes for --reward banded; without it every plan that ran and failed has "
        "one")
    preference_weight: float = setting(0.0, CURRICULUM, FIXED, BY_CARD,
        "share of a success's reward that is lost where a plan violates every PDDL3 preference of its problem; 0: none counts",
        least=0, below=1)
    validator: str = setting("builtin", CURRICULUM, FIXED, NOT_BY_CARD,
        "who decides rewards: builtin; val (that program, 5 ms a plan); both: builtin, and every disagreement is kept",
        choices=("builtin", "val", "both"))
    plan_reading: str = setting("strict", CURRICULUM, FIXED, NOT_BY_CARD,
        "how an answer is read. strict: it is a plan and nothing else; lenient: its last whole plan counts, whatever stands "
        "around it (docs/verifier.md)", choices=("strict", "lenient"))

    repair_turns: int = setting(0, CURRICULUM, FIXED, NOT_BY_CARD,
        "times a completion whose plan fails goes back with the verifier's words, for another plan in the same completion; the "
        "last plan is rewarded, and all answers together stay below --max_completion_length", least=0, most=8)
    repair_detail: str = setting("state", CURRICULUM, FIXED, NOT_BY_CARD,
        "what a repair is told. failed: that it failed; step: also how, and at which step; state: also the state there and what "
        "was unmet", choices=DETAILS)
    repair_price: float = setting(0.1, CURRICULUM, FIXED, NOT_BY_CARD,
        "taken from the reward for every repair that came before the last plan", least=0)

    backend: str = setting("auto", MODEL, FIXED, NOT_BY_CARD,
        "auto: Unsloth where CUDA and unsloth are there and the model is large, plain transformers elsewhere",
        choices=("auto", "unsloth", "transformers"))
    use_gradient_checkpointing: bool | None = setting(None, MODEL, FREE, NOT_BY_CARD,
        "recompute activations: less GPU memory, about a fifth slower; default: where the memory estimate needs it")
    load_in_4bit: bool = setting(True, MODEL, FIXED, NOT_BY_CARD,
        "load GPU models in full precision instead of 4 bit", flag="--no_4bit")
    lora_rank: int | None = setting(None, MODEL, FIXED, BY_CARD,
        "rank of the LoRA adapters, 0 trains all weights; default: 16 on a GPU; 0 on a CPU or for a small model; "
        "a --base_model that is an adapter goes on with its own rank and scale", least=0)
    lora_alpha: int | None = setting(None, MODEL, FIXED, BY_CARD,
        "LoRA scale (the adapters count lora_alpha / lora_rank); default: 32", least=1)
    use_vllm: bool = setting(False, MODEL, FIXED, NOT_BY_CARD,
        "sample completions with vLLM (package vllm, CUDA, --backend transformers); a continued run then repeats the problems, "
        "not the completions")
    vllm_mode: str = setting("colocate", MODEL, FREE, NOT_BY_CARD,
        "vLLM in this process, on the same GPU, or in a server that `vllm serve` started on another GPU",
        choices=("colocate", "server"))
    vllm_gpu_memory_utilization: float = setting(0.3, MODEL, FREE, NOT_BY_CARD,
        "share of the GPU's memory that vLLM takes for itself (colocate and --fast_inference)", above=0, below=1)
    vllm_server_host: str = setting("127.0.0.1", MODEL, FREE, NOT_BY_CARD, "where the vLLM server is")
    vllm_server_port: int = setting(8000, MODEL, FREE, NOT_BY_CARD, "its port for requests", least=1, most=65535)
    vllm_server_timeout: float = setting(240.0, MODEL, FREE, NOT_BY_CARD,
        "seconds TRL waits for the server's answer when a run begins", above=0)
    vllm_group_port: int = setting(51216, MODEL, FREE, NOT_BY_CARD,
        "port over which changed weights are sent to the server", least=1, most=65535)
    fast_inference: bool = setting(False, MODEL, FIXED, NOT_BY_CARD,
        "Unsloth's own way of sampling with vLLM (package vllm, --backend unsloth, adapters); not exact to resume")
    trust_remote_code: bool = setting(False, MODEL, FREE, NOT_BY_CARD,
        "let a downloaded model run its own code; only for models you have read")

    logging_steps: int = setting(10, REPORT, FREE, BY_CARD,
        "steps per line of metrics.jsonl, W&B point and console line", least=1)
    eval_samples: int = setting(200, REPORT, FIXED, BY_CARD,
        "held-out problems per domain, solved greedily before and after; 0: no evaluation", least=0)
    diagnose_steps: int = setting(2, REPORT, FREE, NOT_BY_CARD,
        "first steps whose prompts and answers are shown at their boundary, with end tokens, padding and entropy", least=0)
    on_anomaly: str = setting("stop", REPORT, FREE, NOT_BY_CARD,
        "when prompts, answers, the first steps' entropy or gradients are broken, so that nothing sound can be learned: stop, "
        "with exit status 4 and no checkpoint of it, or warn and go on; docs/diagnosis.md names the conditions",
        choices=("stop", "warn"))
    alarm_thresholds: tuple[str, ...] | None = setting(None, REPORT, FREE, NOT_BY_CARD,
        "thresholds of the health monitor and the report, as kl=0.5 window=20; docs/diagnosis.md lists them")
    use_wandb: bool = setting(True, REPORT, FREE, NOT_BY_CARD,
        "no W&B; metrics.jsonl is written either way (W&B goes offline by itself when nobody is logged in)", flag="--no_wandb")
    report_to: tuple[str, ...] = setting(("wandb",), REPORT, FREE, NOT_BY_CARD,
        "trackers beside metrics.jsonl, all with the same numbers: wandb, tensorboard, trackio, none")
    wandb_project: str = setting("pddl-grpo-v2", REPORT, FREE, NOT_BY_CARD, "W&B project")
    wandb_continuity: str = setting("continue", REPORT, PER_LAUNCH, NOT_BY_CARD,
        "the W&B run of a resumed training: the same one; a new one with a copy of the points so far (fork); a new, empty one; "
        "the same one, written here and sent later (offline)", choices=("continue", "fork", "new", "offline"))
    force_new_wandb_run: bool = setting(False, REPORT, PER_LAUNCH, NOT_BY_CARD, "the same as --wandb_continuity new")
    # fmt: on


def settings() -> tuple[Field[Any], ...]:
    """The fields that are settings, in the order in which they are shown."""
    return fields(Settings)


def flag_of(name: str) -> str:
    """`--learning_rate` for learning_rate; `--no_4bit` and the like where the flag turns something off."""
    return flag_of_field(Settings.__dataclass_fields__[name])


def default_of(name: str) -> Any:
    """The built-in default of a setting. Raises KeyError for a name that is none."""
    default = Settings.__dataclass_fields__[name].default
    assert default is not MISSING  # every setting has one
    return default


@contextmanager
def sources_named(sources: Mapping[str, str]) -> Iterator[None]:
    """An error of ours that names a setting also says where its value came from, where one would not think of it.

    `sources`: of each setting's value.
    """
    try:
        yield
    except GrpoProjectError as error:
        text, expected = str(error), (COMMAND_LINE, BUILT_IN, CHECKPOINT)
        named = [
            f"{flag_of(name)} is from {source}"
            for name, source in sources.items()
            if source not in expected
            and name in Settings.__dataclass_fields__
            and re.search(rf"{flag_of(name)}\b", text)
            and f"from {source}" not in text
            and f"({source})" not in text
        ]
        if named:
            error.args = (f"{text} ({', '.join(named)})",)
        raise
