"""A planner that goes on in another prompt style keeps what it has learned and can read the new words."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from grpo_project.data.corpus import CorpusConfig, generate_corpus  # noqa: E402
from grpo_project.data.rows import read_rows  # noqa: E402
from grpo_project.domains import get_domain  # noqa: E402
from grpo_project.errors import ConfigError, DataError  # noqa: E402
from grpo_project.models.loading import load_policy  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer  # noqa: E402
from grpo_project.models.vocabulary import with_vocabulary  # noqa: E402
from grpo_project.sft.config import SftConfig  # noqa: E402
from grpo_project.sft.run import policy_to_train, train_sft  # noqa: E402

OLD = Path(__file__).resolve().parents[3] / "data" / "models" / "any-names-planner"


def test_shared_tokens_keep_their_vectors_and_symbols_of_objects_begin_as_names() -> None:
    policy, after = load_policy(str(OLD), training=False), build_planner_tokenizer()
    before = policy.model.get_input_embeddings().weight.detach().clone()
    model = with_vocabulary(policy.model, policy.tokenizer, after)
    vectors, known, now = model.get_input_embeddings().weight.detach(), policy.tokenizer.get_vocab(), after.get_vocab()
    assert vectors.shape == (len(after), before.shape[1]) and model.get_input_embeddings().weight is model.lm_head.weight
    assert model.config.vocab_size == len(after) > len(known)
    for token in ("<eos>", " +on", "(stack", " b3", "##a"):
        assert torch.equal(vectors[now[token]], before[known[token]])
    names = {tuple(before[index].tolist()) for token, index in known.items() if token.strip() in _names()}
    objects = {tuple(vectors[now[f" obj{number}"]].tolist()) for number in range(1, 81)}
    assert len(objects) == 80 and objects <= names
    assert 0.8 < float(vectors[now[" ?pred1"]].std() / before.std()) < 1.2
    again = load_policy(str(OLD), training=False)
    assert torch.equal(with_vocabulary(again.model, again.tokenizer, after).lm_head.weight, vectors)


def _names() -> set[str]:
    domains = map(get_domain, ("blocksworld", "delivery", "ferry", "grippers", "spanner"))
    return {name for domain in domains for name in domain.object_names}


def test_sft_in_another_style_writes_a_planner_of_that_style(tmp_path: Path) -> None:
    from grpo_project.data.composed import write_composed

    write_composed(tmp_path / "rows", 8, 1, (3, 3), (1, 1), 0.0)
    out = tmp_path / "out"
    config = SftConfig(
        base_model=str(OLD),
        prompt_style="schemas",
        data_roots=(str(tmp_path / "rows"),),
        output_dir=str(out),
        max_steps=1,
        batch_size=4,
    )
    assert train_sft(config) == 0
    assert json.loads((out / "model" / "planner.json").read_text())["prompt_style"] == "schemas"
    policy = load_policy(str(out / "model"), training=False)
    assert policy.prompt_style == "schemas" and len(policy.tokenizer) == len(build_planner_tokenizer())
    record = json.loads((out / "model" / "training_record.json").read_text())
    assert record["config"]["prompt_style"] == "schemas"
    # Asked for the style that it has, a planner stays as it is.
    same = policy_to_train(SftConfig(**{**asdict(config), "base_model": str(out / "model")}))
    assert torch.equal(same.model.lm_head.weight, policy.model.lm_head.weight)


def test_an_older_planner_learns_to_reason_with_todays_vocabulary(tmp_path: Path) -> None:
    """Its own lacks the marks, which is said; --prompt_style brings them, and its tokenizer reads and writes them again."""
    how = CorpusConfig(str(tmp_path / "rows"), ("ferry",), 4, plans="reasoned_policy", prompt_style="compact")
    generate_corpus(how, workers=1)
    config = SftConfig(
        base_model=str(OLD), data_roots=(str(tmp_path / "rows"),), output_dir=str(tmp_path / "out"), max_steps=1, batch_size=4
    )
    with pytest.raises(DataError, match="ferry.jsonl.*vocabulary lacks.*--prompt_style compact"):
        train_sft(config)
    assert not (tmp_path / "out" / "model").exists()
    assert train_sft(replace(config, prompt_style="compact", output_dir=str(tmp_path / "new"))) == 0
    tokenizer = load_policy(str(tmp_path / "new" / "model"), training=False).tokenizer
    answer = read_rows(tmp_path / "rows").rows[0].response or ""
    ids = tokenizer(answer)["input_ids"]
    assert answer.startswith("<think> ") and tokenizer.decode(ids) == answer and tokenizer.unk_token_id not in ids
    assert len(ids) == len(re.findall(r"\)\n|[^\s()]+|\(\w+|\n", answer)), "each word is one token"


def test_a_model_that_is_no_planner_is_refused(tmp_path: Path, tiny_planner: Path) -> None:
    import shutil

    plain = shutil.copytree(tiny_planner, tmp_path / "plain")
    (plain / "planner.json").unlink()
    with pytest.raises(ConfigError, match="--prompt_style schemas is for small planners"):
        policy_to_train(SftConfig(base_model=str(plain), prompt_style="schemas", data_roots=("x",), output_dir="x", lora_rank=0))
