import numpy as np
import pytest
from layouts import isolated, mvtec, picture, rgb, table, tiff

from mmadlib.data import layout
from mmadlib.errors import DataError


def test_pairs_by_number_in_any_order_and_spelling(tmp_path):
    base = mvtec(tmp_path, train=3)
    good = base / "train" / "good"
    (good / "rgb" / "002.png").rename(good / "rgb" / "2.PNG")
    (good / "xyz" / "000.tiff").rename(good / "xyz" / "000.TIF")
    good.rename(base / "train" / "Good")
    (base / "train" / "Good" / "rgb" / "Thumbs.db").write_text("")
    found = layout.entries(tmp_path, "BAGEL", "train")
    assert [e.rgb.name for e in found] == ["000.png", "001.png", "2.PNG"]
    assert [e.xyz.name for e in found] == ["000.TIF", "001.tiff", "002.tiff"]
    assert {(e.defect, e.category, e.gt) for e in found} == {("good", "bagel", None)}


def test_order_is_good_first_then_numbers(tmp_path):
    mvtec(tmp_path, test={"cut": 11, "good": 2, "bent": 1})
    found = layout.entries(tmp_path, "bagel", "test")
    assert [e.defect for e in found] == ["good"] * 2 + ["bent"] + ["cut"] * 11
    assert [int(e.rgb.stem) for e in found if e.defect == "cut"] == list(range(11))
    assert [e.label for e in found] == [0, 0] + [1] * 12


def test_names_without_numbers_pair_by_name(tmp_path):
    base = mvtec(tmp_path, train=1) / "train" / "good"
    (base / "rgb" / "000.png").rename(base / "rgb" / "Left_a.png")
    (base / "xyz" / "000.tiff").rename(base / "xyz" / "left_A.tiff")
    assert len(layout.entries(tmp_path, "bagel", "train")) == 1


@pytest.mark.parametrize(("gone", "message"), [
    ("train/good/xyz/001.tiff", r"good: rgb/001\.png has no matching xyz"),
    ("train/good/rgb/001.png", r"good: xyz/001\.tiff has no matching rgb"),
    ("test/crack/gt/001.png", r"crack: rgb/001\.png has no matching gt"),
])
def test_a_missing_file_is_named(tmp_path, gone, message):
    base = mvtec(tmp_path)
    (base / gone).unlink()
    with pytest.raises(DataError, match=message):
        layout.entries(tmp_path, "bagel", gone.split("/")[0])


def test_the_same_number_twice(tmp_path):
    folder = mvtec(tmp_path) / "train" / "good" / "rgb"
    (folder / "0001.png").write_bytes((folder / "001.png").read_bytes())
    with pytest.raises(DataError, match="has the same number as"):
        layout.entries(tmp_path, "bagel", "train")


def test_misnamed_folders_say_what_exists(tmp_path):
    base = mvtec(tmp_path)
    with pytest.raises(DataError, match="no folder 'bagle'; did you mean 'bagel'"):
        layout.entries(tmp_path, "bagle", "train")
    (base / "train" / "good" / "xyz").rename(base / "train" / "good" / "clouds")
    with pytest.raises(DataError, match=r"no folder 'xyz'; .*there are: clouds, rgb"):
        layout.entries(tmp_path, "bagel", "train")
    with pytest.raises(DataError, match="is not a folder"):
        layout.entries(tmp_path / "nowhere", "bagel", "train")
    with pytest.raises(DataError, match="holds no category"):
        layout.categories(base)
    (tmp_path / "empty" / "test").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no folders"):
        layout.entries(tmp_path, "empty", "test")


def test_folders_that_differ_by_case_only_are_not_guessed_between(tmp_path):
    base = mvtec(tmp_path)
    (base / "train" / "Good").mkdir()
    (base / "test" / "Good").mkdir()
    for split in ("train", "test"):
        with pytest.raises(DataError, match="has folders 'Good' and 'good'; join them or rename one"):
            layout.entries(tmp_path, "bagel", split)


def test_empty_folders(tmp_path):
    mvtec(tmp_path, test={"good": 1, "crack": 1})
    for kind in ("rgb", "xyz", "gt"):
        next((tmp_path / "bagel" / "test" / "crack" / kind).iterdir()).unlink()
    with pytest.raises(DataError, match="holds no rgb or xyz or gt files"):
        layout.entries(tmp_path, "bagel", "test")


def test_categories_hold_a_train_folder(tmp_path):
    mvtec(tmp_path, "tire")
    mvtec(tmp_path, "bagel")
    (tmp_path / "notes").mkdir()
    assert layout.categories(tmp_path) == ["bagel", "tire"]


def test_modality_comes_from_defects_csv(tmp_path):
    base = mvtec(tmp_path)
    (base / "defects.csv").write_text("split,defect,number,modality\ntest,crack,000,both\ntest,crack,001,both\n")
    assert [e.modality for e in layout.entries(tmp_path, "bagel", "test")] == [""] * 3 + ["both"] * 2


@pytest.mark.parametrize(("text", "message"), [
    ("defect,modality\ncrack,sound\n", "known modality"),
    ("kind,modality\ncrack,rgb\n", "columns defect and modality"),
    ("kind,modality\n", "has the columns kind, modality; the columns defect and modality are needed"),
    ("", "has the columns none"),
    ("defect,modality\ncrack\n", "known modality"),
    ("defect,modality\ncrack,rgb\ncrack,xyz\n", "two modalities"),
])
def test_faulty_defects_csv(tmp_path, text, message):
    (mvtec(tmp_path) / "defects.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        layout.entries(tmp_path, "bagel", "test")


def test_a_defects_csv_in_another_encoding(tmp_path):
    table = mvtec(tmp_path) / "defects.csv"
    table.write_bytes("defect,modality\ncrack,both\nd\xe9faut,rgb\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"defects\.csv: is no UTF-8 text"):
        layout.entries(tmp_path, "bagel", "test")
    table.write_text("defect,modality\ncrack,both\n", encoding="utf-8-sig")  # as spreadsheets store it
    assert layout.entries(tmp_path, "bagel", "test")[-1].modality == "both"


def test_a_cloud_without_a_point_off_the_axes_is_refused(tmp_path):
    xyz = table()
    xyz[..., 0] = 0
    tiff(mvtec(tmp_path) / "train" / "good" / "xyz" / "000.tiff", xyz)
    with pytest.raises(DataError, match=r"000\.tiff: has 0 valid points"):
        layout.read(layout.entries(tmp_path, "bagel", "train")[0])


def test_read_marks_every_invalid_point_as_zero(tmp_path):
    def cloud(size):
        xyz = table(size)
        xyz[7, 8, 0], xyz[9, 9] = 0, 0
        return xyz

    mvtec(tmp_path, cloud=cloud)
    got = layout.read(layout.entries(tmp_path, "bagel", "test")[-1])
    assert not got.valid[7, 8] and not got.valid[9, 9] and np.count_nonzero(~got.valid) == 2
    assert not got.xyz[~got.valid].any()
    assert (got.rgb == rgb(1)).all() and got.mask.sum() == 36 and got.label == 1 and got.modality == "unknown"


def test_an_isolated_cloud_is_told_by_its_rim(tmp_path):
    mvtec(tmp_path, "raw")
    mvtec(tmp_path, "done", cloud=isolated)
    for category, expected in (("raw", False), ("done", True)):
        assert layout.read(layout.entries(tmp_path, category, "train")[0]).isolated is expected


def test_rim_counts_corners_once():
    valid = np.ones((48, 64), bool)
    assert layout.rim_points(valid) == 48 * 64 - 28 * 44
    assert layout.rim_points(valid[:15]) == 15 * 64  # nothing but rim
    assert layout.rim_points(valid, 1) == 2 * (48 + 64) - 4


def test_letters_with_accents_pair_composed_or_not(tmp_path):
    base = mvtec(tmp_path, "pi\u00e8ce", test={"good": 2, "f\u00eal\u00e9": 2})
    (base / "defects.csv").write_text("defect,modality\nfe\u0302le\u0301,both\n", encoding="utf-8")
    for kind, form in (("rgb", "pi\u00e8ce_"), ("xyz", "pie\u0300ce_")):
        for path in list(base.glob(f"*/*/{kind}/*")):
            path.rename(path.with_name(form + path.name))
    for path in list(base.glob("test/*/gt/*")):
        path.rename(path.with_name("pie\u0300ce_" + path.name))
    assert len(layout.entries(tmp_path, "pie\u0300ce", "train")) == 4
    found = layout.entries(tmp_path, "pi\u00e8ce", "test")
    assert [(e.defect, e.modality, e.gt is not None) for e in found] == [("good", "", False)] * 2 + [
        ("f\u00eal\u00e9", "both", True)] * 2


def test_one_name_in_both_forms_is_refused(tmp_path):
    base = mvtec(tmp_path)
    picture(base / "train/good/rgb/pi\u00e8ce.png", rgb())
    picture(base / "train/good/rgb/pie\u0300ce.png", rgb())
    with pytest.raises(DataError, match=r"twice, with its accents composed and not: .*pie\\u0300ce\.png'"):
        layout.entries(tmp_path, "bagel", "train")
    (base / "test/f\u00eal\u00e9").mkdir()
    (base / "test/fe\u0302le\u0301").mkdir()
    with pytest.raises(DataError, match=r"has folders 'f\\xeal\\xe9' and 'fe\\u0302le\\u0301'|has folders 'fe"):
        layout.entries(tmp_path, "bagel", "test")


def test_what_systems_and_we_put_beside_files_is_left_alone(tmp_path):
    base = mvtec(tmp_path)
    for name in ("._001.png", ".DS_Store", ".001.png.0a1b2c-77-0123abcd.png"):
        (base / "train/good/rgb" / name).write_bytes(b"")
    (base / ".git").mkdir()
    (base / "train" / ".cache").mkdir()
    assert len(layout.entries(tmp_path, "bagel", "train")) == 4
