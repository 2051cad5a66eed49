#!/usr/bin/env bash
# `make gpu-check`: builds the CUDA backend, and tests and measures it on this machine's first GPU. Reports go to
# build/gpu-check/, with one log for each step; the last lines tell what failed.
# `make gpu-check ARGS=--small` measures a tiny model only, to show that the benchmarks run.
set -uo pipefail
cd "$(dirname "$0")/.."

readonly OUT=build/gpu-check BIN=build/gpu/bin MODEL=.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
failed=()

say() { printf 'gpu-check: %s\n' "$*"; }
die() { say "error: $*" >&2; exit 1; }

# step NAME COMMAND...: goes on if it fails, so that one run tells everything.
step() {
  local name=$1
  shift
  say "$name ..."
  if "$@" >"$OUT/$name.log" 2>&1; then
    say "$name: ok"
  else
    failed+=("$name")
    tail -n 20 "$OUT/$name.log"
    say "$name: FAILED, see $OUT/$name.log"
  fi
}

# What nothing else can do without.
need() {
  step "$@"
  [ ${#failed[@]} -eq 0 ] || exit 1
}

nvidia-smi -L 2>/dev/null | grep -q '^GPU' || [ -e /dev/nvidia0 ] ||
  die "there is no NVIDIA GPU here: nvidia-smi -L lists none"
mkdir -p $OUT
nvidia-smi >$OUT/nvidia-smi.txt 2>&1

[ -e $MODEL ] || need fetch-the-model env QUIRE_SKIP_APT=1 deploy/setup.sh
need configure cmake --preset gpu
need build cmake --build --preset gpu --parallel "$(nproc)" --target cuda_device_tests golden_tests gpu_bench
need find-the-gpu $BIN/cuda_device_tests --gtest_filter=None

step kernels $BIN/cuda_device_tests
step golden env QUIRE_REQUIRE_GPU=1 $BIN/golden_tests '--gtest_filter=Gpu/*' --gtest_output=xml:$OUT/golden.xml
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ]; then
  step memcheck timeout 2h "$sanitizer" --tool memcheck --error-exitcode 1 $BIN/cuda_device_tests
  # Thousands of draws in the same way would show nothing more, and this is slow.
  step racecheck timeout 2h "$sanitizer" --tool racecheck --error-exitcode 1 $BIN/cuda_device_tests \
    --gtest_filter=-CudaSampleAgreement.*
else
  say "memcheck, racecheck: skipped, there is no compute-sanitizer"
fi
step bench $BIN/gpu_bench $OUT "$@"
if python3 -c 'import torch, transformers' 2>/dev/null; then
  step transformers python3 tests/bench/gpu/transformers_batching.py $OUT/transformers.json "$@"
else
  say "transformers: skipped, python3 cannot import torch and transformers"
fi

[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
say "all is well; figures are in $OUT/gpu_bench.md"
