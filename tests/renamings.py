"""The way back of a renaming, which nothing but tests needs."""

from __future__ import annotations

from grpo_project.pddl.renaming import Renaming


def inverse_of(names: Renaming, domain_name: str) -> Renaming:
    """To a domain of that name."""
    kinds = {kind: {new: old for old, new in found.items()} for kind, found in vars(names).items() if kind != "domain_name"}
    return Renaming(domain_name, **kinds)
