# Two commands: `make demo` measures the reference models here, `make test` checks everything.
# Both make their own .venv first, and find it there the next time.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: install demo test lint types tasks claims board bench gate-selftest clean

install: .venv/installed

demo: .venv/installed
	$(BIN)/joulemark run

# Half of the tests' time is waiting for meters, so three files are tested side by side on two cores.
test: .venv/installed-for-tests lint types
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: .venv/installed-for-tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: .venv/installed-for-tests
	$(BIN)/mypy

# The questions that are asked, made again: the same bytes every time.
tasks: .venv/installed
	$(BIN)/python -m joulemark.tasks.reference

# The claim put to the test: figures, picture and verdicts of docs/claims.md from the shipped weights.
claims: .venv/installed
	$(BIN)/python tools/claims.py

# A board of runs that are measured here, by two senders and with a history: in one to four minutes, at board/site.
board: .venv/installed
	$(BIN)/python tools/board.py

# What measuring itself costs, beside the same work without it; what selective models save; how often intervals hold the
# truth; how ranking bears many entrants; how far off the meters are, beside their peers (as root, for the tree of
# counters that it mounts); what a submission takes, and a board of 50,000 rows beside Plotly and Tabulator.
bench: .venv/installed
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/selective.py
	$(BIN)/python benchmarks/simulations.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/gate.py
	$(BIN)/python benchmarks/meters.py
	$(BIN)/python benchmarks/leaderboard.py
	$(BIN)/python benchmarks/site

# One model gated against itself: how far this machine can be trusted with a gate, kept from time to time. It is advisory.
gate-selftest: .venv/installed
	$(BIN)/python tools/gate_selftest.py

clean:
	rm -rf .venv build/lib build/bdist* dist *.egg-info

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "Installing Joulemark into .venv; the first time this takes two to four minutes."
	@$(PIP) install -e .
	@touch $@

.venv/installed-for-tests: .venv/installed
	@echo "Installing what the tests need into .venv."
	@$(PIP) install -e '.[test]'
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Joulemark needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ echo "Python's venv module is missing (on Debian: apt install python3-venv)."; rm -rf .venv; exit 2; }
