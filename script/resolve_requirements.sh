#!/usr/bin/env bash
# Whether pip can satisfy all pins of requirements.txt at once: a dry run, which installs nothing but fetches what has no metadata of
# its own, and takes minutes. Shows what it would take of the packages that must fit each other. Status 1 where it cannot.
# PYTHON: the interpreter to ask.
set -euo pipefail
cd "$(dirname "$0")/.."

report=$(mktemp)
trap 'rm -f "$report"' EXIT
"${PYTHON:-python3}" -m pip --disable-pip-version-check --quiet install --dry-run --ignore-installed --report "$report" -r "${1:-requirements.txt}"
"${PYTHON:-python3}" - "$report" <<'PYTHON'
import json
import sys

found = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in json.load(open(sys.argv[1]))["install"]}
print(f"{len(found)} packages fit each other:")
for name in ("torch", "torchvision", "xformers", "triton", "transformers", "trl", "unsloth", "unsloth_zoo", "bitsandbytes"):
    print(f"  {name} {found.get(name, 'is not among them')}")
PYTHON
