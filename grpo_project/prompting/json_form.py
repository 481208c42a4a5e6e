"""Domains and problems as JSON, without loss: sections become fields, and a bracketed expression becomes an array of its words.

{"problem": "p", "domain": "d", "objects": {"b1": "object"}, "init": [["on", "b1", "b2"]], "goal": ["and", ["on", "b2", "b1"]]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Union

from grpo_project.pddl import Domain, Problem, render_domain, render_problem
from grpo_project.pddl.syntax import Group, Node, Source, read_group

Words = Union[str, list["Words"]]


def problem_to_json(problem: Problem, domain: Domain | None = None) -> dict[str, Any]:
    """Plain data from which an equal problem can be made."""
    sections = _sections(render_problem(problem, domain))
    value: dict[str, Any] = {"problem": problem.name, "domain": problem.domain_name, "objects": dict(problem.objects)}
    value["init"] = sections[":init"]
    value["goal"] = sections[":goal"][0]
    if ":constraints" in sections:
        value["constraints"] = sections[":constraints"][0]
    if ":metric" in sections:
        value["metric"] = sections[":metric"]
    return value


def domain_to_json(domain: Domain) -> dict[str, Any]:
    """Plain data from which an equal domain can be made."""
    root = _words(read_group(Source(render_domain(domain))))
    value: dict[str, Any] = {"domain": domain.name}
    actions: dict[str, Any] = {}
    for head, *rest in root[2:]:
        if head == ":action":
            name, *parts = rest
            actions[name] = {key.removeprefix(":"): part for key, part in zip(parts[::2], parts[1::2], strict=True)}
        elif head == ":derived":  # a section for each rule
            value.setdefault("derived", []).append(rest)
        else:
            value[head.removeprefix(":")] = rest
    return {**value, "actions": actions}


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
