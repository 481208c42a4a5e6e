"""Where the time goes: the parts of a training step, and what a verdict costs.

    python script/bench.py                    training and verifier
    python script/bench.py --only verifier    one part: training, verifier, large, entropy, prompts

training: one real run of the main job on the shipped planner (a few steps, no evaluation). prompts: what reading a prompt once
for its group saves, when completions are written and when their gradient is taken. entropy: what the answers' entropies cost in
such a run, and in one with Unsloth's trainer where unsloth is installed (.venv-llm/bin/python). verifier: plans for the shipped
test problems, whole and broken in every way, validated by our validator, by VAL and by unified-planning's on the same cases, in
processor time of one core. large: a domain file of 4 MB and a problem of 70,000 atoms, in seconds and peak memory, each in a
process of its own. Times depend on the machine; shares and ratios hardly do.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grpo_project.common.entry_point import entry_point  # noqa: E402

if TYPE_CHECKING:
    import random

    from grpo_project.data.rows import RowTable
    from grpo_project.pddl import Step, Task

PROBLEMS_PER_DOMAIN = 20
PLANS_PER_PROBLEM = 24
PASSES = 5
VAL_CASES = 200
UNIFIED_PLANNING_CASES = 40
BATCH_PROMPTS, BATCH_COMPLETIONS = 64, 8
SHARED_PROMPTS, SHARED_ROWS = 32, 64


class Case(NamedTuple):
    row_index: int
    kind: str
    text: str


def bench_training(steps: int) -> None:
    """Prints seconds per step, split, from the metrics of a real run; the first step is left out (it warms up)."""
    from grpo_project.common.files import read_lines

    with tempfile.TemporaryDirectory() as folder:
        script, data, output = ROOT / "script" / "train_grpo_unsloth_stl_v2.py", ROOT / "data" / "four_domain", f"{folder}/run"
        command = [sys.executable, str(script), "--data_root", str(data), "--output_dir", output, "--max_steps", str(steps)]
        command += ["--eval_samples", "0", "--logging_steps", "1", "--no_wandb"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        lines = [json.loads(line) for line in read_lines(Path(folder) / "run" / "metrics.jsonl")]
    timed = [line["seconds_per_step"] for line in lines if line.get("seconds_per_step")][1:]
    totals: dict[str, float] = {}
    for line in timed:
        for name, seconds in line.items():
            totals[name] = totals.get(name, 0.0) + seconds / len(timed)
    step = totals.pop("total")
    print(f"training step: {step:.2f} s (mean of {len(timed)})")
    for name, seconds in sorted(totals.items(), key=lambda item: -item[1]):
        print(f"  {name:12} {seconds:7.3f} s  {100 * seconds / step:5.1f}%")


def bench_prompts() -> None:
    """Prints processor seconds with and without sharing prompts, for the shipped planner and groups of its own completions."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.utils import selective_log_softmax

    from grpo_project.configs.settings import default_of
    from grpo_project.data.prompts import row_prompt
    from grpo_project.data.rows import read_rows
    from grpo_project.models.cpu_planner import left_padded, sample_groups
    from grpo_project.models.shared_prompts import forward_with_shared_prompts
    from grpo_project.prompting import render_chat

    torch.manual_seed(1)
    folder = ROOT / default_of("base_model")
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = read_rows(ROOT / "data" / "four_domain")
    chosen = [index for domain in rows.domains for index in rows.indices_of(domain)[: SHARED_PROMPTS // 4]]
    turns = [render_chat(tokenizer, prompt) for prompt in (row_prompt(rows.rows[index], "compact") for index in chosen)]
    prompts = [ids for ids in tokenizer(turns, add_special_tokens=False)["input_ids"] for _ in range(BATCH_COMPLETIONS)]
    pad, stop = tokenizer.pad_token_id, tokenizer.eos_token_id

    began = time.process_time()
    completions = sample_groups(model, prompts, BATCH_COMPLETIONS, pad, stop, 128, 1.0) or []
    ours = (time.process_time() - began) / sum(map(len, completions))
    ids, mask = left_padded(prompts, pad, model.device)
    began = time.process_time()
    with torch.inference_mode():
        how = {"max_new_tokens": 128, "do_sample": True, "top_k": 0, "pad_token_id": pad, "eos_token_id": stop}
        written = model.eval().generate(input_ids=ids, attention_mask=mask, **how)[:, ids.shape[1] :]
    theirs = (time.process_time() - began) / int((written != pad).sum())
    print(f"{len(prompts)} completions, {BATCH_COMPLETIONS} to a prompt, one model: {type(model).__name__} of {folder.name}")
    print(
        f"  writing them {1e3 * ours:6.2f} ms of processor time a token, generate {1e3 * theirs:6.2f}: ratio {ours / theirs:.2f}"
    )

    longest = max(map(len, completions))
    answers = torch.tensor([row + [pad] * (longest - len(row)) for row in completions])
    answered = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in completions])
    ids, mask = torch.cat([ids, answers], dim=1), torch.cat([mask, answered], dim=1)

    def gradient(forward: Callable[..., Any]) -> tuple[float, torch.Tensor]:
        model.train().zero_grad()
        began = time.process_time()
        for at in range(0, len(ids), SHARED_ROWS):
            part = slice(at, at + SHARED_ROWS)
            found = forward(input_ids=ids[part], attention_mask=mask[part], logits_to_keep=longest + 1, use_cache=False)
            chances = selective_log_softmax(found.logits[:, :-1], answers[part])
            (chances * answered[part]).sum().backward()
        seconds = time.process_time() - began
        return seconds, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    gradient(model)  # warm
    (plain, expected), (shared, found) = gradient(model), gradient(functools.partial(forward_with_shared_prompts, model))
    print(
        f"  log-probabilities and gradient {shared:.2f} s, row by row {plain:.2f} s: ratio {shared / plain:.2f}; "
        f"the gradients differ by {float((found - expected).norm() / expected.norm()):.0e} of their length"
    )


def bench_entropy(steps: int) -> None:
    """Prints a line for each way to train that is installed. Each has a process of its own: Unsloth rewrites TRL."""
    for backend in ("transformers", "unsloth"):
        if backend == "transformers" or importlib.util.find_spec("unsloth") is not None:
            process = multiprocessing.get_context("spawn").Process(target=print_entropy_share, args=(backend, steps))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"the run with {backend} ended with status {process.exitcode}")


def print_entropy_share(backend: str, steps: int) -> None:
    """Seconds of entropy and of whole steps in one run on a CPU: inside TRL's loss, or beside Unsloth's (training/entropy.py)."""
    if backend == "unsloth":
        from tests.unsloth_on_cpu import rewrite_trl, take_unsloth

        rewrite_trl()
        take_unsloth(setattr)
    from trl.trainer import utils

    from grpo_project.common.files import read_lines
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.run import train

    inner, seconds = utils.entropy_from_logits, [0.0]

    def entropy_from_logits(*arguments: Any, **how: Any) -> Any:
        began = time.perf_counter()
        found = inner(*arguments, **how)
        seconds.append(time.perf_counter() - began)
        return found

    utils.entropy_from_logits = entropy_from_logits
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        how: dict[str, Any] = {"data_root": str(ROOT / "data" / "four_domain"), "output_dir": f"{folder}/run", "max_steps": steps}
        how |= {"logging_steps": 1, "eval_samples": 0, "use_wandb": False, "diagnose_steps": 0}
        if train(TrainingConfig(**how), lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0}):
            sys.exit(1)
        timed = [json.loads(line).get("seconds_per_step") for line in read_lines(Path(folder) / "run" / "metrics.jsonl")]
    whole = sum(line["total"] for line in timed if line)
    entropy = sum(seconds) + sum(line.get("entropy", 0.0) for line in timed if line)
    print(f"entropy, {backend}: {entropy:.2f} of {whole:.1f} s in {steps} steps, {100 * entropy / whole:.1f}% (goal 3%)")


def bench_large() -> None:
    """Prints a line for each input: what it is, seconds of each part, peak memory of a process that does nothing else."""
    for kind in ("baseline", "domain", "problem", "search"):
        process = multiprocessing.get_context("spawn").Process(target=print_large, args=(kind,))
        process.start()
        process.join()


def print_large(kind: str) -> None:
    """domain: 13,300 actions. problem: roads between 17,000 places. search: an action of 14 parameters over 30 objects."""
    import resource

    from grpo_project.errors import UnsupportedFeature
    from grpo_project.pddl import compile_task, find_plan, parse_domain, parse_problem, validate_text

    action = """(:action move-{0} :parameters (?a ?b - place)
      :precondition (and (at ?a) (road ?a ?b) (not (closed ?b)) (or (open ?a) (and (open ?b) (not (= ?a ?b)))))
      :effect (and (not (at ?a)) (at ?b) (seen ?b) (when (closed ?a) (not (open ?a)))
                   (forall (?x - place) (when (at ?x) (seen ?x)))))
    """
    head = "(define (domain roads) (:requirements :adl) (:types place) (:predicates (at ?a - place) (road ?a ?b - place)"
    head += " (open ?a - place) (closed ?a - place) (seen ?a - place))"
    actions = 13_300 if kind == "domain" else 1
    domain_text = head + "".join(action.format(number) for number in range(actions)) + ")"
    places = [f"p{number}" for number in range(17_500 if kind == "problem" else 20)]
    facts = [
        f"(road {a} {b}) (road {b} {a}) (open {a}) (seen {b})" for a, b in zip(places, [*places[1:], places[0]], strict=True)
    ]
    problem_text = (
        f"(define (problem large) (:domain roads) (:objects {' '.join(places)} - place) (:init (at p0) {' '.join(facts)})"
    )
    problem_text += " (:goal (at p9)))"
    plan = "".join(f"(move-0 p{number} p{number + 1})\n" for number in range(9))
    if kind == "search":
        names = [f"?x{number}" for number in range(14)]
        bonds = " ".join(f"(road {a} {b})" for a, b in zip(names, names[1:], strict=False))
        wide = f"(:action react :parameters ({' '.join(names)} - place) :precondition (and {bonds}) :effect (not (road ?x0 ?x1)))"
        domain_text = f"{head}{wide})"
        plan = f"(react {' '.join(places[:14])})"
        problem_text = problem_text.replace("(:goal (at p9))", "(:goal (not (road p0 p1)))")
    marks = [time.process_time()]
    if kind != "baseline":
        domain = parse_domain(domain_text)
        marks.append(time.process_time())
        task = compile_task(domain, parse_problem(problem_text, domain))
        marks.append(time.process_time())
        success = validate_text(task, plan).success
        marks.append(time.process_time())
        said = ""
        if kind == "search":
            try:
                find_plan(task)
            except UnsupportedFeature as error:
                said = f"; search: {time.process_time() - marks[-1]:.2f} s, {error}"
        sizes = (
            f"domain {len(domain_text) / 1e6:.1f} MB, problem {len(problem_text) / 1e6:.1f} MB, {len(task.problem.init):,} atoms"
        )
        seconds = [after - before for before, after in zip(marks, marks[1:], strict=False)]
        what = ", ".join(f"{part} {own:.2f} s" for part, own in zip(("domain", "problem", "a plan"), seconds, strict=True))
        print(f"  {kind}: {sizes}: {what}, {'success' if success else 'failure'}{said}", end="")
    else:
        print("large: nothing read", end="")
    print(f"; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", flush=True)


def bench_verifier(problems_per_domain: int = PROBLEMS_PER_DOMAIN) -> None:
    """Prints rates per second and core, and ratios to the others; one line each."""
    from grpo_project.common.random_streams import stream
    from grpo_project.data.rows import read_rows

    rows = read_rows(ROOT / "data" / "test")
    chosen = [index for domain in rows.domains for index in rows.indices_of(domain)[:problems_per_domain]]
    rng = stream("bench", "verifier")
    cases = [case for index in chosen for case in make_cases(rng, rows.task(index), rows.rows[index].response or "", index)]
    rng.shuffle(cases)
    classes = Counter(verdicts_of(rows, cases))
    print(f"verifier: {len(cases)} plans for {len(chosen)} problems; " + ", ".join(f"{n} {c}" for c, n in classes.most_common()))
    bench_parsing(rows, chosen)
    bench_rates(rows, cases)
    bench_val(rows, cases[:VAL_CASES])
    bench_unified_planning(rows, cases[:UNIFIED_PLANNING_CASES])
    bench_batch(rows, cases)


def make_cases(rng: random.Random, task: Task, reference: str, row_index: int) -> Iterator[Case]:
    """The reference plan, one made without regard to the constraints, and broken ones made from both; all different."""
    from dataclasses import replace

    from grpo_project.pddl import compile_task, extract_plan, find_plan
    from grpo_project.prompting import render_plan

    steps = extract_plan(reference).steps or ()
    texts = {reference: "reference", "": "empty", f"Here is my plan:\n{reference}": "prose", reference.upper(): "upper case"}
    texts[f"```\n{reference}```"] = "fence"
    texts["".join(f"{number}: ({' '.join(step)})\n" for number, step in enumerate(steps, 1))] = "stamped"
    careless = find_plan(compile_task(task.domain, replace(task.problem, constraints=None)), node_budget=20_000).steps or steps
    for count in range(len(careless), max(0, len(careless) - 4), -1):
        texts.setdefault(render_plan(careless[:count]), "careless")
    mutations: dict[str, Callable[[], Sequence[Step]]] = {
        "truncated": lambda: steps[: rng.randrange(len(steps))],
        "dropped": lambda: drop(steps, rng.randrange(len(steps))),
        "swapped": lambda: swapped(rng, steps),
        "changed": lambda: changed(rng, task, steps),
        "repeated": lambda: [step for step in steps for _ in range(rng.choice((1, 1, 2)))],
        "unknown action": lambda: (*steps[: rng.randrange(len(steps))], ("no-such-action",)),
    }
    for _ in range(20 * PLANS_PER_PROBLEM):
        if len(texts) >= PLANS_PER_PROBLEM:
            break
        kind = rng.choice(list(mutations))
        texts.setdefault(render_plan(tuple(mutations[kind]())), kind)
    for text, kind in list(texts.items())[:PLANS_PER_PROBLEM]:
        yield Case(row_index, kind, text)


def drop(steps: Sequence[Step], at: int) -> Sequence[Step]:
    return (*steps[:at], *steps[at + 1 :])


def swapped(rng: random.Random, steps: Sequence[Step]) -> Sequence[Step]:
    """One step moved to another place."""
    taken = rng.randrange(len(steps))
    rest = list(drop(steps, taken))
    rest.insert(rng.randint(0, len(rest)), steps[taken])
    return tuple(rest)


def changed(rng: random.Random, task: Task, steps: Sequence[Step]) -> Sequence[Step]:
    """One argument of one step replaced by any object."""
    at = rng.randrange(len(steps))
    words = list(steps[at])
    words[rng.randrange(1, len(words)) if len(words) > 1 else 0] = rng.choice(list(task.problem.objects))
    return (*steps[:at], tuple(words), *steps[at + 1 :])


def verdicts_of(rows: RowTable, cases: Sequence[Case]) -> list[str]:
    from grpo_project.pddl import validate_text

    return [validate_text(rows.task(case.row_index), case.text).verdict_class for case in cases]


def median_seconds(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(PASSES))


def processor_seconds(tasks: Sequence[Task], cases: Sequence[Case]) -> float:
    from grpo_project.pddl import validate_text

    began = time.process_time()
    for task, case in zip(tasks, cases, strict=True):
        validate_text(task, case.text)
    return time.process_time() - began


def fresh_tasks(rows: RowTable, cases: Sequence[Case]) -> list[Task]:
    """The task of each case, compiled anew: nothing of it is known yet."""
    from grpo_project.pddl import compile_task

    made = {case.row_index: compile_task(rows.rows[case.row_index].domain, rows.rows[case.row_index].problem) for case in cases}
    return [made[case.row_index] for case in cases]


def bench_parsing(rows: RowTable, chosen: Sequence[int]) -> None:
    from grpo_project.pddl import compile_task, parse_domain, parse_problem

    seconds = [0.0, 0.0, 0.0]
    for index in chosen:
        row = rows.rows[index]
        marks = [time.process_time()]
        domain = parse_domain(row.domain_text)
        marks.append(time.process_time())
        problem = parse_problem(row.problem_text, domain)
        marks.append(time.process_time())
        compile_task(domain, problem)
        marks.append(time.process_time())
        seconds = [total + end - start for total, start, end in zip(seconds, marks, marks[1:], strict=False)]
    domain_ms, problem_ms, compile_ms = (1e3 * total / len(chosen) for total in seconds)
    print(f"  reading one: domain {domain_ms:.2f} ms, problem {problem_ms:.2f} ms, compiling both {compile_ms:.2f} ms")


def bench_rates(rows: RowTable, cases: Sequence[Case]) -> None:
    """Per second of one core: warm (problems and plans met before) and first pass (problems parsed, nothing else known)."""
    known = fresh_tasks(rows, cases)
    processor_seconds(known, cases)
    warm = median_seconds(lambda: processor_seconds(known, cases))
    first = median_seconds(lambda: processor_seconds(fresh_tasks(rows, cases), cases))
    print(f"  warm        {len(cases) / warm:10,.0f} validations/s per core (goal 50,000)")
    print(f"  first pass  {len(cases) / first:10,.0f} validations/s per core")


def bench_val(rows: RowTable, cases: Sequence[Case]) -> None:
    """VAL as a reward would call it: a file and a process for each plan."""
    from grpo_project.errors import BackendMissing
    from grpo_project.pddl import extract_plan, validate_text
    from grpo_project.pddl.val import find_val, read_output, step_of

    try:
        binary = find_val()
    except BackendMissing as error:
        print(f"  VAL: left out. {error}")
        return
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        domain, problem, plan = (Path(folder) / name for name in ("domain.pddl", "problem.pddl", "plan.txt"))
        seconds = 0.0
        for case in cases:
            row = rows.rows[case.row_index]
            domain.write_text(row.domain_text, encoding="utf-8")
            problem.write_text(row.problem_text, encoding="utf-8")
            began = own_and_children_seconds()
            plan.write_text(case.text, encoding="utf-8")
            command = [str(binary), "-v", str(domain), str(problem), str(plan)]
            outputs.append(subprocess.run(command, capture_output=True, text=True, errors="replace", check=False))
            seconds += own_and_children_seconds() - began
    same = compared = 0
    for case, output in zip(cases, outputs, strict=True):
        steps = extract_plan(case.text).steps
        if steps is None or case.kind in ("fence", "stamped"):
            continue  # read otherwise by VAL: see docs/verifier.md
        verdict = validate_text(rows.task(case.row_index), case.text)
        answer = read_output(output.stdout, output.returncode, len(steps))
        compared += 1
        # A step that names nothing ends VAL without a verdict.
        theirs = (answer.verdict_class, answer.step) if answer is not None else ("plan_format_error", None)
        same += theirs == (verdict.verdict_class, step_of(verdict))
    known = fresh_tasks(rows, cases)
    processor_seconds(known, cases)
    ours = median_seconds(lambda: processor_seconds(known, cases)) / len(cases)
    print(
        f"  VAL         {1e3 * seconds / len(cases):10.2f} ms a plan, one process each ({len(cases)} of the cases); "
        f"ours {1e6 * ours:.1f} us: {seconds / len(cases) / ours:,.0f} times as fast (goal 100)"
    )
    print(f"              same class and step on {same} of {compared} plans that both read alike")


def own_and_children_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def bench_unified_planning(rows: RowTable, cases: Sequence[Case]) -> None:
    """unified-planning's validator, on the same problems without their constraints: it has no sometime-before."""
    from dataclasses import replace

    from grpo_project.pddl import compile_task, extract_plan, render_problem, validate_text

    try:
        from unified_planning.engines import SequentialPlanValidator  # type: ignore[import-untyped]
        from unified_planning.io import PDDLReader  # type: ignore[import-untyped]
        from unified_planning.shortcuts import get_environment  # type: ignore[import-untyped]
    except ImportError:
        print("  unified-planning: left out, not installed (pip install -r requirements-dev.txt)")
        return
    get_environment().credits_stream = None
    seconds: list[float] = []
    ours: list[float] = []
    same = 0
    for case in cases:
        steps = extract_plan(case.text).steps
        row = rows.rows[case.row_index]
        task = compile_task(row.domain, replace(row.problem, constraints=None))
        if not steps or validate_text(task, case.text).verdict_class == "plan_format_error":
            continue  # its reader raises an exception on these
        reader = PDDLReader()
        problem = reader.parse_problem_string(row.domain_text, render_problem(task.problem, row.domain))
        plan = reader.parse_plan_string(problem, "".join(f"({' '.join(step)})\n" for step in steps))
        validator: Any = SequentialPlanValidator()
        began = time.process_time()
        answer = validator.validate(problem, plan)
        seconds.append(time.process_time() - began)
        began = time.process_time()
        verdict = validate_text(task, case.text)
        ours.append(time.process_time() - began)
        same += (answer.status.name == "VALID") == verdict.success
    ratio = statistics.mean(seconds) / statistics.mean(ours)
    print(
        f"  unified-planning {1e3 * statistics.mean(seconds):5.2f} ms a plan, problem and plan read before, no constraints "
        f"({len(seconds)} of the cases); ours {1e6 * statistics.mean(ours):.1f} us: {ratio:,.0f} times as fast"
    )
    print(f"              same answer, valid or not, on {same} of {len(seconds)}")


def bench_batch(rows: RowTable, cases: Sequence[Case]) -> None:
    """The reward of one batch: completions of problems never met, of problems met before, and the same completions again."""
    from grpo_project.configs.reward import RewardConfig
    from grpo_project.data.rows import read_rows
    from grpo_project.rewards import make_reward_function

    by_row: dict[int, list[str]] = {}
    for case in cases:
        by_row.setdefault(case.row_index, []).append(case.text)
    prompts = list(by_row)[:BATCH_PROMPTS]
    half = PLANS_PER_PROBLEM // 2

    def batch(start: int) -> tuple[list[str], list[int]]:
        pairs = [(by_row[row][(start + n) % len(by_row[row])], row) for row in prompts for n in range(BATCH_COMPLETIONS)]
        return [text for text, _ in pairs], [row for _, row in pairs]

    def milliseconds(reward: Callable[..., list[float]], start: int) -> float:
        completions, indices = batch(start)
        began = time.process_time()
        rewards = reward(prompts=None, completions=completions, row_index=indices)
        assert len(rewards) == len(completions)
        return 1e3 * (time.process_time() - began)

    measured = []
    for _ in range(PASSES):
        table = read_rows(ROOT / "data" / "test")
        reward = make_reward_function(table, RewardConfig())
        measured.append([milliseconds(reward, start) for start in (0, half, half)])
    unmet, known, repeated = (statistics.median(column) for column in zip(*measured, strict=True))
    size = len(batch(0)[0])
    print(
        f"  reward of {size} completions, {len(prompts)} prompts: problems never met {unmet:.1f} ms (compiled on the way), "
        f"met before {known:.1f} ms, same completions again {repeated:.1f} ms (goal 20 ms)"
    )


@entry_point()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--only", choices=("training", "verifier", "large", "entropy", "prompts"), help="default: the first two")
    parser.add_argument("--steps", type=int, default=8, help="training steps (default 8)")
    arguments = parser.parse_args(argv)
    if arguments.only in (None, "training"):
        bench_training(max(2, arguments.steps))
    if arguments.only in (None, "verifier"):
        bench_verifier()
    if arguments.only == "large":
        bench_large()
    if arguments.only == "prompts":
        bench_prompts()
    if arguments.only == "entropy":
        bench_entropy(arguments.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
