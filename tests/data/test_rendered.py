"""The rendered dataset: a plan first, files on demand, the same bytes however they come about."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mmadlib.__main__ import main
from mmadlib.data import layout, load, rendered, rendered_plan
from mmadlib.data.files import Entry
from mmadlib.errors import DataError, SettingsError, UnknownName


@pytest.fixture
def few(monkeypatch):
    """Two samples a kind."""
    monkeypatch.setattr(rendered_plan, "COUNTS", {"train": 2, "validation": 1, "good": 2, "defect": 1})
    rendered.plan.cache_clear()
    yield
    rendered.plan.cache_clear()


def contents(folder) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("category", rendered.CATEGORIES)
def test_counts_and_labels_of_the_plan(category, tmp_path):
    counts = {s: Counter(e.defect for e in rendered.entries(category, s, root=tmp_path)) for s in rendered.SPLITS}
    assert counts["train"] == {"good": 60} and counts["validation"] == {"good": 6} and counts["twins"] == {"good": 24}
    kinds = {"stain": 12, "dent": 12, "dent_lit": 12, "crack": 12} | ({} if category == "free" else {"relation": 12})
    assert counts["test"] == {"good": 24} | kinds
    label = {e.defect: e.modality for e in rendered.entries(category, "test", root=tmp_path)}
    assert label == {k: v for k, v in {"good": "none", "stain": "rgb", "dent": "xyz", "dent_lit": "both", "crack": "both",
                                       "relation": "relation"}.items() if k in counts["test"]}
    assert not any(tmp_path.iterdir()), "the plan renders nothing"


def test_no_two_samples_share_a_key_but_twins_and_partners():
    keys = [p.key for s in ("train", "validation", "test") for p in rendered.plan("keyed", s)]
    assert len(set(keys)) == len(keys)
    twins = {p.key: p for p in rendered.plan("keyed", "twins")}
    assert set(twins) == {p.key for p in rendered.plan("keyed", "test") if p.folder in ("stain", "dent")}
    assert all(p.strength == 0 for p in twins.values())


def test_reading_renders_that_sample_alone(tmp_path):
    entry = rendered.entries("plain", "test", root=tmp_path)[-1]
    sample = rendered.read(entry)
    assert sample.mask.any() and sample.defect == "stain" and sample.modality == "rgb" and not sample.isolated
    assert sample.dataset == "rendered" and sample.rgb.shape == (224, 224, 3)
    assert sorted(contents(tmp_path)) == ["plain/calibration/camera_parameters.json", "plain/defects.csv",
                                          "plain/test/stain/gt/011.png", "plain/test/stain/made/011.json",
                                          "plain/test/stain/rgb/011.png", "plain/test/stain/xyz/011.tiff"]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = rendered.read(entry)
    assert (again.rgb == sample.rgb).all() and (again.xyz == sample.xyz).all()
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}, "nothing is written twice"


def test_files_are_as_in_mvtec3d(tmp_path):
    sample = rendered.read(rendered.entries("plain", "twins", root=tmp_path)[0])
    stored = np.array(Image.open(tmp_path / "plain/twins/good/gt/000.png"))
    assert stored.dtype == np.uint8 and not stored.any() and not sample.mask.any() and sample.label == 0
    camera = json.loads((tmp_path / "plain/calibration/camera_parameters.json").read_text())
    assert {"camera_type", "focus", "kappa", "sx", "sy", "cx", "cy", "image_width", "image_height"} <= set(camera)


def test_parallel_lazy_and_repeated_rendering_give_the_same_bytes(tmp_path, few):
    assert rendered.render("plain", jobs=2, root=tmp_path / "a", progress=False) == 2 + 1 + 2 + 5 + 2
    assert rendered.render("plain", jobs=1, root=tmp_path / "a", progress=False) == 0
    b = tmp_path / "b"
    for split in reversed(rendered.SPLITS):
        for entry in reversed(rendered.entries("plain", split, root=b)):
            rendered.read(entry)
    assert contents(tmp_path / "a") == contents(b)


def test_an_interrupted_rendering_is_completed(tmp_path, few):
    rendered.render("plain", jobs=1, root=tmp_path, progress=False)
    whole = contents(tmp_path)
    (tmp_path / "plain/train/good/rgb/001.png").unlink()
    (tmp_path / "plain/test/crack/gt/000.png").unlink()
    assert rendered.render("plain", jobs=1, root=tmp_path, progress=False) == 2
    assert contents(tmp_path) == whole


def test_the_folder_reads_as_any_dataset_in_this_layout(tmp_path, few):
    rendered.render("keyed", jobs=1, root=tmp_path, progress=False)
    found = layout.entries(tmp_path, "keyed", "test")
    planned = rendered.entries("keyed", "test", root=tmp_path)
    assert [(e.rgb, e.xyz, e.defect) for e in found] == [(e.rgb, e.xyz, e.defect) for e in planned]
    assert [e.modality for e in found if e.label] == [e.modality for e in planned if e.label]
    rows = list(csv.DictReader((tmp_path / "keyed/defects.csv").read_text().splitlines()))
    assert len(rows) == 5 and {r["twin"] for r in rows} == {"", "twins/good/000", "twins/good/001"}
    for row in rows:
        if row["twin"]:
            folder = tmp_path / "keyed"
            bad, twin = f"test/{row['defect']}/{{}}/{row['index']}", f"twins/good/{{}}/{row['twin'][-3:]}"
            kind, name = ("xyz", ".tiff") if row["modality"] == "rgb" else ("rgb", ".png")
            assert (folder / (bad.format(kind) + name)).read_bytes() == (folder / (twin.format(kind) + name)).read_bytes()


def test_another_data_seed_gives_other_parts_in_a_folder_of_its_own(tmp_path):
    a, b = (load("rendered", "plain", "train", root=tmp_path / str(d), data_seed=d)[0] for d in (0, 1))
    assert (a.rgb != b.rgb).any()
    assert rendered.entries("plain", "train", 0)[0].rgb != rendered.entries("plain", "train", 1)[0].rgb
    with pytest.raises(DataError, match="holds samples of data seed 0"):
        rendered.read(rendered.entries("plain", "train", 2, root=tmp_path / "0")[0])


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_note_of_the_seed_is_made_again(tmp_path, content):
    entry = rendered.entries("plain", "train", root=tmp_path)[0]
    rendered.describe(tmp_path / "plain", "plain", 0)
    calibration = tmp_path / "plain/calibration/camera_parameters.json"
    before = calibration.read_bytes()
    calibration.write_bytes(content)
    rendered.read(entry)
    assert calibration.read_bytes() == before


@pytest.mark.parametrize("kind", ["rgb", "xyz", "gt"])
@pytest.mark.parametrize("damage", ["truncated", "another picture", "gone"])
def test_a_sample_that_is_not_as_it_was_rendered_is_made_again(tmp_path, kind, damage):
    entry, other = (rendered.entries("plain", "test", root=tmp_path)[i] for i in (-1, -2))
    rendered.read(entry), rendered.read(other)
    path = getattr(entry, kind)
    before = path.read_bytes()
    if damage == "gone":
        path.unlink()
        assert rendered.make(entry)
    else:
        path.write_bytes(before[:50] if damage == "truncated" else getattr(other, kind).read_bytes())
        with pytest.warns(UserWarning, match="not as it was rendered"):
            assert rendered.make(entry)
    assert path.read_bytes() == before and not rendered.make(entry)


def test_another_renderer_makes_every_sample_again(tmp_path, monkeypatch):
    assert rendered.make(rendered.entries("plain", "train", root=tmp_path)[0])
    monkeypatch.setattr(rendered, "renderer", lambda: "2 of another day")
    assert rendered.make(rendered.entries("plain", "train", root=tmp_path)[0])
    assert not rendered.make(rendered.entries("plain", "train", root=tmp_path)[0])


@pytest.mark.parametrize("call", [lambda: rendered.entries("keyd", "train"), lambda: rendered.entries("keyed", "tset"),
                                  lambda: rendered.entries("keyed", "train", data_seed=-1),
                                  lambda: rendered.entries("keyed", "train", data_seed=1.5)])
def test_wrong_names_and_seeds_are_refused(call):
    with pytest.raises((UnknownName, SettingsError), match=r"did you mean|whole number"):
        call()


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rendered.tifffile, "imwrite", fail)
    entry: Entry = rendered.entries("plain", "train", root=tmp_path)[0]
    with pytest.raises(DataError, match=r"cannot be written .No space left"):
        rendered.read(entry)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".tiff", ".png")]


def test_command_line(tmp_path, few, capsys):
    for count in (12, 0):
        assert main(["render", "--category", "plain", "--data-seed", "3", "--jobs", "1", "--root", str(tmp_path)]) == 0
        assert f"plain: rendered {count} samples" in capsys.readouterr().out
    assert main(["render", "--category", "plane", "--root", str(tmp_path)]) == 2
    assert "did you mean 'plain'" in capsys.readouterr().err
