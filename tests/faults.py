"""Faults again and again: python tests/faults.py [TRIES]. Not part of `make test`: some minutes.

A sweep is killed at moments spread over its run, interrupted, run three times at once and on a full disk; runs are collected
by four processes at once; the parent of rendering workers is killed. After each fault the same command is given again, and
every number must be what a sweep without a fault gives, with nothing left over. Exit code 1 if anything differs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import yaml
from layouts import isolated, mvtec
from test_workers import gone, running

SWEEP = {"dataset": "folder", "categories": ["a", "b"], "shots": [2, 4], "seeds": [0, 1], "options": {"size": 64},
         "methods": {"nearest": {"joint": {"bank": "joint"}}, "cfm": {"short": {"epochs": 20}}}}
RUNS = 16
MOMENTS = 9
COLLECTORS = 4
DISK = "400k"


class Place:
    """A workspace of its own in which commands are given."""

    def __init__(self, folder: Path, data: Path, name: str) -> None:
        self.home, self.data = folder / name, data
        self.home.mkdir()

    def start(self, *words: str, **options) -> subprocess.Popen:
        env = os.environ | {"MMADLIB_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-m", "mmadlib", *words], env=env, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **options)

    def sweep(self) -> subprocess.Popen:
        return self.start("sweep", str(self.data / "sweep.yaml"), "--root", str(self.data))

    def finish(self) -> None:
        """The same command again; it must go on and end well."""
        out, err = (process := self.sweep()).communicate()
        assert process.returncode == 0 and "Traceback" not in err, out + err

    def numbers(self) -> pd.DataFrame:
        """Every number of its runs, through collection."""
        process = self.start("collect", "--into", "results")
        assert process.wait() == 0, process.communicate()
        return pd.read_csv(self.home / "results/results.csv", dtype=str)

    def leftovers(self) -> list[Path]:
        """Half-written files: their names begin with a dot, as those of the lock do."""
        return [path for path in self.home.rglob(".*") if path.name not in (".lock", ".owner")]


def killed(place: Place, seconds: float, how: signal.Signals) -> str:
    """A sweep that gets a signal after some seconds, and then is given again."""
    process = place.sweep()
    time.sleep(seconds)
    process.send_signal(how)
    _, err = process.communicate()
    assert "Traceback" not in err, err
    finished = len(list(place.home.rglob("metrics.json")))
    place.finish()
    return f"{finished:2d} of {RUNS} runs were finished"


def at_once(place: Place, number: int) -> str:
    """The same sweep, cache and runs, from several processes."""
    ends = [process.communicate()[1] for process in [place.sweep() for _ in range(number)]]
    assert not any("Traceback" in err for err in ends), ends
    place.finish()
    return f"{number} at once"


def full_disk(place: Place) -> str:
    """A disk that is full in the middle: one clear line, and after room was made the same command goes on."""
    inner = place.home / "disk"
    inner.mkdir()
    sweep = f'"{sys.executable}" -m mmadlib sweep "{place.data}/sweep.yaml" --root "{place.data}"'
    script = (f'mount -t tmpfs -o size={DISK} none "{inner}" && export MMADLIB_HOME="{inner}" OMP_NUM_THREADS=1; '
              f'{sweep} >&2; code=$?; mount -o remount,size=64m "{inner}"; '
              f'{sweep} && cp -r "{inner}/." "{place.home}/kept"; echo code $code')
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert "code 0" not in done.stdout, "the disk was never full: " + done.stdout
    place.home = place.home / "kept"
    said = next(line for line in done.stderr.splitlines() if "No space left" in line)
    return said[:110]


def collections(place: Place, wanted: pd.DataFrame) -> str:
    """Runs in several folders, collected into the same tables at the same time."""
    for number, part in enumerate(sorted((place.home / "runs").rglob("seed?"))):
        shutil.move(part, place.home / f"parts/{number % COLLECTORS}" / part.relative_to(place.home / "runs"))
    both = [place.start("collect", "--base", str(place.home / f"parts/{k}"), "--into", "results") for k in range(COLLECTORS)]
    ends = [process.communicate()[1] for process in both]
    found = pd.read_csv(place.home / "results/results.csv", dtype=str)
    assert found.equals(wanted) and not any("Traceback" in err for err in ends), (len(found), len(wanted), ends)
    return f"{COLLECTORS} collections at once, {len(found)} rows of {len(wanted)}"


def orphans(place: Place) -> str:
    """The parent of rendering workers is killed: they end."""
    process = place.start("render", "--category", "plain", "--data-seed", "0", "--jobs", "2")
    time.sleep(8)
    children = [int(pid) for pid in _children(process.pid)]
    process.kill()
    process.wait()
    assert children and gone(children), [pid for pid in children if running(pid)]
    return f"{len(children)} workers ended"


def _children(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield child
            yield from _children(int(child))


def trials(folder: Path, data: Path, tries: int) -> Iterator[tuple[str, str, bool]]:
    """(fault, what was seen, whether all numbers are equal and nothing is left over)."""
    def place(name: str) -> Place:
        return Place(folder, data, name)

    plain, start = place("plain"), time.monotonic()
    plain.finish()
    seconds = time.monotonic() - start
    wanted = plain.numbers()
    yield "none", f"{RUNS} runs in {seconds:.0f} s, {len(wanted)} rows", len(wanted) > RUNS

    def verdict(trial: Place) -> bool:
        return trial.numbers().equals(wanted) and not trial.leftovers()

    for number in range(tries):
        for how in (signal.SIGKILL, signal.SIGINT):
            for k in range(MOMENTS):
                at = seconds * (k + 0.5 + number / tries) / (MOMENTS + 0.5)
                trial = place(f"{how.name}{number}.{k}")
                yield f"{how.name} after {at:.1f} s", killed(trial, at, how), verdict(trial)
        trial = place(f"twice{number}")
        yield "sweeps", at_once(trial, 3), verdict(trial)
        if shutil.which("unshare"):
            trial = place(f"disk{number}")
            yield f"disk of {DISK}", full_disk(trial), verdict(trial)
        trial = place(f"collect{number}")
        shutil.copytree(plain.home / "runs", trial.home / "runs")
        yield "collection", collections(trial, wanted), not trial.leftovers()
        trial = place(f"orphans{number}")
        yield "SIGKILL of the renderer", orphans(trial), True


def main(words: Sequence[str]) -> int:
    """Print one line per fault; whether any did harm."""
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        for category in SWEEP["categories"]:
            mvtec(data, category, train=6, cloud=isolated)
        (data / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
        for fault, seen, good in trials(Path(name), data, int(words[0]) if words else 1):
            bad += not good
            print(f"{'equal' if good else 'DIFFERS':8s} {fault:24s} {seen}", flush=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
