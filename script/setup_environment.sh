#!/usr/bin/env bash
# Makes .venv with the pinned requirements: the full Unsloth stack where CUDA is present, the CPU stack elsewhere.
# Run it as often as you like: a finished set-up with the same requirements is left alone.
# TORCH_INDEX_URL: an extra package index for torch (for example PyTorch's own, for a CPU build). PYTHON: the interpreter to use.
# ENVIRONMENT and STACK: another folder than .venv, another requirements file than the machine suggests. TOOLS: pip's arguments for
# what goes on top. UNWANTED: packages that come along and are taken out again.
set -Eeuo pipefail  # E: the trap below also hears of what fails in a function
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "setup: Python 3.11 or newer is needed; found: $("$python" --version 2>&1 || true). Set PYTHON=/path/to/python3.11." >&2
  exit 2
fi
environment=${ENVIRONMENT:-.venv}
if nvidia-smi >/dev/null 2>&1; then stack=requirements.txt; else stack=requirements-cpu.txt; fi
stack=${STACK:-$stack}
wanted="$stack $("$python" -c 'import platform; print(platform.python_version())') $(cat requirements*.txt requirements/*.txt | sha256sum)"
stamp=$environment/requirements.stamp
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "setup: installing $stack into $environment (the first time takes some minutes)"
if [ ! -x "$environment/bin/pip" ] && ! "$python" -m venv "$environment"; then
  echo "setup: '$python -m venv' failed. On Debian: apt-get install python3-venv" >&2
  exit 2
fi
trap 'echo "setup: $stack is not installed in $environment: pip says why above. The same command takes it up again." >&2; exit 2' ERR
pip() { "$environment/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
# torch first and pinned for all that follows: otherwise another package's range may replace it with a larger build.
torch=$(grep '^torch==' requirements/train.txt)
pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} "$torch"
pip install --constraint <(echo "$torch") -r "$stack" ${TOOLS--r requirements-dev.txt}
if [ "$stack" = requirements-cpu.txt ]; then  # beside it and for tests alone: accelerate imports deepspeed in every run that finds it
  pip install --upgrade --no-deps --target "$environment/deepspeed" -r requirements-zero.txt
fi
if [ -n "${UNWANTED:-}" ]; then pip uninstall --yes $UNWANTED; fi
# Written last: a killed set-up is taken up again.
echo "$wanted" > "$stamp"
