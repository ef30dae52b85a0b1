"""What the documents say is true: the method in CONTRIBUTING runs, commands exist, versions and links agree."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys

import nbformat
import numpy as np
import pytest
import yaml
from contract import source

import mmadlib
from mmadlib.__main__ import parser
from mmadlib.data import load
from mmadlib.experiments import collect, read_sweep, run_sweep
from mmadlib.experiments.identity import run_identity
from mmadlib.features import extract
from mmadlib.methods import METHODS
from mmadlib.paths import ROOT
from mmadlib.report import Row, few_shot, tables

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "figures/README.md")


@pytest.fixture
def method(tmp_path, monkeypatch):
    """The class in CONTRIBUTING.md, found by name as the text says."""
    path = tmp_path / "mahalanobis.py"
    path.write_text(EXAMPLE)
    spec = importlib.util.spec_from_file_location("mahalanobis", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mahalanobis", module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(METHODS, "mahalanobis", module.Mahalanobis)
    run_identity.cache_clear()
    yield module.Mahalanobis
    run_identity.cache_clear()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Rendered data, cache and runs of their own."""
    place = tmp_path_factory.mktemp("documents")
    return {"root": place / "data", "cache": place / "cache", "base": place / "runs"}


def test_the_method_in_contributing_is_short():
    assert len(EXAMPLE.splitlines()) <= 60


def test_it_fits_scores_saves_and_loads(method, folders, tmp_path):
    train, test = ([extract(s) for s in load("rendered", "plain", split, root=folders["root"])[:2]]
                   for split in ("train", "test"))
    model = method(seed=0, ridge=0.1).fit(train, progress=False)
    score = model.score(test[0])
    assert score.map.shape == (224, 224) and score.map.dtype == np.float32 and list(score.parts) == ["rgb", "xyz"]
    again = method.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(test[0]).map, score.map)


def test_it_runs_in_sweeps_and_stands_in_the_tables(method, folders):
    sweep = {"dataset": "rendered", "root": str(folders["root"]), "categories": ["plain"], "shots": [4], "seeds": [0],
             "test_limit": 12, "methods": {"mahalanobis": ["default", "sharp"]}}
    records = run_sweep(sweep, base=folders["base"], cache=folders["cache"], progress=False)
    table = collect(records)
    assert run_sweep(sweep, base=folders["base"], cache=folders["cache"], progress=False) == records, "nothing runs again"
    assert set(table["variant"]) == {"default", "sharp"}
    assert tables.select(table, variant="default", subset="all", metric="i_auroc")["value"].item() > 0.6
    shown = tables.by_method(table, dataset="rendered")
    assert [row[:2] for row in shown.index] == [("mahalanobis", "default"), ("mahalanobis", "sharp")]
    plan = few_shot.Plan.of(read_sweep(sweep))
    assert {Row("mahalanobis"), Row("mahalanobis", "sharp")} <= set(plan.rows) and all(row.look for row in plan.rows)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text, folder = (ROOT / name).read_text(), (ROOT / name).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (folder / link).exists()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist(name):
    known = next(a for a in parser()._actions if a.dest == "command").choices
    named = re.findall(r"(?:`|bin/|-m |^)mmadlib ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE)
    assert set(named) <= set(known)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE)) <= targets


def imports(source: str) -> set[tuple[str, str]]:
    """(module, name) of every import from the library in a source."""
    return {(node.module, alias.name) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("mmadlib") for alias in node.names}


def sources() -> dict[str, str]:
    """Code outside the library that no other test imports: name -> source, notebooks cell after cell."""
    found = {p.name: p.read_text() for folder in ("benchmarks", "workflow") for p in (ROOT / folder).glob("*.py")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, 4).cells
        found[path.name] = "\n".join(source(cell) for cell in cells if cell.cell_type == "code")
    return found


@pytest.mark.parametrize(("name", "text"), sources().items(), ids=sources())
def test_what_is_imported_elsewhere_exists(name, text):
    for module, wanted in imports(text):
        there = importlib.import_module(module)
        assert hasattr(there, wanted) or importlib.util.find_spec(f"{module}.{wanted}"), f"{name}: {module}.{wanted}"


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == mmadlib.__version__ and citation["repository-code"].startswith("https://")
    assert f"## {mmadlib.__version__} - {citation['date-released']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_hooks_call_what_there_is():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert set(hooks) == {"ruff", "large-files", "notebook-contract"}
    for name in ("ruff", "notebook-contract"):
        words = hooks[name]["entry"].split()
        assert words[0].startswith(".venv/bin/") and all((ROOT / w).is_file() for w in words[1:] if w.endswith(".py"))
    assert re.search(hooks["large-files"]["exclude"], "results/results.csv")


def test_the_readme_fits_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
