"""M3DM against recorded outputs of the official code (tests/data/golden/m3dm_*.npz) and the invariants of its sheet."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import RECORDED, assert_whole
from scipy import sparse
from synthetic import shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods import METHODS
from mmadlib.methods.m3dm import VARIANTS, Fusion, one_class, published_order, weights
from mmadlib.methods.m3dm.fusion import info_nce, rate
from mmadlib.methods.patch_rows import Cells

M3DM = METHODS["m3dm"]
SLIPS = {"bank_norm": "m3dm", "coreset_rule": "m3dm", "smooth": "pil4", "masked": False, "weight_rgb": 0.1,
         "reweight": "btf", "image": "patch"}


@pytest.fixture(scope="module")
def scored():
    return dict(np.load(RECORDED / "m3dm_score.npz"))


@pytest.fixture(scope="module")
def misc():
    return dict(np.load(RECORDED / "m3dm_misc.npz"))


class Given(M3DM):
    """Patches as recorded, in the place of those that it would make."""

    def patches(self, features, side):
        values, grid = features.meta["patches"][side]
        return Cells(torch.from_numpy(values), torch.ones(len(values), dtype=torch.bool), grid)

    plain = patches

    def fused(self, features):
        return self.patches(features, "fusion")

    def width(self, side):
        return super().width(side) if side != "fusion" else self.fused_width

    def learn(self, features, progress):
        self.fused_width = features[0].meta["patches"].get("fusion", [np.zeros((1, 1))])[0].shape[1]
        self.train_fusion = lambda *_: None
        super().learn(features, progress)


def sample(**patches) -> Features:
    """224 x 224 pixels of nothing with patches (rows, grid) of every side."""
    every = sparse.csr_array(np.ones((224**2, 1), np.float32))
    tokens = {side: FeatureMap(torch.ones(1, patches[side][0].shape[1]), every, 224) for side in ("rgb", "xyz")}
    return Features(tokens["rgb"], tokens["xyz"], np.ones((224, 224), bool), np.zeros((224, 224, 3), np.float32),
                    {"standardise": [], "patches": patches})


def recorded_bank(d) -> Features:
    return sample(rgb=(d["bank_rgb"], (10, 15)), xyz=(d["bank_xyz"], (10, 26)), fusion=(d["bank_fusion"], (10, 24)))


def recorded_part(d) -> Features:
    return sample(rgb=(d["rgb_patch"], (28, 28)), xyz=(d["xyz_patch"], (56, 56)), fusion=(d["fusion_patch"], (56, 56)))


def test_three_banks_score_as_officially(scored):
    d = scored
    model = Given(banks="triple", coreset=1.0, zero_row=True, dlf="none", **SLIPS).fit([recorded_bank(d)], progress=False)
    assert len(model.banks["xyz"]) == d["triple.bank_xyz_rows"] and not model.banks["xyz"].rows[-1].any()
    for side in ("xyz", "rgb", "fusion"):
        np.testing.assert_allclose(model.norm[side], [d["triple.xyz_mean"], d["triple.rgb_std"]], rtol=1e-5)
    part = recorded_part(d)
    for side in ("xyz", "rgb", "fusion"):
        distance = model.banks[side].nearest(model.cells(part, side).rows)[0][:, 0]
        np.testing.assert_allclose(distance, d[f"triple.{side}.min_dist"], rtol=0, atol=1e-5)
        amap, s = model.judge(part, side)
        assert s == pytest.approx(float(d[f"triple.{side}.s"]), abs=1e-5)
        grey = float(d[f"triple.{side}.map_blur8.grey"])
        assert_whole(model.smoothed(side, amap) / (0.1 if side == "rgb" else 1), d[f"triple.{side}.map_blur8"], grey)
    model.image_weights = torch.from_numpy(d["triple.svm.detect_coef"])
    model.map_weights = torch.from_numpy(d["triple.svm.seg_coef"]).float()
    found = model.score(part)
    assert found.image == pytest.approx(float(d["triple.fused_image_score"][0]), abs=1e-5)
    assert_whole(found.map, d["triple.fused_map"], float(d["triple.fused_map.grey"]))


@pytest.mark.parametrize("side", ["xyz", "rgb"])
def test_two_banks_divide_by_a_thousand(scored, side):
    model = Given(**SLIPS | {"coreset": 1.0, "dlf": "none", "reweight": "m3dm_double"})
    model.fit([recorded_bank(scored)], progress=False)
    s = model.judge(recorded_part(scored), side)[1]
    assert s == pytest.approx(float(scored[f"double.{side}.s"]) * 1000, abs=1e-5)


def test_the_plain_sum_is_the_sum(scored):
    plain = SLIPS | {"weight_rgb": 1.0}
    model = Given(coreset=1.0, dlf="none", **plain).fit([recorded_bank(scored)], progress=False)
    assert model.score(recorded_part(scored)).image == pytest.approx(float(scored["add.image_score"]), abs=1e-5)


def test_single_banks_score_as_officially(scored):
    own = Given(**SLIPS | {"banks": "rgb", "coreset": 1.0, "reweight": "m3dm_single"})
    own.fit([recorded_bank(scored)], progress=False)
    np.testing.assert_allclose(own.norm["rgb"], scored["rgb_only.mean_std"], rtol=1e-5)
    found = own.score(recorded_part(scored))
    assert found.image == pytest.approx(float(scored["rgb_only.s"]), abs=1e-5)
    assert_whole(found.map, scored["rgb_only.map"], float(scored["rgb_only.map.grey"]))
    fused = Given(banks="fusion", coreset=1.0, **SLIPS).fit([recorded_bank(scored)], progress=False)
    found = fused.score(recorded_part(scored))
    assert fused.norm["fusion"].tolist() == [0, 1] and found.image == pytest.approx(float(scored["fusion_only.s"]), abs=1e-5)
    assert_whole(found.map, scored["fusion_only.map"], float(scored["fusion_only.map.grey"]))


def test_the_published_rule_takes_a_share_of_what_is_reduced_already(misc):
    bank = sample(rgb=(misc["lib_rgb"], (7, 15)), xyz=(misc["lib_xyz"], (20, 21)), fusion=(misc["lib_fus"], (20, 21)))
    model = Given(banks="triple", zero_row=True, dlf="none", **SLIPS).fit([bank], progress=False)
    for side in model.sides:
        rows, official = model.banks[side].rows, misc[f"triple.bank_{side}"]
        assert rows.shape == official.shape
        np.testing.assert_allclose(rows[:39], official[:39], atol=1e-5)  # officially in half precision, which tells at row 40
    assert not model.banks["xyz"].rows[-1].any() and not misc["triple.bank_xyz"][-1].any()
    clean = Given(banks="triple", dlf="none", masked=False).fit([bank], progress=False)
    assert [len(clean.banks[side]) for side in clean.sides] == [42, 10, 42]


def test_fusion_is_the_official_one(misc):
    names = {"mlp.fc1": "input", "mlp.fc2": "output", "norm": "norm"}
    net, official = Fusion(6, 5), {}
    for key, value in misc.items():
        if key.startswith("param.uff."):
            name = key.removeprefix("param.uff.")
            side = name[:3]
            layer, _, kind = name[4:].rpartition(".")
            official[f"{side}_head.{kind}" if layer == "head" else f"{side}.{names[layer]}.{kind}"] = torch.from_numpy(value)
    net.load_state_dict(official)
    x, r = (torch.from_numpy(misc[f"uff_{side}"]).flatten(0, 1) for side in ("xyz", "rgb"))
    with torch.no_grad():
        np.testing.assert_allclose(net(x, r).reshape(2, 20, 11), misc["uff.fused"], rtol=0, atol=1e-5)
        assert net.loss(x, r).item() == pytest.approx(float(misc["uff.loss"]), abs=1e-5)
        assert net.loss(x * 0, r).item() == 0


def test_info_nce_of_equal_vectors_is_twice_the_logarithm():
    assert info_nce(torch.ones(7, 3), torch.ones(7, 3)).item() == pytest.approx(2 * np.log(7), abs=1e-6)


def test_stored_pairs_of_the_released_code_do_not_fit(misc):
    order = published_order(784, 3136)
    np.testing.assert_array_equal(order, misc["uff.repeat_order"])
    row, column = np.divmod(np.arange(3136), 56)
    assert (order == row // 2 * 28 + column // 2).sum() == 8
    np.testing.assert_array_equal(published_order(9, 9), np.arange(9))


def raster(seed: int, grids=(4, 8)) -> Features:
    """24 x 24 pixels, RGB on 4 x 4 and 3D on 8 x 8 tokens."""
    rng = np.random.default_rng(seed)
    maps = []
    for grid, width in zip(grids, (3, 4), strict=True):
        cell = np.arange(24) * grid // 24
        index = (cell[:, None] * grid + cell).ravel()
        interp = sparse.csr_array((np.ones(576, np.float32), index, np.arange(577)), shape=(576, grid**2))
        maps.append(FeatureMap(rng.normal(size=(grid**2, width)), interp, 24))
    return Features(*maps, np.ones((24, 24), bool), np.zeros((24, 24, 3), np.float32), {"standardise": []})


def test_patches_have_the_published_shapes():
    grids, widths = {"rgb": 28, "xyz": 56}, {"rgb": 768, "xyz": 1152}
    maps = [FeatureMap(torch.zeros(grids[side]**2, widths[side]), bilinear(grids[side], 224), 224) for side in grids]
    part = Features(*maps, np.ones((224, 224), bool), np.zeros((224, 224, 3), np.float32), {"standardise": []})
    model = M3DM(banks="triple", rgb_grid=28, masked=False)
    model.standardise.fit([part])
    assert {side: model.plain(part, side).rows.shape for side in grids} == {"rgb": (784, 768), "xyz": (3136, 1152)}
    assert [m.values.shape for m in model.pair(part)] == [(3136, 1152), (3136, 768)] and model.width("fusion") == 1920


def test_correct_pairs_stand_at_one_place_and_published_ones_do_not():
    part, model = raster(0), M3DM(banks="triple", rgb_grid=4, xyz_grid=8, uff_steps=1)
    model.standardise.fit([part])
    x, r = model.pair(part)
    assert x.grid == r.grid == (8, 8) and torch.equal(x.values, part.xyz.tokens)
    copied = np.kron(part.rgb.tokens.reshape(4, 4, 3), np.ones((2, 2, 1)))
    np.testing.assert_allclose(r.values.reshape(8, 8, 3), copied, atol=1e-6)
    fits = [M3DM(banks="triple", rgb_grid=4, xyz_grid=8, uff_steps=1, uff_pairs=pairs).fit([part], progress=False)
            for pairs in ("correct", "published")]
    assert fits[0].losses != fits[1].losses
    same = [raster(0, (8, 8))]
    alike = [M3DM(banks="triple", rgb_grid=8, xyz_grid=8, uff_steps=1, uff_pairs=pairs).fit(same, progress=False)
             for pairs in ("correct", "published")]
    assert alike[0].losses == alike[1].losses, "nothing was repeated"


def test_decision_layer_has_the_published_weights(scored):
    d = scored
    for x, kind in ((d["s_lib"], "detect"), (d["s_map_lib"], "seg")):
        found = weights(x.astype(np.float64), "sgd_ocsvm")
        np.testing.assert_allclose(found, d[f"triple.svm.{kind}_coef"], rtol=0, atol=1e-9)
        exact = weights(x, "linear")
        cosine = exact @ found / np.linalg.norm(exact) / np.linalg.norm(found)
        assert cosine > 0.9995, "the same machine; gradient descent stops a fifth short of the length"
    np.testing.assert_allclose(d["s_lib"].astype(np.float64) @ weights(d["s_lib"]), d["triple.svm.scores_of_s_lib"], atol=1e-6)


def test_a_descent_that_has_not_ended_says_nothing(monkeypatch, scored):
    """Published: at most 1,000 passes, however far they came. A warning would fail this test."""
    before = weights(scored["s_lib"], "sgd_ocsvm")
    monkeypatch.setattr("mmadlib.methods.m3dm.decision.MAX_ITER", 1)
    assert not np.array_equal(weights(scored["s_lib"], "sgd_ocsvm"), before)


def test_one_class_by_hand():
    """Nearest point to the origin among the means of two of four: of (1, 0) and (0, 1)."""
    x = np.array([[1.0, 0], [0, 1], [5, 5], [6, 7]])
    np.testing.assert_allclose(one_class(x), [0.5, 0.5], atol=1e-3)
    x = np.random.default_rng(0).random((200, 3)) + 0.1
    w, best = one_class(x), np.inf
    hinge = lambda w: min(0.5 * w @ w - rho + np.maximum(0, rho - x @ w).mean() / 0.5 for rho in x @ w)  # noqa: E731
    best = min(hinge(w * s + d) for s in (0.9, 1.1) for d in 0.05 * np.eye(3))
    assert hinge(w) <= best + 1e-6


def test_other_rules_of_the_decision_layer():
    x = np.array([[1.0, 10], [3, 10], [5, 10]])
    np.testing.assert_allclose(weights(x, "zsum"), [1 / x[:, 0].std(), 1])
    np.testing.assert_allclose(weights(x, "none"), [1, 1])
    for rule in ("sgd_ocsvm", "linear", "zsum"):
        np.testing.assert_allclose(weights(np.zeros((5, 2)), rule), [1, 1])


def test_scores_are_linear_in_those_of_the_banks():
    train = shared_latent(3)
    for rule in ("sgd_ocsvm", "linear", "zsum", "none"):
        model = M3DM(dlf=rule, image="patch").fit(train, progress=False)
        maps, s = model.judged(train[0])
        found = model.score(train[0])
        assert found.image == pytest.approx(float(model.image_weights.numpy() @ s), rel=1e-5)
        total = sum(w * model.smoothed(side, m) for w, (side, m) in zip(model.map_weights.numpy(), maps.items(), strict=True))
        np.testing.assert_allclose(found.map, total, rtol=1e-4, atol=1e-6)
        assert set(found.parts) == {"xyz", "rgb"} and (rule == "none") == bool((model.map_weights == 1).all())


def test_a_sum_of_z_scores_leaves_the_own_patches_out():
    train = shared_latent(3)
    model = M3DM(coreset=1.0, smooth="none").fit(train, progress=False)
    pixels = [np.concatenate([model.judge(f, side, model.banks[side].without(i))[0][f.foreground]
                              for i, f in enumerate(train)]) for side in model.sides]
    np.testing.assert_allclose(model.map_weights, [1 / p.std() for p in pixels], rtol=1e-4)
    assert torch.equal(model.image_weights, model.map_weights)


def test_own_statistics_are_those_of_the_bank():
    train = [replace(f, meta={"standardise": []}) for f in shared_latent(2)]
    model = M3DM(coreset=1.0).fit(train, progress=False)
    for side in model.sides:
        rows = model.banks[side].rows
        assert rows.mean().item() == pytest.approx(0, abs=1e-5) and rows.std().item() == pytest.approx(1, rel=1e-4)


def test_the_fusion_learns_which_patches_belong_together():
    model = M3DM(banks="triple", uff_steps=60, uff_patches=128).fit(shared_latent(3), progress=False)
    assert len(model.losses) == 60
    first, last = (np.mean([step["InfoNCE"] for step in some]) for some in (model.losses[:5], model.losses[-5:]))
    assert last < first - 0.5
    assert [round(rate(step, 30, 3.0), 3) for step in (0, 9, 10, 20, 29)] == [0.3, 3, 3, 1.5, 0.018]


@pytest.mark.parametrize("settings", [{"banks": "fusion"}, {"banks": "triple"}, {"banks": "rgb"}, {"banks": "xyz"}, {}])
def test_one_shot_saving_and_seeds(settings, tmp_path):
    train, other = shared_latent(1), shared_latent(1, seed=5)[0]
    short = settings | {"uff_steps": 5}
    one, two = (M3DM(seed=3, **short).fit(train, progress=False) for _ in range(2))
    again = M3DM.load(one.save(tmp_path))
    for model in (two, again):
        assert np.array_equal(model.score(other).map, one.score(other).map)
        assert model.score(other).image == one.score(other).image
    assert set(one.score(other).parts) == set(one.sides) and one.score(other).image > 0


def test_a_training_part_scores_nothing_against_all_its_patches():
    train = shared_latent(2)
    for banks in ("double", "triple"):
        model = M3DM(banks=banks, coreset=1.0, uff_steps=2, dlf="none", smooth="none").fit(train, progress=False)
        found = model.score(train[1])
        assert found.map.max() < 1e-4 and found.image < 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs(variant):
    train, test = shared_latent(2), shared_latent(1, seed=9)[0]
    found = M3DM(**VARIANTS[variant] | {"uff_steps": 2}).fit(train, progress=False).score(test)
    assert np.isfinite(found.map).all() and found.map.shape == (24, 24) and np.isfinite(found.image) and found.map.any()


def test_missing_modalities():
    none = FeatureMap(torch.zeros(1, 0), np.ones((576, 1), np.float32), 24)
    lacking = [replace(f, rgb=none, meta=f.meta | {"missing": "rgb"}) for f in shared_latent(2)]
    assert M3DM(banks="xyz").fit(lacking, progress=False).score(lacking[0]).image >= 0
    for banks in ("rgb", "double", "fusion"):
        with pytest.raises(MissingModality):
            M3DM(banks=banks).fit(lacking, progress=False)
    with pytest.raises(MissingModality):
        M3DM().fit(shared_latent(2), progress=False).score(lacking[0])


@pytest.mark.parametrize(("wrong", "error"), [({"dlf": "svm"}, UnknownName), ({"coreset": 0.0}, SettingsError),
                                              ({"coreset": 1.1}, SettingsError), ({"uff_lr": 0.0}, SettingsError)])
def test_bad_settings(wrong, error):
    with pytest.raises(error):
        M3DM(**wrong)
