"""The scheduler: the plan parses; on a small copy with stand-in notebooks, a second call and a prose edit rerun nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mmadlib.errors import SettingsError
from mmadlib.paths import NOTEBOOKS, ROOT, WORKFLOW
from mmadlib.plan import code_identity, read_plan

PARAMETERS = ('dataset: str = "folder"\ncategory: str = "bolt"\nshots: int = 4\nseed: int = 0\nfeatures: str = "random"\n'
              'data_seed: int = 0\nvariant: str = "default"\nout_dir: str = "runs/smoke"\nruns_dir: str = "runs"\n'
              'results_dir: str = "runs/smoke/results"\nfigures_dir: str = "runs/smoke"')
FIT = ("from mmadlib.record import Record, write\n"
       'metrics = {"all": {"i_auroc": 0.5}}\n'
       'record = Record(dataset, data_seed, category, "cfm", variant, features, shots or None, seed, metrics)\n'
       "_ = write(record, record.folder(out_dir))")
COLLECT = "from mmadlib.results import update\n_ = update(runs_dir, results_dir)"


def stand_in(path, code):
    cells = [new_markdown_cell("prose"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the library and the workflow with a plan of one quick job."""
    root = tmp_path_factory.mktemp("a copy")  # with a blank in its path
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("mmadlib", "workflow"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    (root / "notebooks").mkdir()
    for name, code in {"20_cfm": FIT, "80_collect": COLLECT, "90_tables": "1", "91_figures": "1"}.items():
        stand_in(root / "notebooks" / f"{name}.ipynb", code)
    params = {"dataset": "folder", "data_seed": 0, "features": "random", "variant": "default", "shots": 4, "seed": 0,
              "out_dir": "runs"}
    (root / "workflow/params/20_cfm/tiny.yaml").write_text(yaml.safe_dump(params))
    plan = {"once": {}, "each": {}, "runs": [{"params": "20_cfm/tiny.yaml", "categories": ["bolt"], "shots": [0]}]}
    (root / "workflow/config.yaml").write_text(yaml.safe_dump(plan))
    return root


def snakemake(root, *options):
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local", "--cores", "2", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(path, number, source):
    nb = nbformat.read(path, 4)
    nb.cells[number].source = source
    nbformat.write(nb, path)


def test_the_workflow_runs_and_resumes(project):
    snakemake(project)
    text = (project / "results" / "results.csv").read_text().splitlines()
    assert text[1:] == ["folder,0,bolt,cfm,default,random,full,0,all,i_auroc,0.5000"]
    assert (project / "runs/folder/data0/bolt/cfm/default/random/shotsfull/seed0/run.ipynb").is_file()
    assert "Nothing to be done" in snakemake(project)

    edit(project / "notebooks/20_cfm.ipynb", 0, "other prose")
    module = project / "mmadlib/methods/cfm.py"
    module.write_text(module.read_text() + "# a comment\n")
    assert "Nothing to be done" in snakemake(project, "-n")
    edit(project / "notebooks/20_cfm.ipynb", 2, FIT + "\nassert shots >= 0")
    assert "fit" in snakemake(project, "-n", "--quiet", "host")


def test_the_plan_of_make_reproduce_parses():
    text = snakemake(ROOT, "-n", "--nolock", "--forceall", "--quiet", "host")
    config = yaml.safe_load((WORKFLOW / "config.yaml").read_text())
    for rule in ("fit", "collect", "tables", "figures", "once", "each", "render"):
        assert f"rule {rule}" in text
    assert all((NOTEBOOKS / f"{name}.ipynb").is_file() for name in [*config["once"], *config["each"]])


@pytest.mark.parametrize("plan", sorted([WORKFLOW / "config.yaml", *(WORKFLOW / "plans").glob("*.yaml")], key=str), ids=str)
def test_every_plan_can_be_read(plan):
    jobs = read_plan(yaml.safe_load(plan.read_text()))
    assert jobs and len({job.folder() for job in jobs}) == len(jobs), "two jobs would write one folder"


def test_a_plan_expands_categories_shots_and_seeds():
    entry = {"params": "20_cfm/rendered.yaml", "categories": ["keyed", "free"], "shots": [1, 0], "seeds": [0, 1]}
    jobs = read_plan({"runs": [entry]})
    assert len(jobs) == 8 and {j.method for j in jobs} == {"cfm"} and {j.notebook.stem for j in jobs} == {"20_cfm"}
    assert {j.folder().parent.name for j in jobs} == {"shots1", "shotsfull"}


def test_a_parameter_file_without_the_keys_of_a_run_is_refused(tmp_path, monkeypatch):
    (tmp_path / "20_cfm").mkdir()
    (tmp_path / "20_cfm" / "x.yaml").write_text("dataset: folder\n")
    monkeypatch.setattr("mmadlib.plan.PARAMS", tmp_path)
    with pytest.raises(SettingsError, match="does not say data_seed, variant"):
        read_plan({"runs": [{"params": "20_cfm/x.yaml", "categories": ["a"]}]})
    with pytest.raises(SettingsError, match="cannot be read"):
        read_plan({"runs": [{"params": "20_cfm/absent.yaml", "categories": ["a"]}]})


def test_code_identity_follows_code_and_not_prose(tmp_path):
    path = tmp_path / "nb.ipynb"
    stand_in(path, "x = 1")
    first = code_identity(path, ["cfm"])
    edit(path, 0, "other prose")
    edit(path, 2, "x = 1  # with a comment")
    assert code_identity(path, ["cfm"]) == first != code_identity(path, [])
    edit(path, 2, "x = 2")
    assert code_identity(path, ["cfm"]) != first
