# Every target installs what it needs first, into .venv here and nowhere else.
# PYTHON=...  the interpreter for .venv (3.11 or newer)
# ARGS=...    more arguments for pytest:  make test ARGS='-k money -x'

.DEFAULT_GOAL := help
.PHONY: help install run test test-fast check chaos chaos-brokers widen-drill fuzz soak model bench docs codec compile wheel lock clean \
	image image-test rollouts stand-ins up down kubernetes-check observability-test drill
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

run: install ## start Kafka, Redis and two processors, and show orders become facts (KEEP=1, CSV=path, REGISTRY=1)
	@exec $(VENV_PYTHON) -m deploy.demo.demo $(if $(filter-out 0 no,$(KEEP)),--keep) $(if $(filter-out 0 no,$(REGISTRY)),--registry) $${CSV:+--csv "$$CSV"}

chaos: install ## break all while events flow, then compare (SECONDS=600, EVENTS=, SEED= repeats, ONLY=, REDIS=, REGISTRY=, LOGS=file)
	@exec $(VENV_PYTHON) -m tests.chaos.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(EVENTS),--events $(EVENTS)) $(if $(ONLY),--only $(ONLY)) $(if $(LOGS),--logs $(LOGS)) \
		$(if $(REDIS),--redis $(REDIS)) $(if $(REGISTRY),--$(if $(filter 0 no,$(REGISTRY)),no-)registry)

chaos-brokers: install ## the same on three Kafka brokers, killed or frozen one by one (SECONDS=, SEED=)
	@exec $(VENV_PYTHON) -m tests.chaos.run --brokers 3 $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

widen-drill: install ## widen a topic from 6 to 24 partitions under load, with kills, then verify across (SECONDS=120, RATE=, BACKLOG=, SEED=)
	@exec $(VENV_PYTHON) -m tests.chaos.widen_drill $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(BACKLOG),--backlog $(BACKLOG)) $(if $(SEED),--seed $(SEED))

fuzz: install ## send hostile records through decode, parse, fold, encode (SECONDS=300, SEED= repeats the start of a run)
	@exec $(VENV_PYTHON) -m tests.fuzz.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(LIMIT_MS),--limit-ms $(LIMIT_MS))

model: install ## play random plans of start, recovery and growth (SECONDS=600, SEED= repeats a run, PLAN= plays one again)
	@exec $(VENV_PYTHON) -m tests.model.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(PLAN),--plan '$(PLAN)')

soak: install ## process events for a long time, and look for growth (SECONDS=1800, RATE=500 events a second, SEED=)
	@exec $(VENV_PYTHON) -m tests.soak.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(SEED),--seed $(SEED))

bench: install ## measure it beside other programs for the same job (EVENTS=, REPEAT=, ONLY=, PROGRAMS=, CONTACTS=, LARGE=1, OUTPUT=)
	@exec $(VENV_PYTHON) -m tests.benchmarks $(if $(EVENTS),--events $(EVENTS)) $(if $(REPEAT),--repeat $(REPEAT)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(PROGRAMS),--programs $(PROGRAMS)) $(if $(OUTPUT),--output $(OUTPUT)) \
		$(if $(CONTACTS),--indexed $(CONTACTS)) $(if $(filter-out 0 no,$(LARGE)),--large)

test: WORKERS ?= 4
test: install ## run all tests on real services (ARGS= for pytest, WORKERS= processes at once)
	@exec $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: WORKERS ?= auto
test-fast: install ## run the tests that need no services and are not long by design (also ARGS=, WORKERS=)
	@exec $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist worksteal -m 'not services and not slow' \
		--hypothesis-profile fast --timeout 15 $(ARGS)

check: install ## check lint, format, types, layers, the tables in the documents, schemas/asyncapi.yaml, deploy/kubernetes/
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-logo
	@$(VENV_PYTHON) -m deploy.build.docs --check
	@$(VENV_PYTHON) -m deploy.build.asyncapi
	@$(VENV_PYTHON) -m deploy.build.strimzi --check
	@$(VENV_PYTHON) -m deploy.build.picture --check
	@$(VENV_PYTHON) -m deploy.build.log_schema --check
	@$(VENV_PYTHON) -m deploy.build.kubernetes
	@$(VENV_PYTHON) -m deploy.build.observability --check

observability-test: install ## prove dashboards, rules, queries on a real Prometheus, VictoriaLogs, lnav (SECONDS=120, SEED=, KEEP=, LOKI=1)
	@exec $(VENV_PYTHON) -m tests.observability.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(KEEP),--keep $(KEEP)) $(if $(filter-out 0 no,$(LOKI)),--loki)

drill: install ## bring about ten faults, and see which alert fires, when, and what `watch` shows (FACTOR=10, ONLY=, KEEP=folder)
	@exec $(VENV_PYTHON) -m tests.observability.drill $(if $(FACTOR),--factor $(FACTOR)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(KEEP),--keep $(KEEP))

kubernetes-check: install ## render each overlay of deploy/kubernetes/ and check it (needs kubectl)
	@command -v kubectl >/dev/null || { echo "missing: kubectl (kubernetes.io/docs/tasks/tools)" >&2; exit 2; }
	@for overlay in deploy/kubernetes/overlays/*/; do echo "$$overlay"; \
		kubectl kustomize "$$overlay" | $(VENV_PYTHON) -m deploy.build.kubernetes --rendered || exit; done

docs: install ## write the tables in the documents, the picture of `watch`, Strimzi's files, the log lines' schema
	@$(VENV_PYTHON) -m deploy.build.docs
	@$(VENV_PYTHON) -m deploy.build.observability
	@$(VENV_PYTHON) -m deploy.build.strimzi
	@$(VENV_PYTHON) -m deploy.build.log_schema
	@exec $(VENV_PYTHON) -m deploy.build.picture

codec: install ## generate the codec of the newest schemas (after a change in schemas/)
	@exec $(VENV_PYTHON) -m deploy.build.codegen

compile: install ## compile the hot modules into a copy of the program (optional; needs a C compiler)
	@exec $(VENV_PYTHON) -m deploy.build.compiled

wheel: install ## build both wheels into dist/, pure and compiled, and try them (needs a C compiler; ONLY=pure|compiled)
	@exec $(VENV_PYTHON) -m deploy.build.wheels $(if $(ONLY),--only $(ONLY))

image: install ## build the container image twice and compare (BASE=, BUILD_BASE=, PIP_CONF=, CA=, ONCE=1, COMMIT=; needs Docker)
	@exec $(VENV_PYTHON) -m deploy.image.build $(if $(BASE),--base $(BASE)) $(if $(BUILD_BASE),--build-base $(BUILD_BASE)) \
		$(if $(PIP_CONF),--pip-conf $(PIP_CONF)) $(if $(CA),--ca $(CA)) $(if $(filter-out 0 no,$(ONCE)),--once) \
		$(if $(COMMIT),--commit $(COMMIT))

image-test: install ## try the image: read-only, without rights, stopped (IMAGE=, KAFKA_IMAGE=, VALKEY_IMAGE=; needs Docker)
	@exec $(VENV_PYTHON) -m deploy.image.trying $(if $(IMAGE),--image $(IMAGE)) \
		$(if $(KAFKA_IMAGE),--kafka $(KAFKA_IMAGE)) $(if $(VALKEY_IMAGE),--valkey $(VALKEY_IMAGE))

rollouts: install ## roll out, scale and kill containers while events flow, then compare (IMAGE=, PREVIOUS=, RATE=, ONLY=; needs Docker)
	@exec $(VENV_PYTHON) -m tests.rollouts.run $(if $(IMAGE),--image $(IMAGE)) $(if $(PREVIOUS),--previous $(PREVIOUS)) \
		$(if $(KAFKA_IMAGE),--kafka $(KAFKA_IMAGE)) $(if $(VALKEY_IMAGE),--valkey $(VALKEY_IMAGE)) \
		$(if $(RATE),--rate $(RATE)) $(if $(ONLY),--only $(ONLY))

stand-ins: install ## make images for trying from Debian's packages, where no image registry can be reached (needs root)
	@exec $(VENV_PYTHON) -m deploy.image.stand_ins.build

up: install ## start Kafka, Redis, two replicas, index and healer as containers, with data (IMAGE=, KAFKA_IMAGE=, VALKEY_IMAGE=)
	@exec $(VENV_PYTHON) -m deploy.compose.up

down: ## remove what `make up` started, volumes too
	@exec docker compose --file deploy/compose/compose.yaml --profile observability down --volumes --remove-orphans

COMPILE_LOCK = uv --quiet pip compile pyproject.toml --extra phones --extra segments --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	$${UPGRADE:+--upgrade}

lock: ## resolve the three locks again from pyproject.toml (needs uv; UPGRADE=1 takes the newest versions)
	@command -v uv >/dev/null || { echo "missing: uv. Anywhere: python3 -m pip install --user uv;" \
		"macOS: brew install uv" >&2; exit 2; }
	@$(COMPILE_LOCK) --group dev --output-file requirements.txt >/dev/null
	@$(COMPILE_LOCK) --constraints requirements.txt --output-file deploy/image/requirements.txt >/dev/null
	@$(COMPILE_LOCK) --constraints requirements.txt --group image --output-file deploy/image/requirements-build.txt >/dev/null

clean: ## remove everything built or downloaded, .venv included
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
