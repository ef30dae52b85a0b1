"""The test files of what changed: `python tests/changed.py` prints them, one a line, for `make check`.

Changed is what git sees beside the last commit, or in it when there is nothing else. A file of the library has its mirror
among the tests and the tests that import it by name; `make test` runs everything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALWAYS = ("tests/test_rooms.py", "tests/test_front_door.py")
OTHERS = {r"notebooks/": "tests/test_notebook_contract.py", r"(workflow/params|workflow/plans)/": "tests/test_params.py",
          r"(requirements\.lock|pyproject\.toml|environment\.yml|binder/|Makefile)": "tests/test_env.py",
          r"(CONTRIBUTING\.md|README\.md|CITATION\.cff|CHANGELOG\.md|\.pre-commit-config\.yaml)": "tests/test_documents.py"}


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
    if path.parts[0] == "mmadlib" and path.suffix == ".py":
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        mirror = ROOT / "tests" / path.relative_to("mmadlib").with_name(f"test_{path.name}")
        asked = re.compile(rf"\b{re.escape(module)}\b")
        others = {p for p in (ROOT / "tests").rglob("test_*.py") if asked.search(p.read_text(encoding="utf-8"))}
        return {p.relative_to(ROOT).as_posix() for p in {mirror, *others} if p.is_file()}
    if path.parts[0] == "tests":
        return {name} if path.name.startswith("test_") and (ROOT / path).is_file() else set()
    return {test for pattern, test in OTHERS.items() if re.match(pattern, name)}


def main() -> int:
    """Print the test files of all that changed."""
    print("\n".join(sorted({*ALWAYS, *(test for name in changed() for test in tests_of(name))})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
