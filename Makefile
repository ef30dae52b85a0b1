# Everything runs from here in .venv, which the first call creates. `make` lists the targets.

SHELL := bash
PY := .venv/bin/python
# runs a command with one instruction set and one thread; `mmadlib` itself does so
PINNED := $(PY) -m mmadlib.pinned
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
LIBRARIES := libusb-1.0.so.0 libEGL.so.1 libGL.so.1 libX11.so.6 libgomp.so.1
NOTEBOOKS := $(wildcard notebooks/[0-9]*.ipynb)
# strict: every output is compared; the others fit models, there only cells tagged nbval-check-output are
STRICT := $(wildcard $(addprefix notebooks/,02_*.ipynb 30_*.ipynb 40_*.ipynb 41_*.ipynb 90_*.ipynb 91_*.ipynb))
# what takes minutes starts first, so that both processes end together
LONG := $(wildcard $(addprefix notebooks/,29_*.ipynb 32_*.ipynb 25_*.ipynb 31_*.ipynb 34_*.ipynb 24_*.ipynb 21_*.ipynb 23_*.ipynb))
LAX := $(LONG) $(filter-out $(LONG) $(STRICT),$(NOTEBOOKS))
# the tables behind the stored outputs, whatever was run since
COMMITTED = MMADLIB_RESULTS="$$($(PY) tests/committed.py)"
NBVAL := -p no:cacheprovider -q --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/nbval.cfg

export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONHASHSEED := 0
unexport MPLBACKEND  # notebooks draw inline
unexport MMADLIB_HOME MMADLIB_RESULTS  # this checkout is the workspace
unexport OPENBLAS_NUM_THREADS MKL_NUM_THREADS  # a BLAS would prefer its own to the one thread that is pinned

# a failed job stops neither the others nor what comes after them, but is named last and gives the exit code; INTO=results
# puts rows of new plans or data into the tables (mmadlib collect)
plan = $(PINNED) $(PY) -m snakemake --profile workflow/profiles/local --cores $(JOBS) $(1) \
  $(if $(INTO),--config into=$(INTO)); code=$$?; [ $$code -le 1 ] || exit $$code; \
  $(PY) -m mmadlib results && $(PY) -m mmadlib compare && $(PY) workflow/jobs.py && exit $$code

.DEFAULT_GOAL := help
.PHONY: help setup lab reproduce reproduce-full test check mutants bench notebooks road clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.installed  ## create .venv from requirements.lock and check what Open3D needs from the system
	@cat $<

.venv/.installed: requirements.lock pyproject.toml
	@echo "== Python 3.11"
	@if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	  for p in python3.11 python3 python; do \
	    "$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && found=$$p && break; done; \
	  if [ -z "$${found:-}" ]; then echo "Python 3.11 is needed and not on the PATH (Debian 12: apt-get install python3.11-venv)"; exit 1; fi; \
	  "$$found" -m venv --clear .venv || { echo "python -m venv failed (Debian: apt-get install python3.11-venv)"; exit 1; }; fi
	@echo "== system libraries that Open3D loads"
	@.venv/bin/python binder/check_libraries.py $(LIBRARIES) || { \
	  install="apt-get install -y --no-install-recommends $$(tr '\n' ' ' < binder/apt.txt)"; \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update && $$install; \
	  elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then sudo -n apt-get update && sudo -n $$install; \
	  else echo "Install them, then call make again. On Debian or Ubuntu: sudo $$install"; exit 1; fi; \
	  .venv/bin/python binder/check_libraries.py $(LIBRARIES); }
	@echo "== packages of requirements.lock: minutes; up to 3 GB where the index gives the CUDA build of torch"
	@$(PY) -m pip install --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install --disable-pip-version-check --no-deps -e .
	@mkdir -p .venv/etc/jupyter/labconfig  # no dialog that wants to build an extension of dash, which Open3D brings along
	@cp binder/page_config.json .venv/etc/jupyter/labconfig/
	@$(PY) -c "import open3d" || { echo "Open3D cannot be imported: the line above says what is missing"; exit 1; }
	@$(PY) -c "import torch; cuda = torch.version.cuda; \
	print('environment: .venv, torch', torch.__version__, f'for CUDA {cuda}' if cuda else 'for the CPU only')" > $@.part
	@mv $@.part $@

lab: setup  ## JupyterLab on notebooks/00_start_here.ipynb
	$(PINNED) $(PY) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_start_here.ipynb

reproduce: setup  ## the main job: data, notebooks, results/, figures/, the main table; resumes where it stopped
	@echo "== notebooks and sweeps under Snakemake, $(JOBS) at a time; executed notebooks go to runs/"
	@$(PY) -m mmadlib compare --keep
	@$(PY) -m mmadlib sweep --estimate workflow/config.yaml --cores $(JOBS)
	@$(call plan)

reproduce-full: setup  ## every measured row: all shots, data seeds and ablations; hours, says how many first, resumes
	@$(PY) -m mmadlib compare --keep
	@$(PY) -m mmadlib sweep --estimate workflow/plans/full.yaml --cores $(JOBS)
	@$(call plan,--configfile workflow/plans/full.yaml)

test: setup  ## style, types, unit and contract tests with coverage, notebooks against their stored outputs
	@echo "== ruff"
	@$(PY) -m ruff check .
	@echo "== unit and contract tests, mypy beside them"
	@said=$$(mktemp); $(PY) -m mypy > "$$said" 2>&1 & types=$$!; \
	  MPLBACKEND=Agg $(PINNED) $(PY) -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder \
	  --cov=mmadlib --cov-report=term --cov-fail-under=90; code=$$?; \
	  wait $$types; typed=$$?; cat "$$said"; rm -f "$$said"; [ $$code -eq 0 ] && [ $$typed -eq 0 ]
	@echo "== notebooks, every output compared: $(STRICT)"
	@$(if $(STRICT),$(COMMITTED) $(PINNED) $(PY) -m pytest --nbval $(NBVAL) -n 2 --dist loadscope $(STRICT))
	@echo "== notebooks, tagged outputs compared: $(LAX)"
	@$(if $(LAX),$(COMMITTED) $(PINNED) $(PY) -m pytest --nbval-lax $(NBVAL) -n 2 --dist loadscope --no-loadscope-reorder $(LAX))

check: setup  ## what to run while editing: style, types, and the tests of what changed
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@MPLBACKEND=Agg $(PINNED) $(PY) -m pytest -q -n 2 --dist loadscope $$($(PY) tests/changed.py)

mutants: setup  ## how many slips in methods, metrics, features, prepare (or WHAT=) the tests notice, by file; hours, resumes
	@$(PINNED) $(PY) tests/mutants.py $(WHAT)

bench: setup  ## speed and memory beside plain implementations
	OMP_NUM_THREADS=2 $(PINNED) $(PY) benchmarks/front_end.py
	$(PINNED) $(PY) benchmarks/learned.py
	OMP_NUM_THREADS=2 $(PINNED) $(PY) benchmarks/paper_size.py cfm cpir cfr pirn cmsa

notebooks: setup  ## execute the stored notebooks again at their defaults, in place
	$(PINNED) $(PY) workflow/store.py $(NOTEBOOKS)

road: setup  ## real data: convert the stereo_pothole set and run every method on it: make road ROAD_SRC=<its folder>
	@if [ -z "$(ROAD_SRC)" ]; then echo "make road ROAD_SRC=<folder>; to get one:"; \
	  echo "  git clone https://github.com/ruirangerfan/stereo_pothole_datasets"; exit 2; fi
	$(PY) -m mmadlib convert road "$(ROAD_SRC)" data/road
	@$(PY) -m mmadlib compare --keep
	@$(call plan,--configfile workflow/plans/road.yaml)

clean:  ## remove generated data, cache and runs; .venv, data/road and data/weights stay
	rm -rf data/rendered data/cache .snakemake .pytest_cache .ruff_cache .mypy_cache .coverage build
	find runs -mindepth 1 -not -name .gitignore -delete
