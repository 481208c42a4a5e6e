#!/usr/bin/env bash
# Makes .venv-environments for the second half of `make test-llm`: the package in environments/ and the frameworks that it is for, without
# torch. As script/setup_environment.sh, whose variables it takes, it leaves a finished set-up alone. About 1.3 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of the tools pytest alone.
export ENVIRONMENT=.venv-environments STACK=requirements-environments.txt TORCH=no TOOLS="$(grep -o '^pytest==[^ ]*' requirements-dev.txt)"
exec ./script/setup_environment.sh
