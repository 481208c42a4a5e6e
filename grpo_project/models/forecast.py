"""Whether a run fits a GPU, in words for people: the estimate, what would need less, and what to say when it did not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.paths import locate, locate_model
from grpo_project.common.text import text_table
from grpo_project.configs.batches import possible_micro_batches
from grpo_project.configs.settings import Settings, flag_of
from grpo_project.data.row_files import domain_names
from grpo_project.errors import ConfigError, ModelError, first_line
from grpo_project.models.loading import LoadPlan, is_small, plan_for
from grpo_project.models.memory import GIB, MIB, Architecture, Estimate, Load, estimate, weight_bytes

SPARE = 0.1  # of the GPU, left free by what is chosen here: the estimate is no measurement
MEMORY_ESTIMATE = "memory estimate"  # the source of a setting that was chosen here


@dataclass(frozen=True)
class Remedy:
    """A change of settings, as flags, how much of the peak it saves, in bytes, what it costs, and whether it is enough."""

    flags: str
    gain: float
    caution: str = ""
    enough: bool = False

    def __str__(self) -> str:
        size = f"{self.gain / GIB:.1f} GiB" if self.gain >= 0.1 * GIB else f"{self.gain / MIB:.0f} MiB"
        cost = f" ({self.caution})" if self.caution else ""
        return f"{self.flags} saves {size}{cost}{', and then it fits' if self.enough else ''}"


@dataclass(frozen=True)
class Forecast:
    """A run's memory on one GPU. `available`: bytes it has, None where unknown; --batch_size stays a multiple of `domains`.

    `chosen`: settings of `config` that were chosen by `fitted`.
    """

    model: Architecture
    config: Settings
    plan: LoadPlan
    available: float | None = None
    world_size: int = 1
    shards: int = 1
    domains: int = 1
    chosen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def load(self) -> Load:
        return Load.of(self.config, self.plan, self.world_size, self.shards)

    @property
    def vllm_bytes(self) -> float:
        """What vLLM reserves on this GPU for weights and cache, without the weights that it shares with Unsloth; 0 without it."""
        share = self.config.vllm_gpu_memory_utilization * (self.available or 0)
        if self.config.fast_inference:
            return max(0.0, share - weight_bytes(self.model, self.load))
        return share if self.config.use_vllm and self.config.vllm_mode == "colocate" else 0.0

    @property
    def estimate(self) -> Estimate:
        found = estimate(self.model, self.load)
        if self._vllm_samples:  # in memory of its own
            return replace(found, cache=0.0, sampling=0.0, context=found.context + self.vllm_bytes)
        return found

    @property
    def _vllm_samples(self) -> bool:
        return self.config.use_vllm or self.config.fast_inference

    def fitted(self) -> Forecast:
        """With micro-batch, gradient checkpointing and prompts sampled at once chosen so that it fits, where they were left open.

        Smaller micro-batches come before checkpointing, which costs time, and sampling is cut into the fewest parts. Where
        nothing fits, what needs least is taken. The same as before where the size of the GPU is unknown.
        """
        if self.available is None:
            return self
        config, room = self.config, (1 - SPARE) * self.available
        given, micro = config.use_gradient_checkpointing, config.micro_batch_size
        trained = [
            self._choosing(micro_batch_size=size, use_gradient_checkpointing=checkpointing)
            for checkpointing in ((False, True) if given is None else (given,))
            for size in ([micro] if micro else possible_micro_batches(config, "cuda", self.world_size))
        ]
        best = _first_within(trained, lambda found: found.estimate.staying + found.estimate.training, room)
        if config.sampling_batch_size is not None or self._vllm_samples:
            return best
        prompts = best.load.generated // config.num_generations
        sizes = dict.fromkeys(-(-prompts // parts) for parts in range(1, prompts + 1))
        sampled = [best._choosing(sampling_batch_size=size) for size in sizes]
        return _first_within(sampled, lambda found: found.estimate.staying + found.estimate.generating, room)

    def _choosing(self, **values: Any) -> Forecast:
        """With these settings, of which those that differ count as chosen."""
        chosen = {name: value for name, value in values.items() if value != getattr(self.config, name)}
        return replace(self, config=replace(self.config, **chosen), chosen={**self.chosen, **chosen})

    @property
    def choice(self) -> str:
        """What `fitted` chose, in one line; empty for nothing."""
        flags = [
            f"{'' if value else 'no '}{flag_of(name)}" + ("" if isinstance(value, bool) else f" {value}")
            for name, value in self.chosen.items()
        ]
        aim = "so that it fits" if self.fits else "though even the least does not fit"
        return f"Chosen {aim}, where nothing was set: {', '.join(flags)}" if flags else ""

    @property
    def fits(self) -> bool:
        """Whether the peak stays below what the GPU has; True where that is unknown."""
        return self.available is None or self.estimate.total <= self.available

    def report(self) -> str:
        """The table, what was chosen, and what would lower the peak where it is not known to fit."""
        lines = [self.table(), *filter(None, [self.choice])]
        if self.available is None or not self.fits:
            lines.append("What lowers the peak, each by itself:")
            lines += [f"  {remedy}" for remedy in self.remedies()] or ["  nothing that is a setting: take a smaller model"]
        return "\n".join(lines)

    def table(self) -> str:
        """The estimate in GiB, one line a part, and whether it fits."""
        found, load = self.estimate, self.load
        what = f"LoRA of rank {load.rank}: adapters" if load.rank else "all weights trained:"
        length = load.prompt + load.completion
        lines = [
            ("weights" + (", 4 bit" if load.four_bit else ""), found.weights),
            (f"{what}{',' if load.rank else ''} gradients, optimizer", found.trained_state),
            (f"while sampling: {load.generated} completions, at most {length} tokens each with the prompt", found.generating),
            (f"while training: activations of {load.trained} completions", found.activations),
            ("while training: scores over the vocabulary", found.logits),
            ("CUDA itself (assumed)" + (" and vLLM's share" if self.vllm_bytes else ""), found.context),
            ("peak: what stays, and the larger of sampling and training", found.total),
        ]
        if self.available is not None:
            lines.append((f"the GPU has, so it {'fits' if self.fits else 'DOES NOT FIT'}", self.available))
        header = ("memory of one GPU, estimated at the greatest lengths allowed", "GiB")
        return text_table(header, [(name, f"{size / GIB:.2f}") for name, size in lines])

    def remedies(self) -> list[Remedy]:
        """What would lower the peak, the largest gain first; a change that lowers nothing, or is no setting, is left out."""
        now = self.estimate.total
        found = []
        for flags, settings, plan, caution in self._changes():
            try:
                then = replace(self, config=replace(self.config, **settings), plan=replace(self.plan, **plan)).estimate.total
            except ConfigError:
                continue
            if now - then >= MIB:
                enough = self.available is not None and then <= self.available < now
                found.append(Remedy(flags, now - then, caution, enough))
        return sorted(found, key=lambda remedy: -remedy.gain)

    def advice(self) -> str:
        """The remedies in one line; each gain is for that change alone."""
        found = "; ".join(map(str, self.remedies()))
        return f"What lowers it, each by itself: {found}" if found else "No setting lowers it: take a smaller model"

    def _changes(self) -> list[tuple[str, dict[str, Any], dict[str, Any], str]]:
        """(flags, settings, fields of the plan, what it costs) of every change worth asking about."""
        config, plan = self.config, self.plan
        changes: list[tuple[str, dict[str, Any], dict[str, Any], str]] = []

        def lower(name: str, to: int, caution: str, **others: Any) -> None:
            if to < getattr(config, name):
                changes.append((f"{flag_of(name)} {to}", {name: to, **others}, {}, caution))

        if plan.rank and not plan.four_bit and self.shards == 1 and not plan.small:
            what = "installing bitsandbytes, for 4 bit," if config.load_in_4bit else "leaving out --no_4bit"
            changes.append((what, {"load_in_4bit": True}, {"four_bit": True, "float32": False}, ""))
        if plan.rank == 0 and not plan.small:
            adapted = {"rank": 16, "four_bit": config.load_in_4bit and self.shards == 1, "float32": False}
            changes.append(("--lora_rank 16", {"lora_rank": 16}, adapted, "adapters instead of all weights"))
        if plan.rank > 8:
            changes.append((f"--lora_rank {plan.rank // 2}", {"lora_rank": plan.rank // 2}, {"rank": plan.rank // 2}, ""))
        if not config.use_gradient_checkpointing:
            changes.append(("--use_gradient_checkpointing", {"use_gradient_checkpointing": True}, {}, "slower"))
        if self.load.trained > config.num_generations:
            changes.append(("--micro_batch_size 1", {"micro_batch_size": 1}, {}, "the batch stays what it is"))
        if self.load.generated > config.num_generations and not self._vllm_samples:
            changes.append(("--sampling_batch_size 1", {"sampling_batch_size": 1}, {}, "slower"))
        lower("num_generations", max(2, config.num_generations // 2), "fewer answers to compare")
        if config.batch_size % (2 * self.domains) == 0:
            micro = config.micro_batch_size
            fitting = {"micro_batch_size": None} if micro and (config.batch_size // 2) % micro else {}
            lower("batch_size", config.batch_size // 2, "fewer problems a step", **fitting)
        lower("gradient_accumulation_steps", config.gradient_accumulation_steps // 2 or 1, "fewer problems a step")
        lengths = {name: getattr(config, name) for name in ("max_prompt_length", "max_completion_length")}
        lengths |= {"length_allocation_strategy": "custom", "max_seq_length": None}
        half = max(16, config.max_completion_length // 2)
        shorter = {**lengths, "min_new_tokens": min(config.min_new_tokens, half - 1)}
        del shorter["max_completion_length"]
        lower("max_completion_length", half, "longer plans are cut off", **shorter)
        del lengths["max_prompt_length"]
        lower("max_prompt_length", max(64, config.max_prompt_length // 2), "longer problems are left out", **lengths)
        if config.beta > 0:
            changes.append(("--beta 0", {"beta": 0.0}, {}, "no pull towards the starting model"))
        return changes


def forecast(
    config: Settings, model: str, plan: LoadPlan, available: float | None = None, world_size: int = 1, domains: int = 1
) -> Forecast:
    """For a model folder or a Hugging Face name. Raises ModelError without its config.json, or for a family not known here."""
    described = read_model_config(model)
    if "quantization_config" in described and plan.device == "cuda" and plan.rank:
        plan = replace(plan, four_bit=True)  # it is stored in few bits, whatever was asked for
    shards = world_size if ranks.shards_parameters() else 1
    return Forecast(Architecture.of(described, model), config, plan, available, world_size, shards, domains)


def announced_forecast(
    config: Settings, model: str, plan: LoadPlan, domains: int, say: Callable[[str], None], choose: bool = True
) -> Forecast | None:
    """What the run will need of the GPU of this process, told before anything is loaded; None where it cannot be estimated.

    Warns and forbids nothing: it is an estimate. `choose`: as `Forecast.fitted` does, the same in every process.
    """
    try:
        found = forecast(config, model, plan, _gpu_bytes() if plan.device == "cuda" else None, ranks.world_size(), domains)
        found = found.fitted() if choose else found
    except ModelError as error:
        if plan.device == "cuda":
            say(str(error))
        return None
    if plan.device == "cuda":
        say(found.report())
    return found


def _gpu_bytes() -> float:
    """Of this process's GPU; of the smallest where there are several processes, which must choose alike."""
    import torch

    devices = range(torch.cuda.device_count()) if ranks.world_size() > 1 else [ranks.local_rank()]
    return float(min(torch.cuda.get_device_properties(device).total_memory for device in devices))


def _first_within(candidates: Sequence[Forecast], need: Callable[[Forecast], float], room: float) -> Forecast:
    """The first that needs no more than `room`, else the one that needs least."""
    return next((found for found in candidates if need(found) <= room), min(candidates, key=need))


def forecast_for_a_gpu(config: Settings, gib: float | None) -> Forecast:
    """For one GPU of that size, which need not be here, as `fitted` to it: Unsloth unless --backend says otherwise. Imports no
    torch.

    Raises ModelError as `forecast` does.
    """
    model = locate_model(config.base_model)
    small = is_small(model)
    name = config.backend if config.backend != "auto" else "transformers" if small or config.use_vllm else "unsloth"
    plan = plan_for(name, "cuda", "it is asked for", small, True, config.load_in_4bit, config.lora_rank, "bf16")
    data_root = locate(config.data_root)
    domains = len(config.domains or (domain_names(data_root) if data_root is not None else ())) or 1
    return forecast(config, model, plan, None if gib is None else gib * GIB, domains=domains).fitted()


def read_model_config(model: str) -> dict[str, Any]:
    """config.json of a model folder, of the base that an adapter names, or of a Hugging Face name (fetched alone).

    Raises ModelError where there is none, or it cannot be read.
    """
    folder = Path(model)
    try:
        if (folder / "config.json").is_file():
            found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        elif (folder / "adapter_config.json").is_file():
            adapter = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            return read_model_config(str(adapter["base_model_name_or_path"]))
        else:
            from huggingface_hub import hf_hub_download

            found = json.loads(Path(hf_hub_download(model, "config.json")).read_text(encoding="utf-8"))
    except Exception as error:  # the hub has many words for what went wrong, and none of them may stop a run
        raise ModelError(f"{model}: no memory estimate, for its config.json cannot be read ({first_line(error, 200)})") from None
    if not isinstance(found, dict):
        raise ModelError(f"{model}: no memory estimate, for its config.json holds no object")
    return found


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or the one it came from, is a device's memory that ran out."""
    while error is not None:
        if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "out of memory" in str(error)):
            return True
        error = error.__cause__
    return False
