"""One digest a stage, so that two machines can be compared in a minute: python benchmarks/stages.py > here.txt

    rendered files, pixels     of a few samples of one category, rendered anew
    tokens                     of both sides, learned and descriptors
    weights, maps, metrics     of every method on learned features, two shots, a few steps

With --compare OTHER, the text of another machine, the first stage that differs is named; what differs after it may do so for
that reason alone: stages go on from what was computed here. Pinned (mmadlib.pinned) unless MMADLIB_PINNED=no.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from mmadlib.pinned import VALUES, pin, state

pin()  # before anything loads numpy
# ruff: noqa: E402

import numpy as np
import torch

from mmadlib.data import load
from mmadlib.features import FAMILIES, Extractor
from mmadlib.features.tokens import compose
from mmadlib.methods import METHODS
from mmadlib.metrics import evaluate_maps

CATEGORY, SHOTS, TESTED = "keyed", 2, ((0, 1), (30, 31), (60, 61))  # of the test split: good, two of each of two defects
SHORT = {"steps": 10, "epochs": 0, "retriever_epochs": 2}  # of the settings, where a method has them
FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile")


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def of(*arrays: np.ndarray | torch.Tensor) -> str:
    """Digest of values, their types and shapes."""
    found = [np.ascontiguousarray(a) for a in arrays]
    return digest(*(str((a.dtype, a.shape)).encode() + a.tobytes() for a in found))


def processor() -> str:
    """Its name and those of FLAGS that it has, where the system tells; the rest of it is no business of a note."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        lines = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, value in lines.items()}
    return f"{told.get('model name', platform.machine())}: {' '.join(f for f in FLAGS if f in told.get('flags', '').split())}"


def stages() -> Iterator[tuple[str, str]]:
    """(stage, digest), as soon as each is computed."""
    with tempfile.TemporaryDirectory() as root:
        train = load("rendered", CATEGORY, "train", root=root, data_seed=1)
        test = load("rendered", CATEGORY, "test", root=root, data_seed=1)
        samples = [train[i] for i in range(SHOTS)] + [test[i] for pair in TESTED for i in pair]
        files = sorted(p for p in Path(root).rglob("*") if p.suffix in (".png", ".tiff"))
        yield "rendered colours", of(*(s.rgb for s in samples))
        yield "rendered points", of(*(s.xyz for s in samples))
        yield "rendered files", digest(*(p.read_bytes() for p in files))
    for family in ("descriptors", "learned"):
        tokens = Extractor(*FAMILIES[family]).tokens_of(samples)
        for side in ("rgb", "xyz"):
            yield f"{family} tokens {side}", of(*(getattr(t, side).tokens for t in tokens))
    features = [compose(t) for t in tokens]
    truths = [t.truth for t in tokens[SHOTS:]]
    for name, method in METHODS.items():
        known = {f.name for f in fields(method.SETTINGS)}
        model = method(seed=0, **{k: v for k, v in SHORT.items() if k in known})
        model.fit(features[:SHOTS], progress=False)
        fitted = model.standardise.state() | model.state()
        yield f"{name} weights", of(*(fitted[k].detach().cpu().numpy() for k in sorted(fitted)))
        scores = [model.score(f) for f in features[SHOTS:]]
        yield f"{name} maps", of(*(s.map for s in scores), np.array([s.image for s in scores]))
        values = evaluate_maps([s.map for s in scores], [t.mask for t in truths], [s.image for s in scores],
                               [t.label for t in truths])
        yield f"{name} metrics", digest(repr({k: round(float(v), 4) for k, v in values.items()}).encode())


def read(text: str) -> dict[str, str]:
    """stage -> digest of a text that this script printed."""
    words = [line.partition("#")[0].rsplit(maxsplit=1) for line in text.splitlines()]
    return {some[0].strip(): some[1] for some in words if len(some) == 2}


def verdict(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """"" where two machines agree in every stage; else the stages that differ, the first of them first, and those that one
    has alone."""
    differing = [stage for stage, found in ours.items() if theirs.get(stage, found) != found]
    said = [f"first stage that differs: {differing[0]}; in all: {', '.join(differing)}"] if differing else []
    for where, some, other in (("here", ours, theirs), ("there", theirs, ours)):
        if alone := [stage for stage in some if stage not in other]:
            said.append(f"only {where}: {', '.join(alone)}")
    return "; ".join(said)


def main() -> int:
    """Print the stages; exit code 1 where they are not those of the other text."""
    parser = argparse.ArgumentParser(description="One digest a stage, to compare two machines.")
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="what this script printed on another machine")
    given = parser.parse_args()
    other = read(given.compare.read_text()) if given.compare else {}
    if given.compare and not other:
        parser.error(f"{given.compare} holds no stage; give what this script printed")
    print(f"# {processor()}\n# pinned: {state()}\n# {' '.join(f'{n}={v}' for n, v in VALUES.items())}")
    print(f"# numpy {np.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    here: dict[str, str] = {}
    for stage, found in stages():
        here[stage] = found
        differs = stage in other and other[stage] != found
        print(f"{stage:<24}{found}" + f"  # differs: {other.get(stage)}" * differs, flush=True)
    said = verdict(here, other) if other else ""
    if other:
        print(f"# {said or 'all equal'}")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
