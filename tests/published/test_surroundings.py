"""Machines, shells, paths, locales, signals and processes that broke programs of this kind (trials.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_project.common.entry_point import entry_point
from grpo_project.common.files import append_json_line, require_writable, write_json_atomically
from grpo_project.common.paths import locate, locate_model
from grpo_project.common.processors import usable_processors
from grpo_project.common.signals import STOPS, WARNINGS, caught
from grpo_project.configs.environment import read_environment
from grpo_project.configs.resolution import read_config_file
from grpo_project.data import corpus
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, DataError, ModelError
from grpo_project.evaluation.fingerprint import model_fingerprint
from grpo_project.runs.run_folder import describe_environment
from grpo_project.tracking.trackers import Trackers
from tests.sample_rows import a_row, write

LAMPS = Path(__file__).resolve().parents[1] / "golden" / "lamps"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "me").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    return tmp_path / "me"


def test_the_home_folder_is_meant_wherever_a_tilde_is_written(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"output_dir": "~/run", "problem_root": ["~/a", "b"]}')
    assert read_config_file(str(file)) == {"output_dir": f"{home}/run", "problem_root": (f"{home}/a", "b")}
    variables = {"GRPO_OUTPUT_DIR": "~/run", "GRPO_PROBLEM_ROOT": "~/a b"}
    assert read_environment(variables).values == {"output_dir": f"{home}/run", "problem_root": (f"{home}/a", "b")}
    words: list[str] = []

    @entry_point()
    def main(argv: list[str] | None = None) -> int:
        words.extend(argv or [])
        return 0

    main(["--output=~/run.json", "~/data", "--reward", "dense=0.5", "a~/b", "~other/c"])
    assert words == [f"--output={home}/run.json", f"{home}/data", "--reward", "dense=0.5", "a~/b", "~other/c"]
    assert locate("~nobody-of-this-name/model") is None


def test_folders_with_spaces_and_letters_of_any_alphabet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "My Drive" / "größe 计划"
    folder.mkdir(parents=True)
    for name in ("domain.pddl", "problem.pddl", "plan.txt"):
        (folder / name).write_bytes((LAMPS / name).read_bytes())
    files = [str(folder / name) for name in ("domain.pddl", "problem.pddl", "plan.txt")]
    script = Path(__file__).resolve().parents[2] / "script" / "validate_plan.py"
    done = subprocess.run(
        [sys.executable, str(script), *files, "--json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},  # nothing else: no HOME, no language
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "") and '"success_plans"' in done.stdout


def test_as_many_workers_as_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(corpus, "ProcessPoolExecutor", lambda workers, **how: started.append(workers))
    monkeypatch.setattr(os, "cpu_count", lambda: 112)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {4, 5, 6})
    corpus._pool(0)
    assert usable_processors() == 3 and started == [3]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_processors() == 112


def test_the_same_seed_makes_the_same_rows_whatever_python_hashes(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from grpo_project.data.corpus import CorpusConfig, attempt, parse_ranges\n"
        "from grpo_project.domains import training_domains, get_domain\n"
        "config = CorpusConfig(out='', names='any')\n"
        "for name in training_domains():\n"
        "    domain = get_domain(name)\n"
        "    ranges = parse_ranges('train', [domain])[name]\n"
        "    for index in range(3):\n"
        "        print(json.dumps(attempt(domain, config, ranges, index)))\n"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1] and made[0].count('"prompt"') > 5


@pytest.mark.parametrize("number", sorted(STOPS | WARNINGS))
def test_every_signal_by_which_schedulers_ask_is_heard_and_given_back(number: signal.Signals, hangup_heard: None) -> None:
    heard: list[int] = []
    before = signal.getsignal(number)
    with caught(STOPS | WARNINGS, lambda got, frame: heard.append(got)):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # a second one, while the first is heeded
    assert heard == [number, number] and signal.getsignal(number) == before
    assert {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP} <= STOPS | WARNINGS


def test_what_another_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    @entry_point()
    def main(argv: list[str] | None = None) -> int:
        raise DataError("plan.txt: found '\x1b[2J\x1b]0;title\x07\u202e(a b)'\nerror: all is well")

    assert main([]) == 2
    assert capsys.readouterr().err == "error: plan.txt: found '?[2J?]0;title??(a b)'\nerror: all is well\n"


def test_processes_above_rank_0_have_no_trackers(tmp_path: Path) -> None:
    trackers = Trackers.of(None, tmp_path, "offline", {}, None)
    trackers.summary({"success": 0.5})
    trackers.close()
    assert trackers.state == "no trackers" and list(tmp_path.iterdir()) == []


def test_what_git_says_or_refuses_to_say_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["init", "-q"], ["config", "core.quotepath", "false"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    os.close(os.open(os.fsencode(tmp_path) + b"/na\xefve.txt", os.O_CREAT))  # a name that is no UTF-8
    found = describe_environment(tmp_path)
    assert found["commit"] is None and found["uncommitted_changes"] is True
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # "dubious ownership", as in containers
    assert describe_environment(tmp_path) == {**found, "uncommitted_changes": None}


HALVES = ("\ud83d", "a\\\udc00", os.fsdecode(b"na\xefve"))


@pytest.mark.parametrize("text", HALVES, ids=ascii)
def test_half_a_surrogate_pair_is_written_and_comes_back(tmp_path: Path, text: str) -> None:
    """Servers send them where an answer ends inside of an emoji, and Python makes them of file names that are no UTF-8."""
    append_json_line(tmp_path / "log.jsonl", {text: text})
    write_json_atomically(tmp_path / "state.json", {text: text})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [*lines, json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))] == [{text: text}] * 2


def test_folders_whose_names_are_no_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve"))
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write(folder, "ferry", [a_row("ferry", seed=1)])
    assert len(read_rows(folder)) == 1
    (tmp_path / "config.json").write_text("{}")
    assert model_fingerprint(str(tmp_path)) is not None  # a file inside may have such a name
    with pytest.raises(ModelError, match="has a name that is not UTF-8"):
        locate_model(str(folder))
    with pytest.raises(ConfigError, match="^--output_dir .* has a name that is not UTF-8"):
        require_writable(folder / "run", "--output_dir")
