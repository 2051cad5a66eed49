"""What the measurements ran on: the processor, its instruction sets, and how fast it reads memory and multiplies."""

import json
import os
import pathlib
import platform
import statistics

import processes

# Those that make a difference to the kernels of inference servers, by their names in /proc/cpuinfo.
INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
                    "asimd", "asimddp", "i8mm", "bf16", "sve")


def cpuinfo_field(text, *names):
    """The first value of one of these fields in the text of /proc/cpuinfo."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def describe_processor(cpuinfo):
    flags = set(cpuinfo_field(cpuinfo, "flags", "Features").split())
    return {"processor": cpuinfo_field(cpuinfo, "model name") or "unknown processor",
            "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags]}


def parse_rates(text):
    """{"read_gb_per_s": {size: rate}, "int8_gmac_per_s": {instruction set: rate}} of kernels_bench's JSON, medians."""
    rates = {"read_gb_per_s": {}, "int8_gmac_per_s": {}}
    for run in json.loads(text)["benchmarks"]:
        if run.get("run_type") == "aggregate":
            continue
        what, of, *_ = run["name"].removeprefix("machine/").split("/")
        if what == "read":
            rates["read_gb_per_s"].setdefault(of, []).append(run["bytes_per_second"] / 1e9)
        elif what == "int8":
            rates["int8_gmac_per_s"].setdefault(of, []).append(run["MAC/s"] / 1e9)
    return {kind: {of: statistics.median(values) for of, values in found.items()} for kind, found in rates.items()}


def describe(options):
    """A description for the JSON file; without kernels_bench there are no rates in it."""
    machine = {**describe_processor(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")),
               "processors": options.threads, "kernel": platform.release(), "load_average": os.getloadavg()[0],
               "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20}
    if options.kernels_bench.exists():
        machine.update(parse_rates(processes.run(
            [str(options.kernels_bench), "--benchmark_filter=^machine/", "--benchmark_format=json",
             "--benchmark_repetitions=5", "--benchmark_min_time=0.1"],
            options.output / "logs/machine.log", options.timeout)))
    return machine


def caption(machine):
    """One sentence under the tables."""
    text = (f"{machine['processor']}, {machine['processors']} processors, {machine['memory_mib'] / 1024:.0f} GiB; "
            f"{', '.join(machine['instruction_sets'])}")
    rates = [f"reads {rate:.0f} GB/s in {size}" for size, rate in machine.get("read_gb_per_s", {}).items()]
    rates += [f"{rate:,.0f} G int8 multiply-adds a second with {name}"
              for name, rate in machine.get("int8_gmac_per_s", {}).items()]
    rates.append(f"load average {machine['load_average']:.1f} before the start")
    return f"{text}; {', '.join(rates)}."
