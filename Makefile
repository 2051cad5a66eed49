# Thin targets over the CMake presets; deploy/setup.sh installs and fetches everything they need.
MODEL ?= .deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
ARGS ?=
QUIRE := build/release/bin/quire

.PHONY: setup clients build everything serve chat test sanitize nightly bench compare gpu-check clean

setup:
	@deploy/setup.sh

# What tests run against the server, into .deps/clients/.
clients: setup
	@tests/clients/install.sh

build: setup
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release --target quire

serve: build
	$(QUIRE) serve $(MODEL) $(ARGS)

chat: build
	$(QUIRE) chat $(ARGS)

# What tests need is fetched while they are compiled.
test: setup
	@$(MAKE) --no-print-directory --jobs=2 clients everything
	@ctest --preset release

everything: setup
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release

# The engine under address and undefined-behaviour checks, the threaded parts under the thread checker.
sanitize: setup
	@cmake --preset asan >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset asan --target sanitized_tests
	@ctest --preset asan -L asan
	@cmake --preset tsan >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset tsan --target threaded_tests
	@ctest --preset tsan -L tsan

# The simulator over a million seeds, on all processors; tests/sim/nightly.py --help tells what ARGS there are.
nightly: setup
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release --target sim_tests
	@python3 tests/sim/nightly.py build/release/bin/sim_tests $(ARGS)

bench: build
	$(QUIRE) bench --model $(MODEL) $(ARGS)

# Quire and its peers on this machine, into build/compare/; tests/bench/compare/compare.py --help tells what and how.
compare: build
	@cmake --build --preset release --target kernels_bench
	@python3 tests/bench/compare/compare.py --model $(MODEL) $(ARGS)

# Tests and benchmarks on this machine's NVIDIA GPU, into build/gpu-check/.
gpu-check:
	@deploy/gpu_check.sh $(ARGS)

clean:
	rm -rf build
