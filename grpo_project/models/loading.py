"""Which stack loads the model, and why: Unsloth with 4-bit LoRA on a CUDA machine, plain transformers everywhere else.

The one file that imports unsloth. Nothing here touches a device when imported; call `load_policy` before trl is imported,
because Unsloth rewrites trl's trainer. Code that comes with a model is never run unless asked for.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.files import read_json_object, write_json_atomically
from grpo_project.common.paths import locate_model
from grpo_project.configs.model_card import MODEL_CARD, read_model_card
from grpo_project.errors import BackendMissing, ModelError, first_line
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, end_of_answer, fit_chat, stop_tokens

# Every linear layer of the decoder families in use (Qwen, Llama, Mistral, Gemma).
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DEFAULT_LORA_RANK, DEFAULT_LORA_ALPHA = 16, 32
ADAPTER_CONFIG = "adapter_config.json"
SMALL_BYTES = 200 * 2**20
UNLOADABLE = (OSError, ValueError, KeyError, ImportError, RuntimeError)  # what the libraries raise for a model that is none


@dataclass(frozen=True)
class Policy:
    """A loaded model. `name`: unsloth or transformers; `reason`: why, for people. `prompt_style`: full or compact.

    `grpo_defaults`: settings the model's own card proposes. `card`: all of planner.json, {} when there is none. `autocast`: the
    16-bit type of mixed-precision training, bf16 or fp16; empty where the weights' own type is computed in. `chat`: what stands
    around its prompts. `remark`: what was put right about the end of an answer, for people.
    """

    model: Any
    tokenizer: Any
    name: str
    reason: str
    prompt_style: str
    grpo_defaults: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    autocast: str = ""
    chat: ChatOptions = PLAIN_CHAT
    remark: str = ""

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return str(next(self.model.parameters()).device.type)

    def new_card(self) -> dict[str, Any]:
        """planner.json of the model after training: it is to be asked as it was taught."""
        proposed = {**self.grpo_defaults, **self.chat.asked()}
        return {"prompt_style": self.prompt_style, **self.card, **({"grpo_defaults": proposed} if proposed else {})}


def choose_backend(asked: str = "auto", small: bool = False) -> tuple[str, str, str]:
    """(name, device, reason): what load_policy would take on this machine. Imports torch, nothing else.

    `asked`: auto, unsloth or transformers. `small`: a model that trains faster with all its weights, without adapters.
    Unsloth is for one process: nobody has shown that several train the same there. Raises BackendMissing when what was asked for
    cannot be had.
    """
    import torch

    if asked not in ("auto", "unsloth", "transformers"):
        raise BackendMissing(f"--backend must be auto, unsloth or transformers, got {asked!r}")
    cuda = torch.cuda.is_available()
    installed = importlib.util.find_spec("unsloth") is not None
    if asked == "unsloth" and not (cuda and installed):
        lacking = "a CUDA device" if not cuda else "the unsloth package (requirements.txt)"
        raise BackendMissing(f"--backend unsloth: {lacking} is not there. --backend transformers works on any machine")
    processes = ranks.world_size()
    if asked == "unsloth" and processes > 1:
        raise BackendMissing(f"--backend unsloth is for one process, and {processes} share the run: take --backend transformers")
    if not cuda:
        return "transformers", "cpu", "no CUDA device is there"
    if asked == "transformers":
        name, why = "transformers", "and --backend asks for transformers"
    elif not installed:
        name, why = "transformers", "but unsloth is not installed"
    elif processes > 1:
        name, why = "transformers", f"but {processes} processes share the run, and Unsloth is for one"
    elif small and asked == "auto":
        name, why = "transformers", "but a model this small trains faster with all its weights, without adapters"
    else:
        name, why = "unsloth", "and so is unsloth"
    return name, "cuda", f"a CUDA device ({torch.cuda.get_device_name(0)}) is there, {why}"


@dataclass(frozen=True)
class LoadPlan:
    """How a model will be loaded, known before it is: see `choose_backend` for `name`, `device` and `reason`.

    `rank`: of the LoRA adapters, 0 for all weights; `alpha`: their scale; `four_bit`: the layers' matrices are quantized;
    `float32`: the weights are in full precision; `autocast`: as in Policy.
    """

    name: str
    device: str
    reason: str
    small: bool
    rank: int
    four_bit: bool
    float32: bool
    autocast: str
    alpha: int = DEFAULT_LORA_ALPHA


def plan_load(
    path: str,
    *,
    training: bool,
    load_in_4bit: bool = True,
    lora_rank: int | None = None,
    lora_alpha: int | None = None,
    backend: str = "auto",
) -> LoadPlan:
    """What load_policy will do with the model in `path` on this machine.

    Raises BackendMissing as `choose_backend` does, ModelError as `adapters_to_train` does.
    """
    quiet_hugging_face(path)
    small = is_small(path)
    lora_rank, lora_alpha = adapters_to_train(path, lora_rank, lora_alpha) if training else (None, None)
    name, device, reason = choose_backend(backend, small)
    load_in_4bit = load_in_4bit and (name == "unsloth" or importlib.util.find_spec("bitsandbytes") is not None)
    plan = plan_for(name, device, reason, small, training, load_in_4bit, lora_rank, half_type() if device == "cuda" else "")
    return replace(plan, alpha=lora_alpha or DEFAULT_LORA_ALPHA)


def adapters_to_train(path: str, rank: int | None, alpha: int | None) -> tuple[int | None, int | None]:
    """Rank and alpha of the adapters in `path`, which are trained further as they are; for any other model what is asked for.

    Raises ModelError where others are asked for, or where the base model of the adapters is not there.
    """
    if not is_adapter(path):
        return rank, alpha
    described = read_json_object(Path(path) / ADAPTER_CONFIG)
    base = str(described.get("base_model_name_or_path"))
    own = {"rank": described.get("r", DEFAULT_LORA_RANK), "alpha": described.get("lora_alpha", DEFAULT_LORA_ALPHA)}
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise ModelError(f"{path} is an adapter of {base}, which is not there: put it back, or name it in {ADAPTER_CONFIG}")
    for name, asked in (("rank", rank), ("alpha", alpha)):
        if asked not in (None, own[name]):
            raise ModelError(
                f"--lora_{name} {asked}: {path} is an adapter of {name} {own[name]}, which is trained further as it is: leave "
                "the flag out, or merge the adapter first (script/export_model.py) and start from that"
            )
    return own["rank"], own["alpha"]


def is_adapter(path: str) -> bool:
    """Whether a model folder holds adapters, whose base model is elsewhere; what else lies beside them does not count, as for
    transformers."""
    return (Path(path) / ADAPTER_CONFIG).exists()


def plan_for(
    name: str, device: str, reason: str, small: bool, training: bool, load_in_4bit: bool, lora_rank: int | None, half: str
) -> LoadPlan:
    """The plan for a backend and a device that may be another machine's. `half`: its 16-bit type, bf16 or fp16.

    4 bit needs adapters to train, and whole parameters in every process. Weights that are all trained stay in float32, because
    updates are smaller than bfloat16 can add up, and are computed with in 16 bit; plain transformers keeps float32 throughout for
    a small model and on a GPU that has no bfloat16. Unsloth falls back to float16 there.
    """
    if lora_rank is None:
        lora_rank = 0 if device == "cpu" or small else DEFAULT_LORA_RANK
    rank = lora_rank if training else 0
    whole = training and rank == 0
    plain = name == "transformers"
    four_bit = load_in_4bit and device == "cuda" and not whole and not ranks.shards_parameters() and not (plain and small)
    float32 = device == "cpu" or whole or (plain and (small or half != "bf16"))
    mixed = device == "cuda" and whole and not small and half == "bf16"
    autocast = ("bf16" if mixed else "") if plain else half
    return LoadPlan(name, device, reason, small, rank, four_bit, float32, autocast)


def half_type() -> str:
    """bf16 where the GPU computes in it, fp16 on older ones (before Ampere)."""
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


@dataclass(frozen=True)
class LoadOptions:
    """What can be asked of `load_policy`.

    `training` adds LoRA adapters where `lora_rank` says so: None means 16 on CUDA, and 0, all weights, on a CPU or for a small
    model; so does `lora_alpha`, with 32. `max_sequence_length`: prompt and completion together, in tokens; Unsloth reserves it,
    or what the model was made for where that is less. `backend`: as `choose_backend` takes it. `fast_inference` lets Unsloth
    generate with vLLM, which reserves the given share of the GPU's memory.
    """

    training: bool = False
    max_sequence_length: int = 2560
    load_in_4bit: bool = True
    lora_rank: int | None = None
    lora_alpha: int | None = None
    use_gradient_checkpointing: bool = False
    trust_remote_code: bool = False
    seed: int = 42
    backend: str = "auto"
    fast_inference: bool = False
    vllm_gpu_memory_utilization: float = 0.3


def load_policy(base_model: str, *, tokenizer: Any = None, chat: ChatOptions | None = None, **options: Any) -> Policy:
    """Model and tokenizer of a folder (here or in the repository) or of a Hugging Face name; `options`: fields of LoadOptions.

    A small model (below 200 MB) stays in float32 and takes the Unsloth way only where `backend` asks for it: Unsloth is made for
    large ones. `chat`: what is asked for around prompts, fitted to the template before the weights are loaded (`fitted_chat`);
    without one, as the template is. `tokenizer`: one that `load_tokenizer` gave, where that was needed before, with a `chat` that
    is fitted; Unsloth brings its own all the same.
    Raises ModelError (one line) when the model cannot be loaded, BackendMissing when `backend` cannot be had, ConfigError as
    `fit_chat` does.
    """
    asked = LoadOptions(**options)
    path = locate_model(base_model)
    card = read_model_card(path)
    plan = plan_load(
        path,
        training=asked.training,
        load_in_4bit=asked.load_in_4bit,
        lora_rank=asked.lora_rank,
        lora_alpha=asked.lora_alpha,
        backend=asked.backend,
    )
    if tokenizer is None and (chat is not None or plan.name != "unsloth"):
        tokenizer = load_tokenizer(base_model, plan.name, asked.trust_remote_code)
        chat = fitted_chat(tokenizer, card, chat) if chat is not None else None
    try:
        if plan.name == "unsloth":
            model, own = _load_with_unsloth(path, plan, asked)
            tokenizer = _ready(own, base_model)
        else:
            model = _load_with_transformers(path, plan, asked)
    except UNLOADABLE as error:
        if isinstance(error, RuntimeError) and "out of memory" in str(error):
            raise ModelError(f"{base_model} does not fit into the memory of this device; try a smaller model or 4 bit") from error
        raise _not_loaded(base_model, plan.name, error) from error
    if asked.training and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(
            f"--base_model {base_model} has no weights that can be trained, as an adapter by its name on the hub has none: "
            "download it, and name its folder"
        )
    return Policy(
        model=model,
        tokenizer=tokenizer,
        name=plan.name,
        reason=plan.reason,
        prompt_style=card.get("prompt_style", "full"),
        grpo_defaults=dict(card.get("grpo_defaults", {})),
        card=card,
        autocast=plan.autocast,
        chat=chat or PLAIN_CHAT,
        remark=_agree_on_the_end(model, tokenizer, chat or PLAIN_CHAT, base_model),
    )


def _agree_on_the_end(model: Any, tokenizer: Any, chat: ChatOptions, base_model: str) -> str:
    """Lets generation stop where the chat template ends an answer, or every answer runs on to the limit. Returns what was done.

    SFT teaches the template's token; TRL, our decoding and the diagnosis stop at those of generation config and tokenizer.
    """
    end, stops = end_of_answer(tokenizer, chat), stop_tokens(model, tokenizer)
    if end is None or end in stops:
        return ""
    model.generation_config.eos_token_id = [*stops, end]
    named, wrong = (
        tokenizer.convert_ids_to_tokens([end, *stops])[0],
        ", ".join(tokenizer.convert_ids_to_tokens(stops)) or "nothing",
    )
    return f"{base_model}: its chat template ends an answer with {named}, but generation stopped at {wrong}; now there too"


def _not_loaded(base_model: str, backend: str, error: Exception) -> ModelError:
    return ModelError(f"--base_model {base_model} cannot be loaded with {backend}: {first_line(error)}")


def load_tokenizer(base_model: str, backend: str = "transformers", trust_remote_code: bool = False) -> Any:
    """The tokenizer alone, padding on the left, with a pad token. `backend`: what will load the model; Unsloth must be the first
    to import transformers. Raises ModelError (one line) for one that cannot be loaded or has no chat template."""
    path = locate_model(base_model)
    quiet_hugging_face(path)
    if backend == "unsloth":
        _unsloth()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except UNLOADABLE as error:
        raise _not_loaded(base_model, backend, error) from error
    return _ready(tokenizer, base_model)


def _ready(tokenizer: Any, base_model: str) -> Any:
    if tokenizer.chat_template is None:
        raise ModelError(f"--base_model {base_model}: its tokenizer has no chat template; take an instruction-tuned model")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"--base_model {base_model}: its tokenizer names no end token, so no answer would end; name the token that the chat "
            "template writes behind an answer as eos_token in tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def quiet_hugging_face(model: str) -> None:
    """Before anything of Hugging Face is imported: what is shown must look the same on a terminal and in a log."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.path.isdir(model):  # bars are for downloads
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def device_map(device: str) -> dict[str, int] | None:
    """Where transformers puts the weights as it loads them: this process's GPU; None where FSDP or ZeRO-3 will place them."""
    return {"": ranks.local_rank()} if device == "cuda" and not ranks.shards_parameters() else None


def with_adapter(policy: Policy, folder: str) -> Policy:
    """The policy with the LoRA adapter of a folder or hub name on top. Raises ModelError (one line) where it does not fit."""
    from peft import PeftModel

    path = locate_model(folder)
    try:
        model = _fitting(path, lambda: PeftModel.from_pretrained(policy.model, path).eval())
    except UNLOADABLE as error:
        raise ModelError(f"--adapter {folder} cannot be put on this model: {first_line(error)}") from error
    return replace(policy, model=model)


def fitted_chat(tokenizer: Any, card: Mapping[str, Any], asked: ChatOptions) -> ChatOptions:
    """`asked`, with what it leaves open as the model's card proposes, as the tokenizer's template can render it.

    Raises ConfigError as `fit_chat` does.
    """
    return fit_chat(tokenizer, ChatOptions.of({**card.get("grpo_defaults", {}), **asked.asked()}))


def save_policy(policy: Policy, folder: Path, history: Mapping[str, Any], weights: Mapping[str, Any] | None = None) -> None:
    """The model, its tokenizer and its card in `folder`, ready for `load_policy`. `history` goes into the card.

    With adapters, the trained ones are saved with the name of their base model; the base is not copied, nor the adapters that TRL
    keeps beside them as a reference. `weights`: the whole state dict, where the model itself holds only this process's share
    (trainer.py's whole_weights).
    """
    how: dict[str, Any] = {} if weights is None else {"state_dict": weights}
    if hasattr(policy.model, "peft_config"):
        how["selected_adapters"] = ["default"]
    policy.model.save_pretrained(str(folder), **how)
    policy.tokenizer.save_pretrained(str(folder))
    card = policy.new_card() | {"trained_by_grpo": [*policy.card.get("trained_by_grpo", []), dict(history)]}
    write_card(folder, card if policy.card or policy.chat.asked() else {})


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """planner.json of a model folder; none where there is nothing to say."""
    if card:
        write_json_atomically(folder / MODEL_CARD, card)


def is_small(path: str) -> bool:
    """Whether a model folder holds a whole model of less than 200 MB."""
    whole = (Path(path) / "config.json").exists() and not is_adapter(path)
    weights = list(Path(path).glob("*.safetensors")) if whole else []
    return bool(weights) and sum(file.stat().st_size for file in weights) < SMALL_BYTES


def _load_with_transformers(path: str, plan: LoadPlan, asked: LoadOptions) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    how: dict[str, Any] = {
        "dtype": torch.float32 if plan.float32 else torch.bfloat16,
        "attn_implementation": "sdpa",
        "trust_remote_code": asked.trust_remote_code,
        "device_map": device_map(plan.device),
    }
    if plan.four_bit:
        from transformers import BitsAndBytesConfig

        how["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=how["dtype"],
        )
    if is_adapter(path):
        from peft import AutoPeftModelForCausalLM

        model = _fitting(path, lambda: AutoPeftModelForCausalLM.from_pretrained(path, is_trainable=plan.rank > 0, **how))
    else:
        model = AutoModelForCausalLM.from_pretrained(path, **how)
        if plan.rank > 0:
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(asked.seed)  # adapters begin at random
            lora = LoraConfig(
                r=plan.rank,
                lora_alpha=plan.alpha,
                lora_dropout=0.0,
                bias="none",
                target_modules=list(LORA_TARGETS),
                task_type="CAUSAL_LM",
            )
            model = get_peft_model(model, lora)
    return model.eval()


def _fitting(path: str, load: Callable[[], Any]) -> Any:
    """A model with the adapters of `path`. Raises ValueError where they are another model's, of which PEFT leaves parts out."""
    from safetensors import safe_open

    file = Path(path) / "adapter_model.safetensors"
    try:
        model = load()
        there = {name.replace(".default.", ".") for name in model.state_dict() if ".lora_A." in name}
        if not file.exists():  # of the hub, or in torch's own format
            return model
        with safe_open(file, "pt") as stored:
            fits = {name for name in stored.keys() if ".lora_A." in name} == there  # noqa: SIM118 - it is no dict
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        fits = False
    if not fits:
        raise ValueError("it is an adapter of another base: its matrices are not those of this model")
    return model


def _unsloth() -> Any:
    """Its FastLanguageModel. Raises BackendMissing where it does not start."""
    try:
        from unsloth import FastLanguageModel  # before trl and transformers: it rewrites both
    except (ImportError, NotImplementedError) as error:
        raise BackendMissing(
            f"unsloth is installed but does not start ({error}); --backend transformers trains without it"
        ) from error
    return FastLanguageModel


def _positions(path: str) -> int | None:
    """How many tokens a model was made for. Unsloth, asked for more, would stretch its positions and so train another model."""
    from transformers import PretrainedConfig

    base = read_json_object(Path(path) / ADAPTER_CONFIG)["base_model_name_or_path"] if is_adapter(path) else path
    described, _ = PretrainedConfig.get_config_dict(base)
    found: int | None = {**described, **(described.get("text_config") or {})}.get("max_position_embeddings")
    return found


def _load_with_unsloth(path: str, plan: LoadPlan, asked: LoadOptions) -> tuple[Any, Any]:
    """Every knob by name: Unsloth's own defaults differ from release to release."""
    import torch

    FastLanguageModel = _unsloth()
    checkpointing = "unsloth" if asked.use_gradient_checkpointing else False
    length = min(asked.max_sequence_length, _positions(path) or asked.max_sequence_length)
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=path,
        max_seq_length=length,
        dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[plan.autocast],
        load_in_4bit=plan.four_bit,
        load_in_8bit=False,
        full_finetuning=asked.training and plan.rank == 0,
        float32_mixed_precision=True,  # else it trains all weights in bfloat16
        trust_remote_code=asked.trust_remote_code,
        fast_inference=asked.fast_inference,  # vLLM, in the same process and with the same weights
        gpu_memory_utilization=asked.vllm_gpu_memory_utilization,
        max_lora_rank=max(plan.rank, DEFAULT_LORA_RANK),
        use_gradient_checkpointing=checkpointing,
        random_state=asked.seed,
    )
    if asked.training and plan.rank > 0 and not hasattr(model, "peft_config"):
        model = FastLanguageModel.get_peft_model(
            model,
            r=plan.rank,
            target_modules=list(LORA_TARGETS),
            lora_alpha=plan.alpha,
            lora_dropout=0,
            bias="none",
            use_gradient_checkpointing=checkpointing,
            random_state=asked.seed,
            use_rslora=False,
            loftq_config=None,
            max_seq_length=length,
        )
    if asked.training:
        FastLanguageModel.for_training(model, use_gradient_checkpointing=checkpointing)
    else:
        FastLanguageModel.for_inference(model)
    return model, tokenizer
