"""Runs a script under FSDP 2 or ZeRO on a CPU: `torchrun ... tests/sharding_worker.py SCRIPT [flags]`.

accelerate takes FSDP only where processes have GPUs; two gloo processes on a CPU are told here that they do. DeepSpeed would
compile an extension for reductions in shared memory; here it does without. Sharding, gathering, checkpoints and the final save
are the real ones.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accelerate import PartialState  # noqa: E402
from accelerate.utils import DistributedType  # noqa: E402

_initialise = PartialState.__init__


def _as_if_on_gpus(self: Any, *arguments: Any, **keywords: Any) -> None:
    _initialise(self, *arguments, **keywords)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


if "ACCELERATE_USE_DEEPSPEED" in os.environ:
    from deepspeed.ops import __compatible_ops__  # type: ignore[import-not-found]

    __compatible_ops__["deepspeed_shm_comm"] = False
else:
    PartialState.__init__ = _as_if_on_gpus  # type: ignore[method-assign]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
