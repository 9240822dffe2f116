.PHONY: check test slow bench

check:            ## style, types, import arrows
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:             ## what CI runs
	pytest

slow:             ## minutes of training: the README's figures, kill -9
	pytest -m "slow"

bench:            ## beside TRL, in alternation (pip install -e ".[peers]")
	python -m benchmarks.perf grpo
