"""AST: networks, losses and scores of the official code; invariants of the flow and of the whole method; its switches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recipe import recipe
from recorded import RECORDED, assert_whole
from synthetic import pixel_features, shared_latent, stop_training

from mmadlib.errors import MissingModality, SettingsError
from mmadlib.methods.ast.ast import AST, upsampled
from mmadlib.methods.ast.flow import Coupling, Flow, likelihood_loss, position_code
from mmadlib.methods.ast.settings import PUBLISHED
from mmadlib.methods.ast.student import Student, imitation_error

SMALL = {"packing": 4, "grid": 6, "flow_hidden": 6, "position": 8, "student_width": 9, "student_blocks": 2, "anchor": 0.0}
QUICK = {"steps": 5, "batch": 4, "grid": 12, "packing": 2, "flow_hidden": 8, "flow_blocks": 2, "student_width": 8,
         "student_blocks": 1}
LAYERS = {"conv1": "enter.0", "conv2": "leave", "l1": "layers.0", "bn1": "layers.1", "l2": "layers.3", "bn2": "layers.4"}


@pytest.fixture(scope="module")
def d() -> dict[str, np.ndarray]:
    return dict(np.load(RECORDED / "ast.npz"))


def official_name(ours: str) -> str:
    """couplings.0.s1.gamma -> teacher.module_list.3.s1.gamma, and the student's likewise."""
    head, *rest = ours.split(".")
    if head == "couplings":
        return ".".join(["teacher.module_list", str(3 + 2 * int(rest[0])), *rest[1:]])
    for name, layer in LAYERS.items():
        if f"{layer}." in f"{ours}.":
            return "student." + ours.replace("blocks", "res").replace(layer, name)
    raise AssertionError(ours)


@pytest.fixture(scope="module")
def official(d) -> AST:
    """A model with the recorded networks."""
    model = AST(**SMALL, weight="m2", upsample="bicubic")
    model.grid = (6, 6)
    model.networks = {name: net.eval() for name, net in model.build(5, 0).items()}
    for net in model.networks.values():
        net.load_state_dict({k: recipe(official_name(k), v.shape, "ast/A") for k, v in net.state_dict().items()})
    return model


@pytest.fixture(scope="module")
def x(d) -> torch.Tensor:
    return torch.cat([torch.from_numpy(d["in.rgb_feat"]), F.pixel_unshuffle(torch.from_numpy(d["in.depth_in"]), 4)], 1)


@pytest.fixture(scope="module")
def samples():
    return shared_latent(3)


def test_the_position_code_is_the_official_one(d):
    np.testing.assert_allclose(position_code(8, (6, 6)), d["out.pos_enc"][0], atol=1e-6)
    assert position_code(0, (2, 3)).shape == (0, 2, 3)


def test_the_networks_are_the_official_ones(d, official, x):
    teacher = official.networks["teacher"]
    for i, order in enumerate(teacher.order):
        assert np.array_equal(order, d[f"out.perm{i}"])
    y, volume = teacher.couplings[0](x, position_code(8, (6, 6)).expand(2, -1, -1, -1))
    assert_whole(y.detach(), d["code.block0.y"], 1e-5)
    assert_whole(volume.detach(), d["code.block0.logjac"], 1e-5)
    z, volume = official.run("teacher", x)
    assert_whole(z.detach(), d["code.teacher.z"], 1e-5)
    assert_whole(volume.detach(), d["code.teacher.jac"], 1e-5)
    assert_whole(official.run("student", x)[0].detach(), d["code.student.z"], 1e-5)


def test_losses_and_scores_are_the_official_ones(d, official, x, monkeypatch):
    m, z = torch.from_numpy(d["in.mask_down"])[:, 0], official.run("teacher", x)
    assert_whole(likelihood_loss(*z, m).detach(), d["code.nf_per_pixel"], 2e-5)  # numbers of two digits before the point
    monkeypatch.setattr(official, "batch", lambda features, step: (x, m))
    monkeypatch.setattr(official, "images_of", lambda step: [0, 1])
    monkeypatch.setattr(official, "targets", dict(enumerate(z[0].detach())), raising=False)
    assert official.terms([], 0)["likelihood"].item() == pytest.approx(d["out.nf_loss"].item(), abs=1e-5)
    assert official.imitation([], 0)["imitation"].item() == pytest.approx(d["out.st_loss"].item(), abs=1e-5)
    for i in range(2):
        monkeypatch.setattr(official, "inputs", lambda features, i=i: (x[i], m[i], np.ones((24, 24), bool)))
        error = official.error(None)[0]
        assert_whole(error, d["code.st_pixel"][i], 1e-5)
        up = upsampled(error, "bicubic", 4, (24, 24))
        assert_whole(up, d["code.st_pixel_up"].reshape(-1, 24, 24)[i], 1e-5)
        assert up.max().item() == pytest.approx(d["out.image_score_max"][i], abs=1e-5)


@pytest.mark.parametrize(("channels", "teacher", "student"),
                         [(368, 3_890_568, 82_601_329), (304, 3_251_080, 81_421_617), (64, 853_000, 76_997_697)])
def test_published_networks_have_the_published_size(channels, teacher, student):
    """The official student holds one more number, which it does not use."""
    with torch.device("meta"):
        networks = AST(mode="rgb", **PUBLISHED).build(channels, 0)
        plain = {"teacher": Flow(channels), "student": Student(channels)}
    for found in (networks, plain):
        count = {name: sum(p.numel() for p in net.parameters()) for name, net in found.items()}
        assert count == {"teacher": teacher, "student": student - 1}


def stirred(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network with gammas that are not 0."""
    torch.manual_seed(seed)
    for name, p in net.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(p, 0.5, 1)
    return net


def test_the_flow_can_be_inverted():
    flow, condition = stirred(Flow(9, 8, 4)), position_code(4, (5, 6)).expand(2, -1, -1, -1)
    x = torch.randn(2, 9, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow.inverse(flow(x, condition)[0], condition), x, atol=1e-4, rtol=0)


def test_the_log_determinant_is_that_of_the_jacobian():
    coupling, condition = stirred(Coupling(4, 8, 4, 3)).double(), position_code(4, (3, 3))[None].double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: coupling(x, condition)[0], x).reshape(36, 36)
    assert coupling(x, condition)[1].sum().item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-9)


def test_a_fresh_flow_is_a_permutation():
    x = torch.randn(2, 7, 4, 4)
    z, volume = Flow(7, 8, 4)(x, position_code(4, (4, 4)).expand(2, -1, -1, -1))
    assert not volume.any() and torch.equal(z.sort(1).values, x.sort(1).values) and not torch.equal(z, x)


def test_an_equal_student_is_right_and_nothing_counts_off_the_object():
    z, other, m = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.rand(2, 3, 3)
    m[0] = 0
    assert not imitation_error(z, z, m).any() and not imitation_error(z, other, m)[0].any()
    assert imitation_error(z, other, m)[1].all() and not likelihood_loss(z, m, m)[0].any()


def test_the_student_sees_the_position():
    net, x = Student(3, 8, 4, 1).eval(), torch.zeros(1, 3, 6, 6)
    out = net(x, position_code(4, (6, 6))[None])
    assert not torch.allclose(out[..., 2, 2], out[..., 3, 3])


def test_fit_trains_the_teacher_then_the_student(samples):
    """The same seed gives the same bits."""
    model, again, other = (AST(seed=seed, **QUICK).fit(samples, progress=False) for seed in (0, 0, 1))
    assert [list(step) for step in model.losses] == [["likelihood"]] * 5
    assert [list(step) for step in model.imitation_losses] == [["imitation"]] * 5
    assert model.losses[-1]["likelihood"] < model.losses[0]["likelihood"]
    assert model.imitation_losses[-1]["imitation"] < model.imitation_losses[0]["imitation"]
    maps = [m.score(samples[0]).map for m in (model, again, other)]
    assert np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[0], maps[2])


def test_the_teacher_is_frozen_while_the_student_learns(samples, monkeypatch):
    straight = AST(**QUICK).fit(samples, progress=False)
    monkeypatch.setattr(AST, "finish", lambda *_: None)
    alone = AST(**QUICK).fit(samples, progress=False)
    for name, value in alone.networks["teacher"].state_dict().items():
        assert torch.equal(value, straight.networks["teacher"].state_dict()[name])
    assert not torch.equal(alone.networks["student"].leave.weight, straight.networks["student"].leave.weight)


def test_the_map_is_the_weighted_error(samples):
    model = AST(**QUICK, smooth="none").fit(samples, progress=False)
    scores = model.score(samples[0])
    assert list(scores.parts) == ["error"] and np.array_equal(scores.parts["error"], scores.map)
    assert scores.map.dtype == np.float32 and scores.image == scores.map.max() > 0
    assert not scores.map[~samples[0].foreground].any()


@pytest.mark.parametrize("rule", ["bilinear", "bicubic"])
def test_both_image_scores_are_kept(samples, rule):
    """The maximum of the cells is that of a bilinear map at most; bicubic maps overshoot."""
    model = AST(**QUICK, upsample=rule, smooth="none").fit(samples, progress=False)
    image = {}
    for kind in ("max_map", "max_cells", "mean"):
        model.settings = replace(model.settings, image_score=kind)
        image[kind] = model.score(samples[0]).image
    error = model.error(samples[0])[0]
    assert image["max_cells"] == float(error.max()) and image["mean"] == pytest.approx(model.score(samples[0]).map.mean())
    assert image["max_map"] <= image["max_cells"] * (1 + 1e-6 if rule == "bilinear" else 1.5)


def test_a_squared_weight_counts_twice():
    m, z = torch.full((1, 4, 4), 0.5), torch.ones(1, 3, 4, 4)
    found = {}
    for kind in ("m", "m2"):
        model = AST(weight=kind, grid=4)
        model.grid = (4, 4)
        model.inputs = lambda features: (z[0], m[0], np.ones((4, 4), bool))
        model.run = lambda name, x: (x if name == "teacher" else x + 2, None)
        found[kind] = model.error(None)[0]
    assert torch.equal(found["m"], torch.full((4, 4), 2.0)) and torch.equal(found["m2"], torch.full((4, 4), 1.0))


def with_depth(features, shift=0.0):
    """The sample with a dome of depth on its foreground, moved by so much, everywhere or pixel by pixel."""
    z = np.where(features.foreground, 0.5 + shift - 1e-3 * np.hypot(*np.indices(features.size) - 12.0), 0)
    return replace(features, cloud=np.stack([np.zeros_like(z), np.zeros_like(z), z], -1).astype(np.float32))


def test_modes_see_what_they_say(samples):
    train = [with_depth(f) for f in samples]
    channels = {"combi": 10 + 4, "rgb": 10, "depth": 4}
    for mode, width in channels.items():
        model = AST(**QUICK, mode=mode).fit(train, progress=False)
        assert len(model.inputs(train[0])[0]) == width
        other = replace(train[0], rgb=train[0].rgb.with_tokens(train[0].rgb.tokens.flip(0)))
        assert np.array_equal(model.score(other).map, model.score(train[0]).map) == (mode == "depth")
        flat = replace(train[0], cloud=np.zeros_like(train[0].cloud))
        assert np.array_equal(model.score(flat).map, model.score(train[0]).map) == (mode == "rgb")


def test_depth_is_blind_to_an_offset(samples):
    model = AST(**QUICK, mode="depth").fit([with_depth(f) for f in samples], progress=False)
    one, other = (model.inputs(with_depth(samples[0], shift))[0] for shift in (0.0, 0.25))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_levelled_depth_is_blind_to_a_tilt_and_published_depth_is_not(samples):
    tilted = with_depth(samples[0], 1e-3 * np.indices((24, 24)).sum(0))
    for depth, same in (("level", True), ("z", False)):
        model = AST(**QUICK, mode="depth", depth=depth).fit([with_depth(f) for f in samples], progress=False)
        one, other = (model.inputs(f)[0] for f in (with_depth(samples[0]), tilted))
        assert torch.allclose(one, other, atol=1e-4) == same


@pytest.mark.parametrize(("mode", "side"), [("combi", "rgb"), ("combi", "xyz"), ("rgb", "rgb"), ("depth", "xyz")])
def test_a_missing_modality_is_refused(samples, mode, side):
    model = AST(**QUICK, mode=mode).fit(samples, progress=False)
    gone = replace(samples[0], meta=samples[0].meta | {"missing": side})
    with pytest.raises(MissingModality):
        model.score(gone)
    with pytest.raises(MissingModality):
        AST(**QUICK, mode=mode).fit([samples[0], gone], progress=False)


def test_another_cloud_is_another_training(samples):
    """Though the tokens are the same: depth is taken from the cloud."""
    model = AST(**QUICK)
    names = {model.identity(some, "fit") for some in (samples, samples, [with_depth(f) for f in samples],
                                                      [with_depth(f, 0.1) for f in samples])}
    assert len(names) == 3


def test_the_background_is_empty_or_kept(samples):
    x = {kind: AST(**QUICK, background=kind).fit(samples, progress=False).inputs(samples[0])[0] for kind in ("zero", "keep")}
    off = torch.ones(12, 12, dtype=torch.bool)
    off[2:-2, 2:-2] = False
    assert not x["zero"][:10, off].any() and x["keep"][:10, off].any()
    assert torch.equal(x["zero"][:, ~off], x["keep"][:, ~off])


def test_the_foreground_may_come_from_the_corners(samples):
    row, column = np.indices((24, 24))
    z = 0.5 + 1e-3 * row - 0.01 * ((row > 8) & (row < 16) & (column > 8) & (column < 16))
    seen = [replace(f, cloud=np.stack([0 * z, 0 * z, z], -1).astype(np.float32)) for f in samples]
    model = AST(**QUICK, foreground="corners", smooth="none").fit(seen, progress=False)
    assert np.array_equal(model.inputs(seen[0])[2], (row > 8) & (row < 16) & (column > 8) & (column < 16))
    with pytest.raises(SettingsError, match="corners of the cloud have no depth"):
        model.score(replace(seen[0], cloud=seen[0].cloud * ((row > 8) & (row < 16))[..., None]))
    whole = AST(**QUICK, foreground="corners", masked=False).fit(samples, progress=False)
    assert whole.inputs(samples[0])[2].all()


def test_the_last_incomplete_batch_can_be_left_out(monkeypatch, samples):
    def batches(n: int, **settings) -> list[list[int]]:
        model = AST(epochs=2, **settings)
        model.usable = list(range(n))
        return [model.images_of(step) for step in range(model.n_steps(2, 100))]

    kept, dropped = batches(7, batch=3), batches(7, batch=3, drop_last=True)
    assert list(map(len, kept)) == [3, 3, 1] * 2 and dropped == [kept[0], kept[1], kept[3], kept[4]]
    assert batches(4, batch=8, drop_last=True) == batches(4, batch=8), "the only batch stays, or nothing would be trained"
    assert batches(6, batch=3, drop_last=True) == batches(6, batch=3)
    seen = stop_training(monkeypatch, at=0)
    AST(**QUICK | {"epochs": 2, "batch": 2}, drop_last=True).fit(samples, progress=False)
    assert len(seen) == 4


@pytest.mark.parametrize(("wrong", "match"), [({"pixels": 5}, "leave it 0"), ({"anchor": 1.0}, "Euclidean"),
                                              ({"position": 6}, "multiple of 4")])
def test_settings_that_make_no_sense_are_refused(wrong, match):
    with pytest.raises(SettingsError, match=match):
        AST(**wrong)


def test_maps_of_another_size_are_refused(samples):
    model = AST(**QUICK | {"grid": 0}).fit(samples, progress=False)
    rgb, xyz = (np.ones((100, c), np.float32) for c in (10, 8))
    small = pixel_features(rgb, xyz, np.ones((10, 10), bool), "descriptors")
    with pytest.raises(SettingsError, match="does not fit the raster"):
        model.score(small)


def test_a_saved_model_scores_the_same(samples, tmp_path):
    for mode in ("combi", "depth"):
        model = AST(**QUICK, mode=mode).fit([with_depth(f) for f in samples], progress=False)
        again = AST.load(model.save(tmp_path / mode))
        assert np.array_equal(again.score(with_depth(samples[1])).map, model.score(with_depth(samples[1])).map)
