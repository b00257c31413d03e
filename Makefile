# Everything runs from .venv, which `make install` builds from the hash-locked requirements.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

BIN := .venv/bin
INSTALLED := .venv/.installed
CLIENTS := tests/e2e/clients
CLIENTS_INSTALLED := $(CLIENTS)/node_modules/.installed
MORE_CLIENTS := tests/e2e/more_clients
MORE_CLIENTS_INSTALLED := $(MORE_CLIENTS)/node_modules/.installed
CLIENT_VENVS := aider litellm sdks
LOCK_FLAGS := --quiet --upgrade --universal --generate-hashes --no-emit-index-url
SOURCES := workflows protocols activities worker gateway tests benchmarks

# The first interpreter on PATH that is new enough; `make install PYTHON=...` overrides it.
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; \
	done)

# The duration of `make fuzz`.
MINUTES ?= 60

# The repetitions of `make crash`.
ROUNDS ?= 1

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

# The lock lists every package, so pip must not resolve anything (--no-deps): for a requirement with
# an extra it would choose the newest release, and then refuse it because its hash is not listed.
.PHONY: install
install: $(INSTALLED) ## Build .venv with Polyvox and its development tools

$(INSTALLED): pyproject.toml requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer on PATH. Install one, or name it: make install PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: up
up: install ## Start engine, worker and gateway
	$(BIN)/polyvox up

.PHONY: demo
demo: install ## Ask a fusion model over the simulator and show its trace
	$(BIN)/polyvox demo

.PHONY: engine
engine: install ## Download or build the Temporal engine, if it is missing
	$(BIN)/polyvox engine install

.PHONY: check
check: lint test ## Run everything that must pass before a commit

.PHONY: lint
lint: install ## Check formatting, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: test
test: engine ## Run all tests except the end-to-end ones, one process for each core
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: fuzz
fuzz: engine ## Send malformed requests to every route and decode malformed streams, for MINUTES (60)
	$(BIN)/python -m tests.fuzz $(MINUTES)

.PHONY: nightly
nightly: ## Run what takes too long for every commit: ten minutes of fuzzing, then all attacks
	$(MAKE) fuzz MINUTES=10
	$(BIN)/pytest tests/attack

.PHONY: clients-install
clients-install: $(CLIENTS_INSTALLED) $(MORE_CLIENTS_INSTALLED) $(CLIENT_VENVS:%=.clients/%/.installed) ## Download all clients of the matrix (2.4 GB)

# The agents are native programs: Node only downloads them, so its version does not matter. Clients
# that run on Node have their own.
$(CLIENTS_INSTALLED) $(MORE_CLIENTS_INSTALLED): %/node_modules/.installed: %/package.json %/package-lock.json
	@command -v npm >/dev/null || { echo "npm is not on PATH. The end-to-end tests need it to download the coding agents: install Node.js." >&2; exit 1; }
	cd $* && npm ci --ignore-scripts --no-progress --loglevel=error
	touch $@

.clients/%/.installed: $(MORE_CLIENTS)/%.txt | $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .clients/$*
	$(BIN)/uv pip sync --quiet --require-hashes --python .clients/$*/bin/python $<
	touch $@

.PHONY: e2e
e2e: engine $(CLIENTS_INSTALLED) ## Test the gateway with real coding agents
	$(BIN)/pytest -m e2e tests/e2e

.PHONY: clients
clients: engine clients-install ## Test all clients with all protocols and providers (ONLY=codex,cline/chat)
	$(BIN)/python -m tests.e2e.matrix --only "$(ONLY)"

.PHONY: cluster
cluster: engine ## Start the topology of docker-compose.yaml as processes of this machine
	$(BIN)/python -m tests.cluster

.PHONY: cluster-test
cluster-test: engine ## Test that topology: restarts and kills under load (PostgreSQL, HAProxy and Go needed)
	$(BIN)/pytest -m cluster tests/cluster tests/gateway/test_roles.py

.PHONY: bench
bench: engine ## Measure the gateway against direct calls
	$(BIN)/python -m benchmarks

.PHONY: attack
attack: engine ## Measure how long each flood stops another client's stream
	$(BIN)/python -m tests.attack.figures

.PHONY: crash
crash: engine ## Kill each process at each point of a run and print what survives (ONLY=, ROUNDS=1)
	$(BIN)/python -m tests.crash --only "$(ONLY)" --rounds $(ROUNDS) --json crash.json

.PHONY: docs
docs: install ## Generate docs/protocols.md and docs/reference.md from the code
	$(BIN)/python -m polyvox.protocols.coverage.page > docs/protocols.md
	$(BIN)/python -m tests.reference_page > docs/reference.md

.PHONY: lock
lock: install ## Update the hash-locked requirements to the newest versions
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile $(LOCK_FLAGS) --output-file requirements.txt pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile $(LOCK_FLAGS) --output-file requirements-dev.txt --extra dev --constraints requirements.txt pyproject.toml

.PHONY: lock-clients
lock-clients: install ## Update the locks of the clients at their pinned versions
	for name in $(CLIENT_VENVS); do UV_CUSTOM_COMPILE_COMMAND="make lock-clients" $(BIN)/uv pip compile $(LOCK_FLAGS) --python-version 3.11 --output-file $(MORE_CLIENTS)/$$name.txt $(MORE_CLIENTS)/$$name.in || exit 1; done
	for folder in $(CLIENTS) $(MORE_CLIENTS); do (cd $$folder && npm install --package-lock-only --ignore-scripts --no-progress --loglevel=error) || exit 1; done

.PHONY: clean
clean: ## Remove .venv and everything built or cached
	rm -rf .venv .clients $(CLIENTS)/node_modules $(MORE_CLIENTS)/node_modules dist build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -type d -name __pycache__ -prune -exec rm -rf {} +
