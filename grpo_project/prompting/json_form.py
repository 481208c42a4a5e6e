"""Domains and problems as JSON, without loss: sections become fields, and a bracketed expression becomes an array of its words.

{"problem": "p", "domain": "d", "objects": {"b1": "object"}, "init": [["on", "b1", "b2"]], "goal": ["and", ["on", "b2", "b1"]]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Union

from grpo_project.errors import DataError
from grpo_project.pddl import Domain, Problem, parse_domain, parse_problem, render_domain, render_problem
from grpo_project.pddl.syntax import Group, Node, Source, read_group

Words = Union[str, list["Words"]]


def problem_to_json(problem: Problem, domain: Domain | None = None) -> dict[str, Any]:
    """Plain data from which problem_from_json makes an equal problem."""
    sections = _sections(render_problem(problem, domain))
    value: dict[str, Any] = {"problem": problem.name, "domain": problem.domain_name, "objects": dict(problem.objects)}
    value["init"] = sections[":init"]
    value["goal"] = sections[":goal"][0]
    if ":constraints" in sections:
        value["constraints"] = sections[":constraints"][0]
    if ":metric" in sections:
        value["metric"] = sections[":metric"]
    return value


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


def domain_to_json(domain: Domain) -> dict[str, Any]:
    """Plain data from which domain_from_json makes an equal domain."""
    root = _words(read_group(Source(render_domain(domain))))
    value: dict[str, Any] = {"domain": domain.name}
    actions: dict[str, Any] = {}
    for head, *rest in root[2:]:
        if head == ":action":
            name, *parts = rest
            actions[name] = {key.removeprefix(":"): part for key, part in zip(parts[::2], parts[1::2], strict=True)}
        else:
            value[head.removeprefix(":")] = rest
    return {**value, "actions": actions}


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


def render_json(value: Mapping[str, Any]) -> str:
    """One field a line, and one line for each member of what a section lists."""
    lines = [f'  "{key}": {_indented(part)}' for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _indented(part: Any) -> str:
    if isinstance(part, dict) and part and all(isinstance(inner, dict) for inner in part.values()):
        members = [f"{json.dumps(key)}: {json.dumps(inner)}" for key, inner in part.items()]
        return "{\n    " + ",\n    ".join(members) + "\n  }"
    if isinstance(part, list) and part and all(isinstance(inner, list) for inner in part):
        return "[\n    " + ",\n    ".join(json.dumps(inner) for inner in part) + "\n  ]"
    return json.dumps(part)


def _sections(text: str) -> dict[str, Any]:
    root = _words(read_group(Source(text)))
    return {section[0]: section[1:] for section in root[2:]}


def _words(node: Node) -> Any:
    return [_words(item) for item in node.items] if isinstance(node, Group) else node.text


def _text(words: Words | Iterable[Words]) -> str:
    return words if isinstance(words, str) else "(" + " ".join(map(_text, words)) + ")"
