"""Shows the prompts and answers of the first steps and checks every step, from the tensors that enter the loss.

The lines are those of guide 003, with the same in English behind them. health/alarms.py decides what stops a run
(`faults`) and what only raises an alarm.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from grpo_project.common import ranks
from grpo_project.common.guide_lines import with_english
from grpo_project.configs.health import HealthConfig
from grpo_project.health.alarms import Alarm, HealthMonitor, faults
from grpo_project.health.boundary import Answer, Boundary
from grpo_project.runs.observer import Control, Observer, Record

OPENING_CHARACTERS = 120  # of an answer, shown
TOKENS_BESIDE_THE_BOUNDARY = 12
SHARES = "one_token_answers prompt_in_answers repeated_end_tokens prompts_not_opened".split()  # of the answers
RECORDED = (*SHARES, "zero_entropy_answers", "grad_norm_max")
# The guide's words for what stops a run.
GUIDE_LINES = {
    "prompt_in_answers": "⚠️ 异常: Response开头似乎包含chat header",
    "repeated_end_tokens": "⚠️ 异常: Full包含{most_end_tokens}个{end}",
    "zero_entropy": "⚠️ 异常: 熵=0.000",
}


class Diagnosis(Observer):
    """Stands behind the observers whose figures it watches. The first `steps` steps are shown.

    The counts of all processes are brought together, so that all stop at the same step.
    stop: a fault ends the run, without a checkpoint of the damaged weights; `stopped_by` are the alarms that did.
    """

    def __init__(
        self,
        boundary: Boundary,
        limits: HealthConfig,
        row_domain: Mapping[int, str],
        steps: int,
        stop: bool,
        say: Callable[[str], None] = print,
        gather: Callable[[list[Any]], list[Any]] = ranks.gather,
    ) -> None:
        self._boundary, self._limits, self._row_domain = boundary, limits, row_domain
        self._first_steps = self._steps_to_show = steps
        self._stop, self._say, self._gather = stop, say, gather
        self._monitor = HealthMonitor(limits)
        self._told: frozenset[str] = frozenset()  # alarms of the log line before
        self._seen: set[str] = set()  # faults since that line
        self._raised: list[Alarm] = []  # those of them that it did not tell
        self._window = _Counts()
        self.stopped_by: tuple[Alarm, ...] = ()
        self._start_step()

    def _start_step(self) -> None:
        self._step = _Counts()
        self._answers: list[Answer] = []
        self._entropy_of: dict[tuple[int, ...], float] = {}

    # -- what the trainer hands over ----------------------------------------------------------------------------------------

    def completions_generated(self, row_indices: Sequence[int], batch: Mapping[str, Any]) -> None:
        # Of a conversation the first answer is looked at: up to what the model heard, where TRL's tool_mask is 0.
        written = batch["completion_mask"] * batch["tool_mask"].cumprod(1) if "tool_mask" in batch else batch["completion_mask"]
        columns = [batch[name].tolist() for name in ("prompt_ids", "prompt_mask", "completion_ids", "advantages")]
        columns.insert(3, written.tolist())
        for row, prompt, prompt_mask, tokens, mask, advantage in zip(row_indices, *columns, strict=True):
            padding = prompt_mask.index(1)
            kept = tuple(token for token, keep in zip(tokens, mask, strict=True) if keep)
            if kept:  # one that --mask_truncated_completions takes out of the loss is not trained on
                self._answers.append(Answer(self._row_domain[row], tuple(prompt[padding:]), padding, kept, float(advantage)))

    def entropies_computed(self, ids: Any, mask: Any, kept: int, entropies: Any) -> None:
        answer = mask[:, -kept:]
        lengths = answer.sum(1)
        means = (entropies.masked_fill(answer == 0, 0.0).sum(1) / lengths.clamp(min=1)).tolist()
        known = [mean for mean, length in zip(means, lengths.tolist(), strict=True) if length]
        self._step.add(entropies=len(known), zero_entropies=sum(mean < self._limits.zero_entropy for mean in known))
        if self._steps_to_show > 0:
            for row, own, mean in zip(ids.tolist(), mask.tolist(), means, strict=True):
                self._entropy_of[tuple(token for token, here in zip(row, own, strict=True) if here)] = mean

    def gradient_computed(self, norm: Any) -> None:
        value = float(norm)
        self._step.add(broken_norms=int(not math.isfinite(value)))
        self._step.keep_largest(grad_norm=value if math.isfinite(value) else 0.0)

    # -- steps --------------------------------------------------------------------------------------------------------------

    def step_ended(self, step: int, control: Control) -> None:
        self._count(self._answers)
        counts = _Counts.together(self._gather([self._step]))
        self._window = _Counts.together([self._window, counts])
        if self._steps_to_show > 0 and self._answers:  # else a further step on the same completions
            for line in self._view(step, counts):
                self._say(line)
            self._steps_to_show -= 1
        found = faults(counts.figures(), step, self._limits, self._first_steps)
        for alarm in found:
            if alarm.name not in self._told | self._seen:
                self._raised.append(alarm)
                self._tell(alarm, counts)
            self._seen.add(alarm.name)
        if found and self._stop:
            self.stopped_by = tuple(found)
            control.should_training_stop = True
            control.should_save = False  # these weights have taken a step on it; the checkpoints before stay as they are
            control.should_log = True
        self._start_step()

    def _count(self, answers: Sequence[Answer]) -> None:
        boundary = self._boundary
        opened = {prompt: boundary.opens(prompt) for prompt in {answer.prompt for answer in answers}}
        named = [boundary.count_ends(answer.tokens) for answer in answers]
        ends = [sum(found.values()) for found in named]
        self._step.add(
            answers=len(answers),
            one_token_answers=sum(len(answer.tokens) - count <= 1 for answer, count in zip(answers, ends, strict=True)),
            repeated_end_tokens=sum(count >= self._limits.end_tokens for count in ends),
            prompt_in_answers=sum(boundary.leaks(answer) for answer in answers),
            prompts_not_opened=sum(not opened[answer.prompt] for answer in answers),
        )
        self._step.keep_largest(most_ends=max(ends, default=0))
        self._step.add(**{f"ends/{name}": count for name, count in sum(named, Counter()).items()})
        for answer in answers:
            self._step.add(**{f"answers/{answer.domain}": 1, f"tokens/{answer.domain}": len(answer.tokens)})

    # -- log lines ----------------------------------------------------------------------------------------------------------

    def record_due(self, record: Record) -> None:
        """Figures since the record before, and what the record says about the run's health.

        Shares lie in [0, 1]. `alarms`: those that begin with it, where there are any; `alarm_count`: how many stand; `alarm`:
        {name: 1}, and 0 once for each that no longer stands.
        """
        if "loss" not in record:
            return  # an evaluation before the first step
        figures = self._window.figures()
        self._window = _Counts()
        record |= {name: figures[name] for name in RECORDED if name in figures}
        record |= self._watch(record)

    def _watch(self, record: Mapping[str, Any]) -> dict[str, Any]:
        begun = [alarm for alarm in self._monitor.observe(record) if alarm.name not in self._told | self._seen]
        for alarm in begun:
            self._tell(alarm)
        raised = [*self._raised, *begun]
        standing = self._monitor.active | self._seen
        known = sorted(standing | self._told)
        self._told, self._seen, self._raised = frozenset(standing), set(), []
        status: dict[str, Any] = {"alarm_count": len(standing)}
        if raised:
            status["alarms"] = [alarm.as_dict() for alarm in raised]
        if known:
            status["alarm"] = {name: int(name in standing) for name in known}
        return status

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Goes on after these log lines of the same run."""
        for record in records:
            self._monitor.observe(record)
            stood = record.get("alarm") or {}
            self._told = frozenset(name for name, stands in stood.items() if stands)

    def _tell(self, alarm: Alarm, counts: _Counts | None = None) -> None:
        if alarm.level == "error":
            line = GUIDE_LINES.get(alarm.name, "⚠️ 异常: " + alarm.title)
            if counts is not None:
                line = line.format(most_end_tokens=counts.figures().get("most_end_tokens", ""), end=counts.commonest_end())
            self._say(f"{line} ({alarm.name}, step {alarm.step}). {alarm.title}: {alarm.detail}")
        else:
            self._say(f"Alarm at step {alarm.step}, {alarm.name}: {alarm.title}. {alarm.detail}")

    # -- the boundary view --------------------------------------------------------------------------------------------------

    def _view(self, step: int, counts: _Counts) -> Iterator[str]:
        """The guide's lines for the answer with the most padding before it and the one with the least."""
        boundary = self._boundary
        yield f"Diagnosis of step {step} (docs/diagnosis.md reads these lines):"
        trained = [answer for answer in self._answers if answer.advantage] or self._answers
        chosen = {answer.padding: answer for answer in trained}
        for number, padding in enumerate(sorted({max(chosen), min(chosen)}, reverse=True) if chosen else ()):
            answer = chosen[padding]
            before, after = answer.prompt[-TOKENS_BESIDE_THE_BOUNDARY:], answer.tokens[:TOKENS_BESIDE_THE_BOUNDARY]
            entropy = self._entropy_of.get(answer.prompt + answer.tokens)
            shown = "not computed (docs/diagnosis.md says when)" if entropy is None else f"{entropy:.3f}"
            yield with_english(f"样本 {number}:", f"sample {number}")
            opening = boundary.text(answer.tokens)[:OPENING_CHARACTERS]
            yield with_english(
                f"  Response部分(前{OPENING_CHARACTERS}字符,含special): {opening!r}",
                f"the answer's first {OPENING_CHARACTERS} characters, special tokens included",
            )
            yield with_english(
                f"  边界附近Token: {boundary.text(before)!r} | {boundary.text(after)!r}",
                "the prompt's last tokens | the answer's first",
            )
            yield with_english("  Token统计:", "token counts: those that end a turn, padding, all without padding")
            yield f"    Prompt: {boundary.tell_ends(answer.prompt)} tokens, {padding}个padding, {len(answer.prompt)} tokens"
            yield f"    Response: {boundary.tell_ends(answer.tokens)} tokens, {len(answer.tokens)} tokens"
            yield with_english(f"  {answer.domain}样本 {number}: entropy={shown}", "nats per token of this sample")
        lengths = counts.mean_lengths()
        shown = ", ".join(f"{domain} avg={mean:.1f}" for domain, mean in lengths.items())
        yield with_english(f"生成长度: {shown}", "mean tokens of an answer")


class _Counts:
    """What one process or several counted in one step or several; sums, and largest values."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._largest: defaultdict[str, float] = defaultdict(float)

    def add(self, **counts: int) -> None:
        self._sums.update(counts)

    def keep_largest(self, **values: float) -> None:
        for name, value in values.items():
            self._largest[name] = max(self._largest[name], value)

    @classmethod
    def together(cls, parts: Iterable[_Counts]) -> _Counts:
        whole = cls()
        for part in parts:
            whole._sums.update(part._sums)
            whole.keep_largest(**part._largest)
        return whole

    def commonest_end(self) -> str:
        """The name of the token that ended most turns; "" where none did."""
        ends = Counter({name.partition("/")[2]: count for name, count in self._sums.items() if name.startswith("ends/")})
        return ends.most_common(1)[0][0] if ends else ""

    def mean_lengths(self) -> dict[str, float]:
        """Tokens per answer by domain, with the end token."""
        domains = sorted(name.partition("/")[2] for name in self._sums if name.startswith("answers/"))
        return {domain: self._sums[f"tokens/{domain}"] / self._sums[f"answers/{domain}"] for domain in domains}

    def figures(self) -> dict[str, Any]:
        """As `faults` reads them; without what was not counted."""
        sums = self._sums
        figures: dict[str, Any] = {}
        if sums["answers"]:
            figures = {name: sums[name] / sums["answers"] for name in SHARES}
            figures |= {"answers": sums["answers"], "most_end_tokens": int(self._largest["most_ends"])}
        if sums["entropies"]:
            figures["zero_entropy_answers"] = sums["zero_entropies"] / sums["entropies"]
        if "grad_norm" in self._largest:
            norm = math.nan if sums["broken_norms"] else self._largest["grad_norm"]
            figures |= {"grad_norm": norm, "grad_norm_max": norm}
        return figures
