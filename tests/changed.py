"""The test files of what changed: `python tests/changed.py` prints them, one a line, for `make check`.

Changed is what git sees beside the last commit, or in it when there is nothing else. A file of the library has its mirror
among the tests and those that name it, or all of its room; `make test` runs everything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
ALWAYS = ("tests/test_rooms.py", "tests/test_front_door.py")
OTHERS = {r"notebooks/": "tests/test_notebook_contract.py", r"workflow/(params|plans)/": "tests/test_params.py",
          r"workflow/(Snakefile|config\.yaml|profiles|times\.py)": "tests/test_workflow.py",
          r"workflow/store\.py": "tests/test_store.py", r"benchmarks/": "tests/test_documents.py",
          r"(requirements\.lock|pyproject\.toml|environment\.yml|binder/|Makefile)": "tests/test_env.py",
          r".*\.(md|cff)$|\.pre-commit-config\.yaml": "tests/test_documents.py"}


def git(*words: str) -> list[str]:
    """Lines that a git command prints."""
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.splitlines()


def changed() -> list[str]:
    """Names of changed files, from the root."""
    return (git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
            or git("diff", "--name-only", "HEAD~1"))


def tests_of(name: str) -> set[str]:
    """Test files that look at one changed file."""
    path = Path(name)
    if path.parts[0] == "mmadlib":
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        mirror = TESTS / path.relative_to("mmadlib").with_name(f"test_{path.stem}.py")
        return named({mirror} & {*TESTS.rglob("test_*.py")} | asking(module) or {*mirror.parent.glob("test_*.py")})
    if path.parts[0] == "tests" and path.suffix == ".py":
        return named({ROOT / path} if path.name.startswith("test_") else asking(path.stem))
    return {test for pattern, test in OTHERS.items() if re.match(pattern, name)}


def asking(module: str) -> set[Path]:
    """Test files that name a module."""
    asked = re.compile(rf"\b{re.escape(module)}\b")
    return {p for p in TESTS.rglob("test_*.py") if asked.search(p.read_text(encoding="utf-8"))}


def named(files: set[Path]) -> set[str]:
    """Those that exist, from the root."""
    return {p.relative_to(ROOT).as_posix() for p in files if p.is_file()}


def main() -> int:
    """Print the test files of all that changed."""
    print("\n".join(sorted({*ALWAYS, *(test for name in changed() for test in tests_of(name))})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
