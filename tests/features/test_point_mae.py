"""The Point-MAE encoder equals the official one on recorded weights; checkpoints are taken as they are published."""

import hashlib
import json

import numpy as np
import pytest
import torch
from recipe import recipe
from recorded import RECORDED, assert_whole

from mmadlib.errors import SettingsError, UnknownName, WeightsError
from mmadlib.features import point_mae
from mmadlib.features.grouping import three_nearest
from mmadlib.features.point_mae import DROP_PATH, Encoder, PointMAE, load_encoder, norm_points
from mmadlib.prepare.grid import Grid

DATA = RECORDED
GOLDEN = np.load(DATA / "point_mae.npz")
KEYS = json.loads((DATA / "point_mae_keys.json").read_text())  # official key, shape, used by the encoder
CLOSE = 3e-5  # the recorded tokens were computed in float32 themselves, 4e-6 from float64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file in the layout of the official release: 209 keys under base_model, decoder and prefixes included."""
    state = {key: recipe(key.replace("module.", "").removeprefix("MAE_encoder."), shape) for key, shape, used in KEYS}
    path = tmp_path_factory.mktemp("weights") / "pretrain.pth"
    torch.save({"base_model": state, "optimizer": {"lr": 0.1}, "epoch": 300, "metrics": {"acc": 0.0}}, path)
    return path


@pytest.fixture(scope="module")
def front(checkpoint):
    """A front end of the recorded size; blocks, mode -> PointMAE."""
    return lambda blocks=12, mode="batch_stats", **more: PointMAE(blocks, mode, str(checkpoint), "any", 64, 32, **more)


@pytest.mark.parametrize(("cloud", "mode", "golden"), [("unit", "eval", "unit.eval.tokens"),
                                                       ("unit", "batch_stats", "unit.batchbn.tokens"),
                                                       ("metric", "batch_stats", "metric.batchbn.tokens")])
def test_tokens_equal_the_official_ones(front, cloud, mode, golden):
    tokens, chosen = front(mode=mode).tokens(GOLDEN[f"{cloud}.points"])
    assert tokens.shape == (64, 1152)
    np.testing.assert_array_equal(chosen, GOLDEN[f"{cloud}.center_idx"])
    assert_whole(tokens, GOLDEN[golden], CLOSE)


def test_stored_statistics_on_a_metric_cloud(front):
    tokens, _ = front(mode="eval").tokens(GOLDEN["metric.points"])
    assert_whole(tokens[:8], GOLDEN["metric.eval.tokens_first8"], CLOSE)


@pytest.mark.parametrize("depth", [8, 4, 1])
def test_depths_keep_their_taps(front, depth):
    tokens, _ = front(blocks=depth).tokens(GOLDEN["unit.points"])
    assert_whole(tokens[:8], GOLDEN[f"unit.batchbn.depth{depth}_first8"], CLOSE)


@pytest.mark.parametrize(("mode", "batch"), [("eval", False), ("batchbn", True)])
def test_group_tokens_equal_the_official_ones(front, mode, batch):
    points, encoder = GOLDEN["unit.points"], front().encoder
    chosen, members = front().group(points)
    groups = torch.from_numpy(points[members] - points[chosen][:, None])
    assert_whole(encoder.encoder(groups, batch), GOLDEN[f"unit.{mode}.group_tokens"], CLOSE)


def test_parameter_counts():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    encoder = Encoder()
    assert count(encoder) == 21_825_024
    assert count(encoder.encoder) == 494_464
    assert count(encoder.pos_embed) == 50_048
    assert count(encoder.blocks["blocks"][0]) == 1_773_312
    assert count(encoder.norm) == 768
    np.testing.assert_allclose(DROP_PATH, GOLDEN["drop_path_rates"], atol=1e-7)


def test_parameter_names_are_the_official_ones():
    used = {key.replace("module.", "").removeprefix("MAE_encoder."): tuple(shape) for key, shape, used in KEYS if used}
    assert {k: tuple(v.shape) for k, v in Encoder().state_dict().items()} == used


def test_batch_stats_is_deterministic_and_touches_no_buffer(front):
    f = front()
    before = {k: v.clone() for k, v in f.encoder.state_dict().items()}
    first, second = (f.tokens(GOLDEN["metric.points"])[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for k, v in f.encoder.state_dict().items():
        assert torch.equal(v, before[k])


@pytest.mark.parametrize("threads", [1, 2])
def test_batch_statistics_are_exact_at_real_size(threads):
    """Groups are a few mm wide: behind the bias of a layer the spread of a channel lies far below its mean."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1024 * 128, 16, generator=generator) * torch.logspace(-1, 0, 16) + 1
    norm = torch.nn.BatchNorm1d(16).requires_grad_(False)
    norm.weight.copy_(torch.linspace(0.5, 2, 16))
    norm.bias.copy_(torch.linspace(-1, 1, 16))
    exact = x.double()
    exact = (exact - exact.mean(0)) / (exact.var(0, correction=0) + norm.eps).sqrt() * norm.weight + norm.bias
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = norm_points(norm, x, batch=True)
    finally:
        torch.set_num_threads(before)
    assert (found - exact).abs().max() < 5e-6  # F.batch_norm of these rows: 5e-5 to 1e-4


def test_compat_depends_on_seed_and_order_alone(front):
    a, b, c = front(mode="compat", seed=1), front(mode="compat", seed=1), front(mode="compat", seed=2)
    points = GOLDEN["unit.points"]
    runs = [[f.tokens(points)[0] for _ in range(4)] for f in (a, b, c)]
    for mine, same in zip(runs[0], runs[1], strict=True):
        np.testing.assert_array_equal(mine, same)
    assert any((x != runs[0][0]).any() for x in runs[0][1:])
    assert any((x != y).any() for x, y in zip(runs[0], runs[2], strict=True))
    buffers = {k: v for k, v in a.encoder.state_dict().items() if "running" in k}
    assert all(torch.equal(v, recipe(k, tuple(v.shape))) for k, v in buffers.items())


def test_dropped_branches_are_paid_back(front):
    """With every draw alive, DropPath scales a branch by 1 / (1 - rate); rate 0 leaves block 0 as it is."""
    block, x = front().encoder.blocks["blocks"][0], torch.randn(5, 384, generator=torch.Generator().manual_seed(0))
    plain, dropped = block(x, (1.0, 1.0)), block(x, (0.0, 0.0))
    assert torch.equal(dropped, x) and not torch.equal(plain, x)
    torch.testing.assert_close(block(x, (2.0, 0.0)) - x, 2 * (block(x, (1.0, 0.0)) - x), atol=1e-5, rtol=1e-5)


def test_eval_unit_ignores_position_and_scale(front):
    f, points = front(mode="eval_unit", near_origin=True), GOLDEN["unit.points"]
    assert not f.near_origin
    moved = (0.01 * points + np.float32([0.1, 0.2, 0.5])).astype(np.float32)
    np.testing.assert_allclose(f.tokens(points)[0], f.tokens(moved)[0], atol=0.05)
    assert np.abs(front(mode="eval").tokens(points)[0] - front(mode="eval").tokens(moved)[0]).max() > 0.5


def test_a_grid_becomes_groups_and_small_clouds_have_fewer(front):
    points = GOLDEN["metric.points"]
    xyz = np.zeros((32, 32, 3), np.float32)
    xyz.reshape(-1, 3)[100:900] = points
    grid = Grid(np.zeros((32, 32, 3), np.uint8), xyz, (xyz != 0).all(-1), np.zeros((32, 32), bool))
    groups = front()(grid)
    assert_whole(groups.tokens, GOLDEN["metric.batchbn.tokens"], CLOSE)
    index, weight = three_nearest(points, points[GOLDEN["metric.center_idx"]])  # row k of the tokens belongs to centre k
    np.testing.assert_array_equal(groups.index, index)
    np.testing.assert_array_equal(groups.weight, weight.astype(np.float32))
    assert groups.index.shape == groups.weight.shape == (800, 3)
    np.testing.assert_allclose(groups.weight.sum(1), 1, atol=1e-6)
    tokens, chosen = front().tokens(points[:20])
    assert tokens.shape == (20, 1152) and len(set(chosen.tolist())) == 20


def test_published_hash_is_checked_before_loading(checkpoint, monkeypatch):
    with pytest.raises(WeightsError, match="27ded932"):
        load_encoder(12, str(checkpoint), None, 0)
    found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert load_encoder(1, str(checkpoint), found, 0).norm.weight.shape == (384,)
    monkeypatch.setattr(point_mae, "SHA256", found)
    load_encoder(1, str(checkpoint), None, 0)


def test_plain_names_load_too_and_wrong_kinds_do_not(tmp_path, checkpoint):
    state = torch.load(checkpoint, weights_only=True)["base_model"]
    plain = {k.removeprefix("module.MAE_encoder."): v for k, v in state.items() if "MAE_encoder." in k}
    torch.save(plain, tmp_path / "plain.pth")
    assert torch.equal(load_encoder(2, str(tmp_path / "plain.pth"), "any", 0).norm.weight, plain["norm.weight"])
    torch.save({"conv1.weight": torch.ones(3)}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"resnet\.pth.*no checkpoint of Encoder: lacks 1"):
        load_encoder(12, str(tmp_path / "resnet.pth"), "any", 0)


def test_missing_weights_name_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(point_mae.paths, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match=r"pretrain\.pth.*xyz_weights"):
        PointMAE()


def test_random_weights_come_from_the_seed():
    keys = {PointMAE(1, weights="random", seed=seed).key for seed in (0, 0, 1)}
    assert len(keys) == 2


def test_wrong_settings():
    with pytest.raises(UnknownName, match="batch_stats"):
        PointMAE(mode="batch_stat", weights="random")
    with pytest.raises(SettingsError, match="xyz_blocks"):
        PointMAE(13, weights="random")
