# Two commands: `make placement` and `make test`. Each sets up .venv first, once.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --quiet --disable-pip-version-check --no-input install

# A stamp is touched when its step is done, so an interrupted step is taken again. .unfinished stands in a .venv from
# its first moment until the package is installed in it.
PACKAGE := $(VENV)/.installed
PLOTS := $(VENV)/.with-plots
TEST := $(VENV)/.with-test
DEV := $(VENV)/.with-dev
UNFINISHED := $(VENV)/.unfinished

# The set-up holds for one folder and one interpreter: a project that was moved, or whose Python is gone, starts anew.
HERE := $(shell pwd)
ifneq ($(wildcard $(PACKAGE)),)
ifneq ($(shell test -x $(RUN) && cat $(PACKAGE)),$(HERE))
STALE := stale
endif
endif

.PHONY: help placement test check builds wheel setup clean stale

help:  ## this list
	@echo "make TARGET [ARGS=...] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

placement: $(PLOTS)  ## run the study of BatchNorm placement, for instance with ARGS="--net cnn"
	@$(RUN) examples/bn_placement.py $(ARGS)

test: $(TEST)  ## run all tests but the slow ones; the slow ones with ARGS="-m slow"
	@$(RUN) -m pytest $(ARGS)

check: $(DEV)  ## ruff (rules and format) and mypy (strict)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

builds: $(TEST)  ## test the kernels built with clang, with bounds checks and with sanitizers (installs clang with apt)
	@.ci/builds $(ARGS)

wheel: $(DEV)  ## build the source distribution and the wheel into dist/
	@$(RUN) -m build --outdir dist

setup: $(TEST)  ## set up .venv for the tests, and stop there

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find tinybn \( -name '*.so' -o -name '*.pyd' \) -delete
	find tinybn tests examples tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The old kernels go first: were they to stay, a kernel that does not compile any more would not be noticed.
$(PACKAGE): pyproject.toml setup.py $(wildcard kernels/*) $(STALE)
	@$(PYTHON) -c 'import sys' 2>/dev/null || \
	    { echo "error: $(PYTHON) does not run; name a Python: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: tinybn needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) -V 2>&1`;" \
	           "name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if test -e $(UNFINISHED) || \
	    ! $(RUN) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    rm -rf $(VENV) && mkdir $(VENV) && touch $(UNFINISHED) && \
	    echo "setting up $(VENV): builds the kernels, about a minute" && $(PYTHON) -m venv $(VENV); \
	else \
	    echo "updating $(VENV): builds the kernels, about a minute"; \
	fi
	@rm -f $@ && find tinybn -name '*.so' -delete
	@$(PIP) -e .
	@ls tinybn/kernels/*.so >/dev/null 2>&1 || \
	    echo "note: the kernels did not build (no C compiler?), slower NumPy versions serve;" \
	         "to see why: TINYBN_REQUIRE_COMPILED=1 $(RUN) -m pip install -e ."
	@rm -f $(UNFINISHED)
	@echo "$(HERE)" > $@

# The package stands; these add what an extra asks for, and leave the kernels alone.
$(PLOTS): $(PACKAGE)
	@echo "setting up $(VENV): plots"
	@$(PIP) 'tinybn[plots]'
	@touch $@

$(TEST): $(PACKAGE)
	@echo "setting up $(VENV): tests"
	@$(PIP) 'tinybn[test]'
	@touch $@ $(PLOTS)

$(DEV): $(PACKAGE)
	@echo "setting up $(VENV): development tools"
	@$(PIP) 'tinybn[dev]'
	@touch $@ $(TEST) $(PLOTS)
