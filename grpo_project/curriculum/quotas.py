"""How many prompts of a batch each domain gets: whole numbers that add up to the batch, always."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from grpo_project.errors import ConfigError


def parse_domain_weights(entries: Iterable[str]) -> dict[str, int]:
    """{domain: weight} of entries such as `ferry=2`. Raises ConfigError for anything else, a domain named twice included."""
    weights: dict[str, int] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not (name and equals and text.isascii() and text.isdigit() and int(text) >= 1):
            raise ConfigError(f"--domain_weights {entry!r}: write domain=N with a whole number N of 1 or more, such as ferry=2")
        if name in weights:
            raise ConfigError(f"--domain_weights names {name} twice")
        weights[name] = int(text)
    return weights


def domain_quotas(batch_size: int, domains: Sequence[str], weights: Mapping[str, int] | None = None) -> dict[str, int]:
    """{domain: prompts per batch, at least 1}, in proportion to `weights` (1 where not named), summing to `batch_size`.

    Raises ConfigError, with sizes that work, where the proportion does not come out in whole numbers.
    """
    weights = weights or {}
    if not domains:
        raise ConfigError("there is no domain to draw batches from")
    unknown = [name for name in weights if name not in domains]
    if unknown:
        raise ConfigError(f"--domain_weights names {', '.join(unknown)}; the domains of this run are {', '.join(domains)}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise ConfigError(f"batch_size must be a whole number, got {batch_size!r}")
    parts = [weights.get(name, 1) for name in domains]
    common = math.gcd(*parts)
    parts = [part // common for part in parts]
    whole = sum(parts)
    if batch_size > 0 and batch_size % whole == 0:
        return {name: part * (batch_size // whole) for name, part in zip(domains, parts, strict=True)}
    below = batch_size // whole * whole
    nearest = f"{below} or {below + whole}" if below > 0 else str(whole)
    working = ", ".join(str(whole * factor) for factor in range(1, 5))
    by_weight = ""
    if len(set(parts)) > 1:
        shown = ", ".join(f"{name}={part}" for name, part in zip(domains, parts, strict=True))
        by_weight = f" in the proportion {shown}, {whole} parts in all"
    raise ConfigError(
        f"--batch_size {batch_size} is not divisible by the {len(domains)} domains ({', '.join(domains)}){by_weight}; "
        f"sizes that work: {working}, ..., nearest to yours: {nearest}"
    )


def shifted_quotas(quotas: Mapping[str, int], favoured: Iterable[str]) -> dict[str, int]:
    """`quotas` with a quarter of every other domain's prompts (at least one) moved to the `favoured` domains, evenly.

    The sum stays; no domain falls below 1, so where the others have one prompt each nothing moves. What does not divide
    evenly goes to the favoured domains that come first.
    """
    chosen = [name for name in quotas if name in set(favoured)]
    shifted = dict(quotas)
    if not chosen:
        return shifted
    moved = 0
    for name, quota in quotas.items():
        if name not in chosen:
            given = min(max(1, quota // 4), quota - 1)
            shifted[name] -= given
            moved += given
    share, rest = divmod(moved, len(chosen))
    for place, name in enumerate(chosen):
        shifted[name] += share + (place < rest)
    return shifted
