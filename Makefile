# `make` lists what there is. Python 3.11 or newer is all that `run`, `test` and `check` need; `up` needs Docker.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What `make run` needs: no tools.
RUNNER := .venv-run
# What `make bench` compares with, apart from what taskqueue needs.
PEERS := .venv-bench
SOURCES := shared services tests bench
# What `make image` calls the image.
IMAGE ?= taskqueue
DOCKER := $(shell docker version >/dev/null 2>&1 && echo yes)
UV_COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links

# Without its reaper, which can't be pulled everywhere (the fixtures clean up), and without guessing the host.
export TESTCONTAINERS_RYUK_DISABLED := true
export TESTCONTAINERS_HOST_OVERRIDE := 127.0.0.1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run up down key image test storm pictures simulate fuzz soak mutants bench bench-long check format images lock clean
# A failed recipe must not leave a half-made stamp.
.DELETE_ON_ERROR:

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNNER)/project.stamp ## API, worker and queue in one process on 127.0.0.1:8080, without Docker
	@$(RUNNER)/bin/taskqueue-embedded

up: ## start it all with Docker Compose, wait until healthy, print the address
	@deploy/compose-plugin
	@deploy/base-images python rabbitmq
	docker compose up --detach --build --wait || { docker compose logs --tail 20 migrate api worker; exit 1; }
	@echo "taskqueue is up: http://$$(docker compose port api 8080)"

down: ## stop what `make up` started; tasks stay (add -v by hand to delete them)
	docker compose down

key: ## make an admin's key, and write it: of what `make up` started, else of what `make run` keeps in data/
	@if docker compose exec -T api true 2>/dev/null; \
		then docker compose exec -T api taskqueue keys create --role admin --label "make key"; \
		else $(MAKE) --silent $(RUNNER)/project.stamp >&2 && $(RUNNER)/bin/taskqueue keys create --role admin --label "make key"; fi

image: ## build the image that those of projects of one's own begin with; IMAGE=taskqueue is its name
	@deploy/base-images python rabbitmq
	docker build --quiet --tag $(IMAGE) $$(sed -n 's/^PYTHON_IMAGE=/--build-arg &/p' .env 2>/dev/null) .

test: $(VENV)/project.stamp ## run all tests (those that need Docker or Chromium only where it is); ARGS="tests/unit -k relay"
ifeq ($(DOCKER),yes)
	@deploy/compose-plugin
	@deploy/base-images
else
	@echo "No Docker engine answers: the tests that need one can't run."
endif
	@deploy/chromium
	@deploy/debian-program prometheus prometheus promtool || echo "The tests that need Prometheus can't run."
	@deploy/debian-program nginx nginx || echo "The tests that need nginx can't run."
	@deploy/debian-program caddy caddy || echo "The tests that need Caddy can't run."
	$(BIN)/pytest --numprocesses 2 --no-loadscope-reorder $(ARGS)

storm: $(VENV)/project.stamp ## 20,000 tasks while something random breaks; STORM_SEED=N repeats one
	STORM_TASKS=20000 STORM_KILLS=30 $(BIN)/pytest -s tests/faults/test_storm.py

pictures: $(VENV)/project.stamp ## take the README's pictures of the dashboard anew
	@deploy/chromium
	PICTURES=docs/images $(BIN)/pytest tests/browser/test_pictures.py

fuzz: $(VENV)/project.stamp ## so many odd inputs at a running API and a worker's queue; INPUTS=1000000 SEED=N
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/project.stamp ## API, workers and RabbitMQ at half load for an hour: nothing may grow; MINUTES=60 ARGS=--write
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60) $(ARGS)

simulate: $(VENV)/project.stamp ## a whole taskqueue in virtual time while things go wrong: SEEDS=200, FROM=1
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) --from $(or $(FROM),1) $(ARGS)

mutants: $(VENV)/project.stamp ## take safeguards away, one by one, and see the fault suite notice
	$(BIN)/python -m tests.faults.mutants

bench: $(VENV)/project.stamp $(PEERS)/requirements.stamp ## compare with a floor and peers; ROUNDS=1 ONLY=floor,ours-10, BEFORE=ref
	@deploy/base-images rabbitmq
	$(BIN)/python -m bench --rounds $(or $(ROUNDS),5) --only "$(ONLY)" --before "$(BEFORE)" $(ARGS)

bench-long: override ARGS += --long
bench-long: bench ## the same, and with a store of 10,000,000 tasks

check: $(VENV)/project.stamp ## formatting, lint, types, import boundaries, declared dependencies
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry shared services
	$(BIN)/deptry --ignore DEP002,DEP004 tests bench

format: $(VENV)/project.stamp ## format the code and fix what lint can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

images: ## pull the base images, or build stand-ins where no registry answers
	@deploy/compose-plugin
	@deploy/base-images

lock: $(VENV)/project.stamp ## pin the requirements anew; ARGS=--upgrade takes newer versions
	$(BIN)/$(UV_COMPILE) $(ARGS) pyproject.toml -o requirements/image.txt
	$(BIN)/$(UV_COMPILE) $(ARGS) pyproject.toml --extra client --extra otel --extra dev -c requirements/image.txt -o requirements/dev.txt
	echo hatchling | $(BIN)/$(UV_COMPILE) $(ARGS) - -c requirements/dev.txt -o requirements/build.txt
	$(BIN)/$(UV_COMPILE) $(ARGS) bench/requirements.in -c requirements/dev.txt -o bench/requirements.txt

clean: ## remove the environment and all caches; data/ and .env stay
	rm -rf $(VENV) $(RUNNER) $(PEERS) dist \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/requirements.stamp: requirements/dev.txt
$(RUNNER)/requirements.stamp: requirements/image.txt requirements/build.txt
$(PEERS)/requirements.stamp: bench/requirements.txt

# An environment is made anew when its pinned requirements change, so that nothing stale stays in it.
%/requirements.stamp:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "taskqueue needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv);" \
			"name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $*
	$*/bin/pip install --quiet --require-hashes $(addprefix -r ,$^)
	@touch $@

%/project.stamp: pyproject.toml %/requirements.stamp
	$*/bin/pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@
