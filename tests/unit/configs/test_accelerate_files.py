"""The shipped accelerate files load in accelerate's own parser, and hold no key that `accelerate launch` does not know."""

import os

import pytest
import yaml

from tests.accelerate_files import FILES, variables_of

pytest.importorskip("accelerate")

EXPECTED = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}


def test_all_are_there():
    assert {path.stem for path in FILES} == set(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_loads_and_says_what_its_name_says(path):
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    config = load_config_from_file(str(path))  # raises for a top-level key it does not know
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type.value == EXPECTED[path.stem]
    assert config.num_processes == 8 and config.num_machines == 1 and config.use_cpu is False
    if path.stem.startswith("zero"):
        assert config.deepspeed_config["zero_stage"] == int(path.stem[-1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_processes_know_by_their_environment_whether_parameters_are_sharded(path, monkeypatch):
    from grpo_project.common import ranks

    set_by_it = variables_of(path)
    for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
        monkeypatch.delenv(name)
    for name, value in set_by_it.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert ranks.shards_parameters() is (path.stem in ("fsdp", "zero3"))
    # models/loading.py decides the precision: a launcher's would win over it, and with DeepSpeed stop the run.
    assert set_by_it["ACCELERATE_MIXED_PRECISION"] == "no"
    if path.stem == "fsdp":
        assert set_by_it["FSDP_VERSION"] == "2" and set_by_it["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_engine_keys_are_options_of_accelerate_launch(path):
    from accelerate.commands.launch import launch_command_parser

    known = {action.dest for action in launch_command_parser()._actions}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = {**content.get("fsdp_config", {}), **content.get("deepspeed_config", {})}
    assert bool(keys) == (path.stem != "ddp")
    assert set(keys) <= known
