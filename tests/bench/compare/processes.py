"""Starts other programs, ends them with all their children, and reads from /proc what they use."""

import os
import pathlib
import signal
import subprocess
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program that did not do what it was started for; the message names its log."""


def _open_log(log):
    log.parent.mkdir(parents=True, exist_ok=True)
    return open(log, "a", encoding="utf-8")


def run(command, log, timeout, env=None):
    """Standard output of a command that must succeed within `timeout` seconds; its standard error goes to `log`."""
    with _open_log(log) as errors:
        print("$", *command, file=errors, flush=True)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                              env={**os.environ, **(env or {})}, start_new_session=True) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise Failed(f"took more than {timeout} s; see {log}") from None
            finally:
                end(process)
        print(output, file=errors)
    if process.returncode != 0:
        raise Failed(f"exit status {process.returncode}; see {log}")
    return output


def start(command, log, env=None):
    """A process in a session of its own, which end() and the functions below take as a whole."""
    with _open_log(log) as output:
        print("$", *command, file=output, flush=True)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                env={**os.environ, **(env or {})}, start_new_session=True)


def end(process, patience=30):
    """Asks the process to end, then ends what is left of its session."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _stat_fields(pid):
    """Fields of /proc/PID/stat from the third (state) on; the second, a name, may hold anything."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def members(session):
    """Processes of a session that start() has begun."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(_stat_fields(entry.name)[3]) == session:
                found.append(int(entry.name))
        except (OSError, IndexError):
            pass  # It has ended meanwhile.
    return found


def cpu_seconds(session):
    """Processor time that the running members of a session have used so far."""
    ticks = 0
    for pid in members(session):
        try:
            fields = _stat_fields(pid)
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / CLOCK_TICKS


def cpu_percent(session, seconds):
    """Share of one processor that a session uses while we wait this long, in percent."""
    before, start_time = cpu_seconds(session), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_seconds(session) - before) / (time.perf_counter() - start_time)


def high_water_mib(status):
    """VmHWM of the text of /proc/PID/status, in MiB."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # A process that is ending has no memory.


def peak_resident_mib(session):
    """The sum of the peaks of resident memory of a session's processes, in MiB."""
    total = 0.0
    for pid in members(session):
        try:
            total += high_water_mib(pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
        except OSError:
            pass
    return total


def reset_peaks(session):
    """Lets peaks begin anew at what is resident now."""
    for pid in members(session):
        try:
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
        except OSError:
            pass  # Then the peak since the start counts.
