"""The scheduler: on a small copy with stand-in notebooks it runs, resumes, and reruns what changed; grids dry-run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import yaml
from layouts import isolated, mvtec, picture
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mmadlib.experiments.forecast import jobs_of
from mmadlib.experiments.plan import read_jobs
from mmadlib.paths import MARK, NOTEBOOKS, ROOT, WORKFLOW

PARAMETERS = ('runs_dir: str = "runs"\nresults_dir: str = "runs/smoke/results"\ncategory: str = "plain"\n'
              'data_seed: int = 0\nfigures_dir: str = "runs/smoke"\ntables_dir: str = "runs/smoke"\ninto: str = ""')
COLLECT = ("from mmadlib.experiments import merge_results\nfrom mmadlib.paths import resolve\n"
           "_ = merge_results(resolve(runs_dir), resolve(results_dir), into or None)")


def stand_in(path, code):
    cells = [new_markdown_cell("prose"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the library and the workflow with a plan of one quick sweep job."""
    root = tmp_path_factory.mktemp("a copy")  # with a blank in its path
    for name in ("mmadlib", "workflow"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / MARK, root / MARK)
    (root / "notebooks").mkdir()
    for name, code in {"80_collect": COLLECT, "90_tables": "1"}.items():
        stand_in(root / "notebooks" / f"{name}.ipynb", code)
    sweep = {"dataset": "rendered", "features": "random", "categories": ["plain"], "shots": [1], "seeds": [0],
             "test_limit": 2, "methods": {"nearest": {"rgb": {"bank": "rgb", "size": 50}}}}
    (root / "workflow/params/41_few_shot_1_2_4/tiny.yaml").write_text(yaml.safe_dump(sweep))
    plan = {"once": {}, "each": {}, "after": {"90_tables": {}}, "sweeps": [{"params": "41_few_shot_1_2_4/tiny.yaml"}]}
    (root / "workflow/config.yaml").write_text(yaml.safe_dump(plan))
    (root / "runs/done").mkdir(parents=True)
    (root / "runs/done/render_plain_data0").touch()  # the few samples that are needed are rendered when they are read
    return root


def snakemake(root, *options, code=0):
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local", "--cores", "2", *options]
    env = os.environ | {"PYTHONPATH": str(root)}  # kernels, too, import the copy
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(path, number, source):
    nb = nbformat.read(path, 4)
    nb.cells[number].source = source
    nbformat.write(nb, path)


def append(path, text):
    path.write_text(path.read_text() + text)


def test_the_workflow_runs_and_resumes(project):
    snakemake(project, "--rerun-triggers", "mtime", "--config", "into=results")
    rows = (project / "results" / "results.csv").read_text().splitlines()
    assert all(row.startswith("rendered,0,plain,nearest,rgb,random,1,0,") for row in rows[1:]) and len(rows) > 5
    assert (project / "runs/done/sweeps/41_few_shot_1_2_4/tiny/nearest/plain").is_file()
    assert "Nothing to be done" in snakemake(project, "--config", "into=results")
    assert jobs(snakemake(project, "-n", "--quiet", "host", "--config", "into=own"))["collect"] == 1, "it is asked for anew"

    edit(project / "notebooks/90_tables.ipynb", 0, "other prose")
    append(project / "mmadlib/methods/nearest.py", "# a comment\n")
    append(project / "mmadlib/methods/cfm/cfm.py", "another = 'method'\n")
    append(project / "workflow/params/41_few_shot_1_2_4/tiny.yaml", "# a comment\n")
    assert "Nothing to be done" in snakemake(project, "-n", "--config", "into=results")
    append(project / "mmadlib/methods/nearest.py", "x = 1\n")
    assert "sweep" in snakemake(project, "-n", "--quiet", "host")


def test_a_failed_job_stops_neither_the_others_nor_the_collection(project, tmp_path):
    parts = mvtec(tmp_path / "data", "part", cloud=isolated)
    sweep = {"dataset": "folder", "categories": ["part", "absent"], "features": "random", "options": {"size": 64},
             "shots": [2], "seeds": [0], "methods": {"nearest": {"rgb": {"bank": "rgb"}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sweep))
    plan = {"once": {}, "each": {}, "after": {}, "sweeps": [{"params": str(tmp_path / "mine.yaml")}]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    given = ("--configfile", str(tmp_path / "plan.yaml"), "--config", f"root={tmp_path / 'data'}")
    said = snakemake(project, *given, code=1)
    assert re.search(r"failed: runs/done/sweeps/own/mine-\w+/nearest/absent: exit code 1\n(  .*\n)*.*no folder 'absent'", said)
    assert "failed: 1 job, the others are done and collected" in said
    own = (project / "results/own/results.csv").read_text()
    assert "folder,0,part,nearest" in own and "absent" not in own

    shutil.copytree(parts, tmp_path / "data/absent")
    snakemake(project, *given)
    assert "folder,0,absent,nearest" in (project / "results/own/results.csv").read_text()
    assert "Nothing to be done" in snakemake(project, *given)

    picture(parts / "test/crack/gt/000.png", np.pad(np.full((6, 6), 255, np.uint8), ((2, 40), (2, 56))))
    assert jobs(snakemake(project, *given, "-n", "--quiet", "host"))["sweep"] == 1, "the masks of one category were replaced"
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    assert "is not a folder" in snakemake(project, *given, code=1)


def test_a_plan_is_narrowed_and_moved_to_other_features(tmp_path):
    plan = WORKFLOW / "plans/mvtec3d.yaml"
    text = snakemake(ROOT, "-n", "-p", "--nolock", "--forceall", "--quiet", "host", "--configfile", str(plan), "--config",
                     f"root={tmp_path}", "categories=bagel,cable_gland", "features=descriptors", "shots=4", "methods=cfm,cpir")
    assert jobs(text)["sweep"] == 4
    assert text.count("41_few_shot_1_2_4/mvtec3d.yaml --method") == text.count("--shots 4 ") == 4
    assert "41_few_shot_1_2_4.ipynb -p dataset=mvtec3d features=descriptors" in text
    assert "category=bagel,cable_gland methods=cfm,cpir" in text
    assert "did you mean 'bagel'" in snakemake(ROOT, "-n", "--nolock", "--configfile", str(plan), "--config",
                                               f"root={tmp_path}", "categories=bagl", code=1)


def jobs(text):
    """rule -> number of jobs, from the table that a dry run prints."""
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def test_the_plan_of_make_reproduce_parses():
    found = jobs(snakemake(ROOT, "-n", "--nolock", "--forceall", "--quiet", "host"))
    config = yaml.safe_load((WORKFLOW / "config.yaml").read_text())
    assert found["once"] == len(config["once"]) and found["after"] == len(config["after"])
    assert sum(found.values()) - found["total"] - found["all"] - found["sweep"] == len(jobs_of(config))
    assert found["each"] == found["render"] == found["sweep"] == 5 and found["collect"] == 1
    assert all((NOTEBOOKS / f"{name}.ipynb").is_file() for name in [*config["once"], *config["each"], *config["after"]])


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
def test_the_grids_on_foreign_data_dry_run(tmp_path, dataset):
    plan = WORKFLOW / f"plans/{dataset}.yaml"
    text = snakemake(ROOT, "-n", "-p", "--nolock", "--forceall", "--quiet", "host", "--configfile", str(plan),
                     "--config", f"root={tmp_path}", "device=cpu")
    found, planned = jobs(text), read_jobs(yaml.safe_load(plan.read_text()))
    assert found["sweep"] == len(planned) >= 2 * 10 * 5 and "render" not in found, "two protocols x ten classes x five methods"
    assert text.count(f"--root {tmp_path} --device cpu") == len(planned)
