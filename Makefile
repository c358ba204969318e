# The commands that people and CI use. `make demo` and `make test` are all a newcomer needs.
VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
DATA ?=
CARD ?=
export OMP_NUM_THREADS ?= 1

.PHONY: setup setup-test demo test test-slow check format docs bench bench-generators bench-evaluator bench-leaks bench-log bench-traces bench-streaming bench-networks bench-jobs clean

setup: $(VENV)/.installed

$(VENV)/.installed: constraints.txt pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: $(PYTHON) was not found"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

setup-test: $(VENV)/.installed-test

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: setup
	$(BIN)/ticketgate demo $(if $(DATA),--data $(DATA)) $(if $(CARD),--card $(CARD))

test: setup-test
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile

test-slow: setup-test
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile

check: setup-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r policies generator evaluator gateway
	$(BIN)/python -m tests.architecture.generated_docs --check

format: setup-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup-test
	$(BIN)/python -m tests.architecture.generated_docs --write

bench: bench-generators bench-evaluator bench-log bench-jobs

bench-generators: setup-test
	$(BIN)/python -m tests.bench.generators --peers

bench-evaluator: setup-test
	$(BIN)/python -m tests.bench.evaluator

bench-leaks: setup-test
	$(BIN)/python tests/adversarial/leaks.py --out docs/reference/leak-matrix.md --seeds 3 --splits 200

bench-log: setup-test
	$(BIN)/python -m tests.bench.audit

bench-traces: setup-test
	$(BIN)/python -m tests.bench.trace
	$(BIN)/python -m tests.bench.leaks

bench-streaming: setup-test
	$(BIN)/python -m tests.bench.streaming

bench-networks: setup-test
	$(BIN)/python -m tests.bench.networks --peers

bench-jobs: setup-test
	$(BIN)/python -m tests.bench.jobs

clean:
	rm -rf $(VENV) build *.egg-info
