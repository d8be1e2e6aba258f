# make train   set up, build, train a GAN on real digits, say where the pictures are
# make test    set up, build, run the tests
# make full    everything: also mutants, sanitizers, long attacks, other torches, the speeds that must hold (hours)
# make gpu     on a machine with a card: all that can be proven and measured on it, a quarter of an hour, no network
# make card-1, make card-2   the same in two stages of six minutes, from a plain copy with the libraries that
#              make card-libraries has built elsewhere; results go to $OUT (docs/gpu.md)
#
# TORCH=system       use the torch (and whatever else) that $(PYTHON) already has; nothing is fetched for it
# TORCH=torch==2.12  install that one; the default is the release that the tests run against
# PYTHON=python3.12  the Python to make the environment with

PYTHON ?= python3
# A torch that knows the card is used as it is.
ifeq ($(MAKECMDGOALS),gpu)
TORCH ?= $(shell $(PYTHON) -c "import torch; print('system' if torch.version.cuda else '')" 2>/dev/null)
endif
TORCH := $(or $(TORCH),torch==2.13.0)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find csrc tools -type f -name "*.*" -not -name "*.pyc") setup.py pyproject.toml constraints.txt

# Builds on this machine are for its own card; wheels are for all (setup.py).
ifneq ($(MAKECMDGOALS),wheel)
card := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u | paste -sd ';')
export TORCH_CUDA_ARCH_LIST ?= $(or $(card),9.0+PTX)
endif

# One worker a core, where pytest-xdist is (not on every machine without network).
workers = $(shell $(BIN)/python -c "import xdist; print('-n auto --dist worksteal')" 2>/dev/null)

.PHONY: train test full gpu card-1 card-2 card-libraries lint types wheel wheel-test emulated attacks mutants \
        torch-oldest torch-newest bench floors clean

train: $(VENV)/.installed
	$(BIN)/ganops train hinge --data mnist --minutes 4.5 --out runs/mnist \
	    $(if $(wildcard runs/mnist/checkpoint.pt),--resume)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(workers)

# The same op tests, with every CUDA kernel run on the CPU by the emulator; what torch.compile does is the same for both.
emulated: $(VENV)/.installed
	GANOPS_BACKEND=emulated $(BIN)/python -m pytest $(workers) tests/ops -m "not compile"

# REHEARSE=1: the same way without a card, on the emulator.
gpu: $(VENV)/.installed
	$(BIN)/python tests/cuda/on_card.py gpu $(if $(REHEARSE),--rehearse)

# Nothing is installed or built here.
card-1 card-2:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) tests/cuda/on_card.py $@ $(if $(REHEARSE),--rehearse)

# The libraries for a card elsewhere, in ganops/lib; CARD is its architecture.
CARD ?= 9.0
card-libraries: $(VENV)/.torch
	GANOPS_CUDA=1 TORCH_CUDA_ARCH_LIST=$(CARD) $(BIN)/python setup.py -q build_ext --inplace

bench: $(VENV)/.installed
	$(BIN)/ganops bench

# Fails where a speed that must hold is lost beyond its spread.
floors: $(VENV)/.installed
	$(BIN)/ganops bench --suite floors --check

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

# The code of README, docs and examples, and tests/types/users.py, with mypy and pyright.
types: $(VENV)/.installed
	$(BIN)/python tests/types/check.py

# Damaged checkpoints, mistakes on the command line, hostile folders of images, odd arguments of ops: the long forms.
attacks: $(VENV)/.installed
	$(BIN)/python tests/attacks/checkpoints.py --count 1000
	$(BIN)/python tests/attacks/command_line.py
	$(BIN)/python tests/attacks/images.py
	$(BIN)/python tests/attacks/arguments.py

# Planted mistakes, each against the tests of its stem.
mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/run.py

# The op tests with the oldest and the newest torch that is supported.
torch-oldest torch-newest:
	$(MAKE) VENV=.venv-$@ TORCH=$(if $(filter %oldest,$@),torch==2.10.0,torch==2.14.1) test-ops

.PHONY: test-ops
test-ops: $(VENV)/.installed
	$(BIN)/python -m pytest $(workers) tests/ops

full: lint types wheel-test emulated
	GANOPS_FULL=1 GANOPS_LARGE_TESTS=1 $(BIN)/python -m pytest $(workers) --cov --cov-report=term
	$(MAKE) attacks mutants torch-oldest torch-newest floors

wheel: $(VENV)/.torch
	$(BIN)/pip wheel --no-build-isolation --no-deps --wheel-dir dist .

# Into an environment that has nothing but torch and the wheel, away from the sources.
wheel-test: wheel
	rm -rf build/clean && $(PYTHON) -m venv build/clean $(if $(filter system,$(TORCH)),--system-site-packages)
	$(if $(filter system,$(TORCH)),,build/clean/bin/pip install -q $(TORCH))
	build/clean/bin/pip install -q --no-deps --no-index --find-links dist ganops
	cd build/clean && GANOPS_STRICT=1 bin/python -I $(CURDIR)/tests/packaging/check_wheel.py

# An environment with torch and what the build needs. Without network the system's packages must have it all. Where
# $(PYTHON) is of an environment itself, its packages are no system's: a .pth names their folders. An old setuptools that
# came with the new environment would hide theirs.
purelib = "import sysconfig; print(*sorted({sysconfig.get_path(p) for p in ('purelib', 'platlib')}), sep='\n')"
$(VENV)/.torch:
ifeq ($(TORCH),system)
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/pip uninstall -q -y setuptools || true
	$(PYTHON) -c $(purelib) > "$$($(BIN)/python -c $(purelib) | head -1)/system.pth"
	$(BIN)/python -c "import torch, setuptools" && ( command -v ninja > /dev/null || $(BIN)/python -c "import ninja" ) \
	    || $(BIN)/pip install -q "setuptools>=77" ninja
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q "$(TORCH)" "setuptools>=77" ninja numpy -c constraints.txt
endif
	touch $@

$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	$(BIN)/pip install -q $(if $(filter system,$(TORCH)),--retries 1) --no-build-isolation -c constraints.txt -e ".[test]" || ( test "$(TORCH)" = system \
	    && echo "Some packages could not be fetched: what needs them will say so." \
	    && $(BIN)/pip install -q --no-build-isolation --no-deps -e . )
	touch $@

clean:
	rm -rf build dist $(VENV) ganops/lib *.egg-info
