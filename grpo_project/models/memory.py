"""How much GPU memory a run will take, from the model's config.json and the settings: arithmetic, no torch, nothing loaded.

An estimate for choosing settings, not a measurement: kernels, fragmentation and the lengths that really occur move it. Sizes are
per GPU, in bytes inside and GiB (2**30 bytes) for people. 16-bit types take 2 bytes, float32 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_project.configs.batches import batch_shape
from grpo_project.configs.settings import Settings
from grpo_project.errors import ModelError
from grpo_project.models.loading import LoadPlan

GIB, MIB = 2**30, 2**20
# NF4: 4 bits a weight, and scales quantized twice, 8 / 64 + 32 / (64 * 256) bits (QLoRA, Dettmers et al. 2023, section 3).
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# Two AdamW moments: in the type of the weights, or 8 bit with a float32 scale for every 256 values (bitsandbytes).
EIGHT_BIT_MOMENTS = 2 * (1 + 4 / 256)
# An assumption: CUDA's own context, the kernels' code and what the allocator cannot use again.
CONTEXT_BYTES = 1.0 * GIB

# What config.json may leave out, by model_type: the defaults of the transformers classes.
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8},
    "qwen2": {"num_key_value_heads": 32, "bias_in": True},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "head_norms": True},
    "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True, "layer_norms": 4},
    "gemma3_text": {"num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True, "layer_norms": 4, "head_norms": True},
}


@dataclass(frozen=True)
class Architecture:
    """The sizes of a decoder of the Llama shape: grouped attention, a gated MLP, RMS norms.

    `layer_norms` per layer; `head_norms`: one each for query and key heads; `bias_in`: on query, key and value, `bias_out`: on
    the attention's output, `mlp_bias`: on all three matrices of the MLP; `tied`: one matrix for embedding and output head.
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate: int
    tied: bool
    layer_norms: int = 2
    head_norms: bool = False
    bias_in: bool = False
    bias_out: bool = False
    mlp_bias: bool = False

    @staticmethod
    def of(config: Mapping[str, Any], name: str = "the model") -> Architecture:
        """From the contents of config.json. Raises ModelError for a family that is not known here, or a missing size."""
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise ModelError(f"{name}: no memory estimate for models of type {family} (known: {', '.join(FAMILIES)})")
        found = {**FAMILIES[family], **{key: value for key, value in config.items() if value is not None}}
        try:
            hidden, heads = int(found["hidden_size"]), int(found["num_attention_heads"])
            bias = bool(found.get("attention_bias", False)) and family not in ("qwen2", "mistral")
            return Architecture(
                vocabulary=int(found["vocab_size"]),
                hidden=hidden,
                layers=int(found["num_hidden_layers"]),
                heads=heads,
                key_value_heads=int(found.get("num_key_value_heads", heads)),
                head_size=int(found.get("head_dim", hidden // heads)),
                intermediate=int(found["intermediate_size"]),
                tied=bool(found.get("tie_word_embeddings", False)),
                layer_norms=int(found.get("layer_norms", 2)),
                head_norms=bool(found.get("head_norms", False)),
                bias_in=bias or bool(found.get("bias_in", False)),
                bias_out=bias,
                mlp_bias=bool(found.get("mlp_bias", False)) and family == "llama",
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"{name}: config.json gives no usable size for a memory estimate ({error})") from None

    @property
    def query_width(self) -> int:
        return self.heads * self.head_size

    @property
    def key_value_width(self) -> int:
        """Of the keys alone; the values are as wide."""
        return self.key_value_heads * self.head_size

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's seven matrices: the ones that 4 bit quantizes and that LoRA adapts (LORA_TARGETS)."""
        h, q, k, i = self.hidden, self.query_width, self.key_value_width, self.intermediate
        return [(h, q), (h, k), (h, k), (q, h), (h, i), (h, i), (i, h)]

    @property
    def matrix_parameters(self) -> int:
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def embedding_parameters(self) -> int:
        """Embedding and output head; 4 bit leaves them as they are."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def small_parameters(self) -> int:
        """Norms and biases."""
        biases = (self.query_width + 2 * self.key_value_width) * self.bias_in + self.hidden * self.bias_out
        biases += (2 * self.intermediate + self.hidden) * self.mlp_bias
        layer = self.layer_norms * self.hidden + 2 * self.head_size * self.head_norms + biases
        return self.layers * layer + self.hidden

    @property
    def parameters(self) -> int:
        return self.matrix_parameters + self.embedding_parameters + self.small_parameters

    def adapter_parameters(self, rank: int) -> int:
        """LoRA (Hu et al. 2021): two matrices, inputs x rank and rank x outputs, beside each of the seven of every layer."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.matrices)

    def cache_bytes_per_token(self, bytes_each: int) -> int:
        """Keys and values of every layer. Sliding windows, which would keep fewer tokens, are not counted on."""
        return 2 * self.layers * self.key_value_width * bytes_each


@dataclass(frozen=True)
class Load:
    """What a run asks of one GPU.

    `generated`: completions sampled at once; `trained`: completions of a micro-batch; lengths in tokens; `weight_bytes`: of a
    weight that is not quantized, 2, or 4 in float32; `value_bytes`: of what is computed with them, 2 under mixed precision;
    `rank` 0: all weights are trained; `reference`: a KL term needs the starting model; `unsloth`: its kernels;
    `shards`: processes that share parameters, gradients and optimizer (FSDP, ZeRO-3).
    """

    generated: int
    trained: int
    prompt: int
    completion: int
    four_bit: bool
    rank: int
    reference: bool
    checkpointing: bool
    unsloth: bool
    weight_bytes: int = 2
    value_bytes: int = 2
    eight_bit_optimizer: bool = False
    shards: int = 1

    @staticmethod
    def of(config: Settings, plan: LoadPlan, world_size: int = 1, shards: int = 1) -> Load:
        """From the settings and how the model will be loaded.

        Raises ConfigError where the batch does not come out even.
        """
        shape = batch_shape(config, "cuda", world_size)
        return Load(
            generated=shape.completions_sampled_at_once,
            trained=shape.completions_per_micro_batch,
            prompt=config.max_prompt_length,
            completion=config.max_completion_length,
            four_bit=plan.four_bit,
            rank=plan.rank,
            reference=config.beta > 0,
            checkpointing=bool(config.use_gradient_checkpointing),
            unsloth=plan.name == "unsloth",
            weight_bytes=4 if plan.float32 else 2,
            value_bytes=4 if plan.float32 and not plan.autocast else 2,
            eight_bit_optimizer=plan.name == "unsloth" and config.load_in_4bit,
            shards=shards,
        )

    @property
    def adapter_bytes(self) -> int:
        """Of an adapter's weight: TRL makes them bfloat16 on a quantized model, peft and Unsloth keep float32 otherwise."""
        return 2 if self.four_bit and not self.unsloth else 4


@dataclass(frozen=True)
class Estimate:
    """Bytes on one GPU. What stays: `weights`, `trained_state` (gradients, optimizer, and adapters with their reference) and
    `context`; `generating` and `training` are temporary, and never there together.
    """

    weights: float
    trained_state: float
    cache: float
    sampling: float
    activations: float
    logits: float
    context: float = CONTEXT_BYTES

    @property
    def staying(self) -> float:
        return self.weights + self.trained_state + self.context

    @property
    def generating(self) -> float:
        return self.cache + self.sampling

    @property
    def training(self) -> float:
        return self.activations + self.logits

    @property
    def total(self) -> float:
        """The peak: what stays, and the larger of the two phases."""
        return self.staying + max(self.generating, self.training)


def estimate(model: Architecture, load: Load) -> Estimate:
    """The parts, each from the function that explains it."""
    return Estimate(
        weights=weight_bytes(model, load),
        trained_state=trained_state_bytes(model, load),
        cache=cache_bytes(model, load),
        sampling=sampling_bytes(model, load),
        activations=activation_bytes(model, load),
        logits=logit_bytes(model, load),
    )


def weight_bytes(model: Architecture, load: Load) -> float:
    """The frozen or trained weights, and a copy of the starting model where all weights are trained with a KL term.

    4 bit holds the layers' matrices in NF4; embeddings, head and norms stay as they are. With adapters the starting model is the
    base itself. Mixed precision over float32 weights keeps their 16-bit copies for the length of a forward pass (torch.autocast).
    """
    matrices = NF4_BYTES if load.four_bit else load.weight_bytes
    base = model.matrix_parameters * matrices
    base += (model.embedding_parameters + model.small_parameters) * load.weight_bytes
    copies = model.parameters * load.value_bytes if load.value_bytes < load.weight_bytes else 0
    return (base * (2 if load.reference and load.rank == 0 else 1) + copies) / load.shards


def trained_state_bytes(model: Architecture, load: Load) -> float:
    """Gradients and AdamW's two moments of everything trained, in the type of the weights; the adapters' own weights too.

    TRL keeps a frozen copy of the adapters as the reference of a KL term; Unsloth may do without, so this is at most.
    """
    if load.rank == 0:
        trained, each, own = model.parameters, load.weight_bytes, 0
    else:
        trained, each = model.adapter_parameters(load.rank), load.adapter_bytes
        own = each * (2 if load.reference else 1)
    moments = EIGHT_BIT_MOMENTS if load.eight_bit_optimizer else 2 * each
    return trained * (own + each + moments) / load.shards


def cache_bytes(model: Architecture, load: Load) -> float:
    """Keys and values while the completions are sampled, all rows at the greatest length the settings allow."""
    return load.generated * (load.prompt + load.completion) * model.cache_bytes_per_token(load.value_bytes)


def sampling_bytes(model: Architecture, load: Load) -> float:
    """The last token's scores for every row: as the model gives them, in float32, sorted or as probabilities, in float32."""
    return load.generated * model.vocabulary * (load.value_bytes + 4 + 4)


def activation_bytes(model: Architecture, load: Load) -> float:
    """What the backward pass needs of the layers, for one micro-batch, and the working memory of one layer.

    With gradient checkpointing each layer keeps its input (hidden values); the rest of one layer at a time is made again.
    Unsloth's checkpointing moves those inputs to the CPU's memory. Working memory: as much again as one layer keeps, and the
    largest matrix in 16 bit, into which a quantized one is unpacked.
    """
    tokens = load.trained * (load.prompt + load.completion)
    layer = activation_bytes_per_token(model, load)
    if load.checkpointing:
        kept = layer + (0 if load.unsloth else model.layers * model.hidden * load.value_bytes)
    else:
        kept = model.layers * layer
    unpacked = max(inputs * outputs for inputs, outputs in model.matrices) * 2 if load.four_bit else 0
    return tokens * (kept + layer) + unpacked


def activation_bytes_per_token(model: Architecture, load: Load) -> float:
    """What one layer keeps of one token without gradient checkpointing, counted tensor by tensor. b: bytes of an activation.

    transformers: a norm keeps its input in float32 (4 a value; its result in b too where the norm's weight is
    trained); attention keeps query, key and value (repeated to all heads) and its output, b each; the gated MLP keeps gate, its
    activation, the other factor and the product, b each. The input of the attention and of the MLP is kept for the matrices
    that read it: once where it needs no change of type, and once for each float32 adapter otherwise; so are the attention's
    output and the MLP's product. Unsloth's kernels keep the norms' inputs and outputs, query, key, value, the attention's output,
    gate and the other factor, and make the rest again.
    """
    h, q, k, i, b = model.hidden, model.query_width, model.key_value_width, model.intermediate, load.value_bytes
    if load.unsloth:
        return b * (4 * h + 2 * q + 2 * k + 2 * i)
    normed = model.layer_norms * h + (q + k) * model.head_norms
    norms = normed * (4 if load.rank else 4 + b)
    attention = b * 4 * q
    mlp = b * 3 * i
    if load.rank and load.adapter_bytes > b:
        return norms + attention + mlp + 4 * (3 * h + q + 2 * h + i)
    return norms + attention + mlp + b * (2 * h + i)


def logit_bytes(model: Architecture, load: Load) -> float:
    """Scores of the completion's tokens over the vocabulary, for one micro-batch, with their gradients.

    TRL: the scores, their gradient and the copy that cutting off the last token makes of it, in the type of the computation (its
    kernel needs no float32 copy); under mixed precision accelerate turns the scores into float32 first. Unsloth works through
    pieces of rows: its own rule (unsloth_zoo, autotune_batch_and_chunks) counts 16 bytes a score and at least 4 pieces; here for
    one row at its whole length. It takes larger pieces where there is room.
    """
    if load.unsloth:
        return (load.prompt + load.completion) * model.vocabulary * 16 / 4
    each = 3 * load.value_bytes if load.value_bytes == load.weight_bytes or load.rank else 2 + 3 * 4
    return load.trained * (load.completion + 1) * model.vocabulary * each
