"""Jobs of the scheduler: one that fails stops no other one and not the collection, and is named at the end.

python workflow/jobs.py MARK TRIES COMMAND ...     run a command; its mark says "done" or why it failed
python workflow/jobs.py                            name what failed; exit code 1 if anything did
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

DONE = Path("runs/done")
FAILED = "failed"
TAIL = 4000  # bytes of what a job said at last
LINES = 6  # of these shown in the verdict


def attempt(mark: Path, tries: int, command: Sequence[str]) -> int:
    """Run the command, up to `tries` times; 0 unless it was interrupted, what came of it stands in the mark."""
    for _ in range(tries):
        code, said = _run(command)
        if code in (130, -2, -15):  # interrupted: nothing is to be said of the job
            return 130
        if code == 0:
            mark.write_text("done\n")
            return 0
    why = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    mark.write_text(f"{FAILED}: {why}\n{said}\n")
    return 0


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code of a command and the end of what it wrote to stderr, which goes on to ours."""
    tail = b""
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None  # it was asked for
        try:
            while data := process.stderr.read1(TAIL):
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
                tail = (tail + data)[-TAIL:]
        except KeyboardInterrupt:
            process.wait()
            return 130, ""
    lines = [line.split("\r")[-1].rstrip() for line in tail.decode(errors="replace").splitlines()]
    return process.returncode, "\n".join(line for line in lines if line)


def failures(marks: Iterable[Path]) -> dict[Path, str]:
    """mark -> what was said, of the jobs that failed."""
    texts = {mark: mark.read_text(errors="replace") for mark in marks if mark.is_file()}
    return {mark: text.removeprefix(f"{FAILED}: ") for mark, text in texts.items() if text.startswith(FAILED)}


def forget(marks: Iterable[Path]) -> None:
    """Delete those of some marks whose jobs failed: they are to be tried again."""
    for mark in failures(marks):
        mark.unlink()


def verdict(marks: Sequence[Path]) -> int:
    """Name the jobs that failed; how many."""
    found = failures(marks)
    for mark, said in found.items():
        first, *rest = said.splitlines()
        print(f"failed: {mark}: {first}", *(f"    {line}" for line in rest[-LINES:]), sep="\n", file=sys.stderr)
    if found:
        print(f"failed: {len(found)} job{'s' * (len(found) != 1)}, the others are done and collected; call again to try again",
              file=sys.stderr)
    return len(found)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(min(1, verdict(sorted(DONE.rglob("*")))))
    sys.exit(attempt(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
