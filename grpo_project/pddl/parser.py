"""PDDL text to Domain and Problem. Every name is checked where it is used; what is not supported is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grpo_project.pddl.derived import strata
from grpo_project.pddl.model import (
    NUMERIC_EFFECTS,
    TOTAL_TIME,
    Action,
    And,
    Atom,
    Constraint,
    DerivedRule,
    Domain,
    Effect,
    Expression,
    Formula,
    NumericEffect,
    Problem,
    TypedName,
)
from grpo_project.pddl.preferences import preference_names
from grpo_project.pddl.reader import UNSUPPORTED_SECTIONS, Reader, Scope
from grpo_project.pddl.syntax import Group, Node, Source, Symbol
from grpo_project.pddl.types import ROOT_TYPE, TypeHierarchy, either, members_of


def parse_domain(text: str, source: str = "<text>") -> Domain:
    """Raises PddlSyntaxError, PddlSemanticError or UnsupportedFeature, each with file, line and column."""
    return _DomainReader(Source(text, source)).read()


def parse_problem(text: str, domain: Domain, source: str = "<text>") -> Problem:
    """Raises like parse_domain; also where the problem names another domain."""
    return _ProblemReader(Source(text, source), domain).read()


class _DomainReader(Reader):
    def read(self) -> Domain:
        name, sections = self.definition("domain")
        by_head = {section.head: section for section in sections}
        requirements: tuple[str, ...] = ()
        for section in sections:
            if section.head in UNSUPPORTED_SECTIONS:
                self.refuse(section, section.head)
        if ":requirements" in by_head:
            requirements = self.requirements(by_head[":requirements"])
        if ":types" in by_head:
            self.types = self.read_types(by_head[":types"])
            self.hierarchy = TypeHierarchy(self.types)
        if ":constants" in by_head:
            self.constants = self.typed_names(by_head[":constants"], "a constant")
        if ":predicates" in by_head:
            self.predicates = self.read_signatures(by_head[":predicates"].items[1:], "predicate")
        if ":functions" in by_head:
            self.functions = self.read_functions(by_head[":functions"])
        derived = self.read_derived([section for section in sections if section.head == ":derived"])
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
            elif section.head not in (":requirements", ":types", ":constants", ":predicates", ":functions", ":derived"):
                self.source.fail(section.offset, f"unknown section '{section.head}' in a domain")
        kinds = self.types, self.constants, self.predicates, self.functions
        return Domain(name, requirements, *kinds, actions, constraints, derived)

    def read_derived(self, sections: Sequence[Group]) -> tuple[DerivedRule, ...]:
        """The rules of all derived predicates; one that is declared nowhere else is declared by its first rule."""
        heads = []
        for section in sections:
            self.count(section, 2)
            head = self.group(section.items[1], "(PREDICATE ?variable ...)")
            if not head.head:
                self.source.fail(head.offset, "expected the derived predicate's name")
            variables = self.typed_list(head.items[1:], None, "a variable")
            parameters = self.variables(head.items[1:])
            declared = self.predicates.setdefault(head.head, parameters)
            if len(declared) != len(parameters):
                self.meaning_fault(head, f"predicate '{head.head}' takes {len(declared)} arguments, found {len(parameters)}")
            # Without a type of its own, a variable has the declaration's.
            own = [old if kind is None else new for (_, kind), old, new in zip(variables, declared, parameters, strict=True)]
            heads.append(tuple(TypedName(p.name, kind.type) for p, kind in zip(parameters, own, strict=True)))
        self.derived_names = {self.group(section.items[1], "").head for section in sections}
        rules = []
        for section, parameters in zip(sections, heads, strict=True):
            scope = {**self.constants, **{parameter.name: parameter.type for parameter in parameters}}
            name = self.group(section.items[1], "").head
            rules.append(DerivedRule(name, parameters, self.formula(section.items[2], scope)))
        found = strata(rules)
        if isinstance(found, str):
            where = next(section for section, rule in zip(sections, rules, strict=True) if rule.head == found)
            self.meaning_fault(where, f"derived predicate '{found}' rests on its own absence (the rules are not stratified)")
        return tuple(rules)

    def read_types(self, section: Group) -> dict[str, tuple[str, ...]]:
        """{type: parents}. A type may stand several times, with a parent each; one that is only a parent is under `object`."""
        parents: dict[str, set[str]] = {}
        pairs = self.typed_list(section.items[1:], None, "a type")
        for symbol, kind in pairs:
            parents.setdefault(symbol.text, set()).update(members_of(kind) if kind is not None else ())
        for kind in sorted({parent for own in parents.values() for parent in own} - parents.keys() - {ROOT_TYPE}):
            parents[kind] = {ROOT_TYPE}
        types = {name: tuple(sorted(own)) for name, own in parents.items()}
        hierarchy = TypeHierarchy(types)
        for symbol, _ in pairs:
            if any(symbol.text in hierarchy.above(parent) for parent in types[symbol.text]):
                self.meaning_fault(symbol, f"type '{symbol.text}' is its own ancestor")
        return types

    def read_signatures(self, items: Sequence[Node], what: str) -> dict[str, tuple[TypedName, ...]]:
        result: dict[str, tuple[TypedName, ...]] = {}
        for item in items:
            group = self.group(item, f"a {what}")
            if not group.head:
                self.source.fail(group.offset, f"expected a {what}'s name")
            if group.head in result:
                self.meaning_fault(group, f"{what} '{group.head}' is declared twice")
            result[group.head] = self.variables(group.items[1:], distinct=False)
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
        name = self.check_name(section.items[1], "the action's name")
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
        precondition = self.formula(parts[":precondition"], scope, soft=True) if ":precondition" in parts else And(())
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
            more, inner = self.quantified(group, scope)
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
        if group.head in self.derived_names:
            self.meaning_fault(group, f"'{group.head}' is derived: no effect can change it")
        return self.atom(group, scope, self.predicates, "predicate")


class _ProblemReader(Reader):
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
            self.requirements(by_head[":requirements"])
        objects = self.typed_names(by_head[":objects"], "an object") if ":objects" in by_head else {}
        # An object may repeat a constant of the domain; of another type it is of both.
        for own in objects.keys() & self.constants.keys():
            objects[own] = either((self.constants[own], objects[own]))
        objects = {name_: kind for name_, kind in objects.items() if kind != self.constants.get(name_)}
        scope = {**self.constants, **objects}
        init, values = self.read_init(by_head[":init"], scope)
        self.count(by_head[":goal"], 1)
        goal = self.formula(by_head[":goal"].items[1], scope, soft=True)
        constraints = None
        if ":constraints" in by_head:
            self.count(by_head[":constraints"], 1)
            constraints = self.constraint(by_head[":constraints"].items[1], scope)
        problem = Problem(name, domain_name, objects, init, goal, constraints, values)
        if ":metric" not in by_head:
            return problem
        self.preference_names = preference_names(self.domain, problem)
        return replace(problem, metric=self.read_metric(by_head[":metric"], scope))

    def read_init(self, section: Group, scope: Scope) -> tuple[frozenset[Atom], dict[Atom, float]]:
        atoms: set[Atom] = set()
        values: dict[Atom, float] = {}
        items = section.items[1:]
        # Some writers wrap the initial atoms in one (and ...).
        if len(items) == 1 and isinstance(items[0], Group) and items[0].head == "and":
            items = items[0].items[1:]
        for item in items:
            group = self.group(item, "an initial atom")
            head = group.head
            if head == "=":
                self.count(group, 2)
                term = self.atom(self.group(group.items[1], "a function"), scope, self.functions, "function")
                values[term] = self.any_number(group.items[2])
            elif head == "not":
                self.count(group, 1)
                self.atom(self.group(group.items[1], "an atom"), scope, self.predicates, "predicate")
            elif head == "at" and "at" not in self.predicates:
                self.refuse(group, "a timed initial literal")
            else:
                atoms.add(self.atom(group, scope, self.predicates, "predicate"))
        return frozenset(atoms), values

    def read_metric(self, section: Group, scope: Scope) -> tuple[str, Expression]:
        self.count(section, 2)
        direction = self.word(section.items[1], "minimize or maximize")
        if direction not in ("minimize", "maximize"):
            self.source.fail(section.items[1].offset, f"expected minimize or maximize, found '{direction}'")
        self.functions = {TOTAL_TIME[0]: (), **self.functions}  # predefined: the number of steps
        return direction, self.expression(section.items[2], scope)
