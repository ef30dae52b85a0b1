"""One instruction set and one thread: set where nothing has loaded a library yet, inherited, and told by the record."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mmadlib import pinned
from mmadlib.digest import PACKAGE

ROOT = PACKAGE.parent
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
EFFECT = """
import json, numpy, torch, faiss
from numpy._core._multiarray_umath import __cpu_features__ as features
from mmadlib.pinned import state
print(json.dumps([state(), features["X86_V3"], features["X86_V4"], torch.backends.cpu.get_cpu_capability(),
                  torch.get_num_threads(), faiss.SIMDConfig.get_level_name() if hasattr(faiss, "SIMDConfig") else "AVX2"]))
"""


def python(*words: str, quiet: bool = True, **given: str) -> str:
    """What a Python process prints that starts with nothing pinned but what is given."""
    env = {name: value for name, value in os.environ.items() if name not in (*pinned.VALUES, pinned.SWITCH)}
    done = subprocess.run([sys.executable, "-W", "error::RuntimeWarning", *words], capture_output=True, text=True, check=False,
                          cwd=ROOT, env=env | {"PYTHONPATH": str(ROOT)} | given)
    assert done.returncode == 0 and not (quiet and done.stderr), done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not pinned.X86, reason="there is no AVX2 to pin")
def test_what_a_command_starts_computes_with_avx2_and_one_thread():
    said = json.loads(python("-m", "mmadlib.pinned", sys.executable, "-c", EFFECT))
    assert said == ["x86-64 AVX2", said[1], False, "AVX2", 1, "AVX2"]


@pytest.mark.parametrize("first", ["", "import numpy; "])
def test_libraries_that_were_loaded_before_are_told(first):
    said = python("-c", f"{first}import sys; from mmadlib import pinned; pinned.pin(); print(pinned.state())")
    assert pinned.pinned(said) == (not first) and (not first or said == f"no: {' '.join(pinned.VALUES)}")


def test_what_the_user_set_stays_and_is_told():
    said = python("-c", "from mmadlib import pinned; pinned.pin(); print(pinned.state())", OMP_NUM_THREADS="3")
    assert said == "no: OMP_NUM_THREADS=3"
    said = python("-c", "from mmadlib import pinned; pinned.pin(); print(pinned.state())", MMADLIB_PINNED="no")
    assert said == f"no: {' '.join(pinned.VALUES)}", "the switch leaves everything as it is"


def test_the_command_line_loads_nothing_that_could_no_longer_be_pinned():
    code = f"import sys, mmadlib.__main__; print([name for name in {pinned.LIBRARIES} if name in sys.modules])"
    assert python("-c", code) == "[]"


def test_the_command_line_pins_the_kernels_that_it_starts(tmp_path):
    import nbformat

    cells = [nbformat.v4.new_code_cell("x: int = 1", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("import numpy, os\nfrom mmadlib import pinned\nprint(pinned.state())\n"
                                       "print(os.environ.get('OPENBLAS_NUM_THREADS'))")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, tmp_path / "in.ipynb")
    python("-m", "mmadlib", "run", str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), quiet=False,
           OPENBLAS_NUM_THREADS="4")
    text, threads = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs[0].text.split("\n")[:2]
    assert pinned.pinned(text) and text == python("-m", "mmadlib.pinned").splitlines()[0]
    assert threads == "None", "a library's own number of threads would not be one"


def test_another_machine_has_its_name(monkeypatch):
    monkeypatch.setattr(pinned, "VALUES", pinned.THREADS)
    monkeypatch.setattr(pinned, "X86", False)
    monkeypatch.setattr(pinned, "LATE", set())
    monkeypatch.setattr(pinned.platform, "machine", lambda: "arm64")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert pinned.state() == "arm64" and pinned.pinned("arm64")


def test_a_run_that_was_not_pinned_stays_out_of_the_tables():
    from mmadlib.experiments.belonging import _why
    from mmadlib.experiments.record import Record

    record = Record("rendered", 1, "keyed", "cfm", "default", "learned", 4, 0, {}, settings={})
    assert _why(record, "{}", "", "") == "not pinned", "an older one, of which nothing is known"
    record.provenance["pinned"] = "no: OMP_NUM_THREADS=4"
    assert _why(record, "{}", "", "") == "not pinned"
    record.provenance["pinned"] = "x86-64 AVX2"
    assert _why(record, "{}", "", "") == ""
