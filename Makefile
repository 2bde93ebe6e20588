# Everything runs in .venv, which each target sets up by itself from hashed requirements.
# Names of files reach the recipes as shell variables ("$$DATA"), so blanks and quotes stay in them.
# PYTHON chooses the interpreter the environment is made with: make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test coverage mutants lint map docs train quantize bench soak cluster wheel lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else \
	    "Wheatear needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + ": make ... PYTHON=python3.12")'
	@echo "== making the environment .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "the venv module is missing: apt install python3-venv"; exit 1; }

.venv/desktop.ok: pyproject.toml requirements/desktop.txt | $(BIN)/python
	@echo "== installing the desktop packages into .venv (about 700 MB to download, once)"
	@$(PIP) --require-hashes -r requirements/desktop.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/cluster.ok: requirements/cluster.txt .venv/desktop.ok
	@echo "== installing Ray into .venv"
	@$(PIP) --require-hashes -r requirements/cluster.txt
	@touch $@

.venv/test.ok: requirements/test.txt .venv/desktop.ok
	@echo "== installing the test packages into .venv"
	@$(PIP) --require-hashes -r requirements/test.txt
	@touch $@

.venv/lint.ok: requirements/lint.txt .venv/desktop.ok
	@echo "== installing the lint packages into .venv"
	@$(PIP) --require-hashes -r requirements/lint.txt
	@touch $@

.venv/docs.ok: requirements/docs.txt | $(BIN)/python
	@echo "== installing what makes the site of documents into .venv"
	@$(PIP) --require-hashes -r requirements/docs.txt
	@touch $@

demo: .venv/desktop.ok ## train, quantize and run a model on a replayed camera, over real MQTT
	@$(BIN)/python -m demo --out "$${OUT:-demo-out}"

# Tests wait as much as they compute: four at once for two cores.
test: .venv/test.ok ## run the tests, four at once; DATA=folder adds those on real photographs
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(if $(DATA),--data="$$DATA") $(ARGS)

coverage: .venv/test.ok ## run the tests measured, and say how much of each room they reach: build/coverage/index.html
	@rm -rf build/coverage
	@$(BIN)/python -m coverage run -m pytest -n 4 --dist loadfile --no-loadscope-reorder \
	    $(if $(DATA),--data="$$DATA") $(ARGS); failed=$$?; $(BIN)/python tests/coverage_table.py && exit $$failed

mutants: .venv/test.ok ## change the code in small ways, and see that tests notice; ONLY="delivery outbox"
	@$(BIN)/python tests/mutants $(ONLY) $(ARGS)

lint: .venv/lint.ok .venv/test.ok ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file tests/mypy.ini

map: | $(BIN)/python ## draw the rooms and who imports whom, and measure them: map-out/map.svg
	@$(BIN)/python tests/house_map.py $(ARGS)

docs: .venv/docs.ok ## make the documents a site with search: build/docs/index.html
	@$(BIN)/python -m sphinx -c docs/site -b html -E -q -W --keep-going . build/docs
	@echo "build/docs/index.html"

train: .venv/desktop.ok ## check, split and train: DATA=photos/ [OUT=runs/mine] [RECIPE=... WEIGHTS=... ACCEPT=...]
	@test -n "$$DATA" || { echo "say where the photos are: make train DATA=photos/"; exit 2; }
	@$(BIN)/python -m training check "$$DATA" $(ACCEPT:%=--accept %)
	@$(BIN)/python -m training fit "$$DATA" --out "$${OUT:-runs/mine}" $(ACCEPT:%=--accept %) \
	    $(if $(RECIPE),--recipe $(RECIPE)) $(if $(WEIGHTS),--weights "$$WEIGHTS") $(ARGS)
	@$(BIN)/python -m training evaluate "$${OUT:-runs/mine}"

quantize: .venv/desktop.ok ## make the int8 bundle of a run: OUT=NAME-VERSION.wtr [RUN=runs/mine]
	@test -n "$$OUT" || { echo "say what the bundle is called: make quantize OUT=pests-1.0.0.wtr"; exit 2; }
	@$(BIN)/python -m quantize run "$${RUN:-runs/mine}" --out "$$OUT" $(ARGS)

bench: .venv/desktop.ok ## measure everything: DATA=folder with jute_pest/, coral_models/ ...
	@test -n "$$DATA" || { echo "say where the real material is: make bench DATA=folder"; exit 2; }
	@$(BIN)/python -m benchmarks "$$DATA" $(ARGS)

soak: .venv/desktop.ok ## kill, cut off, fill up and damage it for an hour; ARGS="--only kills --kills 100"
	@$(BIN)/python -m soak $(ARGS)

cluster: .venv/cluster.ok ## add Ray to .venv, for: python -m quantize sweep --engine ray

wheel: .venv/desktop.ok ## build dist/wheatear-*.whl, the device program
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

lock: ## resolve the hashed requirements files anew
	@test -x .venv/bin/uv || { $(PYTHON) -m venv .venv && $(PIP) uv; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh

clean: ## remove what was built; runs/ and .venv stay
	@rm -rf build dist demo-out soak-out mutants-out map-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
