# `make train` and `make test` work on a bare machine with Python 3.11 or newer: each creates .venv
# once, with what it needs, and does not install again until pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

# jax's CUDA build where a driver answers, for the CUDA version that driver can run; CPU otherwise.
CUDA := $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
ACCELERATOR := $(if $(CUDA),$(if $(filter 10 11 12,$(CUDA)),cuda12,cuda13))
comma := ,
extras = $(1)$(if $(ACCELERATOR),$(comma)$(ACCELERATOR))

.PHONY: train test test-all lint types bench clean help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST)

$(VENV)/.created:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "fx needs Python 3.11 or newer; set PYTHON="'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.train: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(call extras,examples)]'
	touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(call extras,dev)]'
	touch $@

train: $(VENV)/.train  ## train, evaluate, checkpoint and export on scikit-learn's digits
	$(BIN)/python examples/cifar10.py --data digits --epochs 30 --monitor loss --batch-size 32 --lr 4e-3 --out runs/digits --overwrite

# Nearly all of the time goes into compiling small programs that run once, so XLA compiles them
# without its costly passes here, and without the emitters that take most of the rest, where it has
# that switch (jaxlib 0.10 has, later ones do not and would abort); test-all compiles as users do.
LEAN := --xla_cpu_use_fusion_emitters=false
test: export JAX_DISABLE_MOST_OPTIMIZATIONS := 1
test: $(VENV)/.dev  ## the tests, with a sample of the large tables
	lean=$$(JAX_PLATFORMS=cpu XLA_FLAGS=$(LEAN) $(BIN)/python -c 'import jax; jax.devices()' \
		2>/dev/null && echo $(LEAN)); \
	XLA_FLAGS="$${XLA_FLAGS:+$$XLA_FLAGS }$$lean" \
		$(BIN)/python -m pytest -n 2 -m "not slow and not full and not emitters"
	$(BIN)/python -m pytest -m "emitters and not full"

test-all: $(VENV)/.dev  ## every test
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev  ## ruff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev  ## pyright on fx
	$(BIN)/pyright

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(call extras,bench)]'
	touch $@

bench: $(VENV)/.bench  ## what can be measured on a CPU, in under 20 minutes; docs/benchmarks.md from it
	$(BIN)/python -m benchmarks

clean:  ## remove what was built, the environment included
	rm -rf $(VENV) build dist *.egg-info
