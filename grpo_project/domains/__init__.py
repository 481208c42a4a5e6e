"""The registry: every module of this package that exports `DOMAIN` is a domain."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from grpo_project.domains.base import PlanningDomain
from grpo_project.errors import DataError


@cache
def all_domains() -> dict[str, PlanningDomain]:
    """Name to domain, sorted by name."""
    found: dict[str, PlanningDomain] = {}
    for module_info in pkgutil.iter_modules(__path__):
        domain = getattr(importlib.import_module(f"{__name__}.{module_info.name}"), "DOMAIN", None)
        if isinstance(domain, PlanningDomain):
            found[domain.name] = domain
    return dict(sorted(found.items()))


def training_domains() -> dict[str, PlanningDomain]:
    """`all_domains` without those held out: what data, vocabularies and models are made for unless domains are named."""
    return {name: domain for name, domain in all_domains().items() if not domain.held_out}


def get_domain(name: str) -> PlanningDomain:
    """Raises DataError, naming the known domains, where there is none of that name."""
    try:
        return all_domains()[name]
    except KeyError:
        raise DataError(f"unknown domain '{name}'; known are {', '.join(all_domains())}") from None


__all__ = ["PlanningDomain", "all_domains", "get_domain", "training_domains"]
