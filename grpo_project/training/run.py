"""One run, from settings to a trained model: `train(config, get_curriculum_weights) -> exit status`.

`_run` is the page on which a run can be read from top to bottom. What can go wrong cheaply goes wrong first: nothing heavy is
imported before settings, rows, quotas and output folder are known to be good, and nothing is written before everything is.
"""

from __future__ import annotations

import io
import time
from contextlib import closing

from grpo_project import rewards as reward_functions
from grpo_project.common import ranks
from grpo_project.common.paths import REPOSITORY
from grpo_project.configs.batches import batch_shape
from grpo_project.configs.environment import read_environment
from grpo_project.configs.training import TrainingConfig
from grpo_project.data.training_data import why_left_out
from grpo_project.models.loading import load_policy, save_policy
from grpo_project.models.vllm import check_vllm
from grpo_project.prompting import stop_tokens
from grpo_project.rewards.registry import reward_source
from grpo_project.rewards.verifier import make_verifier
from grpo_project.runs import run_folder
from grpo_project.runs.states import (
    COLLAPSE_STATE,
    COMPLETION_COUNTS,
    CURRICULUM_STATE,
    FIRST_REWARDS_STATE,
    MODEL_CARD_STATE,
    RUN_STATE,
    TRACKING_STATE,
    Kept,
    RunStates,
)
from grpo_project.training.console import describe_model, describe_step, say, silence_libraries
from grpo_project.training.endings import ANOMALY, COLLAPSED, SUCCESS, Ending, Stopped, open_folder, say_what_stopped
from grpo_project.training.evaluations import evaluate_held_out, evaluate_steering, greedy_completions
from grpo_project.training.inputs import Weights, gather_inputs
from grpo_project.training.launch import starting_point
from grpo_project.training.records import save_model, write_resolved_config, write_results
from grpo_project.training.repair import repair_turns
from grpo_project.training.resampling import resampler


def train(config: TrainingConfig, get_curriculum_weights: Weights) -> int:
    """One whole run. Returns 0, 3 where --on_collapse stop ended it, 4 where --on_anomaly stop did, 130 after Ctrl-C or 143 after
    SIGTERM.

    Raises a GrpoProjectError for what the user can put right.
    """
    with config.sources_named():
        start = starting_point(config)
    ending = Ending(start)
    try:
        with ending.told():
            return _run(config, get_curriculum_weights, ending)
    except Stopped as stopped:
        return stopped.status


def _run(config: TrainingConfig, get_curriculum_weights: Weights, ending: Ending) -> int:
    began, start = time.monotonic(), ending.start
    environment = run_folder.describe_environment(REPOSITORY)

    # -- settings, data, curriculum and problems to be measured on: each made once, and checked before anything is loaded
    with config.sources_named():
        inputs = gather_inputs(config, get_curriculum_weights, start)
    config, ending.forecast = inputs.config, inputs.forecast
    ending.use_gradient_checkpointing = bool(config.use_gradient_checkpointing)
    data, curriculum, held_out, steering = inputs.data, inputs.curriculum, inputs.held_out, inputs.steering
    say(f"Data: {data.describe()}" + (f"; {len(held_out)} held-out ones from {held_out.name}" if held_out else ""))

    # -- the model, and what it can do before training
    limit = check_vllm(config, inputs.plan)
    if limit is not None:
        say(f"warning: {limit}")
    policy = load_policy(
        start.model,
        training=True,
        max_sequence_length=config.script_config().sequence_length,
        load_in_4bit=config.load_in_4bit,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        use_gradient_checkpointing=bool(config.use_gradient_checkpointing),
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
        backend=config.backend,
        fast_inference=config.fast_inference,
        vllm_gpu_memory_utilization=config.vllm_gpu_memory_utilization,
        tokenizer=inputs.tokenizer,
        chat=inputs.chat,
    )
    silence_libraries()  # not before: Unsloth must be the first to import transformers
    describe_model(config, policy, inputs.rewards)
    if data.too_long:
        why = why_left_out(config.max_prompt_length, max(data.prompt_tokens))
        say(f"{len(data.too_long)} of {len(data.rows)} problems are left out: {why}")
    data.check_room(getattr(policy.model.config, "max_position_embeddings", None), config.max_completion_length)
    folder = open_folder(start, ending)
    described = {
        "chat": policy.chat.asked(),
        "environment": environment,
        "reward": {found["name"]: found for found in reward_source(inputs.rewards)},
        "held_out": held_out.name if held_out else "",
        "held_out_remark": held_out.remark if held_out else None,
        "steering": steering.name if steering else "",
        "buckets": {domain: vars(found) for domain, found in data.buckets.statistics.items()},
    }
    write_resolved_config(folder, start, config, inputs.identity, described)
    fitting = ending.forecast.load.generated if ending.forecast is not None and policy.device != "cpu" else None
    answers = greedy_completions(policy, config.max_completion_length, fitting)
    shown_answers = greedy_completions(policy, config.max_completion_length, fitting, shown=True)
    before = evaluate_held_out(held_out, shown_answers, folder, "before", start.checkpoint is not None, config.plan_reading)

    # -- who follows the run, in the order in which they hear of it (these bring transformers along, after the backend)
    from grpo_project.callbacks.collapse import CollapseActions
    from grpo_project.callbacks.collector import CompletionCollector
    from grpo_project.callbacks.curriculum_feedback import CurriculumFeedback
    from grpo_project.callbacks.evaluation import PeriodicEvaluation
    from grpo_project.callbacks.interrupts import Interrupts
    from grpo_project.callbacks.progress import ProgressLine
    from grpo_project.callbacks.timing import StepTimer
    from grpo_project.callbacks.trainer_events import TrainerEvents
    from grpo_project.health.boundary import Boundary
    from grpo_project.health.diagnosis import Diagnosis
    from grpo_project.health.first_rewards import FirstRewards
    from grpo_project.runs.observer import Observers
    from grpo_project.tracking.completion_file import COMPLETIONS, CompletionFile
    from grpo_project.tracking.metrics_file import MetricsFile
    from grpo_project.tracking.trackers import Trackers
    from grpo_project.training.sampler import row_sampler
    from grpo_project.training.snapshots import Snapshots
    from grpo_project.training.trainer import make_trainer, whole_weights

    def may_save(step: int) -> bool:
        """Between two uses of the same completions a run could not be continued exactly."""
        return step % config.num_iterations == 0

    engine = curriculum.engine
    timer = StepTimer()
    counts = CompletionCollector(data.domain_of, data.bucket_of, config.num_generations)
    progress = ProgressLine(
        config.max_steps,
        lambda step: counts.figures() and counts.figures() | {"curriculum_weights": engine.weights_at(max(0, step - 1))},
        None if ranks.is_main() else io.StringIO(),
    )
    snapshots = Snapshots(folder.path)
    collapse = CollapseActions(
        config.on_collapse, snapshots if config.on_collapse == "rollback" else None, may_save, progress.say
    )
    first_rewards = FirstRewards(config.health_config().equal_reward_steps, progress.say)
    tracked = {**config.as_dict(), "environment": dict(environment)}
    trackers = Trackers.of(
        config if ranks.is_main() else None, folder.path, read_environment().wandb_mode, tracked, start.checkpoint
    )
    ending.cleanup.callback(trackers.close)
    states = RunStates(
        {
            RUN_STATE: inputs.identity,
            CURRICULUM_STATE: engine,
            COLLAPSE_STATE: collapse,
            COMPLETION_COUNTS: counts,
            FIRST_REWARDS_STATE: first_rewards,
            TRACKING_STATE: trackers,
            MODEL_CARD_STATE: Kept(policy.new_card()),
        }
    )
    if start.checkpoint is not None:
        states.load(start.checkpoint)
    feedback = CurriculumFeedback(
        engine,
        data.domain_of,
        data.bucket_of,
        config.num_generations,
        config.max_steps,
        collapse,
        progress.say,
        on_change=lambda: states.show(CURRICULUM_STATE, folder.path),
    )
    diagnosis = Diagnosis(
        Boundary(policy.tokenizer, stop_tokens(policy.model, policy.tokenizer), policy.chat),
        config.health_config(),
        data.domain_of,
        config.diagnose_steps,
        config.on_anomaly == "stop",
        progress.say,
    )
    if start.checkpoint is not None and ranks.is_main():
        diagnosis.recall(run_folder.read_metrics(folder))
    interrupts = Interrupts(may_save)
    followers = [snapshots, counts, feedback, diagnosis, first_rewards, timer, progress, interrupts]
    if ranks.is_main():
        samples = CompletionFile(folder.path / COMPLETIONS, data.rows.rows, data.buckets.of_row, config.max_steps)
        followers += [MetricsFile(folder.metrics), samples, trackers]
    if steering is not None:
        evaluate = timer.timed("evaluation", lambda: evaluate_steering(steering, answers, config.plan_reading))
        evaluation = PeriodicEvaluation(
            curriculum.evaluate_every, evaluate, lambda *told: events.tell_evaluation(*told), engine.evaluations
        )
        followers.insert(followers.index(diagnosis), evaluation)
    observers = Observers(followers)
    events = TrainerEvents(observers, timer)

    # -- training
    if policy.device == "cpu":
        ranks.name_the_cpu()
    shape = batch_shape(config, policy.device, ranks.world_size())
    say(describe_step(shape, curriculum.planner.quotas))
    say(f"Run folder: {folder.path}   {trackers.state}")
    verify = make_verifier(config.validator, folder.path, say, config.plan_reading)
    reward = reward_functions.make_reward_function(
        data.rows, inputs.rewards, events.scored_here, verify, policy.chat, config.repair_price
    )
    trainer = make_trainer(
        inputs.algorithm,
        config,
        policy,
        data,
        shape,
        folder,
        reward_funcs=reward,
        callbacks=[events],
        observers=observers,
        timer=timer,
        states=states,
        row_sampler=row_sampler(config, shape, curriculum.planner, timer),
        resampler=resampler(config, curriculum.planner),
        repair=repair_turns(config, data.rows.task, policy.chat, policy.prompt_style),
    )
    with interrupts.caught(), closing(progress):
        trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint is not None else None)
    step = trainer.state.global_step
    if diagnosis.stopped_by:
        if ranks.is_main():
            say_what_stopped(folder, step, diagnosis.stopped_by)
        return ANOMALY
    if interrupts.interrupted:
        ending.signal_number = interrupts.signal_number
        raise KeyboardInterrupt

    # -- results
    weights = whole_weights(trainer)
    if ranks.is_main():
        history = {"steps": step, "settings": config.as_dict(), "fingerprints": dict(inputs.identity.fingerprints)}
        save_model(folder, lambda aside: save_policy(policy, aside, history, weights))
    after = evaluate_held_out(held_out, shown_answers, folder, "after", False, config.plan_reading)
    if held_out is not None and before is not None and after is not None:
        say(write_results(folder, held_out, config.max_steps, before, after, time.monotonic() - began))
        rates = {result.name: {domain: result.rate(domain) for domain in result.domains} for result in (before, after)}
        trackers.summary({"evaluation": rates})
    say(f"Trained model: {folder.model}")
    if collapse.stopped_by is not None:
        say(f"Stopped at step {step}: {collapse.stopped_by}")
        return COLLAPSED
    return SUCCESS
