#!/usr/bin/env bash
# Makes .venv-environments for the second half of `make test-llm`: the package in environments/, and the frameworks that it is for in the
# environments that they fit into: verifiers wants openai 2 and mcp 2, Inspect openai 3, OpenEnv mcp 1, verl transformers below 5.11. About
# 2.5 GB. Run it as often as you like: a finished set-up with the same requirements is left alone.
# PYTHON: the interpreter to use. TORCH_INDEX_URL: an extra package index for torch.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

home=.venv-environments stamp=.venv-environments/requirements.stamp
wanted=$(cat requirements-environments.txt requirements-dev.txt requirements/train.txt pyproject.toml environments/pyproject.toml | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "setup: installing environments/ and its frameworks into $home"
trap 'echo "setup: $home is not finished: what failed says why above. The same command takes it up again." >&2; exit 2' ERR
"${PYTHON:-python3}" -m venv "$home"
pip() { "$home/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install -r requirements-environments.txt
pytest=$(grep -o '^pytest==[^ ]*' requirements-dev.txt) torch=$(grep -o '^torch==[^ ]*' requirements/train.txt)
for extras in verifiers lm-eval,inspect,openenv verl; do
  environment=$home/${extras%%,*}
  "$home/bin/uv" venv --quiet --clear --python "$home/bin/python" "$environment"
  wants=("$pytest")
  if [ "$extras" = verl ]; then  # pip knows of a torch for the CPU where setup_environment.sh does; uv would take the one for CUDA
    pip --python "$environment/bin/python" install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} "$torch"
    wants+=("$torch")
  fi
  "$home/bin/uv" pip install --quiet --python "$environment/bin/python" -e . -e "./environments[$extras]" "${wants[@]}"
done
# Written last: a killed set-up is taken up again.
echo "$wanted" > "$stamp"
