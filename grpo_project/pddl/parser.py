"""PDDL text to Domain and Problem. Every name is checked where it is used; what is not supported is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from grpo_project.errors import PddlSemanticError, UnsupportedFeature
from grpo_project.pddl.model import (
    NUMERIC_EFFECTS,
    ROOT_TYPE,
    TOTAL_TIME,
    Action,
    And,
    Arithmetic,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    Domain,
    Effect,
    Exists,
    Expression,
    Forall,
    Formula,
    Imply,
    Literal,
    Not,
    NumericEffect,
    Or,
    Problem,
    TrajectoryConstraint,
    TypedName,
)
from grpo_project.pddl.syntax import Group, Node, Source, Symbol, read_group

SUPPORTED_REQUIREMENTS = frozenset(
    {
        ":strips",
        ":typing",
        ":negative-preconditions",
        ":disjunctive-preconditions",
        ":equality",
        ":existential-preconditions",
        ":universal-preconditions",
        ":quantified-preconditions",
        ":conditional-effects",
        ":adl",
        ":action-costs",
        ":fluents",
        ":numeric-fluents",
        ":constraints",
    }
)
_UNSUPPORTED_SECTIONS = (":durative-action", ":derived", ":process", ":event")
# operator -> (how many numbers, how many formulas)
_TRAJECTORY_SHAPES = {
    "always": (0, 1),
    "sometime": (0, 1),
    "at-most-once": (0, 1),
    "sometime-before": (0, 2),
    "sometime-after": (0, 2),
    "within": (1, 1),
    "always-within": (1, 2),
    "hold-during": (2, 1),
    "hold-after": (1, 1),
}

Scope = Mapping[str, str]  # variable or constant -> type


def parse_domain(text: str, source: str = "<text>") -> Domain:
    """Raises PddlSyntaxError, PddlSemanticError or UnsupportedFeature, each with file, line and column."""
    return _DomainReader(Source(text, source)).read()


def parse_problem(text: str, domain: Domain, source: str = "<text>") -> Problem:
    """Raises like parse_domain; also where the problem names another domain."""
    return _ProblemReader(Source(text, source), domain).read()


class _Reader:
    """What domain and problem files share: typed lists, terms, formulas, constraints."""

    def __init__(self, source: Source, domain: Domain | None = None) -> None:
        self.source = source
        self.types: Mapping[str, str | None] = domain.types if domain else {}
        self.constants: Mapping[str, str] = domain.constants if domain else {}
        self.predicates: Mapping[str, tuple[TypedName, ...]] = domain.predicates if domain else {}
        self.functions: Mapping[str, tuple[TypedName, ...]] = domain.functions if domain else {}

    # Small tools

    def word(self, node: Node, what: str) -> str:
        if isinstance(node, Group):
            self.source.fail(node.offset, f"expected {what}, found a bracket")
        return node.text

    def group(self, node: Node, what: str) -> Group:
        if isinstance(node, Symbol):
            self.source.fail(node.offset, f"expected {what} in brackets, found '{node.text}'")
        return node

    def meaning_fault(self, node: Node, message: str) -> NoReturn:
        self.source.fail(node.offset, message, PddlSemanticError)

    def refuse(self, node: Node, feature: str) -> NoReturn:
        self.source.fail(node.offset, f"{feature} is not supported", UnsupportedFeature)

    def definition(self, keyword: str) -> tuple[str, list[Group]]:
        """`(define (keyword name) section ...)` as (name, sections)."""
        root = read_group(self.source)
        if root.head != "define" or len(root.items) < 2:
            self.source.fail(root.offset, f"expected (define ({keyword} NAME) ...)")
        title = self.group(root.items[1], f"({keyword} NAME)")
        if title.head != keyword or len(title.items) != 2:
            self.source.fail(title.offset, f"expected ({keyword} NAME)")
        sections = [self.group(item, "a section") for item in root.items[2:]]
        seen: set[str] = set()
        for section in sections:
            if section.head in seen and section.head not in (":action", *_UNSUPPORTED_SECTIONS):
                self.source.fail(section.offset, f"section {section.head} stands twice")
            seen.add(section.head)
        return self.word(title.items[1], "a name"), sections

    def check_requirements(self, section: Group) -> tuple[str, ...]:
        names = tuple(self.word(item, "a requirement") for item in section.items[1:])
        for name, item in zip(names, section.items[1:], strict=True):
            if name not in SUPPORTED_REQUIREMENTS:
                self.refuse(item, f"requirement {name}")
        return names

    def check_type(self, name: str, node: Node) -> str:
        if name != ROOT_TYPE and name not in self.types:
            self.meaning_fault(node, f"type '{name}' is not declared")
        return name

    def typed_list(self, items: Sequence[Node], default: str | None, what: str) -> list[tuple[Symbol, str | None]]:
        """`a b - t c` as [(a, t), (b, t), (c, default)], in order."""
        result: list[tuple[Symbol, str | None]] = []
        waiting: list[Symbol] = []
        position = 0
        while position < len(items):
            item = items[position]
            if self.word(item, what) == "-":
                if not waiting or position + 1 >= len(items):
                    self.source.fail(item.offset, f"a '-' needs {what} before it and a type after it")
                kind = items[position + 1]
                if isinstance(kind, Group):
                    self.refuse(kind, "a type given as (either ...)")
                result += [(symbol, self.word(kind, "a type")) for symbol in waiting]
                waiting = []
                position += 2
                continue
            assert isinstance(item, Symbol)
            waiting.append(item)
            position += 1
        return result + [(symbol, default) for symbol in waiting]

    def variables(self, items: Sequence[Node]) -> tuple[TypedName, ...]:
        result: list[TypedName] = []
        for symbol, kind in self.typed_list(items, ROOT_TYPE, "a variable"):
            if not symbol.text.startswith("?"):
                self.source.fail(symbol.offset, f"expected a variable like ?x, found '{symbol.text}'")
            if any(symbol.text == known.name for known in result):
                self.meaning_fault(symbol, f"variable {symbol.text} is declared twice")
            assert kind is not None
            result.append(TypedName(symbol.text, self.check_type(kind, symbol)))
        return tuple(result)

    # Terms and formulas

    def is_subtype(self, child: str, ancestor: str) -> bool:
        return Domain("", types=self.types).is_subtype(child, ancestor)

    def atom(self, group: Group, scope: Scope, declared: Mapping[str, tuple[TypedName, ...]], what: str) -> Atom:
        name = self.word(group.items[0], f"a {what}") if group.items else ""
        arguments = group.items[1:]
        if name == "=" and what == "predicate":
            if len(arguments) != 2:
                self.source.fail(group.offset, "= takes two arguments")
            return ("=", *(self.term(argument, scope)[0] for argument in arguments))
        if name not in declared:
            self.meaning_fault(group, f"{what} '{name}' is not declared")
        parameters = declared[name]
        if len(parameters) != len(arguments):
            self.meaning_fault(group, f"{what} '{name}' takes {len(parameters)} arguments, found {len(arguments)}")
        words = []
        for argument, parameter in zip(arguments, parameters, strict=True):
            word, kind = self.term(argument, scope)
            # A variable of a wider type is let through: whether it fits is decided where it is bound.
            if not self.is_subtype(kind, parameter.type) and not (word.startswith("?") and self.is_subtype(parameter.type, kind)):
                self.meaning_fault(argument, f"'{word}' is of type {kind}, but {name} takes {parameter.type} here")
            words.append(word)
        return (name, *words)

    def term(self, node: Node, scope: Scope) -> tuple[str, str]:
        word = self.word(node, "a name or variable")
        if word not in scope:
            kind = "variable" if word.startswith("?") else "object"
            self.meaning_fault(node, f"{kind} '{word}' is not declared")
        return word, scope[word]

    def formula(self, node: Node, scope: Scope) -> Formula:
        group = self.group(node, "a condition")
        head = group.head
        if not group.items:
            return And(())
        if head == "and":
            return And(tuple(self.formula(item, scope) for item in group.items[1:]))
        if head == "or":
            return Or(tuple(self.formula(item, scope) for item in group.items[1:]))
        if head == "not":
            self.count(group, 1)
            return Not(self.formula(group.items[1], scope))
        if head == "imply":
            self.count(group, 2)
            return Imply(self.formula(group.items[1], scope), self.formula(group.items[2], scope))
        if head in ("forall", "exists"):
            self.count(group, 2)
            variables = self.variables(self.group(group.items[1], "the quantified variables").items)
            part = self.formula(group.items[2], {**scope, **{v.name: v.type for v in variables}})
            return Forall(variables, part) if head == "forall" else Exists(variables, part)
        if head in ("<", "<=", ">", ">=") or (head == "=" and self.is_numeric_equality(group)):
            self.count(group, 2)
            return Comparison(head, self.expression(group.items[1], scope), self.expression(group.items[2], scope))
        if head == "preference":
            self.refuse(group, "a preference")
        return Literal(self.atom(group, scope, self.predicates, "predicate"))

    def is_numeric_equality(self, group: Group) -> bool:
        """(= ...) compares numbers where a side is bracketed, a number, or a function's bare name; else objects."""
        return any(isinstance(item, Group) or _is_number(item.text) for item in group.items[1:])

    def expression(self, node: Node, scope: Scope) -> Expression:
        """A number, a function term, or arithmetic over them."""
        if isinstance(node, Symbol):
            return self.any_number(node)
        head = node.head
        if head == "-" and len(node.items) == 2:
            return Arithmetic("-", (self.expression(node.items[1], scope),))
        if head in ("+", "*") and len(node.items) >= 3:
            return Arithmetic(head, tuple(self.expression(item, scope) for item in node.items[1:]))
        if head in ("+", "-", "*", "/"):
            self.count(node, 2)
            return Arithmetic(head, tuple(self.expression(item, scope) for item in node.items[1:]))
        return self.atom(node, scope, self.functions, "function")

    def any_number(self, node: Node) -> float:
        word = self.word(node, "a number")
        if not _is_number(word):
            self.source.fail(node.offset, f"expected a number, found '{word}'")
        return float(word)

    def count(self, group: Group, arguments: int) -> None:
        if len(group.items) != arguments + 1:
            self.source.fail(group.offset, f"{group.head} takes {arguments} arguments, found {len(group.items) - 1}")

    def number(self, node: Node) -> float:
        """A time: a finite number from 0 on."""
        value = self.any_number(node)
        if value < 0:
            self.source.fail(node.offset, f"expected a number from 0 on, found '{value:g}'")
        return value

    def constraint(self, node: Node, scope: Scope) -> Constraint:
        group = self.group(node, "a trajectory constraint")
        head = group.head
        if not group.items:
            return ConstraintAnd(())
        if head == "and":
            return ConstraintAnd(tuple(self.constraint(item, scope) for item in group.items[1:]))
        if head == "forall":
            self.count(group, 2)
            variables = self.variables(self.group(group.items[1], "the quantified variables").items)
            return ConstraintForall(variables, self.constraint(group.items[2], {**scope, **{v.name: v.type for v in variables}}))
        if head == "at":
            self.count(group, 2)
            if self.word(group.items[1], "end") != "end":
                self.source.fail(group.offset, "expected (at end CONDITION)")
            return TrajectoryConstraint("at end", (self.formula(group.items[2], scope),))
        if head in _TRAJECTORY_SHAPES:
            numbers, formulas = _TRAJECTORY_SHAPES[head]
            self.count(group, numbers + formulas)
            times = tuple(self.number(item) for item in group.items[1 : 1 + numbers])
            return TrajectoryConstraint(head, tuple(self.formula(item, scope) for item in group.items[1 + numbers :]), times)
        if head in ("preference", "exists", "or", "not", "imply"):
            self.refuse(group, f"'{head}' over trajectory constraints")
        self.source.fail(group.offset, f"'{head}' is no trajectory constraint")

    def check_distinct(self, names: Sequence[tuple[Symbol, str | None]], what: str) -> None:
        seen: set[str] = set()
        for symbol, _ in names:
            if symbol.text in seen:
                self.meaning_fault(symbol, f"{what} '{symbol.text}' is declared twice")
            seen.add(symbol.text)


class _DomainReader(_Reader):
    def read(self) -> Domain:
        name, sections = self.definition("domain")
        by_head = {section.head: section for section in sections}
        requirements: tuple[str, ...] = ()
        for section in sections:
            if section.head in _UNSUPPORTED_SECTIONS:
                self.refuse(section, section.head)
        if ":requirements" in by_head:
            requirements = self.check_requirements(by_head[":requirements"])
        if ":types" in by_head:
            self.types = self.read_types(by_head[":types"])
        if ":constants" in by_head:
            pairs = self.typed_list(by_head[":constants"].items[1:], ROOT_TYPE, "a constant")
            self.check_distinct(pairs, "constant")
            self.constants = {symbol.text: self.check_type(str(kind), symbol) for symbol, kind in pairs}
        if ":predicates" in by_head:
            self.predicates = self.read_signatures(by_head[":predicates"].items[1:], "predicate")
        if ":functions" in by_head:
            self.functions = self.read_functions(by_head[":functions"])
        actions: dict[str, Action] = {}
        constraints: Constraint | None = None
        for section in sections:
            if section.head == ":action":
                action = self.read_action(section)
                if action.name in actions:
                    self.meaning_fault(section, f"action '{action.name}' is declared twice")
                actions[action.name] = action
            elif section.head == ":constraints":
                self.count(section, 1)
                constraints = self.constraint(section.items[1], self.constants)
            elif section.head not in (":requirements", ":types", ":constants", ":predicates", ":functions"):
                self.source.fail(section.offset, f"unknown section '{section.head}' in a domain")
        return Domain(name, requirements, self.types, self.constants, self.predicates, self.functions, actions, constraints)

    def read_types(self, section: Group) -> dict[str, str | None]:
        pairs = self.typed_list(section.items[1:], None, "a type")
        self.check_distinct(pairs, "type")
        types = {symbol.text: kind for symbol, kind in pairs}
        for symbol, kind in pairs:
            if kind is not None and kind != ROOT_TYPE and kind not in types:
                self.meaning_fault(symbol, f"type '{symbol.text}' has parent '{kind}', which is not declared")
            current, seen = kind, {symbol.text}
            while current is not None:
                if current in seen:
                    self.meaning_fault(symbol, f"type '{symbol.text}' is its own ancestor")
                seen.add(current)
                current = types.get(current)
        return types

    def read_signatures(self, items: Sequence[Node], what: str) -> dict[str, tuple[TypedName, ...]]:
        result: dict[str, tuple[TypedName, ...]] = {}
        for item in items:
            group = self.group(item, f"a {what}")
            if not group.head:
                self.source.fail(group.offset, f"expected a {what}'s name")
            if group.head in result:
                self.meaning_fault(group, f"{what} '{group.head}' is declared twice")
            result[group.head] = self.variables(group.items[1:])
        return result

    def read_functions(self, section: Group) -> dict[str, tuple[TypedName, ...]]:
        groups: list[Node] = []
        items = section.items[1:]
        position = 0
        while position < len(items):
            item = items[position]
            if isinstance(item, Symbol) and item.text == "-":
                if position + 1 >= len(items) or self.word(items[position + 1], "a type") != "number":
                    self.refuse(item, "a function that is not a number")
                position += 2
                continue
            groups.append(item)
            position += 1
        return self.read_signatures(groups, "function")

    def read_action(self, section: Group) -> Action:
        if len(section.items) < 2:
            self.source.fail(section.offset, "an action needs a name")
        name = self.word(section.items[1], "the action's name")
        parts: dict[str, Group] = {}
        rest = section.items[2:]
        if len(rest) % 2:
            self.source.fail(section.offset, f"action '{name}' has a keyword without a value")
        for keyword, value in zip(rest[::2], rest[1::2], strict=True):
            key = self.word(keyword, "a keyword")
            if key not in (":parameters", ":precondition", ":effect"):
                self.source.fail(keyword.offset, f"action '{name}' has an unknown part '{key}'")
            if key in parts:
                self.source.fail(keyword.offset, f"action '{name}' has {key} twice")
            parts[key] = self.group(value, key)
        parameters = self.variables(parts[":parameters"].items) if ":parameters" in parts else ()
        scope = {**self.constants, **{parameter.name: parameter.type for parameter in parameters}}
        precondition = self.formula(parts[":precondition"], scope) if ":precondition" in parts else And(())
        effects = tuple(self.effects(parts[":effect"], scope, (), None)) if ":effect" in parts else ()
        return Action(name, parameters, precondition, effects)

    def effects(self, node: Node, scope: Scope, variables: tuple[TypedName, ...], when: Formula | None) -> list[Effect]:
        group = self.group(node, "an effect")
        head = group.head
        if not group.items:
            return []
        if head == "and":
            return [effect for item in group.items[1:] for effect in self.effects(item, scope, variables, when)]
        if head == "forall":
            self.count(group, 2)
            more = self.variables(self.group(group.items[1], "the quantified variables").items)
            inner = {**scope, **{variable.name: variable.type for variable in more}}
            return self.effects(group.items[2], inner, variables + more, when)
        if head == "when":
            self.count(group, 2)
            if when is not None:
                self.refuse(group, "a conditional effect inside a conditional effect")
            return self.effects(group.items[2], scope, variables, self.formula(group.items[1], scope))
        if head == "not":
            self.count(group, 1)
            inner_group = self.group(group.items[1], "an atom")
            return [Effect(variables, when, delete=self.effect_atom(inner_group, scope))]
        if head in NUMERIC_EFFECTS and head not in self.predicates:
            self.count(group, 2)
            term = self.atom(self.group(group.items[1], "a function"), scope, self.functions, "function")
            return [Effect(variables, when, numeric=NumericEffect(head, term, self.expression(group.items[2], scope)))]
        return [Effect(variables, when, add=self.effect_atom(group, scope))]

    def effect_atom(self, group: Group, scope: Scope) -> Atom:
        if group.head == "=":
            self.source.fail(group.offset, "= cannot be an effect")
        return self.atom(group, scope, self.predicates, "predicate")


class _ProblemReader(_Reader):
    def __init__(self, source: Source, domain: Domain) -> None:
        super().__init__(source, domain)
        self.domain = domain

    def read(self) -> Problem:
        name, sections = self.definition("problem")
        by_head = {section.head: section for section in sections}
        known = (":domain", ":requirements", ":objects", ":init", ":goal", ":constraints", ":metric")
        for section in sections:
            if section.head not in known:
                self.source.fail(section.offset, f"unknown section '{section.head}' in a problem")
        for needed in (":domain", ":init", ":goal"):
            if needed not in by_head:
                self.source.fail(0, f"the problem has no {needed} section")
        self.count(by_head[":domain"], 1)
        domain_name = self.word(by_head[":domain"].items[1], "the domain's name")
        if domain_name != self.domain.name:
            self.meaning_fault(by_head[":domain"], f"the problem belongs to domain '{domain_name}', not to '{self.domain.name}'")
        if ":requirements" in by_head:
            self.check_requirements(by_head[":requirements"])
        objects: dict[str, str] = {}
        if ":objects" in by_head:
            pairs = self.typed_list(by_head[":objects"].items[1:], ROOT_TYPE, "an object")
            self.check_distinct(pairs, "object")
            objects = {symbol.text: self.check_type(str(kind), symbol) for symbol, kind in pairs}
        # An object may repeat a constant of the domain; it stays the constant.
        objects = {name_: kind for name_, kind in objects.items() if name_ not in self.constants}
        scope = {**self.constants, **objects}
        init, values = self.read_init(by_head[":init"], scope)
        self.count(by_head[":goal"], 1)
        goal = self.formula(by_head[":goal"].items[1], scope)
        constraints = None
        if ":constraints" in by_head:
            self.count(by_head[":constraints"], 1)
            constraints = self.constraint(by_head[":constraints"].items[1], scope)
        metric = self.read_metric(by_head[":metric"], scope) if ":metric" in by_head else None
        return Problem(name, domain_name, objects, init, goal, constraints, values, metric)

    def read_init(self, section: Group, scope: Scope) -> tuple[frozenset[Atom], dict[Atom, float]]:
        atoms: set[Atom] = set()
        values: dict[Atom, float] = {}
        items = section.items[1:]
        # Some writers wrap the initial atoms in one (and ...).
        if len(items) == 1 and isinstance(items[0], Group) and items[0].head == "and":
            items = items[0].items[1:]
        for item in items:
            group = self.group(item, "an initial atom")
            if group.head == "=":
                self.count(group, 2)
                term = self.atom(self.group(group.items[1], "a function"), scope, self.functions, "function")
                values[term] = self.any_number(group.items[2])
            elif group.head == "not":
                self.count(group, 1)
                self.atom(self.group(group.items[1], "an atom"), scope, self.predicates, "predicate")
            elif group.head == "at" and "at" not in self.predicates:
                self.refuse(group, "a timed initial literal")
            else:
                atoms.add(self.atom(group, scope, self.predicates, "predicate"))
        return frozenset(atoms), values

    def read_metric(self, section: Group, scope: Scope) -> tuple[str, Expression]:
        self.count(section, 2)
        direction = self.word(section.items[1], "minimize or maximize")
        if direction not in ("minimize", "maximize"):
            self.source.fail(section.items[1].offset, f"expected minimize or maximize, found '{direction}'")
        if _mentions(section.items[2], "is-violated"):
            self.refuse(section, "a metric over preferences (is-violated)")
        self.functions = {TOTAL_TIME[0]: (), **self.functions}  # predefined: the number of steps
        return direction, self.expression(section.items[2], scope)


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")


def _is_number(word: str) -> bool:
    """Plain decimal notation of a finite number; neither `inf`, `nan` nor `1_000`, which Python would take."""
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) < float("inf")


def _mentions(node: Node, word: str) -> bool:
    return node.text == word if isinstance(node, Symbol) else any(_mentions(item, word) for item in node.items)
