"""Processes that work for another one, and stop when it is gone: after kill -9 nobody tells them. And those that are told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import FrameType

from mmadlib.atomic import alive
from mmadlib.pinned import SWITCH

PARENT = "MMADLIB_PARENT"  # variable with the process id of the scheduler for which a command runs
EVERY = 1.0  # seconds between two looks
OWN_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # clusters set them; a BLAS prefers its own to OMP_NUM_THREADS


def share_threads() -> None:
    """Let OMP_NUM_THREADS, which is pinned, say for all libraries how many threads they have; not where MMADLIB_PINNED=no."""
    if os.environ.get(SWITCH) != "no":
        for name in OWN_THREADS:
            os.environ.pop(name, None)


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


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """The interrupts (Ctrl-C) so far: a library that is being imported may turn a KeyboardInterrupt into another error."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield seen  # somebody else decides
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
