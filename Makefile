.PHONY: help setup train test test-llm test-vllm check data bench bench-curriculum

help:   ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup:  ## .venv with the pinned requirements
	@./script/setup_environment.sh

train: setup  ## teach the shipped planner and show what it learned
	.venv/bin/python script/train_grpo_unsloth_stl_v2.py --data_root data/four_domain

test: setup  ## all tests that need no GPU
	.venv/bin/python -m pytest -n auto --dist worksteal -m "not gpu and not llm and not vllm"

test-llm:  ## Unsloth's own trainer on a CPU, in .venv-llm (3 GB); other frameworks, in .venv-environments (2.5 GB)
	@./script/setup_llm_environment.sh
	.venv-llm/bin/python -m pytest -n auto --dist worksteal tests/llm -m llm
	@./script/setup_frameworks.sh
	.venv-environments/verifiers/bin/python -m pytest tests/environments/test_verifiers.py -m llm
	.venv-environments/lm-eval/bin/python -m pytest tests/environments/test_same_verdicts.py tests/environments/test_openenv.py -m llm
	.venv-environments/verl/bin/python -m pytest tests/environments/test_verl.py -m llm

test-vllm: setup  ## a real vLLM on a CPU, as a server and in training, from .venv-vllm (3.8 GB, so not in CI)
	@./script/setup_vllm_environment.sh
	.venv/bin/python -m pytest tests/vllm_server -m vllm

check: setup  ## format, lint, types, fast tests
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/python -m pytest -n auto -m "not slow and not gpu and not llm and not vllm"

data: setup  ## the shipped problems once more
	.venv/bin/python script/generate_data.py --domains blocksworld ferry grippers spanner --count 500 --seed 11 --split train --out data/four_domain
	.venv/bin/python script/generate_data.py --count 200 --seed 12 --split test --out data/test
	.venv/bin/python script/generate_data.py --count 200 --seed 12 --split test --names any --no_prompt --out data/test_renamed
	.venv/bin/python script/generate_data.py --count 200 --seed 13 --split test --sizes harder --out data/test_harder
	.venv/bin/python script/generate_data.py --count 200 --seed 17 --split test --sizes far --plans policy --no_prompt --out data/test_far
	.venv/bin/python script/generate_data.py --count 200 --seed 14 --split test --no-constraints --sizes l=3-7 --no_prompt --out data/test_unconstrained
	.venv/bin/python script/generate_data.py --domains elevator --count 400 --seed 15 --split test --constraints_share 0.5 --no_prompt --out data/test_held_out_domain
	.venv/bin/python script/obfuscate_data.py --data_root data/test --seed 16 --out data/test_obfuscated

bench: setup  ## where a training step's time goes, and how fast the validator is
	.venv/bin/python script/bench.py

LADDER = script/generate_data.py --domains blocksworld ferry grippers spanner --plans policy --constraints_share 0.5 --names drawn --no_prompt
ARMS = uniform step frontier adaptive docs/curricula.py:ladder docs/curricula.py:small_alone docs/curricula.py:reversed_ladder
LADDER_RUN = --base_model data/models/any-names-planner --test_data outputs/ladder_test --difficulty_bands scores --max_steps 120 \
	--batch_size 32 --learning_rate 3e-4 --lr_scheduler constant --warmup_steps 5 --max_prompt_length 384 --max_completion_length 192
COMPARE = script/compare_curricula.py --eval_every 40 --eval_problems 24 --final_problems 100 --curricula $(ARMS)
bench-curriculum: setup  ## which curriculum reaches larger problems: many hours, goes on where it was stopped (docs/curriculum.md)
	.venv/bin/python $(LADDER) --count 400 --seed 31 --sizes small-harder --out outputs/ladder
	.venv/bin/python $(LADDER) --count 200 --seed 33 --sizes small --out outputs/ladder_small
	.venv/bin/python $(LADDER) --count 200 --seed 34 --sizes harder --out outputs/ladder_harder
	.venv/bin/python $(LADDER) --count 100 --seed 32 --sizes small-harder --split test --out outputs/ladder_test
	mkdir -p outputs/ladder_gap && for file in outputs/ladder_small/*.jsonl; do \
	    cat $$file outputs/ladder_harder/$$(basename $$file) > outputs/ladder_gap/$$(basename $$file); done
	.venv/bin/python $(COMPARE) --out outputs/ladder_runs --evidence docs/ladder_evidence.json -- $(LADDER_RUN) --data_root outputs/ladder
	.venv/bin/python $(COMPARE) --out outputs/ladder_gap_runs --evidence docs/ladder_gap_evidence.json -- $(LADDER_RUN) --data_root outputs/ladder_gap
