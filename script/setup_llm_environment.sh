#!/usr/bin/env bash
# Makes .venv-llm for `make test-llm`: Unsloth and what it needs beside a torch for the CPU, with the pins of requirements-llm.txt.
# As script/setup_environment.sh, whose variables it takes, it leaves a finished set-up alone. About 3 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

ENVIRONMENT=.venv-llm STACK=requirements-llm.txt ./script/setup_environment.sh
# Unsloth brings them along: builds for CUDA, which do not load beside a torch for the CPU, and which nothing here uses.
for package in torchvision torchaudio xformers; do
  if compgen -G ".venv-llm/lib/python3*/site-packages/$package" >/dev/null; then
    .venv-llm/bin/python -m pip --disable-pip-version-check --quiet uninstall --yes "$package"
  fi
done
