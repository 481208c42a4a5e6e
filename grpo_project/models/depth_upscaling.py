"""Depth up-scaling: a deeper model that at first computes what the shallower one did, for further training.

Layers are copied with their output projections set to zero, as in LLaMA Pro (Wu et al. 2024, "block expansion",
arXiv:2401.02415); here all layers are trained on, old and new.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from grpo_project.errors import ConfigError


def with_more_layers(model: Any, count: int) -> Any:
    """A model with `count` (1 or more) layers added at even distances over the depth; its logits are those of `model`.

    Each new layer is a copy of the one before it whose attention and MLP add nothing yet. Raises ConfigError for a model that is
    not built like a Llama: `model.layers`, each with `self_attn.o_proj` and `mlp.down_proj`.
    """
    try:
        old = model.model.layers
        outputs = [(layer.self_attn.o_proj, layer.mlp.down_proj) for layer in old]
    except AttributeError:
        raise ConfigError(f"--add_layers knows how Llama-like models are built, not a {type(model).__name__}") from None
    total = len(outputs) + count
    sources = [index * len(outputs) // total for index in range(total)]  # each old layer once, or in a row with its copies
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = total
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[source] for source in sources]
    deeper = type(model)(config)
    rest = {name: value for name, value in model.state_dict().items() if not name.startswith("model.layers.")}
    deeper.load_state_dict(rest, strict=False)
    deeper.tie_weights()
    deeper.generation_config = copy.deepcopy(model.generation_config)
    with torch.no_grad():
        for index, (layer, source) in enumerate(zip(deeper.model.layers, sources, strict=True)):
            layer.load_state_dict(old[source].state_dict())
            if index and sources[index - 1] == source:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
    return deeper.to(model.dtype)
