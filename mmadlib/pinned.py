"""The same numbers on another processor: one instruction set and one thread for all libraries that add up.

Left alone, each library takes the widest instructions of the processor that it finds and as many threads as there are cores;
sums then have another order and round to other numbers. `pin` names one choice that x86-64 processors with AVX2 (nearly all
since 2013) can follow, in variables that the libraries read when they are loaded. So it is called by all ways in, before
anything else: the command line, the workflow, `python -m mmadlib.pinned COMMAND` (Makefile, Binder). Processes started from
there inherit it. A value that the user has set stays, and MMADLIB_PINNED=no leaves everything as it is; `state` says what is
in force, and every run keeps it in its record. Nothing here is imported but the standard library.
"""

from __future__ import annotations

import os
import platform
import sys

THREADS = {"OMP_NUM_THREADS": "1"}  # of torch, faiss and every BLAS
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # its convolutions
    "MKL_CBWR": "COMPATIBLE",  # its matrix products; MKL's other code paths are not for processors of every maker
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy, scipy and faiss
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy 2.4; one that a processor lacks does no harm
    "FAISS_SIMD_LEVEL": "AVX2",  # faiss 1.15 and later
    "FAISS_OPT_LEVEL": "AVX2",  # before, and where it comes in several builds (conda)
}
LIBRARIES = ("numpy", "torch", "faiss", "scipy")  # these read the variables, once
SWITCH = "MMADLIB_PINNED"
X86 = platform.machine().lower() in ("x86_64", "amd64")
VALUES = THREADS | (AVX2 if X86 else {})  # elsewhere there is no such choice to name
LATE: set[str] = set()  # variables set here after a library had looked


def pin() -> None:
    """Set those of VALUES that are not set, for this process and those that it starts; nothing where MMADLIB_PINNED=no.

    Without effect on libraries that this process has loaded before; `state` then says so.
    """
    if os.environ.get(SWITCH) == "no":
        return
    missing = {name: value for name, value in VALUES.items() if name not in os.environ}
    if any(library in sys.modules for library in LIBRARIES):
        LATE.update(missing)
    os.environ.update(missing)


def state() -> str:
    """What is in force in this process: "x86-64 AVX2", or the machine's name where AVX2 is not; "no: " and the variables
    that are not, with their values where the user set them."""
    others = [f"{name}={os.environ[name]}" if os.environ.get(name, value) != value else name
              for name, value in VALUES.items() if name in LATE or os.environ.get(name) != value]
    return f"no: {' '.join(others)}" if others else "x86-64 AVX2" if X86 else platform.machine()


def pinned(state: str) -> bool:
    """Whether that `state` is of a pinned process."""
    return not state.startswith("no")


if __name__ == "__main__":
    pin()
    if sys.argv[1:]:
        os.execvp(sys.argv[1], sys.argv[1:])
    print(state(), *(f"{name}={os.environ.get(name, '')}" for name in VALUES), sep="\n")
