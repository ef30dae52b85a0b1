"""Parameter files: sweeps and notebooks' parameters, each in the folder of its notebook, with settings that exist."""

from __future__ import annotations

import json

import pytest

from mmadlib.experiments.grids import PARAMS, is_sweep, read_sweep
from mmadlib.experiments.params import check, declared_types, read_yaml
from mmadlib.features.extractor import Options
from mmadlib.methods import EVERY, METHODS
from mmadlib.methods.cpir.cpir import VARIANTS
from mmadlib.methods.nearest import BANKS
from mmadlib.paths import NOTEBOOKS
from mmadlib.report import tables
from mmadlib.report.beside import PIRN_CLAIMS
from mmadlib.report.rows import OWN_INPUTS, RECONSTRUCTED

FILES = sorted(PARAMS.rglob("*.yaml"))
SWEEPS = [path for path in FILES if is_sweep(path)]
OTHERS = [path for path in FILES if path not in SWEEPS]


def name(path):
    return path.relative_to(PARAMS).as_posix()


def test_parameter_files_lie_in_the_folder_of_their_notebook():
    assert FILES and all((NOTEBOOKS / f"{path.parent.name}.ipynb").is_file() for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_says_what_it_is_for(path):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_every_sweep_can_be_read(path):
    cells = read_sweep(path)
    backbones = [c for c in cells if c.features not in ("learned", "descriptors", "random")]
    assert cells and all(c.device == "cuda" and c.root is None for c in backbones)


@pytest.mark.parametrize("path", OTHERS, ids=name)
def test_parameters_exist_in_the_notebook_and_settings_in_the_method(path):
    notebook, params = NOTEBOOKS / f"{path.parent.name}.ipynb", read_yaml(path)
    assert set(check(params, declared_types(notebook), notebook)) == set(params)
    name = path.parent.name.partition("_")[2]
    if name in METHODS:  # a notebook of several methods has no settings of one
        assert METHODS[name](seed=0, **json.loads(params.get("settings") or "{}"))
    assert Options(**json.loads(params.get("options") or "{}"))


# the table stays on MVTec's clouds, so AST takes the foreground from their corners; that of Eyecandies is gone before
OTHERWISE = {("ast", "mvtec3d"): {"foreground": "corners"}}


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_row_called_published_has_the_settings_of_that_variant(path):
    cells = {(c.method, c.variant): c for c in read_sweep(path) if c.variant.startswith("published")}
    cells = {key: c for key, c in cells.items() if key[1] in EVERY[key[0]].VARIANTS}  # of some methods only files say it
    for (method, variant), c in cells.items():
        wanted = EVERY[method].VARIANTS[variant] | OTHERWISE.get((method, c.dataset), {})
        assert EVERY[method](**c.settings).settings == EVERY[method](**wanted).settings, (method, variant)


@pytest.mark.parametrize("path", sorted([*PARAMS.glob("2*/*_published.yaml"), *PARAMS.glob("2*/*_reconstruction.yaml")]),
                         ids=name)
def test_rows_of_the_grids_have_the_settings_of_the_methods_own_file(path):
    given, method = read_yaml(path), path.parent.name.partition("_")[2]
    assert given["variant"] == path.stem.partition("_")[2] == RECONSTRUCTED.get(method, "published")
    said = {key: json.loads(given.get(key, "{}")) for key in ("settings", "options", "reader")}
    for folder in ("40_few_shot_5_10_50", "41_few_shot_1_2_4"):
        grid = read_sweep(f"{folder}/{given['dataset']}.yaml")
        cell = next(c for c in grid if (c.method, c.variant) == (method, given["variant"]))
        assert METHODS[method](**cell.settings).settings == METHODS[method](**said["settings"]).settings
        assert (cell.options, cell.reader, cell.features) == (said["options"], said["reader"], given["features"])


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
@pytest.mark.parametrize("folder", ["40_few_shot_5_10_50", "41_few_shot_1_2_4"])
def test_the_full_grids_have_every_method_category_and_seed(folder, dataset):
    cells = read_sweep(f"{folder}/{dataset}.yaml")
    rows = {(c.method, c.variant) for c in cells}
    own = {(m, RECONSTRUCTED.get(m, "published")) for m in METHODS if m != "nearest"}
    assert rows == own | {("pirn", "common")} | {("nearest", bank) for bank in BANKS}
    assert {c.seed for c in cells} == set(range(5)) and len({c.category for c in cells}) == 10
    assert len(cells) == len(rows) * 5 * 10 * len({c.shots for c in cells})


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
def test_rows_with_inputs_of_their_own_are_those_that_tables_know(dataset):
    cells = read_sweep(f"40_few_shot_5_10_50/{dataset}.yaml")
    assert {(c.method, c.variant): c.features for c in cells if c.features != "paper"} == OWN_INPUTS


@pytest.mark.parametrize("dataset", ["rendered", "mvtec3d", "eyecandies"])
def test_the_two_protocols_never_share_a_number_of_shots(dataset):
    a, b = (read_sweep(f"{folder}/{dataset}.yaml") for folder in ("40_few_shot_5_10_50", "41_few_shot_1_2_4"))
    assert {c.shots for c in a} == {5, 10, 50, None} and {c.shots for c in b} == {1, 2, 4}
    assert {c.rule for c in a + b} == {"auto"}, "auto draws 1, 2 and 4 shots by the fixed rule, the others at random"
    assert {c.method for c in a} == {c.method for c in b}


@pytest.mark.parametrize("dataset", ["mvtec3d", "eyecandies"])
@pytest.mark.parametrize("folder", ["40_few_shot_5_10_50", "41_few_shot_1_2_4"])
def test_pirn_runs_on_its_own_inputs_and_on_those_of_the_other_rows(folder, dataset):
    cells = {(c.method, c.variant): c for c in read_sweep(f"{folder}/{dataset}.yaml")}
    own, common, cfm = cells["pirn", "reconstruction"], cells["pirn", "common"], cells["cfm", "published"]
    assert own.features == "dinov2_vitb14+normals_dinov2_vitb14"
    assert own.options == {"rgb_layers": "2-9"} and own.reader.get("frame", "camera") == "camera", "normals face the camera"
    assert common.source() == cfm.source(), "one backbone, so that only the method differs"


def test_the_ablation_runs_the_rows_of_the_papers_tables():
    cells = {c.variant: c.settings for c in read_sweep("30_ablation_cpir/rendered.yaml")}
    assert {name: cells["default" if name == "lb3m" else name] for name in VARIANTS} == VARIANTS


def test_pirns_ablation_runs_what_its_claims_compare():
    table = tables.select(tables.published(), paper="PIRN", dataset="mvtec3d", category="mean", metric="i_auroc")
    run = {c.variant for c in read_sweep("33_ablation_pirn/rendered.yaml")}
    for claim in PIRN_CLAIMS:
        assert {claim.better, claim.worse} <= run
        if claim.table:
            shots = "full" if claim.table == "Table 5" else "10"
            values = tables.select(table, table=claim.table, shots=shots).set_index("method")["value"]
            assert values[f"PIRN [{claim.high}]"] > values[f"PIRN [{claim.low}]"], "as printed"
    five = {c.variant for c in read_sweep("33_ablation_pirn/rendered_5.yaml")}
    assert five == {row for claim in PIRN_CLAIMS if claim.table == "Table 3" for row in (claim.better, claim.worse)}


def test_rows_of_pirns_ablation_are_the_short_variant_with_one_change():
    rows = {c.variant: c.settings for c in read_sweep("33_ablation_pirn/rendered.yaml")}
    variants, short = METHODS["pirn"].VARIANTS, METHODS["pirn"].VARIANTS["short"]
    assert rows.pop("as_noted") == variants["as_noted"] and rows.pop("default") == {}
    assert all(name.startswith("short") and short.items() <= settings.items() for name, settings in rows.items())
    for name in {name.removeprefix("short_") for name in rows} & set(variants):
        assert rows["short" if name == "short" else f"short_{name}"] == short | variants[name]
