.POSIX:
.PHONY: help run test-quick test test-all test-root test-faults bench bench-quick lint format up down logs docs lock clean docker

PYTHON = .venv/bin/python
UV = uv
# The tests start hundreds of processes: each would compile our sources again.
PYTEST = PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest --dist worksteal
COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	--no-emit-index-url --no-annotate --no-header
PROJECT = $(COMPILE) pyproject.toml

help: ## List what there is to make
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1 - \2/p' Makefile

run: ## Start the whole system: PostgreSQL, Kafka, ingest, keeper, HTTP at 127.0.0.1:8080
	@./orders run

test-quick: ## Run the tests that need no services, in half a minute
	@tools/environment run dev
	$(PYTEST) -n 3 --tier quick

test: ## Run the tests on a real PostgreSQL and Kafka; needs Python alone
	@tools/environment run dev
	$(PYTEST) -n 4 --tier test

test-all: ## Run every test but the long fault runs; needs npm and the packages that .ci/run names
	@tools/environment run dev system
	cd tests/postman && npm ci --no-audit --no-fund --loglevel=error
	$(PYTEST) -n 3 --tier all

test-root: ## Run the tests that only root can run, as root
	@tools/environment run dev
	$(PYTEST) -n 2 --tier root

test-faults: ## Run the long fault tests
	@tools/environment run dev
	$(PYTEST) --tier faults

bench: ## Measure against other ways to do the same, in about 15 minutes, and draw the charts
	@tools/environment run dev bench
	$(PYTHON) -m bench

bench-quick: ## The same in about three minutes: fewer orders, fewer rounds
	@tools/environment run dev bench
	$(PYTHON) -m bench --quick

lint: ## Check style, types and the direction of imports
	@tools/environment run dev
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

format: ## Format the sources
	@tools/environment run dev
	$(PYTHON) -m ruff check --fix-only
	$(PYTHON) -m ruff format

up: docker ## Bring up the containers of compose.yaml and wait until they are well: http://127.0.0.1:8080
	docker compose up --build --detach --wait

down: docker ## Stop the containers of all profiles and remove them; their volumes stay
	docker compose --profile '*' down

logs: docker ## Follow what the containers log
	docker compose --profile '*' logs --follow --tail 100

docker:
	@command -v docker >/dev/null || { echo "docker is not installed: it is Docker Engine with its Compose plugin," \
		"see https://docs.docker.com/engine/install (without containers: make run)" >&2; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo "docker has no Compose plugin: install docker-compose-plugin" \
		"(docker-compose-v2 on Ubuntu)" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "the Docker engine does not answer: start it, or let your user use it" \
		"(docker info says why)" >&2; exit 1; }

docs: ## Write what is made from the code: pages of docs/, the dashboard, the Postman collection
	@tools/environment run dev
	$(PYTHON) -m tools.docs
	$(PYTHON) -m tools.dashboard
	$(PYTHON) -m tools.postman

lock: ## Resolve the requirements again (needs uv)
	$(PROJECT) --output-file requirements/run.txt --extra embedded
	$(PROJECT) --output-file requirements/image.txt --constraints requirements/run.txt
	$(PROJECT) --output-file requirements/dev.txt --extra embedded --group dev --constraints requirements/run.txt
	$(PROJECT) --output-file requirements/bench.txt --extra embedded --group bench --constraints requirements/dev.txt
	$(COMPILE) --output-file requirements/build.txt --group build
	$(COMPILE) --output-file requirements/system.txt --group system --constraints requirements/dev.txt

clean: ## Remove what was built or installed; the data under .orders stays
	rm -rf .venv tests/postman/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools bench -name __pycache__ -type d -exec rm -rf {} +
