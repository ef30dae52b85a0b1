"""Processes that work for another one end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from mmadlib.atomic import alive

PARENT = """
import os, sys, time
from mmadlib.workers import pool

def main():
    with pool(2) as workers:
        print(*workers.map(pid, range(8)), flush=True)
        time.sleep(600)

def pid(i):
    time.sleep(0.2)
    return os.getpid()

if __name__ == "__main__":
    main()
"""
COMMAND = """
import time
from mmadlib.workers import follow_scheduler
follow_scheduler()
print("on", flush=True)
time.sleep(600)
"""


def gone(pids, seconds=20):
    """Whether all end within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(map(running, pids)):
        time.sleep(0.1)
    return not any(map(running, pids))


def running(pid):
    """A process that has ended and that nobody waited for does not run."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return os.path.isdir("/proc/self") is False and alive(pid)


def test_workers_of_a_killed_process_end(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True) as parent:
        pids = sorted(set(map(int, parent.stdout.readline().split())))
        assert pids and all(map(running, pids))
        parent.kill()
    assert gone(pids)


@pytest.mark.parametrize("between", [[], ["bash", "-c", '"$@"; true', "bash"]])
def test_a_command_ends_with_its_scheduler(between):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as scheduler:
        command = [*between, sys.executable, "-c", COMMAND]
        with subprocess.Popen(command, env=os.environ | {"MMADLIB_PARENT": str(scheduler.pid)}, stdout=subprocess.PIPE,
                              text=True) as job:
            assert job.stdout.readline() == "on\n"
            scheduler.kill()
            scheduler.wait()
            assert job.wait(20) is not None
