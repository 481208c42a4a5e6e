"""What `accelerate launch --config_file configs/accelerate/....yaml` sets for its processes."""

from __future__ import annotations

from pathlib import Path

FILES = sorted((Path(__file__).resolve().parents[1] / "configs" / "accelerate").glob("*.yaml"))


def variables_of(file: Path) -> dict[str, str]:
    """The environment variables of accelerate's own, by its own parser; needs neither GPU nor deepspeed."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", str(file), "script.py"]))
    arguments.deepspeed_fields_from_accelerate_config = ""  # what accelerate sets where deepspeed is installed
    found = prepare_deepspeed_cmd_env(arguments)[1] if arguments.use_deepspeed else prepare_multi_gpu_env(arguments)
    return {name: value for name, value in found.items() if name.startswith(("ACCELERATE_", "FSDP_"))}
