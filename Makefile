# Without an installed ROS: `make demo`, `make test` and `make bench` set up a virtual environment in .venv themselves.
#
#   make demo                      the whole stack in PyBullet, one goal picture, a verdict
#   make test                      all tests (unit, property, several processes on localhost)
#   make test-fast                 those that need neither ROS processes nor much time
#   make bench                     the speed tables of benchmarks/, beside other planners in .venv-peers
#   make venv PYTHON=python3.12    another interpreter (3.10, 3.11 or 3.12)
#   make venv TORCH_INDEX=https://download.pytorch.org/whl/cu128     torch for a GPU
#   make demo ARGS='--seed 3'      arguments for the command behind a target

SHELL       := /bin/bash
VENV        ?= .venv
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH       := torch~=2.13.0
EXTRAS      := ros,sim,arm,console,foxglove,train,s3,gym,lerobot,dev
PYTHON      ?=
ARGS        ?=

# The planners that `bench plan` is compared with, as they ship, in an environment of their own.
PEERS          ?= .venv-peers
PEER_PACKAGES  := pytorch-mppi==0.9.1 gymnasium loguru tqdm einops safetensors PyYAML scipy psutil
# Its solvers need none of what it depends on besides (torchvision among it, and with that a CUDA build of torch).
PEER_ALONE     := stable-worldmodel==0.1.1

INSTALLED := $(VENV)/.installed
RUN       := $(VENV)/bin
PIP       := $(RUN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-fast bench lint venv clean

help:
	@sed -n '1,9s/^# \{0,1\}//p' Makefile

demo: $(INSTALLED)
	@$(RUN)/jepa-ros demo $(ARGS)

# What shares nothing runs side by side; what starts ROS processes or measures time runs afterwards, by itself. Of these,
# those that failed run once more, in a process and a ROS domain of their own: a busy machine can keep one of several
# processes from running for seconds. pytest-rerunfailures would keep fixtures of a file, and with them a process that died.
export ONCE_MORE := === those that failed, once more; a name that is seen here again is a fault to mend ===
test: $(INSTALLED)
ifeq ($(ARGS),)
	@$(RUN)/python -m pytest -m "not alone" -n 2 --dist loadfile --durations 15
	@$(RUN)/python -m pytest -m alone --durations 15 || { [ $$? = 1 ] && echo "$$ONCE_MORE" && \
	  $(RUN)/python -m pytest -m alone --last-failed --last-failed-no-failures none -rfEp; }
else
	@$(RUN)/python -m pytest $(ARGS)
endif

test-fast: $(INSTALLED)
	@$(RUN)/python -m pytest -m "not alone and not slow" -n 2 --dist loadfile $(ARGS)

bench: $(INSTALLED) $(PEERS)/.installed
	@$(RUN)/jepa-ros bench plan $(ARGS)

$(PEERS)/.installed: Makefile $(INSTALLED)
	@echo "installing other planners to compare with ($(PEER_PACKAGES) $(PEER_ALONE))"
	@$(RUN)/python -m venv $(PEERS) && touch $(PEERS)/COLCON_IGNORE
	@$(PEERS)/bin/python -m pip install --quiet --retries 0 --timeout 10 --index-url $(TORCH_INDEX) '$(TORCH)' \
	  2>/dev/null || $(PEERS)/bin/python -m pip install --quiet '$(TORCH)'
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $(PEER_PACKAGES)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PEER_ALONE)
	@touch $@

lint: $(INSTALLED)
	@$(RUN)/ruff check . && $(RUN)/mypy

venv: $(INSTALLED)

# torch comes first, from the CPU index, and shortly: a machine that cannot reach it takes the index that pip is set up for.
$(INSTALLED): setup.py Makefile
	@$(RUN)/python -m pip --version >/dev/null 2>&1 || { \
	  python=$$(tools/choose_python.sh "$(PYTHON)") || exit 1; \
	  echo "creating $(VENV) with $$($$python --version), $$python"; \
	  "$$python" -m venv $(VENV) && touch $(VENV)/COLCON_IGNORE; }
	@echo "installing torch ($(TORCH_INDEX))"
	@$(PIP) --retries 0 --timeout 10 --index-url $(TORCH_INDEX) '$(TORCH)' 2>/dev/null || { \
	  echo "  that index cannot be reached; taking pip's own, where torch may bring several GB of CUDA"; \
	  $(PIP) '$(TORCH)'; }
	@echo "installing jepa_ros, the ROS 2 wheels, the simulator and the tools"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) build install log *.egg-info
