"""The shipped accelerate files load in accelerate's own parser, and hold no key that `accelerate launch` does not know."""

import os
from pathlib import Path

import pytest
import yaml

pytest.importorskip("accelerate")

FILES = sorted((Path(__file__).resolve().parents[3] / "configs" / "accelerate").glob("*.yaml"))
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
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    from grpo_project.common import ranks

    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", str(path), "script.py"]))
    arguments.deepspeed_fields_from_accelerate_config = ""  # what accelerate sets where deepspeed is installed
    set_by_it = prepare_deepspeed_cmd_env(arguments)[1] if arguments.use_deepspeed else prepare_multi_gpu_env(arguments)
    for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
        monkeypatch.delenv(name)
    for name, value in set_by_it.items():
        if name.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert ranks.shards_parameters() is (path.stem in ("fsdp", "zero3"))
    if path.stem == "fsdp":  # what tests/unit/training/test_sharded_runs.py trains under
        assert set_by_it["FSDP_VERSION"] == "2" and set_by_it["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_engine_keys_are_options_of_accelerate_launch(path):
    from accelerate.commands.launch import launch_command_parser

    known = {action.dest for action in launch_command_parser()._actions}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = {**content.get("fsdp_config", {}), **content.get("deepspeed_config", {})}
    assert bool(keys) == (path.stem != "ddp")
    assert set(keys) <= known
