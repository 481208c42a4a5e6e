#!/usr/bin/env bash
# One command for a training that goes on by itself where it was: looks first, then trains; run it again after a crash.
#
#   script/run_enhanced_grpo_training.sh [flags of train_grpo_unsloth_stl_v2.py]
#
# Variables, with their defaults:
#   OUTPUT_DIR=outputs/enhanced-grpo   the run folder; where it holds a checkpoint, the newest good one is continued
#   RESUME_FROM_CHECKPOINT_DIR=        a certain checkpoint instead (its run folder is used, not OUTPUT_DIR)
#   LENGTH_ALLOCATION_STRATEGY=custom  balanced | completion_heavy | prompt_heavy share out MAX_SEQ_LENGTH; custom takes
#   MAX_SEQ_LENGTH=                    MAX_PROMPT_LENGTH and MAX_COMPLETION_LENGTH, where they are given
#   MAX_PROMPT_LENGTH= MAX_COMPLETION_LENGTH=
#   WANDB_PROJECT= WANDB_ENTITY= CUDA_VISIBLE_DEVICES= PYTORCH_CUDA_ALLOC_CONF=    as W&B, CUDA and PyTorch read them
# Flags are stronger than variables. WANDB_RUN_ID and WANDB_RESUME are set by the training itself, from the checkpoint.

set -euo pipefail
if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3

case "${LENGTH_ALLOCATION_STRATEGY:=custom}" in
    custom) ;;
    balanced | completion_heavy | prompt_heavy)
        if [ -z "${MAX_SEQ_LENGTH:-}" ]; then
            if [ -z "${MAX_PROMPT_LENGTH:-}" ] || [ -z "${MAX_COMPLETION_LENGTH:-}" ]; then
                echo "run_enhanced_grpo_training.sh: LENGTH_ALLOCATION_STRATEGY=$LENGTH_ALLOCATION_STRATEGY needs MAX_SEQ_LENGTH" >&2
                exit 2
            fi
            MAX_SEQ_LENGTH=$((MAX_PROMPT_LENGTH + MAX_COMPLETION_LENGTH))
        fi
        export MAX_SEQ_LENGTH
        unset MAX_PROMPT_LENGTH MAX_COMPLETION_LENGTH # the strategy decides both
        ;;
    *)
        echo "run_enhanced_grpo_training.sh: LENGTH_ALLOCATION_STRATEGY must be balanced, completion_heavy, prompt_heavy or custom," \
            "got '$LENGTH_ALLOCATION_STRATEGY'" >&2
        exit 2
        ;;
esac
export LENGTH_ALLOCATION_STRATEGY

place=()
if [ -z "${RESUME_FROM_CHECKPOINT_DIR:-}" ]; then
    unset RESUME_FROM_CHECKPOINT_DIR
    place=(--output_dir "${OUTPUT_DIR:-outputs/enhanced-grpo}" --resume_from_checkpoint auto)
    if [ -d "${OUTPUT_DIR:-outputs/enhanced-grpo}" ]; then
        look=(--checkpoint "${OUTPUT_DIR:-outputs/enhanced-grpo}")
    fi
else
    export RESUME_FROM_CHECKPOINT_DIR
fi
echo "🔧 运行断续训练检查...  # checking the run before it is continued"
# A finding is no reason not to train: what would make the run another one is refused by the training itself.
"$root/script/cleanup_before_training.sh" --report-only "${look[@]+"${look[@]}"}" || true
exec "$python" "$root/script/train_grpo_unsloth_stl_v2.py" "${place[@]+"${place[@]}"}" "$@"
