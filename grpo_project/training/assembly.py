"""The TRL trainer of a run put together with all that observes it.

Callbacks and sampler bring transformers and torch along, so this file is imported when the backend has loaded the model:
Unsloth must be the first to import them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project import rewards
from grpo_project.callbacks.collector import CompletionCollector
from grpo_project.callbacks.curriculum import CurriculumFeedback
from grpo_project.callbacks.enhanced_inference_callback import EnhancedInferenceCallback
from grpo_project.callbacks.monitor import RunMonitor
from grpo_project.callbacks.progress import ProgressLine
from grpo_project.callbacks.timing import StepTimer
from grpo_project.common import ranks
from grpo_project.common.files import write_json_atomically
from grpo_project.configs.environment import read_environment
from grpo_project.curriculum.manager import STATE_FILE
from grpo_project.errors import ConfigError
from grpo_project.health.boundary import Boundary, end_tokens
from grpo_project.health.diagnosis import Diagnosis
from grpo_project.models.loading import Policy
from grpo_project.models.penalties import penalties_of
from grpo_project.prompting import to_messages
from grpo_project.rewards.verifier import make_verifier
from grpo_project.runs import run_folder
from grpo_project.runs.run_folder import RunFolder
from grpo_project.tracking.completion_file import COMPLETIONS, CompletionFile
from grpo_project.tracking.metrics_file import MetricsFile
from grpo_project.tracking.trackers import Trackers
from grpo_project.training.console import describe_quotas, say
from grpo_project.training.evaluations import Evaluator
from grpo_project.training.grpo import make_trainer_class
from grpo_project.training.grpo_arguments import BatchShape, batch_shape, grpo_arguments, refuse_changes
from grpo_project.training.preparation import Preparation, load_curriculum_state
from grpo_project.training.records import run_state
from grpo_project.training.resampling import Resampler
from grpo_project.training.sampler import CurriculumSampler
from grpo_project.training.saving import any_process, attempt
from grpo_project.training.snapshots import Snapshots

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assembly:
    """A run that is ready to train. `trainer`: TRL's, with ours on top; the others are its observers that outlive training."""

    trainer: Any
    monitor: RunMonitor
    tracker: Trackers
    feedback: CurriculumFeedback
    diagnosis: Diagnosis


def assemble(
    prepared: Preparation,
    policy: Policy,
    folder: RunFolder,
    prompts: Sequence[str],
    evaluator: Evaluator,
    environment: Mapping[str, Any],
) -> Assembly:
    """The trainer and its observers. `prompts`: the user turn of every row; `environment`: for the trackers' description.

    Raises ConfigError for a checkpoint whose curriculum cannot be continued and for settings that TRL would change,
    BackendMissing where the validator is not there.
    """
    config = prepared.config
    if policy.device == "cpu":
        ranks.name_the_cpu()
    shape = batch_shape(config, policy.device, ranks.world_size())
    say(_describe_step(prepared, shape))
    timer = StepTimer()
    progress = ProgressLine(config.max_steps, None if ranks.is_main() else io.StringIO())
    collector = CompletionCollector(_domain_of_row(prepared), _bucket_of_row(prepared))
    snapshots = Snapshots(folder.path) if config.on_collapse == "rollback" else None
    feedback = _curriculum_feedback(prepared, folder, collector, progress, snapshots)
    completions = CompletionFile(folder.path / COMPLETIONS, prepared.rows.rows, prepared.buckets.of_row, config.max_steps)
    reward_function = rewards.make_reward_function(
        prepared.rows,
        config.reward_config(),
        completions.beside(feedback.add),
        make_verifier(config.validator, folder.path, say),
    )
    sampler = _sampler(prepared, shape, timer)
    _continue_curriculum(prepared, feedback)
    tracker = Trackers.of(
        config if ranks.is_main() else None,
        folder.path,
        read_environment().wandb_mode,
        {**config.as_dict(), "environment": dict(environment)},
        prepared.checkpoint,
    )
    diagnosis = _diagnosis(prepared, policy, folder, progress)
    monitor = RunMonitor(
        collector,
        timer,
        progress,
        [MetricsFile(folder.metrics), completions, tracker] if ranks.is_main() else [],
        weights_at=prepared.engine.weights_at,
        max_steps=config.max_steps,
        may_save=_may_save(prepared),
        extra=lambda: feedback.extra() | diagnosis.extra(),
        watch=diagnosis.watch,
    )
    evaluation = [_evaluation(prepared, evaluator, timer, feedback)] if prepared.feedback is not None else []
    trainer = _trainer(
        policy,
        grpo_arguments(config, shape, policy.device, policy.name, str(folder.path), policy.autocast),
        prompts,
        reward_funcs=reward_function,
        sampler=sampler,
        timer=timer,
        resampler=_resampler(prepared),
        write_state=lambda place: _write_state(feedback, place),
        penalties=penalties_of(config),
        diagnosis=diagnosis,
        callbacks=[feedback, *evaluation, diagnosis, monitor],  # the monitor's record holds what the others found
    )
    if snapshots is not None:
        snapshots.trainer = trainer
    trainer.checkpoint_limit = config.save_total_limit
    trainer.checkpoint_states = {"run_state": lambda: run_state(prepared, tracker.position())}
    monitor.agree = lambda here: any_process(trainer, here)
    return Assembly(trainer, monitor, tracker, feedback, diagnosis)


def _describe_step(prepared: Preparation, shape: BatchShape) -> str:
    return (
        f"Each step: {shape.prompts_per_step} prompts x {shape.num_generations} completions, "
        f"{describe_quotas(prepared.planner.quotas, shape.batches)}, in {shape.micro_batches} micro-batches"
        + (f" on each of {shape.world_size} processes" if shape.world_size > 1 else "")
    )


def _domain_of_row(prepared: Preparation) -> dict[int, str]:
    return {index: row.scenario for index, row in enumerate(prepared.rows.rows)}


def _bucket_of_row(prepared: Preparation) -> dict[int, str]:
    return dict(enumerate(prepared.buckets.of_row))


def _may_save(prepared: Preparation) -> Callable[[int], bool]:
    """Between two uses of the same completions a run could not be continued exactly."""
    return lambda step: step % prepared.config.num_iterations == 0


def _curriculum_feedback(
    prepared: Preparation,
    folder: RunFolder,
    collector: CompletionCollector,
    progress: ProgressLine,
    snapshots: Snapshots | None,
) -> CurriculumFeedback:
    feedback = CurriculumFeedback(
        prepared.engine,
        collector,
        _domain_of_row(prepared),
        _bucket_of_row(prepared),
        prepared.config.num_generations,
        prepared.config.on_collapse,
        say=progress.say,
        gather=ranks.gather,
        keep=snapshots.keep if snapshots else None,
        restore=snapshots.restore if snapshots else None,
        may_save=_may_save(prepared),
        on_change=lambda: _show_state(feedback, folder.path),
    )
    return feedback


def _show_state(feedback: CurriculumFeedback, place: Path) -> None:
    """For people and tools; what a run goes on from is in its checkpoints."""
    failure = attempt(lambda: _write_state(feedback, place))
    if failure is not None:
        logger.warning("%s could not be written (%s)", place / STATE_FILE, failure)


def _write_state(feedback: CurriculumFeedback, place: Path) -> None:
    if ranks.is_main():
        write_json_atomically(place / STATE_FILE, feedback.state_dict())


def _continue_curriculum(prepared: Preparation, feedback: CurriculumFeedback) -> None:
    """Its state as the checkpoint has it. Raises ConfigError where a curriculum that learns has none there."""
    if prepared.checkpoint is None:
        return
    state = load_curriculum_state(prepared.checkpoint)
    if state is not None:
        feedback.load_state_dict(state)
    elif prepared.engine.feedback:
        raise ConfigError(f"{prepared.checkpoint} has no {STATE_FILE}: its curriculum cannot be continued")


def _sampler(prepared: Preparation, shape: BatchShape, timer: StepTimer) -> CurriculumSampler:
    sampler = CurriculumSampler.for_training(
        prepared.planner,
        num_generations=prepared.config.num_generations,
        max_steps=prepared.config.max_steps,
        gradient_accumulation_steps=shape.micro_batches,
        steps_per_generation=shape.micro_batches,
        num_iterations=prepared.config.num_iterations,
        batches_per_generation=shape.batches,
    )
    sampler.generation = timer.timed("sampling", sampler.generation)  # type: ignore[method-assign]
    return sampler


def _diagnosis(prepared: Preparation, policy: Policy, folder: RunFolder, progress: ProgressLine) -> Diagnosis:
    """What watches prompts, answers and figures; on a continued run it knows the lines so far."""
    config = prepared.config
    diagnosis = Diagnosis(
        Boundary(policy.tokenizer, end_tokens(policy.model, policy.tokenizer)),
        config.health_config(),
        _domain_of_row(prepared),
        config.diagnose_steps,
        config.on_anomaly == "stop",
        say=progress.say,
        gather=ranks.gather,
    )
    if prepared.checkpoint is not None and ranks.is_main():
        diagnosis.recall(run_folder.read_metrics(folder))
    return diagnosis


def _evaluation(
    prepared: Preparation, evaluator: Evaluator, timer: StepTimer, feedback: CurriculumFeedback
) -> EnhancedInferenceCallback:
    """Evaluations during training, which go to `feedback`."""
    callback = EnhancedInferenceCallback(
        prepared.config.feedback_every,
        prepared.config.max_eval_samples,
        timer.timed("evaluation", lambda model, tokenizer: evaluator.evaluate_feedback()),
        feedback.evaluated,
    )
    callback.outcomes = list(prepared.engine.evaluations)
    return callback


def _resampler(prepared: Preparation) -> Resampler | None:
    """What --resample_zero_variance asks for; None without it. Raises ConfigError with several processes."""
    attempts = prepared.config.resample_zero_variance
    if attempts and ranks.world_size() > 1:
        raise ConfigError("--resample_zero_variance works with one process; --skip_zero_variance works with several")
    return Resampler(attempts, prepared.planner, prepared.config.num_generations) if attempts else None


def _trainer(policy: Policy, arguments: Mapping[str, Any], prompts: Sequence[str], **parts: Any) -> Any:
    """TRL's trainer with ours on top. `parts`: further arguments of its constructor."""
    from datasets import Dataset

    # At the last moment: with Unsloth loaded these are its rewritten ones.
    from transformers import PrinterCallback, ProgressCallback
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[attr-defined]

    trainer = make_trainer_class(GRPOTrainer)(
        model=policy.model,
        processing_class=policy.tokenizer,
        lean=policy.name == "transformers",
        args=GRPOConfig(**arguments),
        train_dataset=Dataset.from_dict(
            {"prompt": [to_messages(prompt) for prompt in prompts], "row_index": list(range(len(prompts)))}
        ),
        **parts,
    )
    refuse_changes(arguments, trainer.args, policy.name)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
