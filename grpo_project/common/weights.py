"""Whether the weights of a model folder are there as a whole, told before any library reads them."""

from __future__ import annotations

import json
from pathlib import Path

from grpo_project.errors import ModelError

_LENGTH_BYTES = 8  # in front of a safetensors file: how long its header is, little-endian
_POINTER = b"version https://git-lfs"


def require_whole_weights(folder: Path) -> None:
    """Raises ModelError for weights that are a Git LFS pointer or a part of a file. Reads the headers of safetensors files."""
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.bin"))):
        try:
            size = path.stat().st_size
            with open(path, "rb") as handle:
                head = handle.read(len(_POINTER))
                if head == _POINTER:
                    raise ModelError(f"{path} is a Git LFS pointer, not the weights themselves: git lfs pull")
                if path.suffix == ".bin":
                    continue
                length = int.from_bytes(head[:_LENGTH_BYTES], "little")
                handle.seek(_LENGTH_BYTES)
                header = json.loads(handle.read(length)) if _LENGTH_BYTES + length <= size else None
                wanted = max(
                    (part["data_offsets"][1] for name, part in (header or {}).items() if name != "__metadata__"), default=0
                )
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, LookupError, AttributeError):
            raise ModelError(f"{path} is no safetensors file: download it again") from None
        if header is None or _LENGTH_BYTES + length + wanted > size:
            raise ModelError(f"{path} is cut off (it has {size} bytes): download it again")
