"""The GRPO run from settings to trained model: `train(config, get_curriculum_weights) -> exit status`.

What can go wrong cheaply goes wrong first (preparation.py): nothing heavy is imported before settings, data, batch quotas,
output folder and model path are known to be good. Then: load, evaluate, train, evaluate again, write the table and the model.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import IO, TYPE_CHECKING

from grpo_project.common import ranks
from grpo_project.common.paths import REPOSITORY
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import ModelError
from grpo_project.models.forecast import Forecast, forecast, out_of_memory
from grpo_project.models.loading import LoadPlan, Policy, load_policy, plan_load, save_policy
from grpo_project.models.vllm import check_vllm
from grpo_project.runs import run_folder
from grpo_project.runs.checkpoint import step_of
from grpo_project.runs.run_folder import RunFolder
from grpo_project.training.console import describe_data, say, silence_libraries
from grpo_project.training.endings import UNWRITABLE, disk_refused, memory_ran_out, say_how_to_go_on, say_what_stopped
from grpo_project.training.evaluations import Evaluator
from grpo_project.training.preparation import Preparation, Weights, prepare
from grpo_project.training.prompts import fit_prompts
from grpo_project.training.records import model_history, save_model, write_resolved_config, write_results
from grpo_project.training.saving import whole_weights

if TYPE_CHECKING:  # it imports transformers
    from grpo_project.training.assembly import Assembly

INTERRUPTED = 128  # plus the number of the signal, as shells count: 130 after Ctrl-C, 143 after SIGTERM
COLLAPSED = 3  # stopped by --on_collapse stop
ANOMALY = 4  # stopped by --on_anomaly stop
SUCCESS = 0


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
        raise memory_ran_out(error, run.forecast, run.folder, config.use_gradient_checkpointing) from error
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise disk_refused(error, run.folder, prepared.output_dir) from None
    finally:
        run.release()


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
        policy = self._load()
        prompts, self.prepared = fit_prompts(self.prepared, policy)
        self.folder = folder = self._open_folder()
        if ranks.is_main():
            write_resolved_config(folder, self.prepared, environment)
        evaluator = Evaluator(self.prepared, policy, folder, self.forecast)
        before = evaluator.evaluate_held_out("before")

        from grpo_project.training.assembly import assemble  # not before the backend, which imports Unsloth first

        parts = assemble(self.prepared, policy, folder, prompts, evaluator, environment)
        say(f"Run folder: {folder.path}   {parts.tracker.state}")
        self._train(parts)
        step = parts.trainer.state.global_step
        if parts.diagnosis.stopped_by:
            if ranks.is_main():
                say_what_stopped(folder, step, parts.diagnosis.stopped_by)
            return ANOMALY
        weights = whole_weights(parts.trainer)
        if ranks.is_main():
            save_model(folder, lambda aside: save_policy(policy, aside, model_history(self.prepared, step), weights))
        after = evaluator.evaluate_held_out("after")
        if before is not None and after is not None:
            say(write_results(folder, self.prepared, before, after, time.monotonic() - began))
            rates = {result.name: {domain: result.rate(domain) for domain in result.domains} for result in (before, after)}
            parts.tracker.summary({"evaluation": rates})
        parts.tracker.close()
        say(f"Trained model: {folder.model}")
        if parts.feedback.stopped_by is not None:
            say(f"Stopped at step {step}: {parts.feedback.stopped_by}")
            return COLLAPSED
        return SUCCESS

    # -- loading ------------------------------------------------------------------------------------------------------

    def _load(self) -> Policy:
        """The model, with what there is to say about it and the settings before and after."""
        config, model = self.config, self.prepared.model
        # Before anything of Hugging Face is imported: the run must look the same on a terminal and in a log.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        if os.path.isdir(model):  # bars are for downloads
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        plan = plan_load(
            model, training=True, load_in_4bit=config.load_in_4bit, lora_rank=config.lora_rank, backend=config.backend
        )
        limit = check_vllm(config, plan)
        if limit is not None:
            say(f"warning: {limit}")
        self._forecast_memory(plan)
        policy = load_policy(
            model,
            training=True,
            max_sequence_length=config.script_config().sequence_length,
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
        self._describe(policy)
        silence_libraries()  # not before: Unsloth must be the first to import transformers
        return policy

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

    def _describe(self, policy: Policy) -> None:
        """What was loaded and for which lengths, and what is doubtful about the settings."""
        from grpo_project.models.penalties import off_policy_warning  # not before the backend, which imports Unsloth first

        config = self.config
        for weakness in config.reward_config().weaknesses():
            say(f"warning: with these --reward_bands {weakness}")
        off_policy = off_policy_warning(config)
        if off_policy is not None:
            say(f"warning: {off_policy}")
        say(f"Backend: {policy.name}, because {policy.reason}")
        weights_in_all = sum(parameter.numel() for parameter in policy.model.parameters())
        say(f"Model: {config.base_model}, {weights_in_all / 1e6:.2f} M parameters, {policy.prompt_style} prompts")
        lengths = config.script_config()
        prompt, completion, whole = config.max_prompt_length, config.max_completion_length, lengths.sequence_length
        say(f"🔧 同步长度配置: prompt {prompt}, completion {completion}, 序列 {whole}")
        if lengths.warning():
            say(f"{lengths.warning()}: what is longer does not fit; lower one of the two, or use --length_allocation_strategy")

    # -- the run folder -----------------------------------------------------------------------------------------------

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

    # -- training -----------------------------------------------------------------------------------------------------

    def _train(self, parts: Assembly) -> None:
        """Every step, to the end or to where something stops it. Raises KeyboardInterrupt after Ctrl-C and SIGTERM."""
        checkpoint = self.prepared.checkpoint
        give_back = parts.monitor.catch_interrupts()
        try:
            parts.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            give_back()
            parts.monitor.close()
            if parts.monitor.interrupted or parts.diagnosis.stopped_by or sys.exc_info()[0] is not None:
                parts.tracker.close()
        if parts.monitor.interrupted:
            self.signal_number = parts.monitor.signal_number
            raise KeyboardInterrupt
