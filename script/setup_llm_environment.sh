#!/usr/bin/env bash
# Makes .venv-llm for `make test-llm`: Unsloth and what it needs beside a torch for the CPU, with the pins of requirements-llm.txt.
# As script/setup_environment.sh, whose variables it takes, it leaves a finished set-up alone. About 3 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

# Unsloth brings the unwanted along: builds for CUDA, which do not load beside a torch for the CPU, and which nothing here uses.
export ENVIRONMENT=.venv-llm STACK=requirements-llm.txt UNWANTED="torchvision torchaudio xformers"
exec ./script/setup_environment.sh
