"""Runs the simulator over many more seeds than `make test` does, on all processors, and says which of them fail."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

# Few enough that what a failure costs, each of them run alone, is little, and so many that something of everything
# happens in each of the program's shards, which it checks.
CHUNK = 2000


def run(program, **environment):
    """Whether it went well, and what it said."""
    done = subprocess.run([program, "--gtest_brief=1", "--gtest_filter=Shard/*"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          env={**os.environ, **environment})
    return done.returncode == 0, done.stdout


def failures(program, first, count):
    """The seeds of [first, first + count) that fail, each with what was said. One that aborts takes the rest of its
    process along, so once anything fails they are run one by one."""
    well, output = run(program, QUIRE_SIM_FIRST=str(first), QUIRE_SIM_SEEDS=str(count))
    if well:
        return []
    found = []
    for seed in range(first, first + count):
        well, said = run(program, QUIRE_SIM_SEED=str(seed))
        if not well:
            found.append((f"seed {seed}", said))
    return found or [(f"seeds {first} to {first + count - 1}, and none of them alone", output)]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="sim_tests, as it was built")
    parser.add_argument("--seeds", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (default: %(default)s)")
    options = parser.parse_args(arguments)

    end = options.first + options.seeds
    begun = time.monotonic()
    done, failed = 0, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = {}
        for first in range(options.first, end, CHUNK):
            count = min(CHUNK, end - first)
            jobs[pool.submit(failures, options.program, first, count)] = count
        for job in concurrent.futures.as_completed(jobs):
            done += jobs[job]
            for which, said in job.result():
                failed.append(which)
                print(f"{which} failed:\n{said}")
            print(f"{done} of {options.seeds} seeds, {len(failed)} failed, {time.monotonic() - begun:.0f} s", flush=True)
    for which in failed:
        print(f"failed: {which}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
