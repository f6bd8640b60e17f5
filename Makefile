# Every target installs what it needs first, into .venv here and nowhere else.
# PYTHON=...  the interpreter for .venv (3.11 or newer)
# ARGS=...    more arguments for pytest:  make test ARGS='-k money -x'

.DEFAULT_GOAL := help
.PHONY: help install run test test-fast check chaos chaos-brokers fuzz soak model bench docs codec compile lock clean
MAKEFLAGS += --no-print-directory

# The first interpreter that is new enough; deploy/build/install.py says what is missing if none is.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit; done; echo python3)
VENV_PYTHON := .venv/bin/python

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

install: ## create .venv with every package pinned (quick if nothing changed)
	@command -v "$(PYTHON)" >/dev/null || { echo "missing: Python 3.11 or newer. Debian:" \
		"sudo apt-get install -y python3 python3-venv; macOS: brew install python@3.13" >&2; exit 2; }
	@exec "$(PYTHON)" deploy/build/install.py

run: install ## start Kafka, Redis and two processors, and show orders become facts (KEEP=1, CSV=path)
	@exec $(VENV_PYTHON) -m deploy.demo.demo $(if $(filter-out 0 no,$(KEEP)),--keep) $${CSV:+--csv "$$CSV"}

chaos: install ## break everything while events flow, then compare (SECONDS=600, EVENTS=, SEED= repeats a run, ONLY=)
	@exec $(VENV_PYTHON) -m tests.chaos.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(EVENTS),--events $(EVENTS)) $(if $(ONLY),--only $(ONLY))

chaos-brokers: install ## the same on three Kafka brokers, killed or frozen one by one (SECONDS=, SEED=)
	@exec $(VENV_PYTHON) -m tests.chaos.run --brokers 3 $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

fuzz: install ## send hostile records through decode, parse, fold, encode (SECONDS=300, SEED= repeats the start of a run)
	@exec $(VENV_PYTHON) -m tests.fuzz.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(LIMIT_MS),--limit-ms $(LIMIT_MS))

model: install ## play random plans of start, recovery and growth (SECONDS=600, SEED= repeats a run, PLAN= plays one again)
	@exec $(VENV_PYTHON) -m tests.model.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(PLAN),--plan '$(PLAN)')

soak: install ## process events for a long time, and look for growth (SECONDS=1800, RATE=500 events a second, SEED=)
	@exec $(VENV_PYTHON) -m tests.soak.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(SEED),--seed $(SEED))

bench: install ## measure it beside other programs for the same job (EVENTS=, REPEAT=, ONLY=, PROGRAMS=, LARGE=1, OUTPUT=)
	@exec $(VENV_PYTHON) -m tests.benchmarks $(if $(EVENTS),--events $(EVENTS)) $(if $(REPEAT),--repeat $(REPEAT)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(PROGRAMS),--programs $(PROGRAMS)) $(if $(OUTPUT),--output $(OUTPUT)) \
		$(if $(filter-out 0 no,$(LARGE)),--large)

test: WORKERS ?= 3
test: install ## run all tests on real services (ARGS= for pytest, WORKERS= processes at once)
	@exec $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: WORKERS ?= auto
test-fast: install ## run the tests that need no services and are not long by design (also ARGS=, WORKERS=)
	@exec $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist worksteal -m 'not services and not slow' \
		--hypothesis-profile fast --timeout 15 $(ARGS)

check: install ## check lint, format, types, layers, and the tables in the documents
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-logo
	@$(VENV_PYTHON) -m deploy.build.docs --check

docs: install ## write the tables in the documents from the code
	@exec $(VENV_PYTHON) -m deploy.build.docs

codec: install ## generate the codec of the newest schemas (after a change in schemas/)
	@exec $(VENV_PYTHON) -m deploy.build.codegen

compile: install ## compile the hot modules into a copy of the program (optional; needs a C compiler)
	@exec $(VENV_PYTHON) -m deploy.build.compiled

lock: ## resolve requirements.txt again from pyproject.toml (needs uv; UPGRADE=1 takes the newest versions)
	@command -v uv >/dev/null || { echo "missing: uv. Anywhere: python3 -m pip install --user uv;" \
		"macOS: brew install uv" >&2; exit 2; }
	@exec uv --quiet pip compile pyproject.toml --extra phones --group dev --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' $${UPGRADE:+--upgrade} --output-file requirements.txt >/dev/null

clean: ## remove everything built or downloaded, .venv included
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
