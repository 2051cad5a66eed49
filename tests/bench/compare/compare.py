#!/usr/bin/env python3
"""Measures Quire and its peers in one go on one machine: `make compare`, or tests/bench/compare/compare.py --help.

Writes results.json, results.md and plots into --output. After warm-ups, systems are measured in turn, in --rounds
rounds that each begin with another system. A peer that is not there is skipped and named. Where peers are looked for,
and what their folder has to hold, is told in systems.py: one folder, --peers, with llama/bin, venv-openvino, venv-vllm,
model/ and bf16/.

The gRPC client and the plots need what requirements.txt pins (CPython 3.11); it is installed into a virtual
environment under --output, unless --python names an interpreter that has it. The rest is the standard library.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import machine
import report
import summary
from processes import Failed
from sections import SECTIONS, long_groups
from systems import HERE, Quire, all_systems

ROOT = HERE.parents[2]
MODEL = ".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"
# What --small sets where the command line does not: everything once, in a quarter of an hour.
SMALL = {"batches": [1, 4], "output_tokens": 16, "long_prefill": 256, "long_batches": [1, 4], "contexts": [128, 512],
         "prefill_lengths": [256], "clients": 4, "requests": 2, "prefix_words": 200, "words": 30, "chats": 2,
         "turns": 3, "answer": 16, "memory_sequences": 4, "memory_tokens": 512, "generate": 40, "idle_seconds": 2.0}


def numbers(text):
    return [int(part) for part in text.split(",")]


def names(allowed):
    def parse(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(allowed)}")
        return chosen
    return parse


def add_places(parser):
    group = parser.add_argument_group("where things are")
    group.add_argument("--quire", type=pathlib.Path, default=ROOT / "build/release/bin/quire")
    group.add_argument("--kernels-bench", type=pathlib.Path, default=ROOT / "build/release/bin/kernels_bench")
    group.add_argument("--model", type=pathlib.Path, default=ROOT / MODEL, help="ours reads this GGUF file")
    group.add_argument("--peers", type=pathlib.Path, help="default: $PEERS_HOME, else ~/.cache/peers",
                       default=pathlib.Path(os.environ.get("PEERS_HOME") or "~/.cache/peers").expanduser())
    group.add_argument("--python", type=pathlib.Path, help="an interpreter that has what requirements.txt names")
    group.add_argument("--output", type=pathlib.Path, default=ROOT / "build/compare")


def add_sizes(parser):
    group = parser.add_argument_group("sizes")
    group.add_argument("--batches", type=numbers, default=[1, 4, 16, 64], help="offline; as 1,4,16,64,256")
    group.add_argument("--input", type=int, default=128, help="offline prompt tokens")
    group.add_argument("--output-len", dest="output_tokens", type=int, default=48, help="offline new tokens")
    group.add_argument("--long-prefill", type=int, default=512, help="offline: one prompt of this length, too")
    group.add_argument("--long-batches", type=numbers, default=[1, 16])
    group.add_argument("--contexts", type=numbers, default=[128, 1024, 4096, 8000])
    group.add_argument("--prefill-lengths", type=numbers, default=[512, 2048, 8000], help="at batch 1")
    group.add_argument("--max-prompt-tokens", type=int, default=65536,
                       help="longer work: leave out what needs more at once")
    group.add_argument("--clients", type=int, default=16, help="that share a prefix")
    group.add_argument("--requests", type=int, default=4, help="of each of them")
    group.add_argument("--prefix-words", type=int, default=800)
    group.add_argument("--words", type=int, default=100, help="of each prompt's or turn's own")
    group.add_argument("--answer", type=int, default=64, help="new tokens of each request over the wire")
    group.add_argument("--chats", type=int, default=8)
    group.add_argument("--turns", type=int, default=6, help="of each chat")
    group.add_argument("--server-context", type=int, default=2048, help="tokens of one sequence in servers")
    group.add_argument("--memory-sequences", type=int, default=64)
    group.add_argument("--memory-tokens", type=int, default=2048)
    group.add_argument("--generate", type=int, default=200, help="new tokens with the KV cache and without")
    group.add_argument("--idle-seconds", type=float, default=10)


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=names(SECTIONS), default=list(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--systems", type=lambda text: text.lower().split(","), default=[""],
                        help="only those whose names begin so, as quire,llama")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all processors")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds that one measurement may take")
    add_places(parser)
    add_sizes(parser)
    if "--small" in (sys.argv[1:] if arguments is None else arguments):
        parser.set_defaults(**SMALL)
    return parser.parse_args(arguments)


def interpreter(options):
    """One that has the pinned packages: the given one, or that of our own virtual environment."""
    if options.python:
        return options.python
    folder, pins = options.output / "venv", HERE / "requirements.txt"
    stamp = folder / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != pins.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
                        "--no-deps", "--only-binary=:all:", "-r", pins], check=True)
        stamp.write_bytes(pins.read_bytes())
    return folder / "bin/python"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Comparison:
    """The measurements of one run, and what could not be measured."""

    def __init__(self, options):
        self.options = options
        self.measurements, self.skipped = [], []
        self.systems = []
        for system in all_systems(options):
            if not system.name.lower().startswith(tuple(options.systems)):
                continue
            if reason := system.missing():
                self.skip(f"{system.name}: {reason}")
            else:
                self.systems.append(system)
        if "long" in options.only and (left_out := long_groups(options)[1]):
            limit = options.max_prompt_tokens
            self.skip(f"longer work, {', '.join(left_out)}: more than {limit} prompt tokens at once")
        self.machine = machine.describe(options)

    def skip(self, note):
        say(f"skipped: {note}")
        self.skipped.append(note)

    def measure(self, section, system, round_number):
        """One section of one system; its failure is noted, and the others go on."""
        if system.sections is not None and section not in system.sections:
            return
        before = len(self.measurements)
        try:
            for measurement in SECTIONS[section][1](self.options, system, round_number) or ():
                self.measurements.append(measurement)
        except Failed as failure:
            self.skip(f"{system.name}, {section}, round {round_number + 1}: {failure}")
        if len(self.measurements) > before:
            say(f"round {round_number + 1}, {section}, {system.name}: {len(self.measurements) - before} values")

    def run(self):
        for round_number in range(self.options.rounds):
            first = round_number % len(self.systems)
            for section in self.options.only:
                for system in self.systems[first:] + self.systems[:first]:
                    self.measure(section, system, round_number)
                self.write()  # So that an interruption costs no more than a section.

    def results(self):
        return {"machine": self.machine, "rounds": self.options.rounds,
                "systems": [system.name for system in self.systems], "skipped": self.skipped,
                "options": {name: value if isinstance(value, (int, float, list, str)) else str(value)
                            for name, value in vars(self.options).items()},
                "summary": summary.summarize(self.measurements, Quire.name),
                "measurements": [vars(measurement) for measurement in self.measurements]}

    def write(self):
        results = self.results()
        (self.options.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (self.options.output / "results.md").write_text(report.markdown(results), encoding="utf-8")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # So that what was started ends, too.
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    options.python = interpreter(options)
    comparison = Comparison(options)
    if not comparison.systems:
        sys.exit("nothing to measure")
    comparison.run()
    subprocess.run([options.python, HERE / "plots.py", options.output / "results.json", options.output], check=True)
    print((options.output / "results.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
