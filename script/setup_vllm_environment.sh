#!/usr/bin/env bash
# Makes .venv-vllm for `make test-vllm`: vLLM's build for the CPU with the pin of requirements-vllm.txt, and beside it what training
# needs, which TRL's colocate mode runs in one process with it. As script/setup_environment.sh, whose variables it takes, it leaves a
# finished set-up alone. About 3.8 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

# numpy is left to vLLM, whose mistral_common wants an older one than our pin.
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
grep -v '^numpy' requirements/train.txt > "$pins"

# vLLM brings the unwanted along. PyPI's torchvision does not load beside this torch (operator torchvision::nms does not exist), and a
# language model needs none of the three.
export ENVIRONMENT=.venv-vllm STACK=requirements-vllm.txt TOOLS="-r $pins" UNWANTED="torchvision torchaudio torchcodec"
./script/setup_environment.sh
