"""The front door of the command line: `mmadlib COMMAND`, or `python -m mmadlib COMMAND`. Parses and calls, nothing else.

Exit codes: 0 done; 1 done in part (a cell or a run failed, numbers differ); 2 nothing done, one line says why;
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path

from mmadlib import __version__
from mmadlib.errors import MmadError
from mmadlib.paths import shown
from mmadlib.pinned import pin
from mmadlib.workers import follow_scheduler, interrupts, share_threads


def run(args: argparse.Namespace) -> int:
    from mmadlib.experiments.notebook import command

    return command(args.notebook, args.out, args.files, args.pairs)


def sweep(args: argparse.Namespace) -> int:
    from mmadlib import paths
    from mmadlib.experiments.cells import LIMITS
    from mmadlib.experiments.sweep import command

    root = None if args.root is None else str(paths.here(args.root))
    given = {"root": root, "device": args.device, "features": args.features}
    limits = {limit: getattr(args, limit) for limit in LIMITS}
    return command(args.files, limits, given, args.base or paths.RUNS, args.estimate, args.cores)


def render(args: argparse.Namespace) -> int:
    from mmadlib.data.rendered import command

    return command(args.category, args.data_seed, args.jobs, args.root)


def preprocess(args: argparse.Namespace) -> int:
    from mmadlib.data.reading import reading_from
    from mmadlib.prepare.dataset import preprocess_dataset

    made = preprocess_dataset(args.src, args.dst, args.dataset, args.pad, args.seed, args.jobs,
                              reader=reading_from(args.reading))
    print(f"written: {shown(made)}")
    return 0


def convert_road(args: argparse.Namespace) -> int:
    from mmadlib.data.convert.road import convert

    return _counted(args.dst, convert(args.src, args.dst))


def convert_polyurethane(args: argparse.Namespace) -> int:
    from mmadlib.data.convert.polyurethane import Rules, convert

    return _counted(args.dst, convert(args.src, args.dst, Rules(args.detector, args.contamination, args.points)))


def convert_depth(args: argparse.Namespace) -> int:
    from mmadlib.data.convert.depth import convert

    names = "camera colour_name resample scaled rectified units invalid axes orientation masks".split()
    return _counted(args.dst, convert(args.src, args.dst, args.intrinsics, args.depth_scale, args.colour_camera,
                                      **{name: getattr(args, name) for name in names}))


def _marker(text: str) -> object:
    """A number, [several, of, them] or none; what it may be is checked where it is used. Raises ValueError."""
    from mmadlib.untrusted import parse_yaml

    return parse_yaml(text)


def _counted(dst: str, counts: dict[str, int]) -> int:
    print(f"{shown(dst)}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    return 0


def results(args: argparse.Namespace) -> int:
    from mmadlib.paths import RESULTS
    from mmadlib.report.summary import command

    return command(args.folder or RESULTS, args.own, **({"metrics": args.metric} if args.metric else {}))


def collect(args: argparse.Namespace) -> int:
    from mmadlib.experiments.results import command

    return command(args.base, args.results, args.into)


def compare(args: argparse.Namespace) -> int:
    from mmadlib.experiments.compare import command

    return command(args.keep)


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments; a command's function is in `call` of what is parsed."""
    door = argparse.ArgumentParser(prog="mmadlib", description="Few-shot RGB+3D anomaly detection: notebooks, sweeps, data.")
    door.add_argument("--version", action="version", version=f"mmadlib {__version__}")
    rooms = door.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(to: argparse._SubParsersAction, name: str, what: str, example: str,
            call: Callable[[argparse.Namespace], int] | None = None) -> argparse.ArgumentParser:
        sentence = f"{what[0].upper()}{what[1:]}."
        made = to.add_parser(name, help=what, description=sentence, epilog=f"example: mmadlib {example}")
        made.set_defaults(call=call)
        return made

    a = add(rooms, "run", "run a notebook with checked parameters",
            "run notebooks/20_cfm.ipynb runs/try.ipynb -p category=free shots=1", run)
    a.add_argument("notebook", type=Path)
    a.add_argument("out", type=Path, help="where the executed notebook goes")
    a.add_argument("-f", dest="files", metavar="params.yaml", type=Path, action="append", default=[], help="of parameters")
    a.add_argument("-p", dest="pairs", metavar="key=value", nargs="+", action="extend", default=[], help="go over those of -f")

    a = add(rooms, "sweep", "run what is not finished of a grid of experiments; may be interrupted at any time",
            "sweep 41_few_shot_1_2_4/rendered.yaml --method cfm cpir --shots 4", sweep)
    a.add_argument("files", metavar="FILE", nargs="+", help="a sweep below workflow/params/, a plan, or a file of your own")
    for name, limit, kind in (("method", "methods", str), ("category", "categories", str), ("shots", "shots", int),
                              ("data-seed", "data_seeds", int)):
        a.add_argument(f"--{name}", dest=limit, type=kind, nargs="+", action="extend", help="only these")
    a.add_argument("--root", help="folder of the dataset, from where you stand")
    a.add_argument("--device", help="cpu | cuda")
    a.add_argument("--features", help="a family or 'rgb+xyz' names, with their usual options, in place of those of the file")
    a.add_argument("--base", help="where the run folders go (default: runs/ of the workspace)")
    a.add_argument("--estimate", action="store_true", help="say what is left and how long it takes, run nothing")
    a.add_argument("--cores", type=int, default=0, help="that a plan will be given, for its estimate (default: all)")

    a = add(rooms, "render", "render the parts of the controlled experiment; what is there already is kept",
            "render --category keyed --data-seed 1", render)
    a.add_argument("--category", nargs="+", action="extend", help="default: all")
    a.add_argument("--data-seed", type=int, default=0)
    a.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    a.add_argument("--root", help="folder of the dataset (default: data/rendered/data<seed> of the workspace)")

    a = add(rooms, "preprocess", "remove the table from a dataset in the MVTec 3D-AD layout, into a new folder",
            "preprocess mvtec_3d_anomaly_detection mvtec3d_isolated", preprocess)
    a.add_argument("src", help="dataset folder, never changed")
    a.add_argument("dst", help="new folder")
    a.add_argument("--dataset", default="mvtec3d", help="mvtec3d (default) | rendered | folder")
    a.add_argument("--pad", help="published | square; default: published for mvtec3d, square for the others")
    a.add_argument("--reading", metavar="key=value", nargs="+", action="extend", default=[],
                   help="how files of a folder are read: units=mm invalid=-1 axes=x,-y,-z intrinsics=camera.json ...")
    a.add_argument("--seed", type=int, default=0, help="of the plane fits")
    a.add_argument("--jobs", type=int, default=2, help="processes (default 2)")

    from mmadlib.inspection.command import arguments

    arguments(add, rooms)

    a = add(rooms, "convert", "convert a published dataset to a folder that a reader knows",
            "convert road stereo_pothole_datasets data/road")
    sets = a.add_subparsers(dest="dataset", metavar="DATASET", required=True)
    a = add(sets, "road", "cut road tiles from the stereo_pothole set",
            "convert road stereo_pothole_datasets data/road", convert_road)
    a.add_argument("src", help="clone of github.com/ruirangerfan/stereo_pothole_datasets")
    a.add_argument("dst", help="folder to write, e.g. data/road")
    a = add(sets, "polyurethane", "cut CMDR-IAD's labelled chunks from polyurethane scans",
            "convert polyurethane scans data/polyurethane", convert_polyurethane)
    a.add_argument("src", help="folder that holds point_cloud/<scan>/PointCloud_merged.ply")
    a.add_argument("dst", help="folder to write")
    a.add_argument("--detector", default="forest", help="forest (default) | lof")
    a.add_argument("--contamination", default="low", help="low (default) | high: share of outliers")
    a.add_argument("--points", type=int, default=9216, help="of a chunk: 9216 (default) | 4096")

    a = add(sets, "depth", "make pictures and clouds on one grid of what a depth camera stored",
            "convert depth captures scans --intrinsics camera.json", convert_depth)
    a.add_argument("src", help="folder of parts (rgb/, and depth/ or organised clouds), or of folders of parts; never changed")
    a.add_argument("dst", help="folder to write")
    a.add_argument("--intrinsics", metavar="FILE", help="of the depth camera, JSON or YAML; clouds need none")
    a.add_argument("--camera", default="", metavar="NAME", help="of the depth camera in a file of several")
    a.add_argument("--depth-scale", type=float, metavar="METRES", help="a step, e.g. 0.001 (default: the intrinsics file's)")
    a.add_argument("--colour-camera", metavar="FILE", help="with intrinsics and extrinsics of another camera of the pictures")
    a.add_argument("--colour-name", default="", metavar="NAME", help="of the colour camera in a file of several")
    a.add_argument("--resample", action="store_true", help="pictures of another size show the same view as the depth")
    a.add_argument("--scaled", action="store_true", help="the depth shows the camera's whole view, made smaller or larger")
    a.add_argument("--rectified", action="store_true", help="the depth is rectified: P of a ROS file counts, and no lens")
    a.add_argument("--units", metavar="UNIT", help="of clouds: m (default) | cm | mm | um")
    a.add_argument("--invalid", type=_marker, metavar="NUMBER", help="marks what was not measured, in units of the file")
    a.add_argument("--axes", help="of clouds, in the order right, down, forward, e.g. x,-y,-z")
    a.add_argument("--orientation", default="auto", help="auto (default) | stored | exif, of pictures stored turned")
    a.add_argument("--masks", default="auto", help="auto (default) | white | black marks the defect")

    a = add(rooms, "results", "print the main tables of results/results.csv", "results", results)
    a.add_argument("folder", nargs="?", help="default: results/ of the workspace")
    a.add_argument("--own", action="store_true", help="with the rows of results/own/: other data, plans of your own")
    a.add_argument("--metric", nargs="+", help="i_auroc aupro_30 (default), p_auroc aupro_01 i_ap i_f1_max p_ap p_f1_max ...")

    a = add(rooms, "collect", "merge the runs at hand into results/, those on other data or of no plan into results/own/",
            "collect --into own", collect)
    a.add_argument("--base", help="folder of the runs (default: runs/ of the workspace)")
    a.add_argument("--results", help="folder of the tables (default: results/ of the workspace)")
    a.add_argument("--into", help="results | own: put all of them there")

    a = add(rooms, "compare", "compare the runs at hand with the committed numbers", "compare", compare)
    a.add_argument("--keep", action="store_true", help="set the table aside before it is written, compare nothing")
    return door


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; see the module for exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names hold any letters and bytes
    args = parser().parse_args(argv)
    share_threads()
    pin()
    follow_scheduler()
    with interrupts() as seen:
        try:
            return args.call(args)
        except MmadError as err:
            print(f"error: {' '.join(str(err).split())}", file=sys.stderr)
            return getattr(err, "exit_code", 2)
        except BrokenPipeError:  # the reader of the output, such as `head`, has gone; nothing can be said to it any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except BaseException as err:
            if not seen and not isinstance(err, KeyboardInterrupt):
                raise
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
