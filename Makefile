# What a newcomer and the build machine run. Needs make and Python 3.11 or newer, nothing else; everything
# is installed into .venv, at the versions and with the hashes of the lock files.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := /bin/sh

# The first Python that is new enough; else plain python3, so that the check below can say what is wrong.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$one" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$one"; exit; }; done; echo python3)
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
UV ?= uv
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Written when an installation is complete, never before: what was broken off is made anew. The Python's
# version is in the name, because another Python cannot use what was installed for this one.
RUN := $(VENV)/complete-run-$(PYTHON_VERSION)
DEV := $(VENV)/complete-dev-$(PYTHON_VERSION)

.PHONY: help demo test check bench lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{printf "%-14s %s\n", $$1, $$2}'

demo: $(RUN) ## live through a month on a campus of five buildings; ARGS="..." is passed on
	@$(BIN)/energy-ledger demo $(ARGS)

test: $(DEV) ## run all tests but the long soak and the speed measurements
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not soak and not benchmark" $(ARGS)

check: $(DEV) ## look for mistakes without running anything: lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

bench: $(DEV) ## measure the speed of every part, each against a reference of the same run
	$(BIN)/python -m tests.benchmarks.run $(ARGS)

# setuptools is locked as well: the project itself is then built without fetching anything.
lock: ## choose the newest dependencies that fit and write the lock files; needs uv
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: install it with 'pipx install uv'" >&2; exit 1; }
	$(compile) --output-file requirements.lock pyproject.toml -
	$(compile) --extra test --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml -

clean: ## remove what was installed and built; data folders stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find ledger ingest settlement contracts api tests -name __pycache__ -type d -prune -exec rm -rf {} +

build_requirements = $(PYTHON) -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
compile = $(build_requirements) | $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

$(RUN): requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $(RUN)

$(DEV): requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@touch $(RUN) $(DEV)

define install
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
		echo "The energy ledger needs Python 3.11 or newer; '$(PYTHON)' is $(or $(PYTHON_VERSION),not there)." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(get_venv); }
	@echo "Installing $(1) into $(VENV) (once)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(1)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
		--editable .
endef

# Debian and Ubuntu ship Python without the part that makes virtual environments.
define get_venv
	echo "This Python cannot make virtual environments: the package python$(PYTHON_VERSION)-venv is missing."; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python$(PYTHON_VERSION)-venv; \
	else \
		echo "Install it, then try again: sudo apt-get install python$(PYTHON_VERSION)-venv" >&2; exit 1; \
	fi
endef
