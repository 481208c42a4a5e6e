"""What domain and problem files share: typed lists, terms, formulas, constraints. Names are checked where they are used."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from grpo_project.errors import PddlSemanticError, UnsupportedFeature
from grpo_project.pddl.model import (
    IS_VIOLATED,
    And,
    Arithmetic,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Domain,
    Exists,
    Expression,
    Forall,
    Formula,
    Imply,
    Literal,
    Not,
    Or,
    Preference,
    TrajectoryConstraint,
    TypedName,
)
from grpo_project.pddl.syntax import IS_NAME, Group, Node, Source, Symbol, read_group
from grpo_project.pddl.types import ROOT_TYPE, TypeHierarchy, either, members_of

UNSUPPORTED_SECTIONS = (":durative-action", ":process", ":event")
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


class Reader:
    """What domain and problem files share: typed lists, terms, formulas, constraints."""

    def __init__(self, source: Source, domain: Domain | None = None) -> None:
        self.source = source
        self.hierarchy = domain.hierarchy if domain else TypeHierarchy({})
        self.types = domain.types if domain else {}
        self.constants: Mapping[str, str] = domain.constants if domain else {}
        self.predicates: dict[str, tuple[TypedName, ...]] = dict(domain.predicates) if domain else {}
        self.functions: Mapping[str, tuple[TypedName, ...]] = domain.functions if domain else {}
        self.preference_names: Collection[str] | None = None  # those that a metric may name; None outside of one
        self.derived_names = {rule.head for rule in domain.derived} if domain else set()

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
            if section.head in seen and section.head not in (":action", ":derived", *UNSUPPORTED_SECTIONS):
                self.source.fail(section.offset, f"section {section.head} stands twice")
            seen.add(section.head)
        return self.word(title.items[1], "a name"), sections

    def requirements(self, section: Group) -> tuple[str, ...]:
        """The words as they are: what is refused is the section that needs something, and not its word here."""
        return tuple(self.word(item, "a requirement") for item in section.items[1:])

    def check_name(self, symbol: Node, what: str) -> str:
        """The word, which plans must be able to write."""
        word = self.word(symbol, what)
        if not IS_NAME(word):
            self.meaning_fault(symbol, f"no plan can name '{word}': take letters, digits, _ and -, with a letter or _ in front")
        return word

    def check_type(self, name: str, node: Node) -> str:
        for word in members_of(name):
            if word != ROOT_TYPE and word not in self.types:
                self.meaning_fault(node, f"type '{word}' is not declared")
        return name

    def typed_list(self, items: Sequence[Node], default: str | None, what: str) -> list[tuple[Symbol, str | None]]:
        """`a b - t c` as [(a, t), (b, t), (c, default)], in order; `-t` is read as `- t`."""
        result: list[tuple[Symbol, str | None]] = []
        waiting: list[Symbol] = []
        rest = iter(items)
        for item in rest:
            word = self.word(item, what)
            if word.startswith("-"):
                kind = word[1:] or self.type_name(next(rest, None))
                if not waiting or not kind:
                    self.source.fail(item.offset, f"a '-' needs {what} before it and a type after it")
                result += [(symbol, kind) for symbol in waiting]
                waiting = []
                continue
            assert isinstance(item, Symbol)
            waiting.append(item)
        return result + [(symbol, default) for symbol in waiting]

    def type_name(self, node: Node | None) -> str:
        """A type as the model has it: a word, or (either ...); empty where there is none."""
        if node is None or isinstance(node, Symbol):
            return node.text if node is not None else ""
        if node.head != "either" or len(node.items) < 2:
            self.source.fail(node.offset, "expected a type, or (either TYPE ...)")
        return either(self.word(item, "a type") for item in node.items[1:])

    def variables(self, items: Sequence[Node], distinct: bool = True) -> tuple[TypedName, ...]:
        """Typed variables. distinct: no name may stand twice; those of a declaration mean nothing."""
        result: list[TypedName] = []
        for symbol, kind in self.typed_list(items, ROOT_TYPE, "a variable"):
            if not symbol.text.startswith("?"):
                self.source.fail(symbol.offset, f"expected a variable like ?x, found '{symbol.text}'")
            if distinct and any(symbol.text == known.name for known in result):
                self.meaning_fault(symbol, f"variable {symbol.text} is declared twice")
            assert kind is not None
            result.append(TypedName(symbol.text, self.check_type(kind, symbol)))
        return tuple(result)

    def quantified(self, group: Group, scope: Scope) -> tuple[tuple[TypedName, ...], Scope]:
        """The variables of `(forall (?x - t) part)`, and the scope of its part."""
        self.count(group, 2)
        variables = self.variables(self.group(group.items[1], "the quantified variables").items)
        return variables, {**scope, **{variable.name: variable.type for variable in variables}}

    def typed_names(self, section: Group, what: str) -> dict[str, str]:
        """{name: type} of a section of objects or constants, in order. What stands twice is of both types."""
        found: dict[str, str] = {}
        for symbol, kind in self.typed_list(section.items[1:], ROOT_TYPE, what):
            self.check_name(symbol, what)
            own = self.check_type(str(kind), symbol)
            found[symbol.text] = either((found[symbol.text], own)) if symbol.text in found else own
        return found

    # Terms and formulas

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
            fits = self.hierarchy.fits
            if not fits(kind, parameter.type) and not (word.startswith("?") and fits(parameter.type, kind)):
                self.meaning_fault(argument, f"'{word}' is of type {kind}, but {name} takes {parameter.type} here")
            words.append(word)
        return (name, *words)

    def term(self, node: Node, scope: Scope) -> tuple[str, str]:
        word = self.word(node, "a name or variable")
        if word not in scope:
            kind = "variable" if word.startswith("?") else "object"
            self.meaning_fault(node, f"{kind} '{word}' is not declared")
        return word, scope[word]

    def preference(self, group: Group) -> tuple[str, Node]:
        """Name and content of `(preference NAME CONTENT)`; the name may be left out, and is VAL's then."""
        if len(group.items) == 2:
            return "anonymous", group.items[1]
        self.count(group, 2)
        return self.word(group.items[1], "the preference's name"), group.items[2]

    def formula(self, node: Node, scope: Scope, soft: bool = False) -> Formula:
        """soft: a preference may stand here: directly in a goal or precondition, or there under `and` and `forall`."""
        group = self.group(node, "a condition")
        head = group.head
        if not group.items:
            return And(())
        if head == "and":
            return And(tuple(self.formula(item, scope, soft) for item in group.items[1:]))
        if head == "or":
            return Or(tuple(self.formula(item, scope) for item in group.items[1:]))
        if head == "not":
            self.count(group, 1)
            return Not(self.formula(group.items[1], scope))
        if head == "imply":
            self.count(group, 2)
            return Imply(self.formula(group.items[1], scope), self.formula(group.items[2], scope))
        if head in ("forall", "exists"):
            variables, inner = self.quantified(group, scope)
            part = self.formula(group.items[2], inner, soft and head == "forall")
            return Forall(variables, part) if head == "forall" else Exists(variables, part)
        if head in ("<", "<=", ">", ">=") or (head == "=" and self.is_numeric_equality(group)):
            self.count(group, 2)
            return Comparison(head, self.expression(group.items[1], scope), self.expression(group.items[2], scope))
        if head == "preference":
            if not soft:
                self.meaning_fault(
                    group, "a preference stands only in goals, preconditions and constraints, under and and forall"
                )
            name, content = self.preference(group)
            return Preference(name, self.formula(content, scope))
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
        if head == IS_VIOLATED and self.preference_names is not None:
            self.count(node, 1)
            name = self.word(node.items[1], "a preference's name")
            if name not in self.preference_names:
                self.meaning_fault(node.items[1], f"no preference is named '{name}'")
            return (IS_VIOLATED, name)
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

    def constraint(self, node: Node, scope: Scope, soft: bool = True) -> Constraint:
        """soft: a preference may stand here; in another preference it may not."""
        group = self.group(node, "a trajectory constraint")
        head = group.head
        if not group.items:
            return ConstraintAnd(())
        if head == "and":
            return ConstraintAnd(tuple(self.constraint(item, scope, soft) for item in group.items[1:]))
        if head == "forall":
            variables, inner = self.quantified(group, scope)
            return ConstraintForall(variables, self.constraint(group.items[2], inner, soft))
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
        if head == "preference" and soft:
            name, content = self.preference(group)
            return ConstraintPreference(name, self.constraint(content, scope, soft=False))
        if head in ("preference", "exists", "or", "not", "imply"):
            self.refuse(group, f"'{head}' over trajectory constraints")
        self.source.fail(group.offset, f"'{head}' is no trajectory constraint")


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")


def _is_number(word: str) -> bool:
    """Plain decimal notation of a finite number; neither `inf`, `nan` nor `1_000`, which Python would take."""
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) < float("inf")
