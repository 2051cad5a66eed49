#!/usr/bin/env python3
"""Tests what the comparison makes of what it reads: parsing, rates, statistics, tables. Starts no server, no peer."""

import contextlib
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "drivers")]

import compare
import load
import machine
import processes
import rates
import report
import sections
import summary
import systems
import workloads
from summary import Measurement


class Summary(unittest.TestCase):
    def test_percentiles_interpolate(self):
        self.assertIsNone(summary.percentile([], 0.5))
        self.assertEqual(summary.percentile([7], 0.99), 7)
        self.assertAlmostEqual(summary.percentile([4, 1, 3, 2], 0.9), 3.7)

    def test_advantage_is_above_one_where_ours_is_better(self):
        self.assertEqual(summary.advantage("decode", 30, {"a": 10, "b": 15}), (2, "b"))
        self.assertEqual(summary.advantage("ttft_p50", 30, {"a": 60, "b": 90}), (2, "a"))
        self.assertIsNone(summary.advantage("decode", 30, {}))
        self.assertIsNone(summary.advantage("ttft_p50", 0, {"a": 60}))
        self.assertIsNone(summary.advantage("idle_cpu", 1, {"a": 60}))

    def test_ratios_are_taken_within_a_round(self):
        # The machine was twice as fast in the second round; no round saw more than a factor of two.
        values = [("ours", 0, 20), ("peer", 0, 10), ("other", 0, 5), ("peer", 1, 30), ("ours", 1, 45)]
        params = {"batch": 4, "input": 128}
        rows = summary.summarize([Measurement("offline", "decode", *value, params) for value in values], "ours")
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0]["systems"]["ours"], {"median": 32.5, "min": 20, "max": 45, "rounds": 2})
        self.assertEqual((rows[0]["advantage"]["min"], rows[0]["advantage"]["max"]), (1.5, 2))
        self.assertEqual(rows[0]["best_peer"], "peer")

    def test_our_own_variants_are_no_peers(self):
        values = [("ours", 0, 20), ("ours, int8 KV", 0, 30), ("peer", 0, 10)]
        row = summary.summarize([Measurement("long", "decode", *value) for value in values], "ours")[0]
        self.assertEqual((row["advantage"]["median"], row["best_peer"]), (2, "peer"))

    def test_a_round_without_ours_gives_no_ratio(self):
        self.assertNotIn("advantage", summary.summarize([Measurement("start", "ready", "peer", 0, 1.0)], "ours")[0])


class Table(unittest.TestCase):
    def test_numbers_have_three_digits(self):
        self.assertEqual([report.number(value) for value in (12345.6, 123.4, 12.04, 1.234, 0.1, 20.0, 0)],
                         ["12,346", "123", "12.0", "1.23", "0.10", "20", "0"])

    def test_one_round_has_no_range(self):
        self.assertEqual(report.cell(summary.spread([5])), "5")
        self.assertEqual(report.cell(summary.spread([5, 7])), "6 (5 - 7)")

    def test_systems_without_values_have_no_column(self):
        rows = summary.summarize([
            Measurement("offline", "decode", "Quire", 0, 300.0, {"batch": 1, "input": 128}),
            Measurement("offline", "decode", "llama", 0, 100.0, {"batch": 1, "input": 128}),
            Measurement("offline", "prefill", "Quire", 0, 900.0, {"batch": 1, "input": 512})], "Quire")
        self.assertEqual(report.table(rows, ["Quire", "llama", "vLLM"]), "\n".join([
            "| | Quire | llama | ours against the best peer |",
            "|---|---|---|---|",
            "| decode (tok/s), 1 x 128 tokens | 300 | 100 | 3 x llama |",
            "| prefill (tok/s), 1 x 512 tokens | 900 |  |  |"]))

    def test_every_kind_of_row_has_a_label(self):
        for params in ({}, {"batch": 1, "input": 8}, {"workload": "chat", "clients": 8},
                       {"sequences": 4, "tokens": 512}, {"tokens": 200}):
            for metric in summary.METRICS:
                self.assertTrue(report.label({"metric": metric, "params": params}))

    def test_the_report_names_what_was_skipped(self):
        results = {"machine": {"processor": "P", "processors": 2, "memory_mib": 2048, "instruction_sets": ["avx2"],
                               "load_average": 0.5, "read_gb_per_s": {"96MB": 31.4},
                               "int8_gmac_per_s": {"avx2": 1234.5}},
                   "rounds": 1, "systems": ["Quire"], "skipped": ["vLLM: not there"],
                   "summary": summary.summarize([Measurement("start", "ready", "Quire", 0, 0.12)], "Quire")}
        text = report.markdown(results)
        self.assertIn("P, 2 processors, 2 GiB; avx2; reads 31 GB/s in 96MB, 1,234 G int8", text)
        self.assertIn("| start until ready (s) | 0.12 |", text)
        self.assertIn("- vLLM: not there", text)
        self.assertNotIn("## Offline", text)


class Machine(unittest.TestCase):
    def test_reads_cpuinfo(self):
        text = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\n"
        self.assertEqual(machine.describe_processor(text),
                         {"processor": "Some CPU", "instruction_sets": ["avx2", "avx512f"]})
        self.assertEqual(machine.describe_processor("")["processor"], "unknown processor")

    def test_reads_the_benchmarks(self):
        text = json.dumps({"benchmarks": [
            {"name": "machine/read/96MB/real_time/threads:2", "bytes_per_second": 3e10},
            {"name": "machine/read/96MB/real_time/threads:2", "bytes_per_second": 5e10},
            {"name": "machine/read/96MB/real_time/threads:2_mean", "run_type": "aggregate", "bytes_per_second": 9e10},
            {"name": "machine/int8/avx512-vnni/real_time/threads:2", "MAC/s": 4.5e11}]})
        self.assertEqual(machine.parse_rates(text),
                         {"read_gb_per_s": {"96MB": 40.0}, "int8_gmac_per_s": {"avx512-vnni": 450.0}})


class Rates(unittest.TestCase):
    """An engine on a clock of its own: 1 s for a prompt's token, 10 s for each step of new tokens."""

    def setUp(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def generate(self, prompts, new_tokens):
        self.now += sum(map(len, prompts)) + 10 * (new_tokens - 1)

    def test_time_is_that_of_the_call(self):
        self.assertEqual(rates.seconds_to_generate(self, [[1] * 8] * 2, 3, self.clock), 36)

    def test_steady_decode_begins_when_all_have_begun(self):
        def steps():
            self.now += 100  # Prompts are being read: only the first sequence generates.
            yield {0: 1}
            self.now += 100
            yield {0: 1, 1: 1}
            while True:
                self.now += 10
                yield {0: 1, 1: 1}

        self.assertEqual(rates.steady_decode_rate(steps(), 2, 5, self.clock), 0.2)

    def test_prompts_depend_on_the_seed_alone(self):
        first, again = (rates.random_prompts(random.Random(7), 2, 5) for _ in range(2))
        self.assertEqual(first, again)
        self.assertEqual([len(prompt) for prompt in first], [5, 5])

    def test_points_are_found_among_other_output(self):
        self.assertEqual(systems.parse_points('loading...\n{"pl": 4}\n| table |\n', lambda row: row["pl"]), [4])


class Stream(unittest.TestCase):
    def test_events_may_be_cut_anywhere(self):
        whole = b'data: {"a": 1}\n\n: comment\ndata: {"a": 2}\r\n\r\ndata: [DONE]\n\ndata: {"a": 3}\n'
        for size in range(1, len(whole)):
            blocks = [whole[i:i + size] for i in range(0, len(whole), size)]
            self.assertEqual(list(load.sse_payloads(blocks)), [{"a": 1}, {"a": 2}])

    def test_usage_may_come_alone(self):
        chunk = load.completion_chunk({"choices": [], "usage": {"completion_tokens": 9}})
        self.assertEqual((chunk.total, chunk.is_output), (9, False))
        self.assertTrue(load.completion_chunk({"choices": [{"text": ""}]}).is_output)

    def test_an_error_in_the_stream_is_an_error(self):
        with self.assertRaises(RuntimeError):
            load.completion_chunk({"error": {"message": "no"}})

    def test_a_failed_request_counts_once(self):
        class Broken:
            def stream(self, prompt, max_tokens):
                yield load.Chunk("x", 1)
                raise OSError("gone")

        results = load.Results()
        self.assertEqual(load.ask(Broken(), "p", 4, results), "")
        self.assertEqual((len(results.errors), results.output_tokens, results.ttft_ms), (1, 0, []))


class Workloads(unittest.TestCase):
    OPTIONS = types.SimpleNamespace(requests=3, words=4, prefix_words=6, tokens=20, output=5)

    def prompts(self, name, client):
        """The prompts of one client whose server answers " yes" to everything."""
        conversation = workloads.WORKLOADS[name](self.OPTIONS, random.Random(client), random.Random(0))
        prompts = []
        with contextlib.suppress(StopIteration):
            prompts.append(next(conversation))
            while True:
                prompts.append(conversation.send(" yes"))
        return prompts

    def test_clients_share_a_prefix_and_nothing_else(self):
        prompts = self.prompts("shared", 1) + self.prompts("shared", 2)
        self.assertEqual(len({" ".join(prompt.split()[:6]) for prompt in prompts}), 1)
        self.assertEqual(len(set(prompts)), 6)

    def test_a_chat_grows_by_answers_and_turns(self):
        first, second, third = self.prompts("chat", 1)
        self.assertTrue(second.startswith(first + " yes "))
        self.assertTrue(third.startswith(second + " yes "))
        self.assertEqual(len(third.split()), 3 * 4 + 2)

    def test_filling_prompts_leave_room_for_the_answer(self):
        self.assertEqual([len(prompt) for prompt in self.prompts("fill", 1)], [15] * 3)


class Options(unittest.TestCase):
    def test_small_gives_way_to_what_is_asked_for(self):
        options = compare.parse(["--small", "--batches", "2"])
        self.assertEqual((options.batches, options.clients), ([2], compare.SMALL["clients"]))
        self.assertEqual(vars(compare.parse([])).keys(), vars(options).keys())  # SMALL names options that exist.

    def test_unknown_sections_are_refused(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            compare.parse(["--only", "offline,nothing"])

    def test_what_needs_too_much_memory_is_left_out(self):
        options = compare.parse(["--max-prompt-tokens", "65536"])
        groups, left_out = sections.long_groups(options)
        self.assertEqual([(group.batches, group.lengths) for group in groups],
                         [([1], [128, 512, 1024, 2048, 4096, 8000]), ([16], [128, 1024, 4096])])
        self.assertEqual(left_out, ["16 x 8000"])

    def test_absent_peers_say_what_is_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            for system in systems.all_systems(compare.parse(["--peers", folder, "--quire", f"{folder}/quire"])):
                self.assertIn(folder, system.missing())


class Processes(unittest.TestCase):
    def test_reads_the_peak_of_memory(self):
        self.assertEqual(processes.high_water_mib("Name:\tx\nVmHWM:\t  2048 kB\n"), 2)
        self.assertEqual(processes.high_water_mib(""), 0)

    def test_a_session_is_measured_and_ended_as_a_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            process = processes.start(["sh", "-c", "sleep 60 & sleep 60 & wait"], pathlib.Path(folder, "log"))
            try:
                while len(processes.members(process.pid)) < 3:
                    pass
                self.assertGreater(processes.peak_resident_mib(process.pid), 0)
                self.assertLess(processes.cpu_percent(process.pid, 0.05), 100)
            finally:
                processes.end(process, patience=5)
            self.assertEqual([pid for pid in processes.members(process.pid) if processes.peak_resident_mib(pid)], [])

    def test_a_failure_names_the_log(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "log")
            with self.assertRaisesRegex(processes.Failed, "exit status 3; see .*log"):
                processes.run(["sh", "-c", "echo why >&2; exit 3"], log, timeout=10)
            self.assertIn("why", log.read_text())
            with self.assertRaisesRegex(processes.Failed, "took more than"):
                processes.run(["sleep", "60"], log, timeout=0.1)


if __name__ == "__main__":
    unittest.main()
