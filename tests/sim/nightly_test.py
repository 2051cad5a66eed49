"""nightly.py with a program in the simulator's place that is wrong where a test says."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import nightly

PROGRAM = """#!{python}
import os
env = os.environ
first = int(env.get("QUIRE_SIM_SEED", env.get("QUIRE_SIM_FIRST", 0)))
count = 1 if "QUIRE_SIM_SEED" in env else int(env["QUIRE_SIM_SEEDS"])
for seed in range(first, first + count):
    if seed in {bad}:
        print("something is wrong", seed, flush=True)
        os.abort()
if count > 1 and {never}:
    raise SystemExit("nothing happened")
"""


class NightlyTest(unittest.TestCase):
    def run_nightly(self, *arguments, bad=(), never=False):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "program")
            program.write_text(PROGRAM.format(python=sys.executable, bad=set(bad) or "()", never=never))
            program.chmod(0o755)
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                status = nightly.main([str(program), "--jobs", "2", *arguments])
        return status, printed.getvalue().splitlines()

    def setUp(self):
        chunk, nightly.CHUNK = nightly.CHUNK, 10
        self.addCleanup(setattr, nightly, "CHUNK", chunk)

    def test_says_that_nothing_failed(self):
        status, lines = self.run_nightly("--seeds", "25")
        self.assertEqual(status, 0)
        self.assertTrue(lines[-1].startswith("25 of 25 seeds, 0 failed"), lines)

    def test_names_every_seed_that_fails_with_what_was_said(self):
        status, lines = self.run_nightly("--first", "100", "--seeds", "30", bad=(99, 103, 107, 121, 130))
        self.assertEqual(status, 1)
        self.assertEqual(sorted(line for line in lines if line.startswith("failed: ")),
                         ["failed: seed 103", "failed: seed 107", "failed: seed 121"])
        self.assertIn("something is wrong 107", lines)

    def test_names_seeds_that_fail_only_together(self):
        status, lines = self.run_nightly("--seeds", "10", never=True)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "failed: seeds 0 to 9, and none of them alone")


if __name__ == "__main__":
    unittest.main()
