"""A planner that goes on in another prompt style: the vocabulary of today's tokenizer, and all else that it has learned."""

from __future__ import annotations

import random
from typing import Any

import torch

from grpo_project.data.neutral_symbols import SYMBOLS
from grpo_project.domains import training_domains
from grpo_project.errors import ConfigError


def with_vocabulary(model: Any, before: Any, after: Any) -> Any:
    """The model, reading the tokens of the tokenizer `after` instead of those of `before`.

    A token that both have keeps its vector. The neutral symbols of objects begin with vectors of names of the registry's domains,
    none twice: to look a symbol up is then what the model does with names already. Any other new token gets a normal vector of
    the standard deviation that the old ones have. A function of its arguments. Raises ConfigError for a model with an output head
    of its own.
    """
    if not model.config.tie_word_embeddings:
        raise ConfigError("a planner whose output head is not tied to its embeddings cannot change its prompt style")
    embeddings = model.get_input_embeddings().weight.data.clone()
    known, wanted = before.get_vocab(), after.get_vocab()
    model.resize_token_embeddings(len(after), mean_resizing=False)
    vectors = model.get_input_embeddings().weight.data
    drawn = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0), dtype=vectors.dtype)
    vectors.copy_(drawn * embeddings.std())
    names = [name for domain in training_domains().values() for name in domain.object_names if f" {name}" in known]
    order = random.Random(0).sample(names, min(len(names), SYMBOLS["obj"]))
    alike = {f" obj{number}": f" {name}" for number, name in enumerate(order, 1)}
    for token, index in wanted.items():
        source = known.get(token, known.get(alike.get(token, "")))
        if source is not None:
            vectors[index] = embeddings[source]
    return model
