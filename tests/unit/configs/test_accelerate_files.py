"""The shipped accelerate files load in accelerate's own parser, and hold no key that `accelerate launch` does not know."""

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
def test_engine_keys_are_options_of_accelerate_launch(path):
    from accelerate.commands.launch import launch_command_parser

    known = {action.dest for action in launch_command_parser()._actions}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = {**content.get("fsdp_config", {}), **content.get("deepspeed_config", {})}
    assert bool(keys) == (path.stem != "ddp")
    assert set(keys) <= known
