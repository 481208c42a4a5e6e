#!/usr/bin/env bash
# Before a training: clear W&B variables left over from another run, look at checkpoint and settings, tidy what crashes left.
#
#   source script/cleanup_before_training.sh            clears the variables of this shell, too (in a script, name an argument,
#                                                       such as --clean-only: without one it is handed the script's own)
#   script/cleanup_before_training.sh -- COMMAND ...    looks, tidies, and starts COMMAND without those variables
#   script/cleanup_before_training.sh --report-only     looks and changes nothing
#   script/cleanup_before_training.sh --clean-only      tidies and clears, without the report
#
# --checkpoint PATH (or RESUME_FROM_CHECKPOINT_DIR): checkpoint or run folder to look at; its run folder is tidied. --json: the
# report as JSON. A script cannot change the shell that called it: to clear the variables there, source it.
# Exit status: 0 healthy, 1 findings, 2 cannot run; after -- that of COMMAND.

_cleanup_variables() {
    local name
    for name in WANDB_RUN_ID WANDB_RESUME WANDB_RUN_GROUP WANDB_SERVICE; do
        if [ -n "${!name+set}" ]; then printf '%s\n' "$name"; fi
    done
}

_cleanup_main() {
    local root python report=1 clean=1 json=() checkpoint="${RESUME_FROM_CHECKPOINT_DIR:-}" run left status=0 found
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    python="$root/.venv/bin/python"
    [ -x "$python" ] || python=python3
    while [ $# -gt 0 ]; do
        case "$1" in
            -h | --help)
                sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
                return 0
                ;;
            --report-only) clean=0 ;;
            --clean-only) report=0 ;;
            --json) json=(--json) ;;
            --checkpoint)
                if [ $# -lt 2 ]; then
                    echo "cleanup_before_training.sh: --checkpoint needs a folder" >&2
                    return 2
                fi
                checkpoint="$2"
                shift
                ;;
            --) shift && break ;;
            *)
                echo "cleanup_before_training.sh: unknown argument $1 (--help lists them)" >&2
                return 2
                ;;
        esac
        shift
    done
    left="$(_cleanup_variables | tr '\n' ' ')"
    if [ -n "$left" ]; then
        if [ "$clean" = 1 ]; then
            [ ${#json[@]} -gt 0 ] || echo "cleared: $left"
            # shellcheck disable=SC2086
            unset $left
            if [ "$_CLEANUP_SOURCED" = 0 ] && [ $# -eq 0 ]; then
                echo "note: only for what this script starts; to clear them in your shell: source script/cleanup_before_training.sh" >&2
            fi
        elif [ ${#json[@]} -eq 0 ]; then
            echo "[environment] left over from another run: $left"
            echo "    fix: source script/cleanup_before_training.sh"
            status=1
        fi
    fi
    if [ "$checkpoint" = auto ]; then checkpoint=""; fi
    if [ "$clean" = 1 ] && [ -n "$checkpoint" ] && [ -d "$checkpoint" ]; then
        run="$checkpoint"
        case "$(basename "$checkpoint")" in checkpoint-*) run="$(dirname "$checkpoint")" ;; esac
        # Only what a crash left half written; such files are never read.
        find "$run" -maxdepth 1 \( -name '.checkpoint-*.partial' -o -name '.checkpoint-*.removing' -o -name '.model.partial' \) \
            -type d -print -exec rm -rf {} + | sed 's/^/removed: /'
        find "$run" -maxdepth 2 -name '.*.tmp' -type f -print -delete | sed 's/^/removed: /'
    fi
    if [ "$report" = 1 ]; then
        for found in torch transformers trl datasets; do
            "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$found') is None)" || {
                echo "[environment] Python package $found is not installed" >&2
                echo "    fix: script/setup_environment.sh" >&2
                status=1
            }
        done
        "$python" "$root/script/fix_resume_parameters.py" --report-only "${json[@]}" ${checkpoint:+--checkpoint "$checkpoint"}
        found=$?
        if [ "$found" -gt "$status" ]; then status=$found; fi
    fi
    if [ $# -gt 0 ]; then
        "$@"
        status=$?
    fi
    return "$status"
}

_CLEANUP_SOURCED=0
(return 0 2>/dev/null) && _CLEANUP_SOURCED=1
_cleanup_main "$@"
_CLEANUP_STATUS=$?
if [ "$_CLEANUP_SOURCED" = 1 ]; then
    unset -f _cleanup_main _cleanup_variables
    unset _CLEANUP_SOURCED
    return "$_CLEANUP_STATUS"
fi
exit "$_CLEANUP_STATUS"
