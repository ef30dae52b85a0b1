"""PIRN: invariants of the whole method, its switches, its leak probe, and the front end of surface normals."""

import hashlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import dome
from scipy import sparse
from synthetic import pixel_features, shared_latent

from mmadlib.errors import MissingModality, SettingsError, TrainingError, UnknownName
from mmadlib.features import extract
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods import METHODS
from mmadlib.methods.pirn import pirn
from mmadlib.methods.pirn.pirn import PIRN
from mmadlib.methods.pirn.reduction import Reduction
from mmadlib.methods.pirn.settings import AS_NOTED

QUICK = {"steps": 4, "iterations": 20, "K": 5, "batch": 8}
BASE = QUICK | {"lr": 0.01, "apr": "ot"}  # with all parts
pytestmark = pytest.mark.filterwarnings("ignore:pirn. random tokens are rebuilt")  # small widths leak; tested below


@pytest.fixture(scope="module")
def samples() -> list[Features]:
    return shared_latent(3)


@pytest.fixture(scope="module")
def model(samples) -> PIRN:
    return PIRN(**QUICK).fit(samples, progress=False)


@pytest.fixture(scope="module")
def plain(samples) -> np.ndarray:
    """The map of the first sample with all parts."""
    return PIRN(**BASE).fit(samples, progress=False).score(samples[0]).map


def fingerprint(model) -> str:
    return hashlib.sha256(b"".join(v.numpy().tobytes() for _, v in sorted(model.state().items()))).hexdigest()


def test_scoring_has_no_memory(model, samples):
    before, first = fingerprint(model), model.score(samples[0])
    model.score(samples[1])
    again = model.score(samples[0])
    np.testing.assert_array_equal(first.map, again.map)
    assert fingerprint(model) == before and first.image == again.image == first.map.max()


def test_maps_are_bounded_and_blind_to_scale(model, samples):
    scores = model.score(samples[0])
    assert set(scores.parts) == {"rgb", "xyz"}
    assert all(0 <= part.min() and 0 < part.max() <= 2 for part in scores.parts.values())
    raw = PIRN(**QUICK, smooth="none").fit(samples, progress=False).score(samples[0])
    np.testing.assert_allclose(raw.map, sum(raw.parts.values()), atol=1e-6)
    assert raw.map.max() <= 4 and (raw.map[~samples[0].foreground] == 0).all()


def test_maps_are_the_cosine_error_of_the_rebuilt_tokens(model, samples):
    E, Z, T, valid = model.rebuilt(samples[0])
    assert E.shape == (2, int(valid.sum()), 8) and Z.shape == E.shape and T.shape == (2, 5, E.shape[1])
    d = (1 - torch.cosine_similarity(E, Z, dim=-1)).numpy()  # grid 24: a cell is a pixel here
    np.testing.assert_allclose(model.score(samples[0]).parts["xyz"][samples[0].foreground], d[1], atol=1e-6)
    model.networks["cascade"].forward = lambda E, valid: (3 * E, E.mT)  # a perfect reconstruction, up to a scale
    try:
        assert abs(model.score(samples[0]).map).max() < 1e-5
    finally:
        del model.networks["cascade"].forward


def test_balanced_plans_use_every_prototype(samples):
    plan = PIRN(**QUICK | {"iterations": 100}).fit(samples, progress=False).rebuilt(samples[0])[2]
    mass = plan.sum(-1)
    assert float(mass.max() / mass.min()) < 1.15
    skewed = PIRN(**QUICK, assign="softmax").fit(samples, progress=False).rebuilt(samples[0])[2].sum(-1)
    assert float(skewed.max() / skewed.min()) > float(mass.max() / mass.min())


def test_a_shut_gate_keeps_the_modalities_apart(samples):
    model = PIRN(**QUICK, mnc_stage1=False, gamma_frozen=True).fit(samples, progress=False)
    odd = replace(samples[0], xyz=samples[0].xyz.with_tokens(samples[0].xyz.tokens.roll(1, 0)))
    np.testing.assert_allclose(model.score(odd).parts["rgb"], model.score(samples[0]).parts["rgb"], atol=1e-6)
    assert abs(model.score(odd).parts["xyz"] - model.score(samples[0]).parts["xyz"]).max() > 0.01


def test_swapping_the_modalities_swaps_the_maps():
    square = shared_latent(2, c2=8, c3=8)
    turned = [replace(f, rgb=f.xyz, xyz=f.rgb) for f in square]
    a, b = (PIRN(**QUICK | {"steps": 1, "lr": 1e-12}).fit(data, progress=False) for data in (square, turned))
    state = dict(a.networks["cascade"].state_dict())
    for name, value in a.networks["cascade"].state_dict().items():
        for part in ("cells", "cross"):
            for i, j in ((0, 1), (1, 0)):
                if f"{part}.{i}." in name:
                    state[name.replace(f"{part}.{i}.", f"{part}.{j}.")] = value
    state["prototypes"] = a.networks["cascade"].prototypes.flip(0)
    b.networks["cascade"].load_state_dict(state)
    for side, other in (("rgb", "xyz"), ("xyz", "rgb")):
        np.testing.assert_allclose(b.score(turned[0]).parts[side], a.score(square[0]).parts[other], atol=1e-4)


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_one_modality_needs_only_itself(samples, side):
    other = "xyz" if side == "rgb" else "rgb"
    nothing = FeatureMap(torch.zeros(1, 0), np.ones((samples[0].foreground.size, 1), np.float32), samples[0].size)
    lacking = [replace(f, **{other: nothing}, meta=f.meta | {"missing": other}) for f in samples]
    model = PIRN(**QUICK, modality=side).fit(lacking, progress=False)
    assert set(model.score(lacking[0]).parts) == {side}
    with pytest.raises(MissingModality):
        PIRN(**QUICK).fit(lacking, progress=False)


def test_a_sample_without_a_modality_is_refused(model, samples):
    nothing = FeatureMap(torch.zeros(1, 0), np.ones((samples[0].foreground.size, 1), np.float32), samples[0].size)
    with pytest.raises(MissingModality, match="no 3D features"):
        model.score(replace(samples[0], xyz=nothing, meta=samples[0].meta | {"missing": "xyz"}))


@pytest.mark.parametrize("switch", [{"assign": "softmax"}, {"assign": "sigmoid"}, {"assign": "linear"}, {"apr": "mean"},
                                    {"apr": "topk"}, {"apr": "none"}, {"gru": False}, {"apr_infer": False}, {"mnc": False},
                                    {"mnc_stage1": False}, {"mnc_purify": False}, {"mnc_residual": "literal"}, {"L": 1},
                                    {"mnc_source": "own"}, {"gamma": 0.0}, {"apr_keep": 5.0}, {"anchor": 0.0}, {"anchor": 2.0},
                                    {"project": "pca"}, {"modality": "rgb", "mnc_source": "own"}, {"epochs": 1},
                                    {"carry": True}, {"K": 4}, {"iterations": 5}, {"heads": 4}, {"graph_heads": 2},
                                    {"batch": 2}, {"neighbours": 1}, {"width": 16, "project": "random"}, {"modality": "rgb"},
                                    {"modality": "xyz"}, {"init": "random"}, {"plan": "detached"}, {"loss": "weighted"},
                                    {"exponent": 0.0}, {"project": "random"}, {"neighbours": 0}, {"gamma_frozen": True},
                                    {"eps": 0.5}, {"masked": False}, {"grid": 12}, {"smooth": "none"}])
def test_every_switch_changes_the_result(samples, plain, switch):
    changed = PIRN(**BASE | switch).fit(samples, progress=False)
    assert abs(changed.score(samples[0]).map - plain).max() > 1e-6


def test_one_modality_that_asks_itself_has_its_own_attention(samples, plain):
    alone, own = (PIRN(**BASE, modality="rgb", mnc_source=source).fit(samples, progress=False) for source in ("other", "own"))
    assert abs(alone.score(samples[0]).map - own.score(samples[0]).map).max() > 1e-6


def test_training_lowers_the_loss_and_leaves_the_features_alone(samples):
    before = [f.rgb.tokens.clone() for f in samples]
    model = PIRN(**QUICK | {"steps": 40, "lr": 0.01}).fit(samples, progress=False)
    assert set(model.losses[0]) == {"rgb", "xyz"} and sum(model.losses[-1].values()) < 0.9 * sum(model.losses[0].values())
    assert all(torch.equal(a, f.rgb.tokens) and not f.rgb.tokens.requires_grad for a, f in zip(before, samples, strict=True))


def test_the_noted_budget_follows_the_number_of_images_and_steps_do_not():
    few, many = shared_latent(1, size=12), shared_latent(1, size=12) * 51
    assert len(PIRN(**AS_NOTED | {"iterations": 1}).fit(few, progress=False).losses) == 60
    model = PIRN(**AS_NOTED | {"iterations": 1}).fit(many, progress=False)
    assert len(model.losses) == 8 * 7 and len(model.leak) == 9
    assert [len(PIRN(**QUICK).fit(some, progress=False).losses) for some in (few, many)] == [4, 4]


def test_leak_probe_is_logged_each_epoch_and_warns(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = PIRN(**QUICK | {"batch": 1}).fit(samples, progress=False)
    assert len(quiet.leak) == 2 + 1 and np.isfinite(quiet.leak).all()  # 4 steps over 3 images: two epochs and the end
    leaky = AS_NOTED | {"lr": 0.01, "iterations": 5}
    with pytest.warns(UserWarning, match=r"random tokens are rebuilt with cosine .*mnc_residual='off'"):
        model = PIRN(**leaky).fit(samples, progress=False)
    assert max(model.leak) > 0.8


def test_the_context_can_follow_the_rule_of_the_assignment(samples):
    ot, same = (PIRN(**BASE | {"assign": "softmax", "apr": apr}).fit(samples, progress=False) for apr in ("ot", "same"))
    assert abs(ot.score(samples[0]).map - same.score(samples[0]).map).max() > 1e-5


@pytest.mark.parametrize("settings", [{}, {"apr": "topk"}, {"assign": "softmax", "apr": "mean"}, {"modality": "rgb"},
                                      {"eps": 0.02}])
def test_one_shot_and_empty_foreground_work(settings):
    sample = shared_latent(1)[0]
    model = PIRN(**QUICK | settings).fit([sample], progress=False)
    assert model.score(sample).image > 0 and np.isfinite(model.score(sample).map).all()
    nothing = model.score(replace(sample, foreground=np.zeros_like(sample.foreground)))
    assert nothing.image == 0 and not nothing.map.any() and set(nothing.parts) == set(model.needs)
    single = model.score(replace(sample, foreground=np.arange(24 * 24).reshape(24, 24) == 150))
    assert np.isfinite(single.map).all() and np.isfinite(single.image)


def test_maps_need_not_be_square():
    rng, foreground = np.random.default_rng(0), np.ones((20, 32), bool)
    f = pixel_features(rng.normal(size=(640, 10)).astype(np.float32), rng.normal(size=(640, 8)).astype(np.float32), foreground)
    for grid in (28, 12):
        assert PIRN(**QUICK, grid=grid).fit([f], progress=False).score(f).map.shape == (20, 32)


def test_features_that_do_not_vary_give_finite_maps(samples):
    flat = [replace(f, rgb=f.rgb.with_tokens(torch.ones_like(f.rgb.tokens))) for f in samples]
    assert np.isfinite(PIRN(**QUICK).fit(flat, progress=False).score(flat[0]).map).all()


def test_the_reduction_is_fitted_on_cells_and_on_few_of_them(samples, monkeypatch):
    seen = []
    genuine = Reduction.fit.__func__
    monkeypatch.setattr(Reduction, "fit", classmethod(lambda cls, rows, *more: seen.append(rows) or genuine(cls, rows, *more)))
    monkeypatch.setattr(pirn, "ROWS", 90)
    model = PIRN(**QUICK).fit(samples, progress=False)
    assert [rows.shape for rows in seen] == [(90, 11), (90, 9)], "with the anchor"
    assert model.reduction["xyz"](seen[1]).square().mean().sqrt() == pytest.approx(1, abs=1e-4)


def test_the_cells_of_the_reduction_are_those_of_the_seed(samples, monkeypatch):
    """As many of each image, rounded up, in reading order."""
    seen = []
    genuine = Reduction.fit.__func__
    monkeypatch.setattr(Reduction, "fit", classmethod(lambda cls, rows, *more: seen.append(rows) or genuine(cls, rows, *more)))
    monkeypatch.setattr(pirn, "ROWS", 100)
    model = PIRN(**QUICK, seed=2).fit(samples, progress=False)
    cells = [np.sort(np.random.default_rng([2, 7, i]).permutation(256)[:34]) for i in range(3)]
    expected = torch.cat([model.standardise(f, "xyz").at(f.pixels[some]) for f, some in zip(samples, cells, strict=True)])
    torch.testing.assert_close(seen[1], expected)


def test_the_anchor_passes_the_reduction(samples):
    """Tokens of a side all lean towards one direction, which is the constant channel's: as much as k says, of any k."""
    for k in (0.5, 2):
        model = PIRN(**QUICK, anchor=k).fit(samples, progress=False)
        for m, side in enumerate(("rgb", "xyz")):
            constant = model.reduction[side].matrix[-1]
            E = model.tokens(samples[0])[0][m]
            along = (E @ constant / constant.norm()).square().sum() / E.square().sum()
            assert along == pytest.approx(k**2 / (1 + k**2), abs=0.06)
    centred = PIRN(**QUICK, project="pca").fit(samples, progress=False)
    assert all(r.matrix[-1].norm() < 1e-3 * r.matrix.norm() for r in centred.reduction.values())


def test_one_modality_has_the_width_of_both(samples):
    for side in ("rgb", "xyz"):
        assert PIRN(**QUICK, modality=side).fit(samples, progress=False).rebuilt(samples[0])[0].shape[-1] == 8


def test_saved_models_score_alike_and_keep_their_probe(model, samples, tmp_path):
    back = PIRN.load(model.save(tmp_path))
    np.testing.assert_array_equal(back.score(samples[1]).map, model.score(samples[1]).map)
    assert back.leak == model.leak


def test_patches_of_an_encoder_are_taken_as_they_are():
    torch.manual_seed(0)
    interp, foreground = bilinear(4, 56), np.zeros((56, 56), bool)
    foreground[10:50, 5:40] = True
    rgb, xyz = (FeatureMap(torch.randn(16, 16), interp, 56) for _ in range(2))
    f = Features(rgb, xyz, foreground, np.zeros((56, 56, 3), np.float32), {"family": "paper"})
    model = PIRN(**QUICK | {"K": 3}, grid=4, masked=False).fit([f], progress=False)
    E, valid = model.tokens(f)
    assert valid.all() and E.shape == (2, 16, 16)
    torch.testing.assert_close(E[0] / E[0].norm(), rgb.tokens / rgb.tokens.norm())


def test_picture_and_surface_normals_through_one_encoder():
    """The paper's inputs with a small frozen ViT: both sides as wide, so nothing is reduced, 14 x 14 tokens a side."""
    options = {"rgb_weights": "random", "rgb_layers": "1-2", "size": 224}
    part = dome(96)
    f = extract(part, rgb="vit_tiny_patch16_224", xyz="normals_vit_tiny_patch16_224", **options)
    model = PIRN(**QUICK, grid=14, masked=False).fit([f, f], progress=False)
    E, valid = model.tokens(f)
    assert E.shape == (2, 196, 192) and valid.all() and model.reduction["rgb"].matrix.ndim == 0
    assert not f.xyz.tokens.requires_grad and model.score(f).map.shape == (224, 224)
    assert not torch.allclose(E[0], E[1], atol=0.1)


def test_other_sizes_and_too_few_tokens_are_refused(model, samples):
    with pytest.raises(SettingsError, match="does not fit the token grid"):
        model.score(shared_latent(1, size=20)[0])
    with pytest.raises(TrainingError, match="fewer than 500 prototypes"):
        PIRN(**QUICK | {"K": 500}).fit(samples[:1], progress=False)
    sparse_map = sparse.csr_array(samples[0].xyz.interp)
    narrow = replace(samples[0], xyz=FeatureMap(samples[0].xyz.tokens[:, :3], sparse_map, samples[0].size))
    with pytest.raises(SettingsError, match="narrower than 8, which heads"):
        PIRN(**QUICK).fit([narrow], progress=False)


@pytest.mark.parametrize(("wrong", "error"), [({"assign": "optimal"}, UnknownName), ({"apr": "max"}, UnknownName),
                                              ({"K": 0}, SettingsError), ({"eps": 0.0}, SettingsError),
                                              ({"exponent": -1.0}, SettingsError), ({"pixels": 5}, SettingsError),
                                              ({"L": 0}, SettingsError), ({"epochs_full": 0}, SettingsError)])
def test_impossible_settings_are_refused(wrong, error):
    with pytest.raises(error):
        METHODS["pirn"](**wrong)
