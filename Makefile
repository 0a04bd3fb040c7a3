# Every target does its own set-up: Python 3.11 or newer and make are all that has to be there.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock" pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup demo run test crashes races year fuzz check bench format lock pictures schema

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.dev ## install everything, for work on Keydesk

demo: $(VENV)/.demo ## the whole desk in your browser, on this machine alone: no account anywhere
	@$(BIN)/python app.py demo

run: $(VENV)/.run ## serve your team; the settings stand in .env (see docs/operating.md)
	@$(BIN)/python app.py run

test: $(VENV)/.dev ## run all tests, on both databases and in a real browser
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m pytest -n auto --dist worksteal

races: $(VENV)/.dev ## try each race of tests/promises/test_races.py 300 times on each database, and say how they came out
	@KEYDESK_RACES=300 $(BIN)/python -m pytest -q -rP tests/promises/test_races.py

year: $(VENV)/.dev ## play a year of 200 people with 600 keys, on SQLite and on two desks with PostgreSQL (many minutes)
	@KEYDESK_YEAR=1 $(BIN)/python -m pytest -q -rP tests/promises/test_a_year.py

crashes: $(VENV)/.dev ## kill a desk before and after each of its steps, and see what it leaves (minutes)
	@KEYDESK_CRASHES=1 $(BIN)/python -m pytest -q -n auto tests/promises/test_crashes.py

fuzz: $(VENV)/.dev ## send a desk 100,000 inputs of strangers (make fuzz N=1000: so many), and say what it could not take
	@nice $(BIN)/python -m tests.promises.fuzzing $(N)

check: $(VENV)/.dev ## format, lint, types, direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports

bench: $(VENV)/.bench ## measure; the figures go to benchmarks/results.json
	@$(BIN)/python -m benchmarks $(ONLY)

format: $(VENV)/.dev ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pictures: $(VENV)/.dev ## take the screenshots in docs/pictures anew, from a running sandbox
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m tests.pictures

schema: $(VENV)/.run ## write docs/policy.schema.json anew
	@$(BIN)/python -m bot.desk.policy > docs/policy.schema.json

lock: $(VENV)/.dev ## pin the dependencies anew, with hashes
	@$(LOCK) -o requirements/run.txt
	@$(LOCK) --group sandbox -c requirements/run.txt -o requirements/demo.txt
	@$(LOCK) --group dev -c requirements/demo.txt -o requirements/dev.txt
	@$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Keydesk needs Python 3.11 or newer. Mend: install it, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot make a virtual environment. Mend: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

$(VENV)/.%: requirements/%.txt | $(VENV)/bin/python
	@echo "Setting up ($*): once, within a minute."
	@$(PIP) requirements/$*.txt
	@touch $@
