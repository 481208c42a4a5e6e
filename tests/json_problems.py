"""JSON prompts read back: what shows that they leave nothing out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grpo_project.errors import DataError
from grpo_project.pddl import Domain, Problem, parse_domain, parse_problem

Words = Any  # a word, or a list of Words


def problem_from_json(value: Mapping[str, Any], domain: Domain) -> Problem:
    """The problem of `problem_to_json`. Raises DataError for data of another shape, PddlError for what is no problem."""
    try:
        objects = [word for name, kind in value["objects"].items() for word in (name, "-", kind)]
        sections: list[Words] = [[":domain", value["domain"]], [":objects", *objects], [":init", *value["init"]]]
        sections.append([":goal", value["goal"]])
        if "constraints" in value:
            sections.append([":constraints", value["constraints"]])
        if "metric" in value:
            sections.append([":metric", *value["metric"]])
        text = _text(["define", ["problem", value["problem"]], *sections])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this JSON is no planning problem of ours: {type(error).__name__} at {error}") from error
    return parse_problem(text, domain, "JSON problem")


def domain_from_json(value: Mapping[str, Any]) -> Domain:
    """The domain of `domain_to_json`. Raises DataError for data of another shape, PddlError for what is no domain."""
    try:
        sections: list[Words] = [[f":{name}", *rest] for name, rest in value.items() if name not in ("domain", "actions")]
        for name, parts in value["actions"].items():
            sections.append([":action", name, *(word for key, part in parts.items() for word in (f":{key}", part))])
        text = _text(["define", ["domain", value["domain"]], *sections])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this JSON is no planning domain of ours: {type(error).__name__} at {error}") from error
    return parse_domain(text, "JSON domain")


def _text(words: Words | Iterable[Words]) -> str:
    return words if isinstance(words, str) else "(" + " ".join(map(_text, words)) + ")"
