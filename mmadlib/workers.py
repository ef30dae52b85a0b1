"""Processes that work for another one, and stop when it is gone: after kill -9 nobody tells them."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from mmadlib.atomic import alive

PARENT = "MMADLIB_PARENT"  # variable with the process id of the scheduler for which a command runs
EVERY = 1.0  # seconds between two looks


def follow(pid: int, every: float = EVERY) -> None:
    """End this process soon after process `pid` of this machine has ended."""
    child = os.getppid() == pid

    def watch() -> None:
        while os.getppid() == pid if child else alive(pid):  # a parent that nobody waits for seems alive
            time.sleep(every)
        os._exit(1)  # nothing is left half: files are written under another name and renamed

    threading.Thread(target=watch, daemon=True, name=f"follow {pid}").start()


def follow_scheduler() -> None:
    """`follow` the process that the variable MMADLIB_PARENT names, if it names one."""
    pid = os.environ.get(PARENT, "")
    if pid.isdigit() and alive(int(pid)):
        follow(int(pid))


def pool(jobs: int) -> ProcessPoolExecutor:
    """Worker processes that end with this one.

    They are spawned: a forked child would inherit the ray caster's threads in an unknown state.
    """
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), follow, (os.getpid(),))
