"""A problem compiled for execution: states are ints, ground actions are made on first use, constraints are monitors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grpo_project.pddl.conditions import TRUE, Binding, Condition, ConditionCompiler, all_of, conjuncts
from grpo_project.pddl.derived import DerivedAtoms
from grpo_project.pddl.grounding import MAXIMUM_GROUND, MAXIMUM_MASK_BITS, Grounder, StaticAtoms, TooLarge
from grpo_project.pddl.model import (
    IS_VIOLATED,
    TOTAL_COST,
    TOTAL_TIME,
    Action,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    Domain,
    Expression,
    NumericEffect,
    Problem,
    Step,
    TrajectoryConstraint,
    nodes_in,
)
from grpo_project.pddl.monitors import MONITORS, Monitor
from grpo_project.pddl.numbers import Numbers, NumberTable, Reader, changed
from grpo_project.pddl.preferences import Preferences, Violations, preference_names, without_preferences
from grpo_project.pddl.render import render_constraint, render_formula
from grpo_project.pddl.schemas import VARIABLE, ActionSchema
from grpo_project.pddl.types import ROOT_TYPE

MAXIMUM_CACHED = 100_000  # ground steps, and lines of text, that one task remembers: a hostile model may invent any number


@dataclass(frozen=True, slots=True)
class GroundNumericEffect:
    """`operator` on number `index` where `when` holds; `amount` reads the numbers of the state before."""

    when: Condition
    operator: str
    index: int
    amount: Reader


@dataclass(slots=True, eq=False)  # never changed; frozen, each would take three times as long to make
class GroundAction:
    """One action with its arguments. Effects are computed in the state before; an add wins over a delete.

    `positive`, `negative` and `choices` are the condition's own, here to spare the executor a look-up. `cost` is what the action
    adds to the plan's cost, 1 where the problem has no :metric; `numeric` is empty unless the task has numbers.
    """

    step: Step
    condition: Condition
    positive: int
    negative: int
    choices: tuple[tuple[Condition, ...], ...]
    add: int
    delete: int
    conditional: tuple[tuple[Condition, int, int], ...]
    cost: float
    numeric: tuple[GroundNumericEffect, ...] = ()

    def apply(self, state: int) -> int:
        add, delete = self.add, self.delete
        for when, more_add, more_delete in self.conditional:
            if when.holds(state):
                add |= more_add
                delete |= more_delete
        return (state & ~delete) | add


@dataclass(frozen=True)
class StepFault:
    """Why a step cannot be read as an action of the domain."""

    message: str


class Task:
    """A domain and one problem of it. Equal inputs give equal tasks; actions and atoms are interned lazily.

    Attributes: `initial` (the state S0), `goal` (Condition), `goal_parts` (text and Condition of each top-level conjunct),
    `monitors` (one per ground trajectory constraint, domain's first), `numbers` (a NumberTable, or None where costs are all the
    numbers there are: then a plan's cost is a sum that is known step by step), `derived` and `preferences` (None where there are
    none).
    """

    def __init__(self, domain: Domain, problem: Problem) -> None:
        self.domain = domain
        self.problem = problem
        self._atoms: dict[Atom, int] = {}
        self._objects: dict[str, str] = {**domain.constants, **problem.objects}
        self.derived: DerivedAtoms | None = None
        self._by_type: dict[str, tuple[str, ...]] = {}
        self._ground: dict[Step, GroundAction] = {}
        self._parts: dict[Step, tuple[tuple[str, Condition], ...]] = {}
        self.known_lines: dict[str, GroundAction] = {}  # a line of text to its action; filled by the validator
        table = NumberTable(problem.values, self.bit)
        self._compiler = ConditionCompiler(self.bit, self.objects_of, table.comparison_bit)
        self.derived = DerivedAtoms(domain.derived, self._compiler.compile, self._fits) if domain.derived else None
        self.numbers = table if _needs_numbers(domain, problem) else None
        self.initial_cost = problem.values.get(TOTAL_COST, 0.0) if problem.metric is not None else 0.0
        self.initial = 0
        for atom in sorted(problem.init):  # sorted: bit numbers must not depend on set order
            self.initial |= self.bit(atom)
        names = preference_names(domain, problem)
        goal = without_preferences(problem.goal) if names else problem.goal
        self.goal_parts = tuple([(render_formula(part), self._compiler.compile(part, {})) for part in conjuncts(goal)])
        self.goal = all_of([condition for _, condition in self.goal_parts])
        self.goal_mask = _bits_read(self.goal)  # every bit that the goal reads
        # Almost every goal is a conjunction of distinct literals; counting bits is then ten times faster.
        literals = self.goal.positive.bit_count() + self.goal.negative.bit_count()
        self._goal_is_literals = not self.goal.choices and literals == len(self.goal_parts)
        constraints = [c for c in (domain.constraints, problem.constraints) if c is not None]
        self.monitors: tuple[Monitor, ...] = tuple(m for c in constraints for m in self._monitors(c, {}))
        self.preferences = Preferences(domain, problem, names, self._compiler, self._monitors) if names else None
        self._metric: Reader | None = None
        if self.numbers is not None:
            if problem.metric is not None:
                self._time_index = table.index(TOTAL_TIME)
                self._violation_indices = {name: table.index((IS_VIOLATED, name)) for name in names}
                self._metric = table.reader(problem.metric[1], {})
        # Whether an action's masks are all there is to its effects: neither numbers nor derived atoms follow from them.
        self.is_plain = self.numbers is None and self.derived is None
        self.initial, _ = self.start()
        self.initial_goals_met = self.goals_met(self.initial)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"problem '{self.problem.name}' of domain '{self.domain.name}'"

    def start(self) -> tuple[int, Numbers]:
        """S0 and its numbers, comparisons and derived atoms of every action ground so far included."""
        if self.is_plain:
            return self.initial, []
        if self.derived is not None:
            self.derived.settle()
        numbers = list(self.numbers.start) if self.numbers is not None else []
        return self._settled(self.initial, numbers), numbers

    def _settled(self, state: int, numbers: Numbers) -> int:
        """The state with the comparisons that the numbers give it, and the derived atoms that follow."""
        if self.numbers is not None:
            state = self.numbers.refresh(state, numbers)
        return state if self.derived is None else self.derived.closed(state)

    def advance(self, action: GroundAction, state: int, numbers: Numbers) -> tuple[int, Numbers]:
        """The state and the numbers after an action whose precondition holds."""
        after = action.apply(state)
        if self.is_plain:
            return after, numbers
        new = list(numbers)
        for effect in action.numeric:
            if effect.when.holds(state):
                new[effect.index] = changed(effect.operator, new[effect.index], effect.amount(numbers))
        return self._settled(after, new), new

    def plan_cost(self, step_count: int, summed_cost: float, numbers: Numbers, violations: Violations = ()) -> float:
        """The value of the problem's :metric after so many steps; without one, their number. violations: of preferences."""
        if self._metric is None:
            return summed_cost
        at_end = list(numbers)
        at_end[self._time_index] = float(step_count)
        for index in self._violation_indices.values():
            at_end[index] = 0.0
        for name, times in violations:
            at_end[self._violation_indices[name]] = float(times)
        return self._metric(at_end)

    def goals_met(self, state: int) -> int:
        """How many top-level conjuncts of the goal hold in a state."""
        if self._goal_is_literals:
            missing = (self.goal.positive & ~state).bit_count() + (self.goal.negative & state).bit_count()
            return len(self.goal_parts) - missing
        return sum(condition.holds(state) for _, condition in self.goal_parts)

    def bit(self, atom: Atom) -> int:
        """The mask, with one bit set, of an atom; unknown atoms are interned."""
        mask = self._atoms.get(atom)
        if mask is None:
            mask = self._atoms[atom] = 1 << len(self._atoms)
            if self.derived is not None:
                self.derived.note(atom, mask)
        return mask

    def atoms_of(self, state: int) -> list[Atom]:
        """The atoms true in a state, sorted; comparisons, which are bits too, left out."""
        return sorted(atom for atom, mask in self._atoms.items() if state & mask and atom[0] != "(")

    def objects_of(self, kind: str) -> tuple[str, ...]:
        """The objects and constants that fit a type, in declaration order."""
        if kind not in self._by_type:
            self._by_type[kind] = tuple(name for name, own in self._objects.items() if self.domain.hierarchy.fits(own, kind))
        return self._by_type[kind]

    def _fits(self, name: str, kind: str) -> bool:
        """Whether a name may stand where a type is asked for; a made-up one fits `object` alone."""
        return self.domain.hierarchy.fits(self._objects.get(name, ROOT_TYPE), kind)

    def ground(self, step: Step) -> GroundAction | StepFault:
        """The ground action that a step names, or why there is none.

        Follows VAL: an unknown action, a wrong number of arguments, and (where the domain declares types) an unknown
        object or a wrong type are faults of the text. In an untyped domain an unknown object is an object of which
        nothing is true, so that its step fails by its precondition. One deliberate deviation: VAL drops surplus
        arguments in untyped domains; here they are a fault, since a reward must not pay for them.
        """
        known = self._ground.get(step)
        if known is None:
            made = self._make(step)
            if isinstance(made, StepFault):
                return made
            known = made
            if len(self._ground) < MAXIMUM_CACHED:
                self._ground[step] = known
        return known

    def precondition_parts(self, step: Step) -> tuple[tuple[str, Condition], ...]:
        """Ground text and condition of each top-level conjunct of the precondition of a step that can be ground."""
        known = self._parts.get(step)
        if known is None:
            action = self.domain.actions[step[0]]
            binding = {p.name: argument for p, argument in zip(action.parameters, step[1:], strict=True)}
            known = tuple(
                [
                    ("".join([binding.get(piece, piece) for piece in pieces]), self._compiler.compile(part, binding))
                    for pieces, part in self._schema(action).texts
                ]
            )
            if len(self._parts) < MAXIMUM_CACHED:
                self._parts[step] = known
        return known

    def applicable_actions(self) -> list[GroundAction]:
        """Every type-consistent ground action not ruled out by static atoms, in declaration order of actions and objects.

        Raises TooLarge, in a few seconds and within some 500 MB, where there are more than grounding.py lets through.
        """
        actions = self.domain.actions.values()
        changing = {rule.head for rule in self.domain.derived}
        changing |= {atom[0] for action in actions for e in action.effects for atom in (e.add, e.delete) if atom}
        static = StaticAtoms(self.problem.init, self.domain.predicates.keys() - changing)
        grounder = Grounder(self.name, static, self.objects_of)
        result: list[GroundAction] = []
        bits = 0
        for action in actions:
            for arguments in grounder.arguments(action):
                ground = self.ground((action.name, *arguments))
                if isinstance(ground, GroundAction) and ground.condition.choices.count(()) == 0:
                    result.append(ground)
                    bits += sum(mask.bit_length() for mask in (ground.positive, ground.negative, ground.add, ground.delete))
                    if len(result) > MAXIMUM_GROUND or bits > MAXIMUM_MASK_BITS:
                        raise TooLarge(self.name, f"it has more than {len(result) - 1:,} steps")
        return result

    def _make(self, step: Step) -> GroundAction | StepFault:
        if not step or step[0] not in self.domain.actions:
            return StepFault(f"unknown action '{step[0] if step else ''}'")
        action = self.domain.actions[step[0]]
        arguments = step[1:]
        if len(arguments) != len(action.parameters):
            return StepFault(f"{action.name} takes {len(action.parameters)} arguments, found {len(arguments)}")
        if self.domain.types:
            for argument, parameter in zip(arguments, action.parameters, strict=True):
                if argument not in self._objects:
                    return StepFault(f"unknown object '{argument}'")
                if not self._fits(argument, parameter.type):
                    return StepFault(
                        f"'{argument}' is of type {self._objects[argument]}, but {action.name} takes {parameter.type} here"
                    )
        schema = self._schema(action)
        row = (*schema.words, *arguments)
        known, positive, negative, add, delete = self._atoms, 0, 0, 0, 0
        for fill in schema.positive:
            positive |= known.get(atom := fill(row)) or self.bit(atom)
        for fill in schema.negative:
            negative |= known.get(atom := fill(row)) or self.bit(atom)
        for fill in schema.add:
            add |= known.get(atom := fill(row)) or self.bit(atom)
        for fill in schema.delete:
            delete |= known.get(atom := fill(row)) or self.bit(atom)
        condition = Condition(positive, negative)
        binding = dict(zip(schema.names, arguments, strict=True)) if schema.conditions or schema.effects else {}
        if schema.conditions or positive & negative:
            condition = all_of([condition, *(self._compiler.compile(part, binding) for part in schema.conditions)])
        conditional: list[tuple[Condition, int, int]] = []
        numeric: list[GroundNumericEffect] = []
        cost = 0.0
        for effect in schema.effects:
            for inner in self._compiler.bindings(effect.variables, binding) if effect.variables else (binding,):
                when = TRUE if effect.when is None else self._compiler.compile(effect.when, inner)
                if effect.numeric is not None:
                    if self.numbers is None:
                        cost += self._static_amount(effect.numeric.amount, inner)
                    else:
                        numeric.append(self._numeric_effect(self.numbers, when, effect.numeric, inner))
                    continue
                add_mask = self._mask(effect.add, inner)
                delete_mask = self._mask(effect.delete, inner)
                if when == TRUE:
                    add |= add_mask
                    delete |= delete_mask
                else:
                    conditional.append((when, add_mask, delete_mask))
        if self.problem.metric is None:
            cost = 1.0
        own = condition.positive, condition.negative, condition.choices
        return GroundAction(step, condition, *own, add, delete, tuple(conditional), cost, tuple(numeric))

    def _mask(self, atom: Atom | None, binding: dict[str, str]) -> int:
        return 0 if atom is None else self.bit((atom[0], *(binding.get(word, word) for word in atom[1:])))

    def _static_amount(self, amount: Expression, binding: dict[str, str]) -> float:
        """A number, or a function that no action changes; undefined functions cost nothing."""
        if isinstance(amount, float):
            return amount
        assert isinstance(amount, tuple)
        return self.problem.values.get((amount[0], *(binding.get(word, word) for word in amount[1:])), 0.0)

    def _schema(self, action: Action) -> ActionSchema:
        kept = self.domain.kept
        if action.name not in kept:
            kept[action.name] = ActionSchema(action)
        schema: ActionSchema = kept[action.name]
        return schema

    @staticmethod
    def _numeric_effect(
        table: NumberTable, when: Condition, effect: NumericEffect, binding: dict[str, str]
    ) -> GroundNumericEffect:
        index = table.index((effect.term[0], *(binding.get(word, word) for word in effect.term[1:])))
        return GroundNumericEffect(when, effect.operator, index, table.reader(effect.amount, binding))

    def _monitors(self, constraint: Constraint, binding: Binding) -> Iterator[Monitor]:
        match constraint:
            case ConstraintAnd(parts):
                for part in parts:
                    yield from self._monitors(part, binding)
            case ConstraintForall(variables, part):
                for inner in self._compiler.bindings(variables, binding):
                    yield from self._monitors(part, inner)
            case TrajectoryConstraint(operator, formulas, times):
                conditions = [self._compiler.compile(formula, binding) for formula in formulas]
                yield MONITORS[operator](_ground_text(constraint, binding), *conditions, *times)


def compile_task(domain: Domain, problem: Problem) -> Task:
    """The one way to make a Task."""
    return Task(domain, problem)


def _needs_numbers(domain: Domain, problem: Problem) -> bool:
    """False where the only numbers are costs that a sum can hold, read nowhere but in (:metric minimize (total-cost))."""
    if domain.needs_numbers or (problem.metric is not None and problem.metric != ("minimize", TOTAL_COST)):
        return True
    nodes = (problem.goal, problem.constraints)
    return any(isinstance(inner, Comparison) for node in nodes if node is not None for inner in nodes_in(node))


def _ground_text(constraint: TrajectoryConstraint, binding: Binding) -> str:
    return "".join([binding.get(piece, piece) for piece in VARIABLE.split(render_constraint(constraint))])


def _bits_read(condition: Condition) -> int:
    mask = condition.positive | condition.negative
    for alternatives in condition.choices:
        for alternative in alternatives:
            mask |= _bits_read(alternative)
    return mask
