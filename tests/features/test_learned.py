"""The family "learned": one EfficientNet-Lite on the picture and on the normals, on one raster, from a sample to its cache."""

import numpy as np
import pytest
from samples import TINY_VIT, dome, on_a_table

from mmadlib.data.contents import CONTENTS
from mmadlib.errors import DataError, SettingsError
from mmadlib.features import FAMILIES, Extractor, cnn, extract_all, family, networks, weights_of
from mmadlib.features.cache import FeatureSet
from mmadlib.features.cnn import Cnn
from mmadlib.features.descriptors import token_mask
from mmadlib.features.entry import decode, encode
from mmadlib.features.normals import normal_picture
from mmadlib.features.options import check_options
from mmadlib.features.packages import installed
from mmadlib.features.tokens import compose
from mmadlib.methods.standardise import Standardiser
from mmadlib.prepare.corruptions import CORRUPTIONS
from mmadlib.prepare.grid import to_grid

PAIR = {"rgb": "efficientnet_lite0", "xyz": "normals_efficientnet_lite0"}


@pytest.fixture(scope="module")
def learned():
    return Extractor(**PAIR, size=96)


def same(a, b):
    for side in ("rgb", "xyz"):
        np.testing.assert_array_equal(getattr(a, side).tokens, getattr(b, side).tokens)
    np.testing.assert_array_equal(a.cloud, b.cloud)
    assert a.meta == b.meta


def test_tokens_are_those_of_the_two_pictures(learned):
    sample, encoder = dome(), Cnn(size=96)
    tokens = learned.tokens(sample)
    for side, picture in (("rgb", to_grid(sample, 96).rgb), ("xyz", normal_picture(sample, 96))):
        part = getattr(tokens, side)
        assert part.tokens.shape == (24 * 24, 40)
        np.testing.assert_array_equal(part.tokens, encoder.encode([picture])[0])
        np.testing.assert_array_equal(part.valid, token_mask(to_grid(sample, 96), 24))


def test_both_sides_hold_one_loaded_network(monkeypatch):
    made = []
    monkeypatch.setattr(cnn, "create", lambda *given, **options: made.append(networks.create(*given, **options)) or made[-1])
    pair = Extractor(**PAIR, size=96)
    assert len(made) == 1 and pair.front["rgb"].weights == pair.front["xyz"].weights != ""
    Extractor(**PAIR | {"xyz": "normals_efficientnet_lite1"}, size=96)
    assert len(made) == 3


def test_the_interpolation_is_composed_once_and_reaches_the_part(learned):
    features = learned(on_a_table())
    assert features.rgb.interp is features.xyz.interp
    valid = (features.cloud != 0).all(-1)
    assert 0.1 < features.foreground.mean() < 0.5 and not (features.foreground & ~valid).any()
    np.testing.assert_allclose(np.asarray(features.rgb.interp[features.pixels].sum(1)), 1, atol=1e-5)


@pytest.mark.parametrize("levels", ["8", "8+16"])
def test_samples_at_once_have_the_bits_of_one_at_a_time(levels):
    made = Extractor(**PAIR, size=96, levels=levels)
    samples = [dome(), on_a_table(seed=1), CORRUPTIONS["without_rgb"](dome(seed=2), 1), dome(120, seed=3),
               CORRUPTIONS["without_xyz"](dome(seed=4), 1)]
    for tokens, sample in zip(made.tokens_of(samples), samples, strict=True):
        same(tokens, made.tokens(sample))
    assert made.tokens(samples[2]).rgb.tokens.shape == (1, 0) and made.tokens_of([]) == []


def test_a_bad_sample_among_others_is_named(learned, tmp_path):
    bad = dome(path=tmp_path / "003.png")
    with pytest.raises(DataError, match=r"003\.png: has only 0 valid points"):
        learned.tokens_of([dome(), bad.with_(xyz=np.zeros_like(bad.xyz), valid=None)])


def test_raw_values_are_standardised_by_methods_and_those_of_a_vit_are_not(learned):
    features = [learned(dome(seed=s)) for s in range(2)]
    assert features[0].meta["standardise"] == ["rgb", "xyz"] and features[0].meta["family"] == "learned"
    standard = Standardiser().fit(features)
    standard.extraction = features[0].extraction
    for side in ("rgb", "xyz"):
        raw = np.concatenate([getattr(f, side).at(f.pixels) for f in features])
        values = np.concatenate([standard(f, side).at(f.pixels) for f in features])
        assert np.ptp(raw.std(0)) > 0.5 and np.abs(raw.mean(0)).max() > 1
        np.testing.assert_allclose(values.std(0), 1, atol=1e-3)
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
    beside = Extractor(TINY_VIT, PAIR["xyz"], 96, rgb_blocks=1, rgb_weights="random")(dome())
    assert beside.meta["standardise"] == ["xyz"]
    assert (Standardiser().fit([beside]).std["rgb"] == 1).all()


def test_the_cache_keeps_single_precision(learned, tmp_path):
    tokens = learned.tokens(dome())
    assert not np.array_equal(tokens.rgb.tokens, tokens.rgb.tokens.astype(np.float16))
    same(compose(decode(encode(tokens, "a b"), "a b")), compose(tokens))
    samples = [dome(seed=s) for s in range(2)]
    extract_all(samples, learned, tmp_path, progress=False)
    for stored, sample in zip(FeatureSet(samples, learned, tmp_path), samples, strict=True):
        same(stored, learned(sample))


def test_names_and_kinds_of_pairs():
    assert family("learned") == FAMILIES["learned"] == tuple(PAIR.values())
    kinds = {("efficientnet_lite1", "normals_efficientnet_lite1"): "learned", ("efficientnet_lite0", "none"): "learned",
             ("efficientnet_lite0", "descriptors"): "mixed"}
    for names, kind in kinds.items():
        assert Extractor(*names, size=64).family == kind


def test_options_name_the_features(learned):
    made = [learned, *(Extractor(**PAIR, size=96, **more) for more in ({"levels": "16"}, {"levels": "8+16"}, {"enlarge": 1},
                                                                       {"normals": "grid"}))]
    tokens = [e.tokens(dome()).xyz.tokens for e in made]
    assert len({e.key for e in made}) == 5
    assert not any(np.array_equal(tokens[0], t) for t in tokens[1:])
    assert not {"levels", "enlarge"} & set(learned.settings), "runs from before there were these options stay theirs"
    assert made[2].settings == learned.settings | {"levels": "8+16"} and made[3].settings["enlarge"] == 1.0
    assert Extractor(**PAIR, size=96, levels="8", enlarge=2).key == learned.key
    assert Extractor(**PAIR, size=96, enlarge=1.0).key == made[3].key
    assert Extractor(**PAIR, size=96, rgb_blocks=3, rgb_layers="0-1").account["rgb"] == learned.account["rgb"]


@pytest.mark.parametrize(("wrong", "says"), [
    ({"levels": "8,16"}, r"levels='8,16': expected strides such as 8 or 8\+16"), ({"levels": 8}, "levels=8: expected str"),
    ({"levels": "8+64"}, r"efficientnet_lite0 has no stage at stride 64, only at 2, 4, 8, 16, 32"),
    ({"enlarge": 0}, "enlarge=0: a number above 0, up to 16"), ({"enlarge": -1.0}, "above 0"), ({"enlarge": 17}, "up to 16"),
    ({"enlarge": float("nan")}, "enlarge=nan"), ({"enlarge": "2"}, "enlarge='2': expected float"),
    ({"enlarge": True}, "enlarge=True"), ({"size": 100, "enlarge": 1}, r"input of 100 px must be a multiple of its level 8")])
def test_bad_levels_and_enlargements(wrong, says):
    with pytest.raises(SettingsError, match=says):
        Extractor(**PAIR | wrong)


def test_runs_are_named_by_the_file_of_the_weights():
    digest = CONTENTS.digest(installed("tf_efficientnet_lite0"))
    assert weights_of(*FAMILIES["learned"], check_options({})) == {"rgb": digest, "xyz": digest}
    assert weights_of(*FAMILIES["learned"], check_options({"rgb_weights": "random"})) == {}
