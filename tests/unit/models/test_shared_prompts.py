"""What is computed with shared prompts is what the model computes row by row, and less is read."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from grpo_project.models import generation, shared_prompts  # noqa: E402
from grpo_project.models.shared_prompts import forward_with_shared_prompts, plain_attention, shares_prompts  # noqa: E402

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
}


def _model(family: str, **settings: Any) -> Any:
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(
        **{**SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "eos_token_id": 1, **settings}
    )
    return getattr(transformers, f"{family}ForCausalLM")(config).double()


def _rows(groups: int, size: int, prompt: int = 9, completion: int = 7) -> tuple[Any, Any]:
    """Prompts of different lengths, padded on the left, `size` completions to each, padded on the right; rows in no order."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 60, (groups, prompt), generator=generator).repeat_interleave(size, 0)
    ids = torch.cat([ids, torch.randint(2, 60, (groups * size, completion), generator=generator)], dim=1)
    starts = torch.randint(0, prompt - 2, (groups,), generator=generator).repeat_interleave(size)
    ends = prompt + torch.randint(1, completion + 1, (groups * size,), generator=generator)
    places = torch.arange(prompt + completion)
    mask = ((places >= starts[:, None]) & (places < ends[:, None])).long()
    order = torch.randperm(groups * size, generator=generator)
    return (ids * mask)[order], mask[order]


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3"])
def test_logits_and_gradients_are_the_models_own_and_each_prompt_is_read_once(family: str) -> None:
    model = _model(family)
    ids, mask = _rows(groups=3, size=4)
    read: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, found: read.append(given[0].numel()))
    weights = torch.randn(12, 7, 60, dtype=torch.float64)
    found = []
    for forward in (model, lambda **how: forward_with_shared_prompts(model, **how)):
        model.zero_grad()
        logits = forward(input_ids=ids, attention_mask=mask, logits_to_keep=8, use_cache=False).logits[:, :-1]
        (logits * weights * mask[:, 9:, None]).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        found.append((logits * mask[:, 9:, None], gradient))
    (logits, gradient), (ours, our_gradient) = found
    assert logits.abs().max() > 0.1 and gradient.norm() > 1
    assert torch.allclose(ours, logits, atol=1e-5)  # the angles of positions are float32 even in a float64 model
    assert (our_gradient - gradient).norm() < 1e-5 * gradient.norm()
    assert read == [12 * 16, 3 * 9, 12 * 7]


def test_the_gradient_is_the_same_to_the_last_bit_every_time() -> None:
    """With several threads too: a killed run must go on to the same weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    model = _model("Llama", hidden_size=64, head_dim=16).float()
    ids, mask = _rows(groups=8, size=8, prompt=60, completion=20)
    found = []
    for _ in range(6):
        model.zero_grad()
        logits = forward_with_shared_prompts(model, ids, mask, 21).logits
        torch.log_softmax(logits, dim=-1).square().mean().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found[1:]) and found[0].abs().max() > 0


def test_prompts_that_differ_and_calls_with_more_go_to_the_model_as_they_are() -> None:
    ids, mask = _rows(groups=3, size=1)
    seen: list[dict[str, Any]] = []
    model = _model("Llama")
    inner = model.forward
    model.forward = lambda **how: seen.append(how) or inner(**how)
    forward_with_shared_prompts(model, ids, mask, 8, use_cache=False)
    ids, mask = _rows(groups=1, size=3)
    forward_with_shared_prompts(model, ids, mask, 8, output_router_logits=False)
    assert [how["input_ids"].shape for how in seen] == [(3, 16), (3, 16)] and "output_router_logits" in seen[1]


def test_a_prompt_behind_other_padding_is_another_prompt() -> None:
    """Where the padding token is one that prompts have, the mask alone tells them apart."""
    ids, mask = torch.full((2, 4), 5), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    assert shared_prompts.number_prompts(ids, mask).tolist() in ([0, 1], [1, 0])


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize(("family", "key_heads"), [("Llama", 1), ("Qwen2", 2), ("Qwen3", 4)])
def test_decoding_writes_what_generate_writes_whatever_heads_share(
    tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, family: str, key_heads: int, samples: int
) -> None:
    model = _model(family, num_key_value_heads=key_heads, vocab_size=len(tiny_tokenizer))
    model.generation_config.eos_token_id = tiny_tokenizer.eos_token_id
    prompts = [" ".join(f"w{(3 * number + place) % 40}" for place in range(number + 1)) for number in range(12)]
    how: dict[str, Any] = {"temperature": 3.0, "samples": range(samples), "seed": 2}

    def write() -> list[list[str]]:
        return [[answer.text for answer in answers] for answers in generation.complete(model, tiny_tokenizer, prompts, 40, **how)]

    ours = write()
    monkeypatch.setattr(generation, "plain_attention", lambda model: False)
    assert ours == write()
    lengths = {len(text.split()) for texts in ours for text in texts}
    assert len(lengths) > 3  # rows left the batch at different times


def test_the_models_attention_is_put_back_whatever_happens(tiny_model: Any) -> None:
    cache = shared_prompts.PromptCache(tiny_model, torch.ones(1, 3, dtype=torch.long), 1)
    before = tiny_model.config._attn_implementation
    with pytest.raises(KeyboardInterrupt), cache.attending():
        assert tiny_model.config._attn_implementation == shared_prompts.ATTENTION
        raise KeyboardInterrupt
    assert tiny_model.config._attn_implementation == before


def test_a_model_that_attends_in_a_way_of_its_own_is_found_out(tiny_model: Any) -> None:
    cache = shared_prompts.PromptCache(tiny_model, torch.ones(1, 3, dtype=torch.long), 1)
    with (
        pytest.raises(RuntimeError, match="LlamaForCausalLM does not attend by the function that its config names"),
        cache.attending(),
    ):
        pass


def test_attention_of_another_kind_is_left_to_the_library() -> None:
    model = _model("Llama")
    assert plain_attention(model) and shares_prompts(model)
    model.gradient_checkpointing_enable()
    assert plain_attention(model) and not shares_prompts(model)
    assert not plain_attention(_model("Llama", attn_implementation="eager"))
    assert not plain_attention(_model("Mistral", sliding_window=4))
