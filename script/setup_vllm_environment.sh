#!/usr/bin/env bash
# Makes .venv-vllm for `make test-vllm`: vLLM's build for the CPU with the pin of requirements-vllm.txt, and no tools of ours: it only
# serves. As script/setup_environment.sh, whose variables it takes, it leaves a finished set-up alone. About 3.5 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

# vLLM brings the unwanted along. PyPI's torchvision does not load beside this torch (operator torchvision::nms does not exist), and a
# language model needs none of the three.
export ENVIRONMENT=.venv-vllm STACK=requirements-vllm.txt TOOLS= UNWANTED="torchvision torchaudio torchcodec"
exec ./script/setup_environment.sh
