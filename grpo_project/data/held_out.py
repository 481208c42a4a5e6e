"""The problems that a model is measured on before and after training, and those that steer it: a test folder, or a named seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from grpo_project.common.files import utf8
from grpo_project.common.paths import locate
from grpo_project.common.random_streams import stream
from grpo_project.configs.settings import Settings
from grpo_project.data.asked_words import table_in_asked_words
from grpo_project.data.instances import generate_instance, row_of, under_other_names
from grpo_project.data.origin import Origin
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.domains import all_domains, get_domain
from grpo_project.domains.base import Ranges
from grpo_project.errors import DataError

DEFAULT_TEST_DATA = "data/test"
GENERATED_SEED = 20_260_101  # names the streams of generated problems; changing it changes every such result
STEERING_SEED = 20_260_202  # the same for the problems that steer a curriculum: none of those that measure the run
DRAWS_PER_PROBLEM = 200  # small domains have few different problems; then there are fewer than asked for


@dataclass(frozen=True)
class EvaluationSet:
    """Problems that a model is asked: the rows `indices` of `table`, which come from `name`, a folder or a seed.

    `trained_on`: how many of them the training rows hold too, up to names and order of objects.
    """

    table: RowTable
    indices: Sequence[int]
    name: str
    trained_on: int = 0

    @property
    def rows(self) -> list[Row]:
        return [self.table.rows[index] for index in self.indices]

    @property
    def remark(self) -> str | None:
        """Why success on them is no success on new problems; None where it is."""
        if not self.trained_on:
            return None
        return f"{self.trained_on} of {len(self)} problems of {self.name} are training problems too: no held-out success on these"

    def asked(self, style: str) -> EvaluationSet:
        """The same problems in the words of a model that reads prompts of this style (`table_in_asked_words`)."""
        return replace(self, table=table_in_asked_words(self.table, style))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is asked, in order: the same problems in another folder have the same."""
        digest = hashlib.sha256()
        for index in self.indices:
            row = self.table.rows[index]
            digest.update(utf8("\0".join((row.prompt, row.problem_file, row.domain_text, row.problem_text))) + b"\n")
        return digest.hexdigest()


def held_out_set(config: Settings, training_rows: RowTable) -> EvaluationSet | None:
    """The problems that a run is measured on, before and after: up to `eval_samples` different ones of each trained
    domain.

    The same for every seed of a run, so that runs can be compared. None where eval_samples is 0. Raises DataError for a test
    folder that is not there or cannot be read.
    """
    if config.eval_samples == 0:
        return None
    domains = training_rows.domains
    name, root = _test_folder(config, domains)
    if root is None:
        table = generate_problems(domains, config.eval_samples, GENERATED_SEED, [training_rows])
        return EvaluationSet(table, range(len(table)), f"generated problems, seed {GENERATED_SEED}")
    table = read_rows(Origin.of_settings(root, config), domains, config.on_bad_row)
    chosen = [table.different_of(domain)[: _measured(config, table, domain)] for domain in domains]
    return _from_folder(table, chosen, name, training_rows)


def _test_folder(config: Settings, domains: Sequence[str]) -> tuple[str, Path | None]:
    """The folder of held-out problems by name and path, which is None where they are generated. Raises DataError."""
    name = config.test_data or DEFAULT_TEST_DATA
    root, own = locate(name), _without_generator(domains)
    if own and config.test_data is None:
        raise DataError(
            f"there are no held-out problems of {', '.join(own)}, and the suite cannot make any: name a folder of them with "
            "--test_data (script/convert_data.py --split makes one), or go without by --eval_samples 0"
        )
    if root is None and config.test_data is not None:
        raise DataError(f"--test_data {name}: no such folder. script/generate_data.py makes one; --eval_samples 0 goes without")
    return name, root


def _without_generator(domains: Sequence[str]) -> list[str]:
    """Those that the registry does not know."""
    return [domain for domain in domains if domain not in all_domains()]


def _measured(config: Settings, table: RowTable, domain: str) -> int:
    """How many of a domain's first problems measure the run. Where one domain has no generator, a quarter of each must steer."""
    count = len(table.different_of(domain))
    shared = config.eval_every_n_steps != 0 and _without_generator(table.domains)
    return min(config.eval_samples, count - (min(config.max_eval_samples, count // 4) if shared else 0))


def _from_folder(table: RowTable, chosen: Sequence[Sequence[int]], name: str, training_rows: RowTable) -> EvaluationSet:
    """`chosen`: row indices by domain."""
    indices = [index for own in chosen for index in own]
    known = {(row.scenario, form) for row in training_rows.rows for form in row.known_forms}
    rows = [table.rows[index] for index in indices]
    trained_on = sum(any((row.scenario, form) in known for form in row.known_forms) for row in rows)
    return EvaluationSet(table, indices, name, trained_on)


def steering_set(config: Settings, training_rows: RowTable, held_out: EvaluationSet | None, every: int) -> EvaluationSet | None:
    """`max_eval_samples` problems of each domain for evaluations during training, which steer curriculum and collapse guard.

    Never those of `held_out_set`: what steers a run cannot measure it. They are the test folder's further rows where every
    domain has enough of them, else generated; with a domain that has no generator, as many further rows as there are. None where
    nothing is evaluated during training (`every` 0). Raises DataError for a domain without any.
    """
    if every == 0:
        return None
    domains, count = training_rows.domains, config.max_eval_samples
    (name, root), own = _test_folder(config, domains), _without_generator(domains)
    if root is not None:
        table = held_out.table if held_out else read_rows(Origin.of_settings(root, config), domains, config.on_bad_row)
        spare = {domain: table.different_of(domain)[_measured(config, table, domain) :][:count] for domain in domains}
        lacking = [domain for domain, indices in spare.items() if len(indices) < (1 if own else count)]
        if not lacking:
            return _from_folder(table, list(spare.values()), name, training_rows)
        if own:
            raise DataError(
                f"{name} has no problem to steer {', '.join(lacking)} by, beside those that measure the run: add some, or set "
                "--eval_every_n_steps 0"
            )
    apart_from = [training_rows, held_out.table] if held_out else [training_rows]
    table = generate_problems(domains, count, STEERING_SEED, apart_from)
    return EvaluationSet(table, range(len(table)), f"generated problems, seed {STEERING_SEED}")


def generate_problems(
    domains: Sequence[str], count: int, seed: int = GENERATED_SEED, apart_from: Sequence[RowTable] = ()
) -> RowTable:
    """`count` problems of each domain like those of the first table of `apart_from`, which are the training rows.

    Each takes after a training row that is drawn for it: the parameters of its file name, whether it has constraints, and how its
    objects are named. Without tables they have the domain's usual sizes and no constraints. All are of the test split, no two the
    same up to renaming, and none in any table of `apart_from`. Fewer where a domain does not
    have as many. Raises DataError for a domain without any.
    """
    rows = []
    for name in domains:
        domain = get_domain(name)
        seen = {form for table in apart_from for row in table.rows if row.scenario == name for form in row.known_forms}
        models = [row for table in apart_from[:1] for row in table.rows if row.scenario == name]
        index = found = 0
        while found < count and index < DRAWS_PER_PROBLEM * count:
            model = stream(seed, "model", name, index).choice(models) if models else None
            ranges = _sizes_of(model) if model else domain.sizes["train"]
            share = float(model is not None and model.problem.constraints is not None)
            naming = model.meta.get("names", "conventional") if model else "conventional"
            instance = generate_instance(domain, seed, index, ranges, share)
            index += 1
            if instance.split != "test" or instance.canonical in seen:
                continue
            seen.add(instance.canonical)
            found += 1
            rows.append(row_of(domain, under_other_names(domain, instance, naming)[0], f"<generated {domain.name} {index - 1}>"))
        if not found:
            raise DataError(f"no held-out {name} problem could be generated; name a folder with --test_data")
    return RowTable(Origin(Path()), domains, rows, (), f"generated/{seed}/{count}")


def _sizes_of(row: Row) -> Ranges:
    """Ranges that hold the row's own parameters alone; the domain's usual ones where its file name states none that work."""
    domain = get_domain(row.scenario)
    parameters = domain.parameters_of(row.problem_file) or {}
    usual = domain.sizes["train"]
    own = {name: parameters[name] for name in usual if name in parameters}
    fits = own.keys() == usual.keys() and domain.valid_parameters(own)
    return {name: (value, value) for name, value in own.items()} if fits else usual
