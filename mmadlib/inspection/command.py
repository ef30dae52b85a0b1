"""The commands `mmadlib fit` and `mmadlib predict`: the Inspector from files to files.

Exit codes of predict: 0 every part was looked at, also when bad ones were found or some could not be compared; 1 with
--fail-on-bad, where a part is bad or not comparable (what cannot be judged must not pass); 2 nothing was done, one line says
why.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmadlib.errors import OutputError, explain
from mmadlib.paths import here, shown
from mmadlib.untrusted import parse_yaml

if TYPE_CHECKING:
    from mmadlib.inspection.verdicts import Verdict

READING = ("units", "intrinsics", "invalid", "axes", "depth_scale", "orientation", "resample")  # see mmadlib.data.parts
KINDS = ("bad", "good", "not comparable")  # as in verdicts.py, which brings numpy: too early before the command is known
ISOLATE: dict[str, bool | str] = {"auto": "auto", "yes": True, "no": False}


def fit(args: argparse.Namespace) -> int:
    """Learn from a folder of good parts, write the model and beside it a picture of what was looked at."""
    from mmadlib.inspection.inspector import Inspector

    if here(args.model).is_dir():  # said before the work
        raise OutputError(explain(args.model, "is a folder", "name a file in it, e.g. bracket.mmad"))
    options = {"size": args.size} if args.size else {}
    inspector = Inspector(args.method, args.features, args.false_alarms, args.seed, options=options, fixture=args.fixture,
                          isolate=ISOLATE[args.isolate], folds=args.folds, device=args.device,
                          jobs=args.jobs or os.cpu_count() or 1, settings=args.settings)
    inspector.fit(args.good, args.calibration, **reading_of(args))
    path = inspector.save(args.model)
    assert inspector.looked is not None  # since fit
    sheets = inspector.looked.save(path.with_name(f"{path.stem}_good_parts.png"))
    print(inspector.thresholds.how)
    print(f"written: {shown(path)}, and {', '.join(map(shown, sheets))}: look there, is all of each part kept, nothing else?")
    return 0


def predict(args: argparse.Namespace) -> int:
    """Judge a folder of parts, write the report."""
    from mmadlib.inspection.inspector import Inspector

    inspector = Inspector.load(args.model, args.device)
    verdicts = inspector.predict(args.parts, out=args.out, html3d=args.html3d, title=args.title, **reading_of(args))
    said(verdicts, here(args.out))
    return int(args.fail_on_bad and any(v.verdict != "good" for v in verdicts))


def said(verdicts: list[Verdict], out: Path) -> None:
    """The counts, then every part that is not good, worst first."""
    counts = Counter(v.verdict for v in verdicts)
    print(f"{len(verdicts)} parts: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    for v in sorted((v for v in verdicts if v.verdict != "good"), key=lambda v: (KINDS.index(v.verdict), -v.score, v.part)):
        print(f"  {v.part}: {v.verdict}: {v.reason}")
    print(f"written: {shown(out / 'report.html')}")


def reading_of(args: argparse.Namespace) -> dict[str, Any]:
    """Those options of reading that were given."""
    given = {name: getattr(args, name) for name in READING}
    found = {name: value for name, value in given.items() if value is not None and value is not False}
    return found | ({"intrinsics": here(found["intrinsics"])} if "intrinsics" in found else {})


def plain(text: str) -> Any:
    """A word of the command line as YAML reads it: -1 a number, none a text."""
    return parse_yaml(text)


def arguments(add: Callable[..., argparse.ArgumentParser], rooms: argparse._SubParsersAction) -> None:
    """Both commands; add: of the front door."""
    a = add(rooms, "fit", "learn from good parts in a folder (rgb/ with xyz/ or depth/) and set the threshold",
            "fit scans/good bracket.mmad --units mm", fit)
    a.add_argument("good", help="folder of good parts")
    a.add_argument("model", help="file to write, e.g. bracket.mmad; a picture of the parts as they are seen goes beside it")
    a.add_argument("--method", default="cpir", help="cpir (default), nearest, btf, cfm ...")
    a.add_argument("--settings", type=_settings, default={}, metavar="key=value,...", help="of the method")
    a.add_argument("--false-alarms", type=float, default=0.05, help="share of good parts that may be called bad (0.05)")
    a.add_argument("--calibration", metavar="FOLDER", help="further good parts: the threshold comes from these alone")
    a.add_argument("--folds", type=int, help="groups of good parts that are left out in turns (default: by method and number)")
    a.add_argument("--fixture", action="store_true", help="the parts always lie at the same place: fix their foreground")
    a.add_argument("--size", type=int, help="pixels of the grid that features are made on (default 224)")
    a.add_argument("--jobs", type=int, help="processes that train (default: all cores)")
    a.add_argument("--features", default="learned", help="learned (default), descriptors, paper, or rgb+xyz names")
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--isolate", choices=list(ISOLATE), default="auto", help="remove the table (default: where there is one)")
    _common(a)
    a = add(rooms, "predict", "judge the parts of a folder by a model of good ones, write a report",
            "predict bracket.mmad scans/new report", predict)
    a.add_argument("model", help="file that `mmadlib fit` wrote")
    a.add_argument("parts", help="folder of parts")
    a.add_argument("out", help="folder to write: report.html, scores.csv, pictures and maps")
    a.add_argument("--html3d", type=int, default=0, metavar="K", help="with the coloured clouds of the worst K")
    a.add_argument("--title", help="of the report")
    a.add_argument("--fail-on-bad", action="store_true", help="exit code 1 where a part is bad or cannot be judged")
    _common(a)


def _common(a: argparse.ArgumentParser) -> None:
    a.add_argument("--units", help="of clouds and depth: m, cm, mm, um; auto: as they look")
    a.add_argument("--intrinsics", metavar="FILE", help="describes the depth camera, where there are depth pictures")
    a.add_argument("--depth-scale", type=float, help="metres of one step of the depth pictures")
    a.add_argument("--invalid", type=plain, help="number that marks points not measured, such as -1; none: there is none")
    a.add_argument("--axes", help="of the clouds, in the order of the camera frame, such as x,-y,-z")
    a.add_argument("--orientation", help="of pictures stored turned: auto, stored, exif")
    a.add_argument("--resample", action="store_true", help="pictures of another size show the same view")
    a.add_argument("--device", default="cpu", help="cpu (default) | cuda")


def _settings(text: str) -> dict[str, Any]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if lacking := [name for name, sign, _ in pairs if not sign]:
        raise argparse.ArgumentTypeError(f"{lacking[0]!r} gives no value; write name=value, parted by commas")
    return {name.strip(): plain(value) for name, _, value in pairs}
