"""The GRPO run from settings to trained model: `train(config, get_curriculum_weights) -> exit status`.

What can go wrong cheaply goes wrong first (preparation.py): nothing heavy is imported before settings, data, batch quotas,
output folder and model path are known to be good. Then: load, evaluate, train, evaluate again, write the table and the model.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from grpo_project.configs.environment import read_environment
from grpo_project.configs.training import REPOSITORY, TrainingConfig
from grpo_project.core import run_folder
from grpo_project.core.checkpoint import newest_good, replace_folder, step_of
from grpo_project.core.files import write_json_atomically, write_text_atomically
from grpo_project.core.health import Alarm
from grpo_project.core.rows import Row
from grpo_project.core.run_folder import RunFolder
from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.curriculum.manager import STATE_FILE
from grpo_project.errors import ConfigError, DataError, MemoryShort, ModelError
from grpo_project.evaluation import EvaluationResult, comparison_table, evaluate
from grpo_project.evaluation.prompts import row_prompt
from grpo_project.training import ranks
from grpo_project.training.backend import LoadPlan
from grpo_project.training.memory import Forecast, forecast, out_of_memory
from grpo_project.training.preparation import Preparation, Weights, leave_out, load_curriculum_state, prepare
from grpo_project.training.saving import attempt, whole_weights
from grpo_project.training.vllm import check_vllm

logger = logging.getLogger(__name__)

INTERRUPTED = 128  # plus the number of the signal, as shells count: 130 after Ctrl-C, 143 after SIGTERM
COLLAPSED = 3  # stopped by --on_collapse stop
ANOMALY = 4  # stopped by --on_anomaly stop
SUCCESS = 0
EVALUATED_AT_ONCE = 64  # completions


def train(config: TrainingConfig, get_curriculum_weights: Weights) -> int:
    """One whole run. Returns 0, 3 where --on_collapse stop ended it, 4 where --on_anomaly stop did, 130 after Ctrl-C or 143 after
    SIGTERM.

    Raises a GrpoProjectError for what the user can put right.
    """
    prepared = prepare(config, get_curriculum_weights)
    say(f"Data: {describe_data(prepared)}")
    run = Run(prepared)
    try:
        return run.go()
    except KeyboardInterrupt:
        if ranks.is_main():
            say_how_to_go_on(run.folder)
        return INTERRUPTED + (run.signal_number or signal.SIGINT)
    except (RuntimeError, ModelError) as error:
        if not out_of_memory(error):
            raise
        raise run.explain_short_memory(error) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        where = run.folder.path if run.folder is not None else prepared.output_dir
        how = f"; then go on by {command_to_go_on(run.folder)}" if run.folder and newest_good(run.folder.path) else ""
        raise DataError(f"{where} cannot be written to ({error.strerror}): make room{how}") from None
    finally:
        run.release()


def say(text: str) -> None:
    """One line on the console, at once; of several processes the first one speaks."""
    if ranks.is_main():
        print(text, flush=True)


def show_progress(done: int, total: int) -> None:
    """A counter of solved problems that writes over itself; nothing where the output is no terminal."""
    if sys.stdout.isatty():
        text = f"solving held-out problems: {done}/{total}"
        print(f"\r{text if done < total else ' ' * len(text)}", end="\r", flush=True)


def save_model(folder: RunFolder, write: Callable[[Path], None]) -> None:
    """The trained model into the run folder, whole or not at all. Raises ModelError, which says how to go on, where it fails."""
    aside = folder.path / ".model.partial"
    shutil.rmtree(aside, ignore_errors=True)
    failure = attempt(lambda: write(aside)) or attempt(lambda: replace_folder(aside, folder.model))
    if failure is None:
        return
    shutil.rmtree(aside, ignore_errors=True)
    message = f"the trained model could not be written to {folder.model}: {failure}. "
    found = newest_good(folder.path)
    if found is None:
        raise ModelError(message + "There is no checkpoint to save it from")
    raise ModelError(message + f"{found.name} holds the weights of its step: make room, then run {command_to_go_on(folder)}")


def command_to_go_on(folder: RunFolder) -> str:
    """The command that continues the run of this folder."""
    script = shlex.join([sys.executable, sys.argv[0]]) if sys.argv and sys.argv[0].endswith(".py") else "the same script"
    return f"{script} --output_dir {shlex.quote(str(folder.path))} --resume_from_checkpoint auto"


def say_how_to_go_on(folder: RunFolder | None) -> None:
    """After an interruption: the command that continues, or the reason why there is none."""
    if folder is None:
        print("\nInterrupted before the run began; nothing was written.", file=sys.stderr)
        return
    command = command_to_go_on(folder)
    found = newest_good(folder.path)
    if found:
        print(f"\nInterrupted. Go on from step {step_of(found)}: {command}", file=sys.stderr)
    else:
        print(
            f"\nInterrupted before the first checkpoint. What there is lies in {folder.path}; add --resume_from_checkpoint auto "
            "to the command you gave to begin again there",
            file=sys.stderr,
        )


def say_what_stopped(folder: RunFolder, step: int, found: Sequence[Alarm]) -> None:
    """After --on_anomaly stop: what was seen, what to try, and what is left to go on from."""
    for alarm in found:
        print(f"\nStopped at step {step} by {alarm.name}. {alarm.title}: {alarm.detail}", file=sys.stderr)
    good = newest_good(folder.path)
    kept = (
        f"{good.name} was written before and is as it was; when the cause is mended: {command_to_go_on(folder)}"
        if good
        else "there is no earlier checkpoint: add --resume_from_checkpoint auto to the command you gave to begin again there"
    )
    print(
        f"Neither a checkpoint nor a model was written from this step; {kept}. --on_anomaly warn goes on in spite of it.",
        file=sys.stderr,
    )


def describe_quotas(quotas: Mapping[str, int], batches: int) -> str:
    """`6 prompts of each domain`, or the number for each where they differ."""
    if len(set(quotas.values())) == 1:
        return f"{batches * next(iter(quotas.values()))} prompts of each domain"
    return ", ".join(f"{batches * quota} of {domain}" for domain, quota in quotas.items())


def describe_data(prepared: Preparation) -> str:
    """`2000 training problems (blocksworld 500: easy 205, ...); 800 held-out ones from data/test`."""
    parts = []
    for domain, statistics in prepared.buckets.statistics.items():
        sizes = ", ".join(f"{name} {count}" for name, count in statistics.counts.items())
        parts.append(f"{domain} {statistics.count}: {sizes}")
    skipped = f", {len(prepared.rows.bad_rows)} bad rows skipped" if prepared.rows.bad_rows else ""
    held_out = f"; {len(prepared.held_out_rows)} held-out ones from {prepared.held_out_name}" if prepared.held_out else ""
    return f"{len(prepared.rows)} training problems ({'; '.join(parts)}{skipped}){held_out}"


class Run:
    """One run, from loading the model to saving it. `folder` is None until everything that can be wrong has been checked."""

    def __init__(self, prepared: Preparation) -> None:
        self.prepared = prepared
        self.config = prepared.config
        self.folder: RunFolder | None = None
        self.forecast: Forecast | None = None
        self.signal_number = 0
        self._lock: IO[str] | None = None

    def go(self) -> int:
        """Everything after preparation, in order. Returns the exit status."""
        began = time.monotonic()
        environment = run_folder.describe_environment(REPOSITORY)
        # Before anything of Hugging Face is imported: the run must look the same on a terminal and in a log.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        if os.path.isdir(self.prepared.model):  # bars are for downloads
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

        from grpo_project.training.backend import load_policy, plan_load, save_policy

        config = self.config
        plan = plan_load(
            self.prepared.model,
            training=True,
            load_in_4bit=config.load_in_4bit,
            lora_rank=config.lora_rank,
            backend=config.backend,
        )
        limit = check_vllm(config, plan)
        if limit is not None:
            say(f"warning: {limit}")
        self._forecast_memory(plan)
        lengths = config.script_config()
        policy = load_policy(
            self.prepared.model,
            training=True,
            max_sequence_length=lengths.sequence_length,
            load_in_4bit=config.load_in_4bit,
            lora_rank=config.lora_rank,
            lora_alpha=config.lora_alpha,
            use_gradient_checkpointing=config.use_gradient_checkpointing,
            trust_remote_code=config.trust_remote_code,
            seed=config.seed,
            backend=config.backend,
            fast_inference=config.fast_inference,
            vllm_gpu_memory_utilization=config.vllm_gpu_memory_utilization,
        )
        weights_in_all = sum(parameter.numel() for parameter in policy.model.parameters())
        for weakness in config.reward_config().weaknesses():
            say(f"warning: with these --reward_bands {weakness}")
        from grpo_project.training.penalties import off_policy_warning  # not before the backend, which imports Unsloth first

        off_policy = off_policy_warning(config)
        if off_policy is not None:
            say(f"warning: {off_policy}")
        say(f"Backend: {policy.name}, because {policy.reason}")
        say(f"Model: {config.base_model}, {weights_in_all / 1e6:.2f} M parameters, {policy.prompt_style} prompts")
        prompt, completion, whole = config.max_prompt_length, config.max_completion_length, lengths.sequence_length
        say(f"🔧 同步长度配置: prompt {prompt}, completion {completion}, 序列 {whole}")
        if lengths.warning():
            say(f"{lengths.warning()}: what is longer does not fit; lower one of the two, or use --length_allocation_strategy")
        silence_libraries()  # not before: Unsloth must be the first to import transformers
        prompts = self._fit_prompts(policy)
        self.folder = folder = self._open_folder()
        self._write_resolved_config(folder, environment)

        before = self._evaluate(policy, folder, "before")
        trainer, monitor, tracker, feedback, diagnosis = self._make_trainer(policy, folder, prompts, environment)
        say(f"Run folder: {folder.path}   {tracker.state}")
        give_back = monitor.catch_interrupts()
        try:
            trainer.train(resume_from_checkpoint=str(self.prepared.checkpoint) if self.prepared.checkpoint else None)
        finally:
            give_back()
            monitor.close()
            if monitor.interrupted or diagnosis.stopped_by or sys.exc_info()[0] is not None:
                tracker.close()
        if monitor.interrupted:
            self.signal_number = monitor.signal_number
            raise KeyboardInterrupt
        if diagnosis.stopped_by:
            if ranks.is_main():
                say_what_stopped(folder, trainer.state.global_step, diagnosis.stopped_by)
            return ANOMALY
        weights = whole_weights(trainer)
        if ranks.is_main():
            save_model(folder, lambda aside: save_policy(policy, aside, self._history(trainer.state.global_step), weights))
        after = self._evaluate(policy, folder, "after")
        if before is not None and after is not None:
            table = self._write_results(folder, before, after, time.monotonic() - began)
            say(table)
            tracker.summary(
                {
                    "evaluation": {
                        result.name: {domain: result.rate(domain) for domain in result.domains} for result in (before, after)
                    }
                }
            )
        tracker.close()
        say(f"Trained model: {folder.model}")
        if feedback.stopped_by is not None:
            say(f"Stopped at step {trainer.state.global_step}: {feedback.stopped_by}")
            return COLLAPSED
        return SUCCESS

    def _forecast_memory(self, plan: LoadPlan) -> None:
        """Says what the run will need of a GPU, before anything is loaded. Warns and forbids nothing: it is an estimate."""
        available = None
        if plan.device == "cuda":
            import torch

            available = float(torch.cuda.get_device_properties(ranks.local_rank()).total_memory)
        try:
            domains = len(self.prepared.rows.domains)
            self.forecast = forecast(self.config, self.prepared.model, plan, available, ranks.world_size(), domains)
        except ModelError as error:
            if plan.device == "cuda":
                say(str(error))
            return
        if plan.device == "cuda":
            say(self.forecast.report())

    def explain_short_memory(self, error: BaseException) -> MemoryShort:
        """What the user reads instead of a traceback: what happened, what needs less, and where the run can go on."""
        found = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        advice = self.forecast.advice() if self.forecast else "docs/train_on_gpu.md, section 5, says what needs less"
        last = newest_good(self.folder.path) if self.folder else None
        if last is None:
            where = "No checkpoint had been written"
        else:
            assert self.folder is not None
            same = "" if self.config.use_gradient_checkpointing else " with --use_gradient_checkpointing"
            where = (
                f"{last.name} holds step {step_of(last)}: go on{same} by {command_to_go_on(self.folder)}; another change begins "
                f"a new run, which may start from --base_model {last}"
            )
        return MemoryShort(f"the GPU's memory ran out ({found[:300].rstrip('.')}). {advice}. {where}")

    # -- before training ----------------------------------------------------------------------------------------------

    def _open_folder(self) -> RunFolder:
        """The run folder, held until `release`, with its log as it was at the step from which the run goes on."""
        prepared = self.prepared
        if not ranks.is_main():
            return RunFolder(prepared.output_dir)
        if prepared.checkpoint is None and not run_folder.may_begin_again(prepared.output_dir):
            folder = run_folder.create(prepared.output_dir)
        else:
            folder = run_folder.reopen(prepared.output_dir)
        self._lock = run_folder.hold(folder)
        step = step_of(prepared.checkpoint) if prepared.checkpoint else 0
        # A run that begins again also begins its log again: an evaluation before training is a line of step 0.
        moved = run_folder.drop_metrics_after(folder, step if prepared.checkpoint else -1)
        if prepared.checkpoint is not None or moved:
            say(f"Going on from step {step}" + (f"; {moved} later lines of metrics.jsonl set aside" if moved else ""))
        return folder

    def release(self) -> None:
        """Lets other processes use the run folder."""
        if self._lock is not None:
            self._lock.close()

    def _run_state(self, tracker: Any) -> dict[str, Any]:
        """What every checkpoint says about its run."""
        return {
            "settings": self.config.as_dict(),
            "fingerprints": dict(self.prepared.fingerprints),
            "schedule_source": self.prepared.schedule_source,
            "wandb": tracker.position(),
        }

    def _write_resolved_config(self, folder: RunFolder, environment: Mapping[str, Any]) -> None:
        """Everything needed to repeat the run. On resume the first file stays, and each segment adds its own."""
        if not ranks.is_main():
            return
        described = {
            "settings": self.config.as_dict(),
            "sources": dict(self.config.sources),
            "command_line": sys.argv,
            "model": self.prepared.model,
            "environment": environment,
            "fingerprints": self.prepared.fingerprints,
            "schedule_source": self.prepared.schedule_source,
            "reward": self.config.reward_config().as_dict(),
            "held_out": self.prepared.held_out_name,
            "feedback": self.prepared.feedback_name,
            "buckets": {domain: vars(found) for domain, found in self.prepared.buckets.statistics.items()},
        }
        if self.prepared.checkpoint is None:
            folder.write_json(run_folder.RESOLVED_CONFIG, described)
        else:
            folder.write_json(f"resumed_at_{step_of(self.prepared.checkpoint)}.json", described)

    def _judge(self, folder: RunFolder) -> Any:
        """Who decides rewards (--validator). Raises BackendMissing where VAL is asked for and not there."""
        from grpo_project.pddl import Task, Verdict, validate_text

        if self.config.validator == "builtin":
            return validate_text
        from grpo_project.pddl.val import ValValidator, cross_check, validate_by_val

        val = ValValidator()
        if self.config.validator == "val":
            return lambda task, text: validate_by_val(task, text, val)

        def judge(task: Task, text: str) -> Verdict:
            verdict = validate_text(task, text)
            disagreement = cross_check(task, text, verdict, val)
            if disagreement is not None:
                say(f"warning: {disagreement.describe()}; see {disagreement.write(folder.path / 'disagreements')}")
            return verdict

        return judge

    def _make_trainer(
        self, policy: Any, folder: RunFolder, prompts: list[str], environment: Mapping[str, Any]
    ) -> tuple[Any, Any, Any, Any, Any]:
        """(trainer, monitor, tracker, curriculum feedback, diagnosis), ready to train."""
        from datasets import Dataset

        # After the backend: with Unsloth loaded these two are its rewritten ones.
        from trl import GRPOConfig, GRPOTrainer  # type: ignore[attr-defined]

        from grpo_project.callbacks.boundary import Boundary, end_tokens
        from grpo_project.callbacks.collector import CompletionCollector
        from grpo_project.callbacks.curriculum import CurriculumFeedback
        from grpo_project.callbacks.diagnosis import Diagnosis
        from grpo_project.callbacks.enhanced_inference_callback import EnhancedInferenceCallback
        from grpo_project.callbacks.metrics_file import MetricsFile
        from grpo_project.callbacks.monitor import RunMonitor
        from grpo_project.callbacks.progress import ProgressLine
        from grpo_project.callbacks.timing import StepTimer
        from grpo_project.callbacks.trackers import Trackers
        from grpo_project.prompting import to_messages
        from grpo_project.reporting.completions import COMPLETIONS, CompletionFile
        from grpo_project.rewards import make_reward_function
        from grpo_project.training.grpo import batch_shape, grpo_arguments, make_trainer_class, refuse_changes
        from grpo_project.training.penalties import penalties_of
        from grpo_project.training.sampler import CurriculumSampler
        from grpo_project.training.saving import any_process, attempt
        from grpo_project.training.snapshots import Snapshots

        config, prepared = self.config, self.prepared
        if policy.device == "cpu":
            ranks.name_the_cpu()
        shape = batch_shape(config, policy.device, ranks.world_size())
        say(
            f"Each step: {shape.prompts_per_step} prompts x {shape.num_generations} completions, "
            f"{describe_quotas(prepared.planner.quotas, shape.batches)}, in {shape.micro_batches} micro-batches"
            + (f" on each of {shape.world_size} processes" if shape.world_size > 1 else "")
        )
        timer = StepTimer()
        row_domain = {index: row.scenario for index, row in enumerate(prepared.rows.rows)}
        row_bucket = dict(enumerate(prepared.buckets.of_row))
        collector = CompletionCollector(row_domain, row_bucket)
        progress = ProgressLine(config.max_steps, None if ranks.is_main() else io.StringIO())
        snapshots = Snapshots(folder.path) if config.on_collapse == "rollback" else None
        feedback = CurriculumFeedback(
            prepared.engine,
            collector,
            row_domain,
            row_bucket,
            config.num_generations,
            config.on_collapse,
            say=progress.say,
            gather=ranks.gather,
            keep=snapshots.keep if snapshots else None,
            restore=snapshots.restore if snapshots else None,
            may_save=lambda step: step % config.num_iterations == 0,
            on_change=lambda: show_state(folder.path),
        )

        def show_state(place: Path) -> None:
            """For people and tools; what a run goes on from is in its checkpoints."""
            failure = attempt(lambda: write_state(place))
            if failure is not None:
                logger.warning("%s could not be written (%s)", place / STATE_FILE, failure)

        def write_state(place: Path) -> None:
            if ranks.is_main():
                write_json_atomically(place / STATE_FILE, feedback.state_dict())

        completions = CompletionFile(folder.path / COMPLETIONS, prepared.rows.rows, prepared.buckets.of_row, config.max_steps)
        reward_function = make_reward_function(
            prepared.rows, config.reward_config(), completions.beside(feedback.add), self._judge(folder)
        )
        sampler = CurriculumSampler.for_training(
            prepared.planner,
            num_generations=config.num_generations,
            max_steps=config.max_steps,
            gradient_accumulation_steps=shape.micro_batches,
            steps_per_generation=shape.micro_batches,
            num_iterations=config.num_iterations,
            batches_per_chunk=shape.batches,
        )
        sampler.chunk = timer.timed("sampling", sampler.chunk)  # type: ignore[method-assign]
        if prepared.checkpoint is not None:
            state = load_curriculum_state(prepared.checkpoint)
            if state is not None:
                feedback.load_state_dict(state)
            elif prepared.engine.feedback:
                raise ConfigError(f"{prepared.checkpoint} has no {STATE_FILE}: its curriculum cannot be continued")
        tracker = Trackers.of(
            config if ranks.is_main() else None,
            folder.path,
            read_environment().wandb_mode,
            {**config.as_dict(), "environment": dict(environment)},
            prepared.checkpoint,
        )
        diagnosis = Diagnosis(
            Boundary(policy.tokenizer, end_tokens(policy.model, policy.tokenizer)),
            config.health_config(),
            row_domain,
            config.diagnose_steps,
            config.on_anomaly == "stop",
            say=progress.say,
            gather=ranks.gather,
        )
        if prepared.checkpoint is not None and ranks.is_main():
            diagnosis.recall(run_folder.read_metrics(folder))
        monitor = RunMonitor(
            collector,
            timer,
            progress,
            [MetricsFile(folder.metrics), completions, tracker] if ranks.is_main() else [],
            weights_at=prepared.engine.weights_at,
            max_steps=config.max_steps,
            may_save=lambda step: step % config.num_iterations == 0,
            extra=lambda: feedback.extra() | diagnosis.extra(),
            watch=diagnosis.watch,
        )
        callbacks: list[Any] = [feedback]
        if prepared.feedback is not None:
            inference = EnhancedInferenceCallback(
                config.feedback_every,
                config.max_eval_samples,
                timer.timed("evaluation", lambda model, tokenizer: self._solve_feedback(policy)),
                feedback.evaluated,
            )
            inference.outcomes = list(prepared.engine.evaluations)
            callbacks.append(inference)
        arguments = grpo_arguments(config, shape, policy.device, policy.name, str(folder.path), policy.autocast)
        trainer = make_trainer_class(GRPOTrainer)(
            sampler=sampler,
            timer=timer,
            lean=policy.name == "transformers",
            resampler=self._resampler(prepared.planner),
            write_state=write_state,
            penalties=penalties_of(config),
            diagnosis=diagnosis,
            model=policy.model,
            reward_funcs=reward_function,
            args=GRPOConfig(**arguments),
            train_dataset=Dataset.from_dict(
                {"prompt": [to_messages(prompt) for prompt in prompts], "row_index": list(range(len(prompts)))}
            ),
            processing_class=policy.tokenizer,
            callbacks=[*callbacks, diagnosis, monitor],
        )
        refuse_changes(arguments, trainer.args, policy.name)
        if snapshots is not None:
            snapshots.trainer = trainer
        from transformers import PrinterCallback, ProgressCallback

        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.checkpoint_limit = config.save_total_limit
        trainer.checkpoint_states = {"run_state": lambda: self._run_state(tracker)}
        monitor.agree = lambda here: any_process(trainer, here)
        return trainer, monitor, tracker, feedback, diagnosis

    def _resampler(self, planner: BatchPlanner) -> Any:
        """What --resample_zero_variance asks for; None without it. Raises ConfigError with several processes."""
        from grpo_project.training.resampling import Resampler

        attempts = self.config.resample_zero_variance
        if attempts and ranks.world_size() > 1:
            raise ConfigError("--resample_zero_variance works with one process; --skip_zero_variance works with several")
        return Resampler(attempts, planner, self.config.num_generations) if attempts else None

    def _fit_prompts(self, policy: Any) -> list[str]:
        """The user turn of every training row. Rows whose prompt is too long are left out of the batches, and counted.

        Raises DataError where a domain has no other, ConfigError where prompt and completion exceed what the model can read.
        """
        from grpo_project.prompting import render_chat

        limit = self.config.max_prompt_length
        prompts = [row_prompt(row, policy.prompt_style) for row in self.prepared.rows.rows]
        texts = [render_chat(policy.tokenizer, prompt) for prompt in prompts]
        lengths = [len(ids) for ids in policy.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        too_long = {index for index, length in enumerate(lengths) if length > limit}
        if too_long:
            why = f"prompts are longer than --max_prompt_length {limit} (the longest has {max(lengths)} tokens)"
            say(f"{len(too_long)} of {len(lengths)} problems are left out: {why}")
            self.prepared = leave_out(self.prepared, too_long, why)
        longest = max(length for index, length in enumerate(lengths) if index not in too_long)
        room = getattr(policy.model.config, "max_position_embeddings", None)
        if room is not None and longest + self.config.max_completion_length > room:
            raise ConfigError(
                f"the model reads {room} tokens, but the longest prompt has {longest} and --max_completion_length is "
                f"{self.config.max_completion_length}: lower it to {room - longest}, or set --max_prompt_length"
                if longest < room
                else f"the model reads {room} tokens, but the longest prompt has {longest}: set --max_prompt_length"
            )
        return prompts

    def _history(self, steps: int) -> dict[str, Any]:
        """What the model's card says about this run."""
        return {
            "steps": steps,
            "settings": self.config.as_dict(),
            "fingerprints": dict(self.prepared.fingerprints),
        }

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def _evaluate(self, policy: Any, folder: RunFolder, when: str) -> EvaluationResult | None:
        """Greedy success on the held-out problems, also as evaluation_<when>.json; None without any.

        A continued run takes what the first attempt found before training.
        """
        if self.prepared.held_out is None:
            return None
        # Generation gathers the parts of a sharded model, so all must take part; before training every process has all of it.
        together = ranks.shards_parameters() and when == "after"
        if not ranks.is_main() and not together:
            return None  # training begins when all are there
        path = folder.path / f"evaluation_{when}.json"
        if when == "before" and self.prepared.checkpoint is not None and path.exists():
            return EvaluationResult.from_json(json.loads(path.read_text(encoding="utf-8")))
        complete = self._complete(policy, show_progress)
        result = evaluate(self.prepared.held_out, self.prepared.held_out_rows, complete, f"{when} training")
        if not ranks.is_main():
            return None
        folder.write_json(path.name, result.to_json())
        rates = ", ".join(f"{domain} {result.rate(domain):.1%}" for domain in result.domains)
        say(f"Held-out success {when} training, greedy: {rates}; average {result.average():.1%} ({result.seconds:.0f} s)")
        return result

    def _complete(self, policy: Any, progress: Any = None) -> Callable[[list[Row]], list[str]]:
        """Rows to greedy answers."""
        from grpo_project.training.generation import complete_greedy

        def complete(rows: list[Row]) -> list[str]:
            prompts = [row_prompt(row, policy.prompt_style) for row in rows]
            limit = self.config.max_completion_length
            at_once = EVALUATED_AT_ONCE
            if policy.device != "cpu" and self.forecast is not None:
                at_once = min(at_once, self.forecast.load.generated)  # what fits while training fits here
            return complete_greedy(policy.model, policy.tokenizer, prompts, limit, at_once, progress)

        return complete

    def _solve_feedback(self, policy: Any) -> EvaluationResult:
        """The problems that steer the run, shared out among the processes; every process gets the whole result."""
        prepared = self.prepared
        assert prepared.feedback is not None  # the callback is made only then
        if ranks.shards_parameters():  # every forward pass is one of all processes: they must make the same ones
            return evaluate(prepared.feedback, prepared.feedback_rows, self._complete(policy), "during training")
        own = list(prepared.feedback_rows)[ranks.rank() :: ranks.world_size()]
        result = evaluate(prepared.feedback, own, self._complete(policy), "during training")
        return replace(result, problems=tuple(ranks.gather(list(result.problems))))

    def _write_results(self, folder: RunFolder, before: EvaluationResult, after: EvaluationResult, seconds: float) -> str:
        """The table of results.md, with its head line; the same text for the console."""
        text = (
            f"Greedy success on {len(self.prepared.held_out_rows)} held-out problems ({self.prepared.held_out_name}), "
            f"{self.config.max_steps} steps, {seconds / 60:.1f} minutes in all:\n\n{comparison_table(before, after)}\n"
        )
        write_text_atomically(folder.path / "results.md", text)
        return text


def silence_libraries() -> None:
    """Only warnings that say something about the run reach the console."""
    import warnings

    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    logging.getLogger("trl").setLevel(logging.ERROR)
