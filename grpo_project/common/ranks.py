"""The processes of a run under torchrun: rank 0, which prints and writes, and how all put together what each has seen."""

from __future__ import annotations

import os
from typing import Any


def rank() -> int:
    """This process's rank, 0 without torchrun. Known before torch is imported."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's rank on its own machine, which is its GPU's index; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """The number of processes, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is rank 0, the one that prints, writes and evaluates for all."""
    return rank() == 0


def shards_parameters() -> bool:
    """Whether each process will hold only a part of every parameter: FSDP, or DeepSpeed's ZeRO-3.

    Read from what `accelerate launch` sets for its processes, so it is known before the model is loaded.
    """

    def on(name: str) -> bool:
        return os.environ.get(name, "false").lower() in ("1", "true")

    zero_3 = on("ACCELERATE_USE_DEEPSPEED") and os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    return world_size() > 1 and (on("ACCELERATE_USE_FSDP") or zero_3)


def name_the_cpu() -> None:
    """Before accelerate is set up on a CPU: it would call the device cpu:0, under which torch.load finds no checkpoint."""
    if world_size() > 1:
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")


def gather(items: list[Any]) -> list[Any]:
    """The items of all processes, in order of rank; every process gets the same. All must call it."""
    if world_size() == 1:
        return list(items)
    from accelerate.utils import gather_object

    return list(gather_object(items))


def wait_for_all() -> None:
    """A barrier: returns once every process has called it."""
    if world_size() > 1:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()


def any_rank(here: bool) -> bool:
    """Whether `here` holds in any process. All must ask, or they wait for each other forever."""
    return any(gather([here]))
