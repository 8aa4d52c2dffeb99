# One verb each. With Python 3.11+ and make: `make up` and `make test` are all a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
SEED ?= 1
RUNS ?= 5
ENGINES ?= embedded

.PHONY: setup up test check bench torture servers lock format clean

setup: $(VENV)/.ready

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv

$(VENV)/.ready: requirements.lock pyproject.toml client/pyproject.toml | $(filter .tools/bin/uv,$(UV))
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps -e client -e .
	touch $@

up: setup
	$(BIN)/heliograph up $(ARGS)

test: setup
	$(BIN)/python -m tests.servers fetch
	$(BIN)/pytest --numprocesses=2 --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m bench $(ARGS)

torture: setup
	$(BIN)/python -m tests.oracle --seed $(SEED) --runs $(RUNS) --engines $(ENGINES)

servers: setup
	$(BIN)/python -m tests.servers $(ARGS)

lock: | $(filter .tools/bin/uv,$(UV))
	$(UV) pip compile --quiet pyproject.toml client/pyproject.toml --group dev --universal --generate-hashes \
		--no-emit-package heliograph --no-emit-package heliograph-platform -o requirements.lock

clean:
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
