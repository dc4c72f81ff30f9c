# `make demo` and `make test` set up what they need; everything else is for those who work on it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# apt needs root; where it is missing, the packages are named so that an administrator can install them.
APT_PACKAGES := cmake faketime iproute2 iptables libegl1 libosmesa6 libturbojpeg0-dev libzmq3-dev openssh-client openssh-server pkg-config rsync
# What `firmware-check` needs besides: clang and its fuzzer, clang-tidy, and aarch64 with an emulator.
FIRMWARE_PACKAGES := clang clang-tidy libclang-rt-14-dev g++-aarch64-linux-gnu qemu-user-static
# What makes and runs the virtual Jetson.
JETSON_PACKAGES := binfmt-support debootstrap qemu-user-static
ROBOSUITE := robosuite==1.5.2

.PHONY: help demo test test-all ctest firmware-check lint bundle bench-export bench-runtime bench-flash virtual-jetson clean

help:
	@echo "make demo      set up, and drive the simulated arm from the tiny bundle; results in out/demo"
	@echo "make test      set up, lint and run the tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make firmware-check  the C and C++ side: clang-tidy, sanitizers, fuzzer, aarch64 under QEMU (five minutes)"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make bench-export  engines on this CPU against eager PyTorch; trains the preset small first (half an hour or more)"
	@echo "make bench-runtime  the runtime against others' wires and against itself (five minutes)"
	@echo "make bench-flash  flashing: an arm driven meanwhile, fifty devices, power cuts (half an hour)"
	@echo "make virtual-jetson  an aarch64 device under QEMU to flash (five minutes; root)"
	@echo "make bundle    make bundles/tiny again from its seed"

$(VENV)/.venv-made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# $(call need_packages,PACKAGES)
define need_packages
@dpkg -s $(1) >/dev/null 2>&1 || { \
  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null; \
  else echo "install these first: sudo apt-get install $(1)" >&2; exit 1; fi; }
endef

$(VENV)/.system-packages:| $(VENV)/.venv-made
	$(call need_packages,$(APT_PACKAGES))
	touch $@

$(VENV)/.firmware-packages:| $(VENV)/.system-packages
	$(call need_packages,$(FIRMWARE_PACKAGES))
	touch $@

# What the demo runs on: no torch, no exporter.
$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.system-packages | $(VENV)/.venv-made
	$(PIP) install -q -c constraints.txt -e '.[cpu,sim,bench]'
	$(PIP) install -q --no-deps $(ROBOSUITE)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install -q -c constraints.txt torch==2.13.0
	$(PIP) install -q -c constraints.txt -e '.[cpu,doors,record,export,sim,bench,rtx,dev]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/st4vla demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The C and C++ side against the same golden bytes, and the virtual Franka against the MuJoCo of the Python wheel.
ctest: $(VENV)/.demo
	cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DST4VLA_VIRTUAL_FRANKA=ON \
	  -DMUJOCO_DIR="$$($(BIN)/python -c 'import importlib.util; print(importlib.util.find_spec("mujoco").submodule_search_locations[0])')" >/dev/null
	cmake --build build --parallel 2
	ctest --test-dir build --output-on-failure

# The same tests with sanitizers and for a Jetson, a look at the source, and a minute of fuzzing each target.
FUZZ_SECONDS ?= 60
firmware-check: $(VENV)/.firmware-packages
	firmware_bridge/cmake/aarch64_packages.sh build/arm64
	export TSAN_OPTIONS=suppressions=$(CURDIR)/firmware_bridge/tests/thread_sanitizer.supp; \
	for preset in address thread aarch64; do \
	  cmake --preset $$preset >/dev/null && cmake --build build/$$preset --parallel 2 && \
	  ctest --test-dir build/$$preset --output-on-failure || exit 1; done
	clang-tidy -quiet -p build/address $(addprefix firmware_bridge/src/,$(addsuffix /*.cpp,player control stream wire bridge cameras))
	cmake --preset fuzz >/dev/null && cmake --build build/fuzz --target fuzz_player fuzz_decode
	mkdir -p build/fuzz/wire
	build/fuzz/firmware_bridge/fuzz_decode -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 build/fuzz/wire tests/data/wire
	build/fuzz/firmware_bridge/fuzz_player -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -len_control=0 -print_final_stats=1

test: lint ctest
	$(BIN)/pytest

test-all: lint ctest firmware-check virtual-jetson
	$(BIN)/pytest -m "not gpu and not jetson"

$(VENV)/.jetson-packages:| $(VENV)/.system-packages
	$(call need_packages,$(JETSON_PACKAGES))
	touch $@

# Debian for aarch64 under QEMU, with this project in it; what is there and fits is kept.
virtual-jetson: $(VENV)/.demo $(VENV)/.jetson-packages
	PYTHON=$(CURDIR)/$(BIN)/python benchmarks/virtual_jetson/make.sh out/virtual_jetson

bench-flash: $(VENV)/.dev
	$(BIN)/st4vla bench-flash drive
	$(BIN)/st4vla bench-flash fleet
	$(BIN)/st4vla bench-flash cuts --changes

bundle: $(VENV)/.dev
	$(BIN)/st4vla train init --preset tiny --seed 0 --out out/tiny --force
	$(BIN)/st4vla export out/tiny --out bundles/tiny --name tiny

# What `bench-export` needs: weights that have learnt something, in float32 and quantised.
DATA := out/data/tabletop/meta/info.json
SMALL := out/small_trained/checkpoint/checkpoint.json
$(DATA): | $(VENV)/.dev
	$(BIN)/st4vla record --out out/data/tabletop --episodes 60

$(SMALL): | $(VENV)/.dev $(DATA)
	$(BIN)/st4vla train init --preset small --seed 0 --out out/small_init --force
	$(BIN)/st4vla train actions --config training/configs/small_actions.toml --out out/small_trained

# Both in the form that ONNX Runtime runs fastest on this CPU: all float32, and whole numbers where the gate allows.
out/bundle_small/bundle.json: $(SMALL)
	$(BIN)/st4vla quantize out/small_trained/checkpoint --for cpu --data out/data/tabletop --frames 8 \
	  --planner float32 --bridge float32 --sampler float32 --fixed --out out/bundle_small --name small

out/bundle_small_cpu/bundle.json: $(SMALL)
	$(BIN)/st4vla quantize out/small_trained/checkpoint --for cpu --data out/data/tabletop --frames 8 \
	  --out out/bundle_small_cpu --name small-cpu

bench-export: out/bundle_small/bundle.json out/bundle_small_cpu/bundle.json
	$(BIN)/st4vla bench-export out/small_trained/checkpoint --float32 out/bundle_small --quantised out/bundle_small_cpu \
	  --data out/data/tabletop --out out/bench_export.json

# Untrained weights of the preset small take as long as trained ones.
out/bundle_untrained/bundle.json: | $(VENV)/.dev
	$(BIN)/st4vla train init --preset small --seed 0 --out out/small_init --force
	$(BIN)/st4vla export out/small_init --out out/bundle_untrained --name small

bench-runtime: ctest out/bundle_untrained/bundle.json
	$(BIN)/st4vla bench-runtime out/bundle_untrained --out out/bench_runtime.json

clean:
	rm -rf build out dist .mypy_cache .ruff_cache .pytest_cache
