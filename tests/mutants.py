"""Mutation score: `python tests/mutants.py [FILE_OR_FOLDER...]` counts the slips of mutate.py that the tests notice, by file.

Each mutant is written into a copy of the package, never here, and the tests of its file run beside it, quickest first, in a
process of their own until one fails; one that takes far longer than the tests do counts as caught. build/mutants.jsonl keeps
the results, so an interrupted run goes on; a survivor is tried again when the tests have changed, everything of a file when
the file has. Remove it to start anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import changed
from mutate import Mutant, mutants

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "mutants.jsonl"
ROOMS = [f"mmadlib/{room}" for room in ("methods", "metrics", "features", "prepare")]
LOADED = ["torch", "torch._dynamo", "scipy.ndimage", "sklearn.random_projection", "faiss", "safetensors.torch", "skimage",
          "open3d", "PIL.Image", "pytest", "beartype", "jaxtyping"]  # once, before the processes divide
ALL_METHODS = {"tests/methods/test_defaults.py", "tests/methods/test_pinned.py"}  # they see every file of that room
PATIENCE, GRACE = 5, 30  # a mutant may take so many times the tests' own seconds, and so many seconds more
MEMORY = 12 * 2**30  # bytes of a process
CONTEXT = multiprocessing.get_context("forkserver")


class Quickest:
    """Plugin of pytest: the tests in order of their seconds, which it measures."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.measured = seconds, dict.fromkeys(seconds, 0.0)

    def pytest_collection_modifyitems(self, items: list) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report) -> None:
        self.measured[report.nodeid] = self.measured.get(report.nodeid, 0.0) + report.duration


def run_tests(tree: Path, tests: list[str], seconds: dict[str, float]) -> None:
    """In a process of its own: the tests against the package in `tree`; exit code as pytest's, seconds in a file."""
    import resource

    import pytest

    os.setsid()  # so that what tests start ends with them
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path.insert(0, str(tree))
    for stream in (1, 2):
        os.dup2(os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    quickest = Quickest(seconds)
    words = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(tree / "tmp")]
    code = pytest.main([*words, *tests], plugins=[quickest])
    (tree / "seconds.json").write_text(json.dumps(quickest.measured))
    sys.exit(int(code))


def outcome(tree: Path, tests: list[str], seconds: dict[str, float]) -> bool:
    """Whether a test fails, or does not end, against the package in `tree`."""
    process = CONTEXT.Process(target=run_tests, args=(tree, tests, seconds))
    process.start()
    process.join(GRACE + PATIENCE * sum(seconds.values()) if seconds else None)
    if process.exitcode in (4, 5):
        raise SystemExit(f"no tests could be run:\n{(tree / 'output.txt').read_text()}")
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode != 0


def copied(folder: Path) -> Path:
    """What the tests of the rooms need, copied."""
    for name in ("mmadlib", "tests", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def tests_of(file: str) -> list[str]:
    """The tests that look at a file, see changed.py, all of a method's for each file of its room, none of a higher room."""
    inside = Path(file).relative_to("mmadlib")
    room = set((ROOT / "tests" / inside.parent).glob("test_*.py")) if len(inside.parts) > 2 else set()
    found = changed.tests_of(file) | changed.named(room) | ALL_METHODS
    return sorted(test for test in found if test.startswith(f"tests/{inside.parts[0]}/"))


def chosen(file: str, most: int, seed: int) -> list[tuple[int, Mutant]]:
    """Mutants of a file with their numbers, at most so many, drawn from the seed; more of them hold the fewer."""
    found = list(enumerate(mutants((ROOT / file).read_text(encoding="utf-8"))))
    return sorted(random.Random(f"{seed} {file}").sample(found, len(found))[:most])


def digest(*files: str) -> str:
    return hashlib.sha256(b"".join((ROOT / file).read_bytes() for file in files)).hexdigest()[:16]


def known(file: str, tests: list[str]) -> dict[str, bool]:
    """change -> caught, of mutants that need not be tried again."""
    rows = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.is_file() else ())
    return {row["change"]: row["caught"] for row in rows if row["file"] == file and row["source"] == digest(file)
            and (row["caught"] or row["tests"] == digest(*tests))}


def judged(file: str, picked: list[tuple[int, Mutant]], trees: SimpleQueue[Path], jobs: int) -> Iterator[tuple[str, bool]]:
    """(change, caught) of the mutants of one file; the results of new ones are kept."""
    tests = tests_of(file)
    old = known(file, tests)
    yield from ((name, old[name]) for name in map(named, picked) if name in old)
    left = [(number, mutant) for number, mutant in picked if named((number, mutant)) not in old]
    if not left:
        return
    tree = trees.get()
    if outcome(tree, tests, {}):
        raise SystemExit(f"{file}: its tests fail without a mutant:\n{(tree / 'output.txt').read_text()[-3000:]}")
    seconds = json.loads((tree / "seconds.json").read_text())
    trees.put(tree)

    def attempt(one: tuple[int, Mutant]) -> tuple[str, bool]:
        tree = trees.get()
        (tree / file).write_text(one[1].text, encoding="utf-8")
        os.utime(tree / file, (one[0], one[0]))  # no other has this time, so no stored byte code is taken for it
        caught = outcome(tree, tests, seconds)
        shutil.copy2(ROOT / file, tree / file)
        trees.put(tree)
        return named(one), caught

    with ThreadPoolExecutor(jobs) as pool, RESULTS.open("a", encoding="utf-8") as results:
        for name, caught in pool.map(attempt, left):
            row = {"file": file, "change": name, "caught": caught, "source": digest(file), "tests": digest(*tests)}
            results.write(json.dumps(row) + "\n")
            results.flush()
            yield name, caught


def named(one: tuple[int, Mutant]) -> str:
    """Line, number and change of a mutant."""
    return f"{one[1].line} #{one[0]}: {one[1].change}"


def files_of(words: list[str]) -> list[str]:
    """Modules named or inside of folders named, from the root."""
    found = [p for word in words for p in ([ROOT / word] if word.endswith(".py") else sorted((ROOT / word).rglob("*.py")))]
    return [p.relative_to(ROOT).as_posix() for p in found if p.name != "__init__.py"]


def main() -> int:
    """Print a table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=ROOMS, help="modules or folders, from the root; default: %(default)s")
    parser.add_argument("--most", type=int, default=20, help="mutants of a file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides which (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    given = parser.parse_args()
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    CONTEXT.set_forkserver_preload(LOADED)
    RESULTS.parent.mkdir(exist_ok=True)
    survivors, start = [], time.monotonic()
    print("| file | mutants | caught | survivors | score |\n|:--|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for i in range(given.jobs):
            trees.put(copied(Path(folder) / str(i)))
        for file in files_of(given.what):
            verdicts = dict(judged(file, chosen(file, given.most, given.seed), trees, given.jobs))
            caught = sum(verdicts.values())
            survivors += [f"{file}:{name}" for name, dead in verdicts.items() if not dead]
            print(f"| {file} | {len(verdicts)} | {caught} | {len(verdicts) - caught} | {caught / max(1, len(verdicts)):.0%} |",
                  flush=True)
    print(f"\n{len(survivors)} survivors, {time.monotonic() - start:.0f} s", *sorted(survivors), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
