"""Five mistakes that trainers with left-padded prompts have made, looked for in the real trainer.

Another template for SFT than for RL; penalties that count the prompt; a loss on other tokens than were sampled; answers cut
out at the number of prompt tokens instead of the padded length; a completion mask at the wrong positions. Prompts are ragged,
the pad token is the tokenizer's own or the end token. What is expected is worked out row by row, without padding, cache or
TRL; and each check also meets the mistake it looks for, made on purpose.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from trainers import grpo_trainer  # noqa: E402
from transformers import LlamaForCausalLM, TrainerCallback  # noqa: E402

from grpo_project.configs.batches import batch_shape  # noqa: E402
from grpo_project.configs.training import TrainingConfig  # noqa: E402
from grpo_project.data.prompts import row_prompt  # noqa: E402
from grpo_project.data.rows import read_rows  # noqa: E402
from grpo_project.domains import get_domain  # noqa: E402
from grpo_project.models import cpu_planner  # noqa: E402
from grpo_project.models.penalties import off_policy_warning, penalties_of  # noqa: E402
from grpo_project.models.tokenizer import build_planner_tokenizer  # noqa: E402
from grpo_project.prompting import render_plan, to_messages  # noqa: E402
from grpo_project.sft import examples  # noqa: E402
from tests.unit.conftest import FOUR_DOMAINS, write_data_root, write_tiny_planner  # noqa: E402

Ids = list[int]
PROMPTS, GENERATIONS, LONGEST = 4, 4, 24
PADS = ("own", "eos")


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_planner(tmp_path_factory.mktemp("padding") / "planner")


@pytest.fixture(scope="module")
def brief_planner(planner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same one, whose answers mostly end within a few tokens: the score of the end token swings most."""
    folder = shutil.copytree(planner, tmp_path_factory.mktemp("brief") / "planner")
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[model.config.eos_token_id] *= 4
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A problem of each of four domains: prompts of four lengths."""
    root = write_data_root(tmp_path_factory.mktemp("padding") / "data", count=1)
    return read_rows(str(root), FOUR_DOMAINS, "error").rows


def tokenizer_with(pad: str) -> Any:
    tokenizer = build_planner_tokenizer()
    if pad == "eos":
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def model_that_ends(folder: Path, tokenizer: Any) -> Any:
    """The random planner, leaning towards the end token, so that some completions end early and others are cut off."""
    model = LlamaForCausalLM.from_pretrained(folder)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    bias = torch.zeros(model.config.vocab_size)
    bias[tokenizer.eos_token_id] = 4.0
    model.lm_head.bias = torch.nn.Parameter(bias)
    return model


@dataclass
class Seen:
    """What passed through a trainer in one step. `raw`: what decoding returned, before anyone cut it."""

    prompts: list[Ids] = field(default_factory=list)
    answers: list[Ids] = field(default_factory=list)
    raw: list[Any] = field(default_factory=list)
    batch: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    scored: list[tuple[Any, ...]] = field(default_factory=list)
    gradient: Any = None


def one_step(
    planner: Path,
    rows: Any,
    pad: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    lean: bool,
    shipped: Mapping[str, Any] | None = None,
    **settings: Any,
) -> tuple[Any, Any, Seen]:
    """(the trainer, the model as it was before the step, what was seen) of one real step over ragged prompts.

    `shipped`: what the model's own generation config asks for.
    """
    from datasets import Dataset

    tokenizer = tokenizer_with(pad)
    values: dict[str, Any] = {
        "batch_size": PROMPTS,
        "micro_batch_size": 2,
        "num_generations": GENERATIONS,
        "max_steps": 1,
        "max_completion_length": LONGEST,
        "max_grad_norm": 1e6,
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
    }
    config = TrainingConfig(**{**values, **settings})
    shape = batch_shape(config, "cpu")
    seen = Seen()

    def reward(completions: list[Any], **_: Any) -> list[float]:
        seen.texts += [completion[0]["content"] for completion in completions]
        seen.rewards += [float(len(completion[0]["content"]) % 5) for completion in completions]
        return seen.rewards[-len(completions) :]

    class KeepGradient(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            seen.gradient = flat_gradient(model)

    model = model_that_ends(planner, tokenizer)
    model.generation_config.update(**(shipped or {}))
    prompts = [to_messages(row_prompt(row, "compact")) for row in rows]
    trainer = grpo_trainer(
        config,
        shape,
        str(folder),
        lean,
        row_sampler=[row for _ in range(shape.micro_batches) for row in range(PROMPTS) for _ in range(GENERATIONS)],
        model=model,
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": prompts, "row_index": list(range(len(prompts)))}),
        processing_class=tokenizer,
        penalties=penalties_of(config),
        callbacks=[KeepGradient()],
    )
    before = copy.deepcopy(model)

    def watched(function: Callable[..., Any], note: Callable[[tuple[Any, ...], dict[str, Any], Any], None]) -> Any:
        def watching(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            note(args, kwargs, result)
            return result

        return watching

    def note_turn(args: tuple[Any, ...], _: dict[str, Any], result: Any) -> None:
        seen.prompts, seen.answers = [list(ids) for ids in args[0]], [list(ids) for ids in result[0]]

    trainer._generate_single_turn = watched(trainer._generate_single_turn, note_turn)
    trainer._generate_and_score_completions = watched(
        trainer._generate_and_score_completions, lambda args, kwargs, result: seen.batch.update(result)
    )
    trainer._get_per_token_logps_and_entropies = watched(
        trainer._get_per_token_logps_and_entropies,
        lambda args, kwargs, result: seen.scored.append((args[0], *(part.clone() for part in args[1:3]), args[3], result[0])),
    )
    model.generate = watched(model.generate, lambda args, kwargs, result: seen.raw.extend(result.tolist()))
    loop = watched(cpu_planner.decode_in_a_loop, lambda args, kwargs, result: seen.raw.extend(list(row) for row in result))
    monkeypatch.setattr(cpu_planner, "decode_in_a_loop", loop)
    trainer.train()
    lengths = {len(ids) for ids in seen.prompts}
    assert len(seen.prompts) == len(seen.raw) == PROMPTS * GENERATIONS and len(lengths) >= 3  # ragged, or this shows nothing
    return trainer, before, seen


def flat_gradient(model: Any) -> Any:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]).clone()


def answer_log_probabilities(model: Any, prompt: Sequence[int], answer: Sequence[int], temperature: float) -> Any:
    """(answer tokens,) from one row alone, without padding or cache: token t is told by the logits one place before it."""
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]


def far_apart(first: Any, second: Any) -> float:
    """Length of the difference as a share of the second's length."""
    return float((first - second).norm() / second.norm())


# -- 1. one template for SFT and RL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", PADS)
def test_sft_and_grpo_prompts_are_the_same_tokens(
    planner: Path, rows: Any, pad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean=True)
    tokenizer = trainer._tokenizer
    asked = seen.prompts[::GENERATIONS]
    for row, ids in zip(rows, asked, strict=True):
        prompt, plan = row_prompt(row, "compact"), render_plan(get_domain(row.scenario).policy(row.problem) or ())
        assert plan
        ((taught, start),) = examples.tokenize_pairs(tokenizer, [(prompt, plan)])
        assert taught[:start] == ids
        assert taught[-1] in trainer.eos_token_ids, "SFT must teach the token at which RL stops"
        joined = tokenizer(f"{prompt}\n\n{plan}", add_special_tokens=False)["input_ids"]
        assert joined[: len(ids)] != ids, "the mistake: prompt and plan joined by blank lines"
    batch = examples.collate([examples.PlanDataset([(taught, start)])[0]], tokenizer.pad_token_id)
    learned = batch["labels"][batch["labels"] != examples.IGNORED_LABEL].tolist()
    assert learned == taught[start:], "the end is learned where it doubles as padding, too"


# -- 3. the loss is on the tokens that were sampled -----------------------------------------------------------------------


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("lean", [True, False])
def test_log_probabilities_are_of_the_sequence_that_was_sampled(
    planner: Path, rows: Any, pad: str, lean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the policy and of the reference; the prompt in plain text, without its template, gives others."""
    trainer, before, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean, beta=0.1, temperature=0.7)
    sampled = {tuple(prompt + answer): (prompt, answer) for prompt, answer in zip(seen.prompts, seen.answers, strict=True)}
    plain = {
        tuple(ids): trainer._tokenizer(row_prompt(row, "compact"), add_special_tokens=False)["input_ids"]
        for row, ids in zip(rows, seen.prompts[::GENERATIONS], strict=True)
    }
    checked: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}
    mistaken = 0
    for model, ids, mask, keep, found in seen.scored:
        reference = model is trainer.ref_model
        for row in range(len(ids)):
            key = tuple(ids[row][mask[row].bool()].tolist())
            assert key in sampled, "scored a sequence that nobody sampled"
            prompt, answer = sampled[key]
            scorer = model if reference else before
            with torch.no_grad():
                expected = answer_log_probabilities(scorer, prompt, answer, 0.7)
                bare = answer_log_probabilities(scorer, plain[tuple(prompt)], answer, 0.7)
            own = found[row, : len(answer)].detach()
            assert keep == found.shape[1] and torch.allclose(own, expected, atol=1e-3), (own - expected).abs().max()
            mistaken += not torch.allclose(bare, expected, atol=1e-3)
            checked[reference].add(key)
    assert checked[True] == checked[False] == set(sampled)
    assert mistaken >= len(sampled), "a prompt without its template must be told apart"


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("lean", [True, False])
def test_the_gradient_is_that_of_the_sampled_answers_and_of_nothing_else(
    planner: Path, rows: Any, pad: str, lean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policy loss and KL, row by row from the raw tokens, against what reached the optimizer."""
    trainer, before, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean, beta=0.1)
    rewards = torch.tensor(seen.rewards).view(PROMPTS, GENERATIONS)
    advantages = (rewards - rewards.mean(1, keepdim=True)).flatten().tolist()
    assert any(advantages)

    def gradient(prompts: list[Ids], learned: Callable[[Ids, Ids], slice]) -> Any:
        before.zero_grad()
        for prompt, answer, advantage in zip(prompts, seen.answers, advantages, strict=True):
            # Every token after the first, and of them those that the loss is to see.
            here = learned(prompt, answer)
            own = answer_log_probabilities(before, prompt[:1], prompt[1:] + answer, 1.0)[here]
            with torch.no_grad():
                reference = answer_log_probabilities(trainer.ref_model, prompt[:1], prompt[1:] + answer, 1.0)[here]
            ratio = (own - own.detach()).exp()  # 1, with the gradient of the policy
            kl = (reference - own).exp() - (reference - own) - 1
            loss = ((0.1 * kl - advantage) * ratio).sum() / (len(prompts) * LONGEST)
            loss.backward()
        return flat_gradient(before)

    right = gradient(seen.prompts, lambda prompt, answer: slice(len(prompt) - 1, None))
    assert right.norm() > 1e-3
    assert far_apart(seen.gradient, right) < 1e-3
    plain = [
        trainer._tokenizer(row_prompt(rows[index // GENERATIONS], "compact"))["input_ids"] for index in range(len(advantages))
    ]
    mistakes = {
        "prompts without their template": gradient(plain, lambda prompt, answer: slice(len(prompt) - 1, None)),
        "the answer's length counted back from the end of the prompt": gradient(
            seen.prompts, lambda prompt, answer: slice(max(0, len(prompt) - 1 - len(answer)), len(prompt) - 1)
        ),
        "the end token left out": gradient(seen.prompts, lambda prompt, answer: slice(len(prompt) - 1, -1)),
    }
    assert {name for name, wrong in mistakes.items() if far_apart(wrong, right) < 2e-2} == set()


# -- 4. answers begin at the padded prompt length -------------------------------------------------------------------------


def likeliest_answer(model: Any, prompt: Ids, stop: int, adjust: Callable[[Any, Ids], Any] = lambda scores, ids: scores) -> Ids:
    """Token by token from one prompt alone, without padding or cache; the end token included. `adjust(scores, ids so far)`."""
    ids = list(prompt)
    while len(ids) < len(prompt) + LONGEST and (len(ids) == len(prompt) or ids[-1] != stop):
        with torch.no_grad():
            ids.append(int(adjust(model(torch.tensor([ids])).logits[0, -1], ids).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("lean", [True, False])
def test_the_reward_reads_the_answer_and_nothing_of_the_prompt(
    planner: Path, rows: Any, pad: str, lean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, before, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean, temperature=1e-3)
    tokenizer = trainer._tokenizer
    width = max(len(ids) for ids in seen.prompts)
    answers = [likeliest_answer(before, prompt, tokenizer.eos_token_id) for prompt in seen.prompts]
    expected = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
    assert seen.texts == expected and any(expected)
    for prompt, answer, text in zip(seen.prompts, answers, expected, strict=True):
        padded = [tokenizer.pad_token_id] * (width - len(prompt)) + prompt + answer
        assert tokenizer.decode(padded[width:], skip_special_tokens=True) == text
        # The mistake: the number of prompt tokens used as a position.
        mistaken = tokenizer.decode(padded[len(prompt) :], skip_special_tokens=True)
        assert (mistaken != text) == (len(prompt) < width)


# -- 2. penalties leave the prompt alone ----------------------------------------------------------------------------------


def penalised(prompt: int, repetition: float = 1.0, presence: float = 0.0, frequency: float = 0.0) -> Callable[[Any, Ids], Any]:
    """For `likeliest_answer`: token after token, those from place `prompt` on counted. 0 counts the prompt: the mistake."""

    def adjust(scores: Any, ids: Ids) -> Any:
        scores = scores.clone()
        for token in set(ids[prompt:]):
            scores[token] = scores[token] / repetition if scores[token] > 0 else scores[token] * repetition
            scores[token] -= presence + frequency * ids[prompt:].count(token)
        return scores

    return adjust


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("lean", [True, False])
def test_a_penalty_that_the_model_ships_does_not_reach_the_sampling(
    planner: Path, rows: Any, pad: str, lean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that transformers knows counts the prompt, and log-probabilities would not know of it."""
    shipped = {"repetition_penalty": 5.0}
    trainer, before, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean, shipped, temperature=1e-3)
    stop = trainer._tokenizer.eos_token_id
    assert seen.answers == [likeliest_answer(before, prompt, stop) for prompt in seen.prompts]
    mistaken = [likeliest_answer(before, prompt, stop, penalised(0, repetition=5.0)) for prompt in seen.prompts]
    assert mistaken != seen.answers


# Below neutral, so that they call for repetition: a random model repeats little by itself, and a penalty would change nothing.
PENALTIES = {"repetition": 0.1, "presence": -8.0, "frequency": -8.0}


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("asked", [("repetition",), ("presence",), ("frequency",), tuple(PENALTIES)], ids="+".join)
def test_a_penalty_that_was_asked_for_counts_the_answer_alone(
    planner: Path, rows: Any, pad: str, asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {name: PENALTIES[name] for name in asked}
    settings = {f"{name}_penalty": value for name, value in how.items()}
    trainer, before, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, True, temperature=1e-3, **settings)
    stop, prompts, answers = trainer._tokenizer.eos_token_id, seen.prompts[::GENERATIONS], seen.answers[::GENERATIONS]
    assert answers == [likeliest_answer(before, prompt, stop, penalised(len(prompt), **how)) for prompt in prompts]
    assert answers != [likeliest_answer(before, prompt, stop, penalised(0, **how)) for prompt in prompts], "the prompt counted"
    assert answers != [likeliest_answer(before, prompt, stop) for prompt in prompts], "no penalty at all"


@pytest.mark.parametrize("pad", PADS)
def test_the_end_is_held_back_for_the_tokens_asked_for_after_the_prompt(
    brief_planner: Path, rows: Any, pad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = 10
    how = {"temperature": 1e-3, "min_new_tokens": least}
    trainer, before, seen = one_step(brief_planner, rows, pad, tmp_path, monkeypatch, True, **how)
    stop, prompts, answers = trainer._tokenizer.eos_token_id, seen.prompts[::GENERATIONS], seen.answers[::GENERATIONS]
    width = max(len(prompt) for prompt in prompts)

    def held_back(prompt: int, tokens: int) -> Callable[[Any, Ids], Any]:
        def adjust(scores: Any, ids: Ids) -> Any:
            scores = scores.clone()
            if len(ids) - prompt < tokens:
                scores[stop] = float("-inf")
            return scores

        return adjust

    assert answers == [likeliest_answer(before, prompt, stop, held_back(len(prompt), least)) for prompt in prompts]
    assert width > least and answers != [likeliest_answer(before, prompt, stop, held_back(0, least)) for prompt in prompts]


def test_penalties_are_off_by_default_and_a_warning_names_those_that_are_on() -> None:
    assert penalties_of(TrainingConfig()) is None and off_policy_warning(TrainingConfig()) is None
    text = off_policy_warning(TrainingConfig(presence_penalty=0.3, min_new_tokens=15)) or ""
    assert text.startswith("--presence_penalty, --min_new_tokens: ")
    assert "importance correction (vllm_importance_sampling_correction)" in text


# -- 5. the completion mask, position by position -------------------------------------------------------------------------


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("lean", [True, False])
def test_the_mask_covers_the_answer_and_its_end_and_no_other_position(
    planner: Path, rows: Any, pad: str, lean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _, seen = one_step(planner, rows, pad, tmp_path, monkeypatch, lean)
    stop, padding = trainer._tokenizer.eos_token_id, trainer._tokenizer.pad_token_id
    width = max(len(ids) for ids in seen.prompts)
    batch = seen.batch
    assert batch["prompt_ids"].shape[1] == width
    ended, mistaken_by_count, mistaken_by_padding = 0, 0, 0
    for index, (prompt, raw) in enumerate(zip(seen.prompts, seen.raw, strict=True)):
        # The raw tokens: our loop returns answers without their end, `generate` whole rows, prompt and filling included.
        tokens = (raw + [stop] if len(raw) < LONGEST else raw) if lean else raw[width:]
        length = tokens.index(stop) + 1 if stop in tokens else len(tokens)
        ended += stop in tokens
        ids = torch.cat([batch["prompt_ids"][index], batch["completion_ids"][index]]).tolist()
        mask = [0] * width + batch["completion_mask"][index].tolist()
        marked = {position for position, one in enumerate(mask) if one}
        assert marked == set(range(width, width + length))
        assert [ids[position] for position in sorted(marked)] == tokens[:length]
        assert batch["prompt_mask"][index].tolist() == [0] * (width - len(prompt)) + [1] * len(prompt)
        assert ids[width - len(prompt) : width] == prompt
        whole = len(prompt) + length  # the mistake: positions as if padding stood on the right
        mistaken_by_count += set(range(whole - length, whole)) != marked
        if pad == "own" and padding in tokens:
            continue  # drawn by the model, as its random weights will have it: no fault of the mask
        mistaken_by_padding += {place for place in range(width, len(ids)) if ids[place] != padding} != marked
    assert 0 < ended < len(seen.raw)  # some end, some are cut off
    assert mistaken_by_count > 0
    assert (mistaken_by_padding > 0) == (pad == "eos"), "a mask made from pad tokens loses the end where they are one"
