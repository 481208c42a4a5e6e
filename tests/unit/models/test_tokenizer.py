"""The planner's tokenizer: short, exact both ways, and the same tokens whoever applies the chat template."""

from __future__ import annotations

from typing import Any

import pytest
from shipped_domains import TRAINED

pytest.importorskip("transformers")

from grpo_project.data.instances import generate_instance, under_other_names  # noqa: E402
from grpo_project.data.rows import read_rows  # noqa: E402
from grpo_project.domains import get_domain, training_domains  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer, vocabulary  # noqa: E402
from grpo_project.prompting import render_chat, render_prompt, to_messages  # noqa: E402
from grpo_project.sft.examples import tokenize_pairs  # noqa: E402

# The longest prompt of a default test problem may have this many tokens; speed on a CPU hangs on it.
LONGEST_PROMPT = {"blocksworld": 88, "ferry": 96, "grippers": 116, "spanner": 180, "delivery": 230}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_planner_tokenizer()


@pytest.fixture(scope="module")
def pairs(request: pytest.FixtureRequest) -> dict[str, list[tuple[str, str]]]:
    """(compact prompt, reference plan) of the shipped test problems, by domain."""
    table = read_rows(request.config.rootpath / "data" / "test")
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in table.domains}
    for row in table.rows:
        domain = get_domain(row.scenario)
        prompt = render_prompt(row.scenario, domain.domain_pddl, row.problem, "compact", domain.implied_atoms(row.problem))
        found[row.scenario].append((prompt, row.response or ""))
    assert set(found) == set(TRAINED) and all(len(some) >= 100 for some in found.values())
    return found


def ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_the_vocabulary_has_no_token_twice_and_specials_come_first() -> None:
    tokens = vocabulary()
    assert len(tokens) == len(set(tokens)) < 2048
    assert tokens[:3] == ["<pad>", "<unk>", "<eos>"]


def test_padding_is_on_the_left_and_never_ends_a_sequence(tokenizer: Any) -> None:
    assert tokenizer.padding_side == "left"
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 3
    assert tokenizer(["ferry", "ferry l0"], padding=True)["input_ids"][0][0] == tokenizer.pad_token_id


def test_a_step_is_one_token_a_name(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(ids_of(tokenizer, "(unstack b3 b1)\n(putdown b3)\n"))
    assert tokens == ["(unstack", " b3", " b1", ")\n", "(putdown", " b3", ")\n"]


def test_every_shipped_prompt_and_plan_survives_without_an_unknown_word(tokenizer: Any, pairs: Any) -> None:
    for name, some in pairs.items():
        longest = 0
        for prompt, plan in some:
            text = render_chat(tokenizer, prompt, plan)
            ids = ids_of(tokenizer, text)
            assert tokenizer.unk_token_id not in ids, prompt
            assert tokenizer.decode(ids) == text
            assert tokenizer.decode(ids_of(tokenizer, plan), skip_special_tokens=True) == plan
            longest = max(longest, len(ids_of(tokenizer, render_chat(tokenizer, prompt))))
        assert longest <= LONGEST_PROMPT[name], name


@pytest.mark.parametrize("naming", ["drawn", "invented"])
def test_other_names_of_objects_survive_too(tokenizer: Any, naming: str) -> None:
    for domain in training_domains().values():
        for index in range(20):
            instance = generate_instance(domain, 3, index, domain.sizes["train"], 1.0)
            problem = under_other_names(domain, instance, naming)[0].problem
            prompt = render_prompt(domain.name, domain.domain_pddl, problem, "compact", domain.implied_atoms(problem))
            ids = ids_of(tokenizer, render_chat(tokenizer, prompt))
            assert tokenizer.unk_token_id not in ids and tokenizer.decode(ids) == render_chat(tokenizer, prompt)
            pieces = {len(ids_of(tokenizer, f" {name}")) for name in problem.objects}
            assert pieces == ({1} if naming == "drawn" else {2})


@pytest.mark.parametrize("word", ["truck7", "b21", "red_block", "x", "c_9_10", "-", "zz--9"])
def test_a_word_of_anybody_is_spelt_and_comes_back(tokenizer: Any, word: str) -> None:
    for text in (f" {word}", f"({word} b1)\n", f" +{word}", word):
        ids = ids_of(tokenizer, text)
        assert tokenizer.unk_token_id not in ids and tokenizer.decode(ids) == text


def test_every_name_of_a_domain_is_a_word(tokenizer: Any) -> None:
    for domain in training_domains().values():
        for action in domain.domain.actions:
            assert len(ids_of(tokenizer, f"({action}")) == 1
        for predicate in domain.domain.predicates:
            words = [len(ids_of(tokenizer, f" {sigil}{predicate}")) for sigil in ("", "+", "-", "!")]
            assert words == [1, 1, 1, 1], predicate


@pytest.mark.parametrize("text", ["", "Solve this, please!\n\n", "(fly rocket é)\n", "((((", ")\n)\n", "\t b99999 +\x00"])
def test_text_from_elsewhere_is_read_without_a_crash(tokenizer: Any, text: str) -> None:
    assert all(0 <= token < len(tokenizer) for token in ids_of(tokenizer, text))


def test_supervised_ids_are_the_prompt_of_grpo_then_the_plan_then_the_end(tokenizer: Any, pairs: Any) -> None:
    some = [pair for pairs_of_domain in pairs.values() for pair in pairs_of_domain[:20]]
    for (prompt, plan), (ids, start) in zip(some, tokenize_pairs(tokenizer, some), strict=True):
        assert ids[:start] == ids_of(tokenizer, render_chat(tokenizer, prompt))
        assert ids[start:] == [*ids_of(tokenizer, plan), tokenizer.eos_token_id]
        # What TRL's GRPOTrainer does with a conversational prompt:
        assert (
            ids[:start]
            == tokenizer.apply_chat_template([to_messages(prompt)], add_generation_prompt=True, tokenize=True, return_dict=True)[
                "input_ids"
            ][0]
        )


def test_trl_makes_the_same_tokens_and_the_same_mask(tokenizer: Any, pairs: Any) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    for prompt, plan in [pairs_of_domain[0] for pairs_of_domain in pairs.values()]:
        ((ids, start),) = tokenize_pairs(tokenizer, [(prompt, plan)])
        row = {"prompt": to_messages(prompt), "completion": to_messages(prompt, plan)[1:]}
        texts = data_utils.maybe_apply_chat_template(row, tokenizer)
        assert texts == {"prompt": render_chat(tokenizer, prompt), "completion": f"{plan}<eos>"}
        whole = tokenizer.apply_chat_template(
            row["prompt"] + row["completion"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert whole["input_ids"] == ids
        assert whole["assistant_masks"] == [0] * start + [1] * (len(ids) - start)


def test_a_saved_tokenizer_is_the_same(tokenizer: Any, pairs: Any, tmp_path: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.padding_side == "left"
    assert loaded.get_vocab() == tokenizer.get_vocab()
    some = [pair for pairs_of_domain in pairs.values() for pair in pairs_of_domain[:5]]
    assert tokenize_pairs(loaded, some) == tokenize_pairs(tokenizer, some)
    assert [loaded.decode(ids) for ids, _ in tokenize_pairs(loaded, some)] == [render_chat(tokenizer, *pair) for pair in some]
