"""Greedy and sampled completions: order, ends, randomness, and the two ways of decoding against each other."""

from __future__ import annotations

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.models import cpu_planner, generation  # noqa: E402
from grpo_project.models.generation import complete, complete_greedy  # noqa: E402
from grpo_project.prompting import render_chat  # noqa: E402


def complete_sampled(model: Any, tokenizer: Any, prompts: Any, longest: int, *, num_samples: int, **how: Any) -> list[list[str]]:
    drawn = complete(model, tokenizer, prompts, longest, samples=range(1, num_samples + 1), **how)
    return [[completion.text for completion in completions] for completions in drawn]


def _prompts(count: int, seed: str = "prompts") -> list[str]:
    rng = random.Random(seed)
    return [" ".join(f"w{rng.randrange(40)}" for _ in range(rng.randint(1, 25))) for _ in range(count)]


def test_every_completion_is_the_one_its_prompt_gets_when_asked_alone(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompts = _prompts(23)
    together = complete_greedy(tiny_model, tiny_tokenizer, prompts, 24, batch_size=8)
    alone = [complete_greedy(tiny_model, tiny_tokenizer, [prompt], 24)[0] for prompt in prompts]
    assert len(set(together)) > 10  # the model does read its prompt
    assert together == alone


@pytest.mark.parametrize("compact_below", [0.0, 1.0])
def test_the_loop_and_generate_write_the_same_tokens(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, compact_below: float
) -> None:
    prompts = _prompts(40)
    monkeypatch.setattr(cpu_planner, "COMPACT_BELOW", compact_below)
    ours = complete_greedy(tiny_model, tiny_tokenizer, prompts, 30, batch_size=16)
    monkeypatch.setattr(generation, "plain_attention", lambda model: False)
    theirs = complete_greedy(tiny_model, tiny_tokenizer, prompts, 30, batch_size=16)
    lengths = {len(text.split()) for text in ours}
    assert min(lengths) < 30 and max(lengths) == 30  # some ended by themselves, some were cut
    assert ours == theirs


def test_a_stop_token_ends_the_text_and_is_not_part_of_it(tiny_model: Any, tiny_tokenizer: Any) -> None:
    texts = complete_greedy(tiny_model, tiny_tokenizer, _prompts(40), 60)
    assert not any("<" in text for text in texts)


@pytest.mark.parametrize("plain", [True, False])
def test_sampling_repeats_itself_for_a_seed_and_leaves_global_randomness_alone(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    monkeypatch.setattr(generation, "plain_attention", lambda model: plain)
    prompts = _prompts(6)

    def draw(seed: int) -> list[list[str]]:
        return complete_sampled(tiny_model, tiny_tokenizer, prompts, 12, temperature=1.0, num_samples=5, seed=seed)

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    python_before = random.getstate()
    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random.getstate() == python_before
    assert first == again
    assert first != other
    assert [len(texts) for texts in first] == [5] * 6
    assert len({text for texts in first for text in texts}) > 6


def test_sampled_tokens_follow_the_models_own_probabilities(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompt = "w3 w5 w8"
    texts = complete_sampled(tiny_model, tiny_tokenizer, [prompt], 1, batch_size=4000, temperature=2.0, num_samples=4000, seed=0)[
        0
    ]
    ids = tiny_tokenizer([render_chat(tiny_tokenizer, prompt)], add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        expected = torch.softmax(tiny_model(input_ids=ids["input_ids"]).logits[0, -1] / 2.0, dim=-1)
    checked = 0
    for token in expected.topk(5).indices.tolist():
        word = tiny_tokenizer.convert_ids_to_tokens(token)
        if word.startswith("<"):
            continue
        share = sum(text.strip() == word for text in texts) / len(texts)
        assert share == pytest.approx(expected[token].item(), abs=0.04)
        checked += 1
    assert checked >= 3


def test_near_zero_temperature_is_greedy(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompts = _prompts(5)
    greedy = complete_greedy(tiny_model, tiny_tokenizer, prompts, 10)
    cold = complete_sampled(tiny_model, tiny_tokenizer, prompts, 10, temperature=1e-4, num_samples=3, seed=0)
    assert cold == [[text] * 3 for text in greedy]


def test_the_mode_of_every_module_is_put_back(tiny_model: Any, tiny_tokenizer: Any) -> None:
    tiny_model.train()
    tiny_model.lm_head.eval()
    complete_greedy(tiny_model, tiny_tokenizer, ["w1"], 2)
    assert tiny_model.training and tiny_model.model.training and not tiny_model.lm_head.training


def test_numbers_out_of_range_are_refused(tiny_model: Any, tiny_tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        complete_greedy(tiny_model, tiny_tokenizer, ["w1"], 0)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        complete_sampled(tiny_model, tiny_tokenizer, ["w1"], 1, temperature=0.0, num_samples=1, seed=0)
    assert complete_greedy(tiny_model, tiny_tokenizer, [], 5) == []


@pytest.mark.parametrize("plain", [True, False])
def test_batches_and_neighbours_do_not_show_in_what_is_drawn(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    prompts = _prompts(9)

    def draw(prompts: list[str], batch_size: int) -> list[list[str]]:
        return complete_sampled(
            tiny_model, tiny_tokenizer, prompts, 16, batch_size=batch_size, temperature=1.0, num_samples=3, seed=4
        )

    together = draw(prompts, 64)
    assert len({text for texts in together for text in texts}) > 15
    monkeypatch.setattr(generation, "plain_attention", lambda model: plain)  # both ways draw the same tokens, too
    assert draw(prompts, 3) == together
    assert draw(prompts[::-1], 12) == together[::-1]
    assert [draw([prompt], 1)[0] for prompt in prompts[:3]] == together[:3]


def test_completions_say_how_long_they_are_and_whether_they_were_cut(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompts = _prompts(40)
    found = [completion for (completion,) in generation.complete(tiny_model, tiny_tokenizer, prompts, 30)]
    assert [completion.text for completion in found] == complete_greedy(tiny_model, tiny_tokenizer, prompts, 30)
    turns = [render_chat(tiny_tokenizer, prompt) for prompt in prompts]
    assert [c.prompt_tokens for c in found] == [len(turn.split()) for turn in turns]
    assert {c.cut_off for c in found} == {True, False}
    assert all((c.completion_tokens == 30) == c.cut_off for c in found)
    assert all(c.seconds > 0 for c in found)


def test_unsloth_is_put_back_to_training_where_it_was_training(tiny_model: Any, tiny_tokenizer: Any) -> None:
    """Its generate turns gradient checkpointing off, and back on only for a model in training mode, which ours is not then."""
    calls: list[bool] = []
    tiny_model.for_training = lambda: calls.append(tiny_model.training)
    complete_greedy(tiny_model, tiny_tokenizer, ["w1 w2"], 2)
    assert calls == []
    tiny_model.train()
    complete_greedy(tiny_model, tiny_tokenizer, ["w1 w2"], 2)
    assert calls == [True]


@pytest.mark.parametrize("plain", [True, False])
def test_an_answer_is_handed_on_as_soon_as_it_ends(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """In one batch: what is done by then survives a kill, and every token is told of."""
    monkeypatch.setattr(generation, "plain_attention", lambda model: plain)
    prompts, written, heard = _prompts(40), [], {}

    def on_answer(index: int, sample: int, answer: Any) -> None:
        heard[index, sample] = (len(written), answer)

    found = complete(tiny_model, tiny_tokenizer, prompts, 30, on_answer=on_answer, wrote=written.append)
    assert {key: answer for key, (_, answer) in heard.items()} == {(n, 0): own for n, (own,) in enumerate(found)}
    # One that the model ended is heard of with its stop token; one that was cut off with the last token of all.
    assert all(step == min(30, answer.completion_tokens + 1) for step, answer in heard.values())
    assert written[0] == 40 and written == sorted(written, reverse=True)
    ended = sum(answer.completion_tokens < 30 for _, answer in heard.values())
    assert sum(written) == sum(answer.completion_tokens for _, answer in heard.values()) + ended
    with pytest.raises(KeyboardInterrupt):
        complete(tiny_model, tiny_tokenizer, prompts, 30, on_answer=_interrupt)


def _interrupt(*about: Any) -> None:
    raise KeyboardInterrupt


def test_a_batch_is_as_large_as_its_cache_allows(tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def count(model: Any, ids: Any, *rest: Any) -> Any:
        batches.append(len(ids))
        return cpu_planner.decode_in_a_loop(model, ids, *rest)

    monkeypatch.setattr(generation, "decode_in_a_loop", count)
    prompts = _prompts(10)
    whole = complete_greedy(tiny_model, tiny_tokenizer, prompts, 20)
    tokens = max(len(render_chat(tiny_tokenizer, prompt).split()) for prompt in prompts) + 20
    each = 2 * 2 * 2 * 8 * 4  # keys and values of 2 layers, 2 heads of width 8, in float32
    monkeypatch.setattr(generation, "CACHE_BYTES", 3 * tokens * each)
    assert complete_greedy(tiny_model, tiny_tokenizer, prompts, 20) == whole
    assert batches[:2] == [10, 3] and sum(batches[1:]) == 10 and batches[2] >= 3
