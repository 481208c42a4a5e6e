"""Where the verifier and VAL differ, on purpose. Nothing else may: tests run both on thousands of fresh cases.

docs/verifier.md shows this list as a table, and a test pins both answers of every entry.
"""

from __future__ import annotations

from typing import NamedTuple


class Deviation(NamedTuple):
    """`val` and `ours`: what each says. `reason`: why we do not follow."""

    name: str
    val: str
    ours: str
    reason: str


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "free text",
        "drops the plan from the first prose on and validates what is left, be it empty",
        "plan_format_error",
        "a reward would pay for prose wherever the goal already holds",
    ),
    Deviation(
        "wrappers and step numbers",
        "takes a code fence, a chat mark, a reasoning block or `1.` for prose or a bad description",
        "reads the plan inside, by the extraction rules",
        "language models write them, and they change no step",
    ),
    Deviation(
        "size limits",
        "reads any number of characters, and gives up just below 10,000 steps",
        "plan_format_error past 1,000,000 characters or 10,000 steps",
        "bounded time and memory for whatever a model writes",
    ),
    Deviation(
        "surplus arguments",
        "drops them in an untyped domain (in a typed one it crashes)",
        "plan_format_error",
        "a step with them is no step of the domain",
    ),
    Deviation(
        "made-up objects",
        "lets an object that only the plan names, in an untyped domain, join the problem: forall and exists range over it",
        "nothing is true of it, and quantifiers range over the problem's objects",
        "a plan may not change the problem, nor reach a goal by inventing who satisfies it",
    ),
    Deviation(
        "order of time stamps",
        "sorts the steps by their stamps and runs equal ones at once",
        "plan_format_error unless the stamps increase",
        "plans here are sequences; a reader should not have to sort one",
    ),
    Deviation(
        "time stamps and timed constraints",
        "state k has the stamp of step k as its time",
        "state k has time k, stamped or not",
        "the stamps are the model's own, and could be chosen to meet any deadline",
    ),
    Deviation(
        "hold-during",
        "looks at the first state of the window only",
        "every state of the window must satisfy the condition",
        "a defect of VAL against the definition of PDDL3",
    ),
    Deviation(
        "hold-after",
        "asks for the condition from state 0 on, and crashes where it holds there",
        "every later state must satisfy it, and the last one in any case",
        "a defect of VAL against the definition of PDDL3",
    ),
    Deviation(
        "strict comparisons",
        "lets (> 1 1) and (< 1 1) hold",
        "strict: what differs by no more than the tolerance of 0.0001 is equal",
        "a defect of VAL against the definition of PDDL",
    ),
    Deviation(
        "undefined numbers",
        "gives up, with neither a valid plan nor a fault of a step",
        "a comparison with an undefined number does not hold, nor does its negation",
        "every plan needs a verdict",
    ),
    Deviation(
        "numbers past 2^53",
        "computes with longer numbers, in which 2^64 - 2 is less than 2^64",
        "double precision",
        "no planning problem is about the difference",
    ),
    Deviation(
        "variables of type object",
        "fits no object to `object` in a typed domain that does not write `- object` behind its types",
        "`object` is the root of all types, unless the domain lists it as a type of its own",
        "the definition of PDDL; otherwise such a domain has no plans at all",
    ),
    Deviation(
        "forall over constraints",
        "crashes where the type has no objects, and on two in one another with anything beside the inner one",
        "no object, no constraint; foralls nest freely",
        "every plan needs a verdict",
    ),
    Deviation(
        "advice over no object",
        "crashes while it writes how to repair a failed condition that quantifies over a type without objects and another type",
        "the verdict on that condition",
        "every plan needs a verdict",
    ),
)
