"""CFR against recorded outputs of the official code (tests/data/golden/cfr_*.npz) and the invariants of the method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import RECORDED, assert_whole
from synthetic import pixel_features, shared_latent

from mmadlib.data.shots import draw as draw_shots
from mmadlib.errors import MissingModality, SettingsError, TrainingError, UnknownName
from mmadlib.methods import METHODS
from mmadlib.methods.banks import CosineBank
from mmadlib.methods.cfr import memory as memory_module
from mmadlib.methods.cfr.cfr import cyclic_losses
from mmadlib.methods.cfr.memory import Memory, choose_rows, draw, remember
from mmadlib.methods.cfr.retriever import Retriever
from mmadlib.methods.mapper import GatedMapper
from mmadlib.methods.recompute import in_chunks
from mmadlib.methods.scoring import normalise

CFR, CFM = METHODS["cfr"], METHODS["cfm"]
SHORT = {"steps": 20, "retriever_steps": 10, "smooth": "none", "image_norm": "none"}
AS_CFM = {"cycle": False, "mapper": "mlp3", "replace": "off", "smooth": "box_cfm"}
GATED = {"w12": "input", "w3": "output"}  # official name -> ours
ATTENTION = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}


@pytest.fixture(scope="module")
def golden():
    folder = RECORDED
    return {name: dict(np.load(folder / f"cfr_{name}.npz")) for name in ("train", "retrieval", "score")}


def official(net, recorded, prefix: str, names: dict[str, str]):
    """Load parameters recorded under the official key names."""
    state = {}
    for key in (k for k in recorded if k.startswith(f"{prefix}.")):
        layer, kind = key.removeprefix(f"{prefix}.").split(".")
        state[f"{names[layer]}.{kind}"] = torch.from_numpy(recorded[key])
    net.load_state_dict(state)
    return net


def fitted(features=None, **settings):
    return CFR(**SHORT | settings).fit(features or shared_latent(2), progress=False)


def origin_of(n: int) -> torch.Tensor:
    return torch.stack([torch.zeros(n, dtype=torch.int64), torch.arange(n)], dim=1)


def changed(features, side: str, value: float, where: np.ndarray):
    """The same sample with other tokens (one per pixel) at some pixels of one side."""
    fmap = getattr(features, side)
    tokens = fmap.tokens.clone()
    tokens[torch.from_numpy(where)] = value
    return replace(features, **{side: fmap.with_tokens(tokens)})


# recorded outputs of the official code


def test_networks_equal_the_official_forward(golden):
    d = golden["train"]
    for name, side, widths in (("CFR_2Dto3D", "rgb", (10, 16)), ("CFR_3Dto2D", "xyz", (16, 10))):
        net = official(GatedMapper(*widths, 13), d, f"param.{name}", GATED)
        out = net(torch.from_numpy(d[f"in.{side}_patch"]))
        np.testing.assert_allclose(out.detach(), d[f"out.forward.{name}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_fit_equals_the_official_training(golden, steps, monkeypatch):
    d, names, build = golden["train"], {"G": "CFR_2Dto3D", "M": "CFR_3Dto2D"}, CFR.build

    def recorded_networks(*arguments):
        return {name: official(net, d, f"param.{names[name]}", GATED) for name, net in build(*arguments).items()}

    features = [pixel_features(rgb, xyz, (xyz.sum(1) != 0).reshape(6, 6))
                for rgb, xyz in zip(d["in.rgb_patch"], d["in.xyz_patch"], strict=True)]
    monkeypatch.setattr(CFR, "build", recorded_networks)
    method = CFR(epochs=steps, batch=2, pixels=0, hidden=0, replace="off").fit(features, progress=False)
    columns = ("3D to RGB", "RGB to 3D", "RGB cycle", "3D cycle")
    np.testing.assert_allclose([[losses[c] for c in columns] for losses in method.losses], d["out.losses"][:steps], rtol=0,
                               atol=1e-6)
    for key, net in method.networks.items():
        trained = official(build(method, 10, 16)[key], d, f"out.step{steps}.{names[key]}", GATED).state_dict()
        for name, value in net.state_dict().items():
            np.testing.assert_allclose(value, trained[name], rtol=0, atol=1e-5)


def test_retrieval_equals_the_official_search(golden):
    d = golden["retrieval"]
    query, keys, values = (torch.from_numpy(d[f"in.{name}"]) for name in ("query", "keys", "values"))
    cosine, index = CosineBank(keys).nearest(query, int(d["in.k"]))
    np.testing.assert_allclose(cosine, d["out.topk_scores"], rtol=0, atol=1e-6)
    assert np.array_equal(index, d["out.topk_indices"])
    memory = remembered(keys, values)
    for found, name in zip(memory.neighbours(query, int(d["in.k"])), ("keys", "values"), strict=True):
        np.testing.assert_array_equal(found, d[f"out.topk_{name}"])
    clipped = CosineBank(keys[:4]).nearest(query[:3], 9)[0]
    np.testing.assert_allclose(clipped, d["out.topk_scores_k_gt_bank"], rtol=0, atol=1e-6)
    observed = torch.from_numpy(d["in.query_rgb"])
    cosine, index = CosineBank(values).nearest(observed, 2)
    np.testing.assert_allclose(1 - cosine, d["out.bank.dists"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(values[index], d["out.bank.feats"])
    np.testing.assert_allclose(memory.unreliability(observed), d["out.bank.dists"][:, 0], rtol=0, atol=1e-6)
    nearest = memory.replacement(query[:17], observed, "nn_observed", 3)
    np.testing.assert_array_equal(nearest, d["out.bank.feats"][:, 0])


@pytest.mark.parametrize(("name", "width"), [("attn", 7), ("attn_id", 9)])
def test_attention_equals_the_official_forward(golden, name, width):
    d = golden["retrieval"]
    net = official(Retriever(12, 9, width), d, f"param.{name}", ATTENTION)
    query, keys, values = (torch.from_numpy(d[f"in.{k}"]) for k in ("query", "keys", "values"))
    out = remembered(keys, values).replacement(query, values[:30], "attention", 3, net)
    np.testing.assert_allclose(out.detach(), d[f"out.{name}.forward_topk"], rtol=0, atol=2e-6)


def test_retriever_training_equals_the_official_one(golden, monkeypatch):
    d = golden["retrieval"]
    xyz, rgb = (d[f"in.attn_train_{side}"] for side in ("xyz", "rgb"))
    features = pixel_features(rgb, xyz, (xyz.sum(1) != 0).reshape(5, 9))
    method = CFR(retriever_epochs=3, retriever_pixels=0, retriever_lr=1e-4, self_match=True, bank_subset=0, width=7)
    method.usable = [0]
    method.networks = {"retriever_rgb": official(Retriever(12, 9, 7), d, "param.attn", ATTENTION)}
    method.memory = {"rgb": remembered(*(torch.from_numpy(d[f"in.{name}"]) for name in ("keys", "values")))}
    optimisers, train = [], method.train
    monkeypatch.setattr(method, "train", lambda *given: optimisers.append(given[3]["adam"]) or train(*given))
    losses = method.train_retriever("rgb", {"rgb": [features.rgb], "xyz": [features.xyz]}, [features], False, None)
    assert optimisers[0].defaults["betas"] == (0.9, 0.999)  # three steps hardly feel the second
    np.testing.assert_allclose([step["retrieval"] for step in losses], d["out.attn_train.loss"], rtol=0, atol=1e-6)
    trained = official(Retriever(12, 9, 7), d, "out.attn_train.step3", ATTENTION).state_dict()
    for name, value in method.networks["retriever_rgb"].state_dict().items():
        np.testing.assert_allclose(value, trained[name], rtol=0, atol=1e-5)


class Drawn:
    """A generator whose draw is the recorded one."""

    def __init__(self, total: int, drawn: np.ndarray) -> None:
        self.total, self.drawn = total, drawn

    def choice(self, total: int, size: int, replace: bool) -> np.ndarray:
        assert (total, size, replace) == (self.total, len(self.drawn), False)
        return self.drawn


@pytest.mark.parametrize("projected", [False, True])
def test_banks_are_chosen_as_officially_from_the_same_starts(golden, projected, monkeypatch):
    """Start distances are means over the drawn rows, which the recorded order of choice shows."""
    d, recorded = golden["retrieval"], dict(np.load(RECORDED / "coreset.npz"))
    monkeypatch.setattr(memory_module.np.random, "default_rng", lambda seed: Drawn(400, recorded["cfr.starts"]))
    if projected:
        monkeypatch.setattr(memory_module, "THIN", 6)
        matrix = torch.from_numpy(recorded["cfr.projection"].T.copy())
        monkeypatch.setattr(memory_module, "dense_projection", lambda *_: matrix)
    features = pixel_features(d["in.coreset_values"], recorded["cfr.x"], np.ones((20, 20), bool))
    rows = np.sort(recorded["cfr.projected" if projected else "cfr.mean"])
    candidates = origin_of(400)
    np.testing.assert_array_equal(choose_rows([features.xyz], candidates, 0.1, 0), candidates[rows])
    memory = remember([features.rgb], [features.xyz], candidates, 0.1, 0)
    np.testing.assert_array_equal(memory.keys.rows, recorded["cfr.x"][rows])
    np.testing.assert_array_equal(memory.values, d["in.coreset_values"][rows])
    if not projected:
        order = np.argsort(recorded["cfr.mean"])  # theirs are in order of choice, ours in order of pixels
        np.testing.assert_array_equal(memory.keys.rows, d["out.kv_bank.keys"][order])
        np.testing.assert_array_equal(memory.values, d["out.kv_bank.values"][order])


def test_shots_are_the_published_draw(golden):
    d = golden["retrieval"]
    for case, (total, shots, seed) in enumerate(d["in.few_shot_cases"]):
        if seed == 42:
            assert list(draw_shots(int(total), int(min(shots, total)), 0, "auto")) == d[f"out.few_shot.{case}"].tolist()


@pytest.mark.parametrize(("mode", "rule"), [("attention", "attention"), ("nearest", "nn_observed"), ("nobank", "off")])
def test_score_equals_the_official_inference(golden, mode, rule):
    d = golden["score"]
    foreground = np.unpackbits(d["foreground"])[:224 * 224].astype(bool)
    rgb, xyz = np.zeros((224 * 224, 4), np.float32), np.zeros((224 * 224, 5), np.float32)
    rgb[foreground], xyz[foreground] = d["rgb_q"].astype(np.float32) / 32, d["xyz_q"].astype(np.float32) / 32
    features = pixel_features(rgb, xyz, foreground.reshape(224, 224))
    method = CFR(hidden=0, replace=rule, width=6)
    method.standardise.fit([features])
    method.make_networks()
    for net, name in (("G", "CFR_2Dto3D"), ("M", "CFR_3Dto2D")):
        official(method.networks[net], d, f"param.{name}", GATED)
    if rule == "attention":
        official(method.networks["retriever_rgb"], d, "param.attn", ATTENTION)
    trusted, keys, values = (torch.from_numpy(d[f"in.bank_{name}"]) for name in ("rgb", "keys", "values"))
    method.memory = {"rgb": Memory(CosineBank(trusted), origin_of(8), CosineBank(keys), values, origin_of(40))}
    method.theta, method.fitted = {"rgb": float(d["in.theta"])}, True
    scores = method.score(features)
    assert_whole(scores.parts["rgb"], d[f"{mode}.psi_2d"], 1e-5)
    assert_whole(scores.parts["xyz"], d["psi_3d"], 1e-5)
    assert scores.image == pytest.approx(float(d[f"{mode}.image_score"]), abs=1e-5)
    if rule != "off":
        rho = scores.parts["rho_rgb"].ravel()
        inside = np.where(foreground, d["rho"].ravel(), 0)  # recorded on all pixels, we leave 0 elsewhere
        assert_whole(rho, inside.astype(np.uint8), 1e-5)
        assert np.array_equal(np.packbits((rho >= d["in.theta"]) & foreground), d["replaced"])
        assert_whole(scores.map, d[f"{mode}.psi_blur"], 1e-5)
    if rule == "attention":
        assert_whole(normalise(scores.map, "aupro"), d["attention.map_aupro"], 1e-5)


# invariants


def test_parameter_counts_at_paper_size():
    with torch.device("meta"):
        nets = GatedMapper(768, 1152, 960), GatedMapper(1152, 768, 960), Retriever(1152, 768)
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [2_583_552, 2_951_808, 491_520]


def test_cyclic_terms_vanish_for_exact_inverses_and_direct_ones_ignore_scale():
    class Linear(torch.nn.Module):
        def __init__(self, matrix):
            super().__init__()
            self.matrix = matrix

        def forward(self, x):
            return x @ self.matrix

    generator = torch.Generator().manual_seed(0)
    A = torch.randn(6, 6, generator=generator)
    F2, F3 = torch.randn(2, 30, 6, generator=generator)
    losses = cyclic_losses(Linear(A), Linear(torch.linalg.inv(A)), F2, F3)
    assert losses["RGB cycle"] < 1e-5 and losses["3D cycle"] < 1e-5
    assert 0 <= sum(losses.values()) <= 8
    scaled = cyclic_losses(Linear(3 * A), Linear(2 * torch.linalg.inv(A)), F2, F3)
    for term in ("RGB to 3D", "3D to RGB"):
        torch.testing.assert_close(scaled[term], losses[term])


def test_chunks_change_neither_losses_nor_gradients():
    F2, F3 = torch.randn(50, 6), torch.randn(50, 5)
    results = []
    for size in (50, 16):
        torch.manual_seed(0)
        G, M = GatedMapper(6, 5, 4), GatedMapper(5, 6, 4)
        losses = in_chunks(lambda a, b, G=G, M=M: cyclic_losses(G, M, a, b), F2, F3, size=size)
        sum(losses.values()).backward()
        results.append([*losses.values(), *(p.grad for p in (*G.parameters(), *M.parameters()))])
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("settings", [{}, {"mapper": "mlp7", "aggregate": "sum"}])
def test_settings_of_cfm_give_its_map_bit_for_bit(settings):
    train = shared_latent(3)
    ours, cfm = CFR(steps=30, **AS_CFM | settings), CFM(steps=30, **settings)
    ours, cfm = (method.fit(train, progress=False).score(train[1]) for method in (ours, cfm))
    np.testing.assert_array_equal(ours.map, cfm.map)
    assert ours.image == cfm.image and ours.parts.keys() == cfm.parts.keys()


def test_thresholds_from_nothing_to_everything():
    test, off = shared_latent(3)[2], fitted(replace="off")
    plain = off.score(test)
    never = fitted(theta=float("inf")).score(test)
    np.testing.assert_array_equal(never.map, plain.map)
    counts = []
    for theta in (float("-inf"), 0.0, 0.1, 0.2, 0.4, float("inf")):
        method = fitted(theta=theta)
        scores = method.score(test)
        np.testing.assert_array_equal(scores.parts["xyz"], plain.parts["xyz"])  # only RGB is ever replaced
        replaced = (scores.parts["rho_rgb"] >= theta) & test.foreground
        np.testing.assert_array_equal(scores.parts["rgb"] != plain.parts["rgb"], replaced)
        counts.append(replaced.sum())
    assert counts[0] == test.foreground.sum() and counts[-1] == 0 and (np.diff(counts) <= 0).all()
    assert len(set(counts)) > 3


def test_unreliability_is_bounded_zero_on_the_bank_and_falls_with_more_rows():
    generator = torch.Generator().manual_seed(0)
    rows, query = torch.randn(40, 6, generator=generator), torch.randn(200, 6, generator=generator)
    memory = remembered(rows[:20])
    more = remembered(rows)
    rho = memory.unreliability(query)
    assert rho.min() >= -1e-6 and rho.max() <= 2
    assert memory.unreliability(3 * rows[:20]).abs().max() < 1e-6
    assert (more.unreliability(query) <= rho).all() and (more.unreliability(query) < rho).any()


def remembered(keys, values=None):
    values = keys if values is None else values
    return Memory(CosineBank(values), origin_of(len(keys)), CosineBank(keys), values, origin_of(len(keys)))


def test_a_stored_key_returns_its_value_also_when_scaled():
    keys, values = torch.randn(30, 5), torch.randn(30, 4)
    memory = remembered(keys, values)
    for query in (keys, 2.5 * keys):
        torch.testing.assert_close(memory.replacement(query, values, "topk_mean", 1), values)
    assert not torch.equal(memory.neighbours(keys, 1, origin_of(30))[1][:, 0], values)  # never its own pixel


def test_every_row_of_the_memory_lies_where_it_says():
    features = shared_latent(3)
    method = fitted(features, coreset=0.2, theta=0.1)
    memory, (rgb, xyz) = method.memory["rgb"], zip(*map(method.maps, features), strict=True)
    for row in (0, 17, len(memory.keys) - 1):
        image, pixel = memory.pairs_from[row].tolist()
        assert features[image].foreground.ravel()[pixel]
        torch.testing.assert_close(memory.keys.rows[row], xyz[image].at([pixel])[0])
        torch.testing.assert_close(memory.values[row], rgb[image].at([pixel])[0])
        image, pixel = memory.trusted_from[row].tolist()
        torch.testing.assert_close(memory.trusted.rows[row], rgb[image].at([pixel])[0])


def test_attention_weighs_its_neighbours():
    net, query, keys, values = Retriever(5, 4, 8), torch.randn(9, 5), torch.randn(20, 5), torch.randn(20, 4)
    index = CosineBank(keys).nearest(query, 3)[1]
    weights = net.weights(query, keys[index])
    assert weights.shape == (9, 3)
    torch.testing.assert_close(weights.sum(1), torch.ones(9))
    one = index[:, :1]
    torch.testing.assert_close(net(query, keys[one], values[one]), net.out(net.value(values[one[:, 0]])))
    order = torch.randperm(20)
    again = order[CosineBank(keys[order]).nearest(query, 3)[1]]
    torch.testing.assert_close(net(query, keys[again], values[again]), net(query, keys[index], values[index]))


@pytest.mark.parametrize(("share", "rows"), [(0.01, 5), (0.05, 25), (0.1, 51), (1.0, 512)])
def test_banks_hold_the_share_of_the_candidates(share, rows):
    method = fitted(coreset=share, theta=0.1)
    assert len(method.memory["rgb"].trusted) == len(method.memory["rgb"].keys) == rows  # 2 x 16 x 16 foreground pixels
    again = fitted(coreset=share, theta=0.1)
    assert torch.equal(method.memory["rgb"].pairs_from, again.memory["rgb"].pairs_from)


def test_covering_radius_of_the_projected_search_never_grows():
    fmap = shared_latent(1, c2=300)[0].rgb
    everything = draw({0: np.arange(576)}, 0, [0])
    radius = []
    for share in (0.02, 0.05, 0.1, 0.3):
        chosen = choose_rows([fmap], everything, share, seed=0)[:, 1]
        assert len(chosen) == int(share * 576)
        radius.append(torch.cdist(fmap.tokens, fmap.tokens[chosen]).min(1).values.max())
    assert (np.diff(radius) < 0).all()


def test_unmasked_banks_repeat_no_invalid_pixel():
    features = shared_latent(2)
    small = np.zeros_like(features[0].foreground)
    small[10:13, 10:13] = True  # 18 of 1152 pixels in both images
    features = [replace(changed(f, "xyz", 0.0, ~small.ravel()), foreground=small) for f in features]
    memory = fitted(features, bank_mask=False, theta=0.1).memory["rgb"]
    keys = memory.keys.rows
    assert len(keys) == len(keys.unique(dim=0)) and 18 <= len(keys) <= 19  # not floor(.1 n) = 115
    assert len(memory.trusted) == 115  # the background has colours


def test_a_remembered_test_image_has_no_error_where_nn_observed_replaces():
    features = shared_latent(2)
    method = fitted(features, replace="nn_observed", coreset=1.0, theta=0.05)
    scores = method.score(features[0])
    replaced = (scores.parts["rho_rgb"] >= 0.05) & features[0].foreground
    assert replaced.sum() > 20 and scores.parts["rgb"][replaced].max() < 1e-5
    assert scores.parts["rgb"][features[0].foreground & ~replaced].max() > 1e-3


def test_quantile_leaves_out_the_rows_of_the_own_image():
    features = shared_latent(3)
    method = fitted(features, coreset=1.0)
    memory, made = method.memory["rgb"], []
    for i, f in enumerate(features):
        maps = dict(zip(("rgb", "xyz"), method.maps(f), strict=True))
        others = CosineBank(memory.trusted.rows[memory.trusted_from[:, 0] != i])
        with torch.no_grad():
            made.append(1 - others.nearest(method.reconstruct("rgb", maps, f.pixels))[0][:, 0])
    assert method.theta["rgb"] == pytest.approx(np.quantile(torch.cat(made), 0.95), abs=1e-6)


def test_retriever_learns_and_self_matches_help_it_on_its_own_pixels():
    features = shared_latent(2)
    without, with_them = (fitted(features, retriever_steps=60, coreset=1.0, self_match=s).retrieval_losses["rgb"]
                          for s in (False, True))
    assert without[-1]["retrieval"] < 0.6 * without[0]["retrieval"]
    assert with_them[-1]["retrieval"] < without[-1]["retrieval"]


@pytest.mark.parametrize("direction", ["rgb", "both"])
def test_swapped_modalities_swap_the_parts(direction):
    train = shared_latent(2)
    settings = {"replace": "off"} if direction == "rgb" else {"replace": "topk_mean", "replace_direction": "both"}
    method = fitted(train, **settings)
    swap = [replace(f, rgb=f.xyz, xyz=f.rgb) for f in train]
    swapped = CFR(**SHORT | settings)
    swapped.standardise.fit(swap)
    swapped.networks = {"G": method.networks["M"], "M": method.networks["G"]}
    other = {"rgb": "xyz", "xyz": "rgb"}
    swapped.memory = {side: method.memory[other[side]] for side in method.replaced}
    swapped.theta, swapped.fitted = {side: method.theta[other[side]] for side in method.replaced}, True
    ours, theirs = method.score(train[0]), swapped.score(swap[0])
    np.testing.assert_array_equal(theirs.map, ours.map)
    for name, part in ours.parts.items():
        np.testing.assert_array_equal(theirs.parts[name.replace("rgb", "?").replace("xyz", "rgb").replace("?", "xyz")], part)
    losses = cyclic_losses(method.networks["G"], method.networks["M"], *method_pairs(method, train))
    mirrored = cyclic_losses(swapped.networks["G"], swapped.networks["M"], *reversed(method_pairs(method, train)))
    assert {k.replace("RGB", "?").replace("3D", "RGB").replace("?", "3D"): v.item() for k, v in losses.items()} \
        == {k: v.item() for k, v in mirrored.items()}


def method_pairs(method, features):
    method._maps = {}
    return method.pairs(features, 0)


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_background_changes_nothing_and_maps_vanish_there(side):
    train = shared_latent(2)
    outside = ~train[0].foreground.ravel()
    method, other = fitted(train), changed(train[0], side, 7.0, outside)
    np.testing.assert_array_equal(method.score(other).map, method.score(train[0]).map)
    assert (method.score(train[0]).map[~train[0].foreground] == 0).all()
    refitted = fitted([other, changed(train[1], side, -3.0, outside)])
    np.testing.assert_array_equal(refitted.score(train[0]).map, method.score(train[0]).map)


def test_everything_may_be_replaced_and_scored_beyond_the_foreground_too():
    train = shared_latent(2)
    method = fitted(train, masked=False, theta=float("-inf"))
    scores, plain = method.score(train[0]), fitted(train, masked=False, replace="off").score(train[0])
    assert (scores.parts["rgb"] > 0).all()
    np.testing.assert_array_equal(scores.parts["rgb"] != plain.parts["rgb"], train[0].foreground)  # valid pixels only


@pytest.mark.parametrize("rule", ["off", "nn_observed", "topk_mean", "attention"])
def test_a_planted_defect_scores_above_normal(rule):
    method = CFR(steps=200, retriever_steps=100, lr=3e-3, replace=rule, smooth="none", image_norm="none")
    method.fit(shared_latent(3), progress=False)
    test = shared_latent(4)[3]
    pixel = test.pixels[40]
    fmap, where = test.xyz, np.zeros(test.foreground.size, bool)
    where[pixel] = True
    planted = changed(test, "xyz", 0.0, np.zeros_like(where))
    planted.xyz.tokens[pixel] = -fmap.tokens[pixel]
    assert method.score(planted).map.argmax() == pixel
    assert method.score(planted).image > method.score(test).image


def test_same_seed_same_maps_and_another_seed_others():
    train = shared_latent(2)
    maps = [fitted(train, seed=s, bank_subset=20).score(train[0]).map for s in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_subset_of_the_pairs_bounds_the_search():
    method = fitted(bank_subset=7, theta=0.1)
    assert len(method.memory["rgb"].keys) == len(method.memory["rgb"].values) == 7
    assert len(fitted(bank_subset=0, theta=0.1).memory["rgb"].keys) == 51


def test_candidates_are_shared_out_among_the_images():
    chosen = draw({0: np.arange(100), 3: np.arange(50, 150), 5: np.arange(4)}, 60, [0])
    assert chosen.dtype == torch.int64 and (chosen[:, 0].bincount()[[0, 3, 5]] == torch.tensor([20, 20, 4])).all()
    assert len(np.unique(chosen, axis=0)) == 44
    assert len(draw({0: np.arange(100)}, 0, [0])) == 100


def test_save_and_load_give_the_same_scores(tmp_path):
    train = shared_latent(2)
    method = fitted(train, replace_direction="both", bank_subset=30)
    again = CFR.load(method.save(tmp_path / "model"))
    for sample in train:
        for name, part in method.score(sample).parts.items():
            np.testing.assert_array_equal(again.score(sample).parts[name], part)
    assert again.theta == method.theta and again.settings == method.settings
    torch.testing.assert_close(again.memory["xyz"].pairs_from, method.memory["xyz"].pairs_from)


def test_retriever_training_resumes_to_the_same_bits(tmp_path, monkeypatch):
    train, genuine, seen = shared_latent(2), torch.optim.Adam.step, []

    def interrupted(*arguments, **keywords):
        seen.append(1)
        if len(seen) == 27:  # step 7 of the retriever
            raise KeyboardInterrupt
        return genuine(*arguments, **keywords)

    straight = fitted(train)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.Adam, "step", interrupted)
        CFR(**SHORT).fit(train, progress=False, checkpoint=tmp_path)
    assert (tmp_path / "retriever_rgb" / "training.json").is_file()
    resumed = CFR(**SHORT).fit(train, progress=False, checkpoint=tmp_path)
    assert resumed.retrieval_losses == straight.retrieval_losses
    np.testing.assert_array_equal(resumed.score(train[0]).map, straight.score(train[0]).map)


def test_banks_may_come_from_another_backbone_mode():
    train = shared_latent(2)
    other = [changed(f, "xyz", 0.5, np.arange(f.foreground.size) % 2 == 0) for f in train]
    plain = fitted(train, theta=0.1)
    mixed = CFR(**SHORT | {"theta": 0.1}).fit(train, progress=False, bank_features=other)
    assert mixed.losses == plain.losses and mixed.retrieval_losses != plain.retrieval_losses
    torch.testing.assert_close(mixed.memory["rgb"].trusted.rows, plain.memory["rgb"].trusted.rows)  # RGB knows no mode
    with pytest.raises(SettingsError, match="bank_features has 1 samples, features 2"):
        CFR(**SHORT).fit(train, progress=False, bank_features=other[:1])
    spoilt = replace(other[0], rgb=other[0].rgb.with_tokens(torch.full_like(other[0].rgb.tokens, torch.nan)))
    with pytest.raises(TrainingError, match="bank_features are not finite"):
        CFR(**SHORT).fit(train, progress=False, bank_features=[spoilt, other[1]])


@pytest.mark.parametrize(("settings", "term"), [({"retriever_lr": 1e30}, "retrieval"), ({"lr": 1e30}, "RGB to 3D")])
def test_a_loss_that_is_not_finite_stops_either_stage_and_names_its_term(settings, term):
    with pytest.raises(TrainingError, match=f"cfr: the {term} loss became nan"):
        fitted(**settings)


def test_every_stage_trains_in_mixed_precision():
    full, mixed = (fitted(mixed_precision=m).retrieval_losses["rgb"] for m in (False, True))
    assert full != mixed and mixed[0]["retrieval"] == pytest.approx(full[0]["retrieval"], rel=0.05)


def test_published_stages_count_epochs():
    method = fitted(shared_latent(3), epochs=2, batch=1, pixels=0, hidden=0, candidates=0, retriever_epochs=3,
                    retriever_pixels=20000, self_match=True, bank_mask=False, theta=0.4)
    assert len(method.losses) == 6 and len(method.retrieval_losses["rgb"]) == 9
    assert len(method.memory["rgb"].trusted) == int(0.1 * 3 * 576)


def test_one_shot_and_empty_foreground_work():
    train = shared_latent(1)
    method = fitted(train)
    assert 0 < method.theta["rgb"] < 2
    scores = method.score(replace(train[0], foreground=np.zeros_like(train[0].foreground)))
    assert scores.image == 0 and (scores.map == 0).all()
    alone = fitted([train[0], replace(train[0], foreground=np.zeros_like(train[0].foreground))], bank_mask=False)
    assert set(alone.memory["rgb"].pairs_from[:, 0].tolist()) == {0}


def test_a_missing_modality_is_refused():
    train = shared_latent(2)
    nothing = replace(train[0].rgb, tokens=torch.zeros(len(train[0].rgb.tokens), 0))
    lacking = replace(train[0], rgb=nothing, meta=train[0].meta | {"missing": "rgb"})
    with pytest.raises(MissingModality, match="RGB"):
        fitted(train).score(lacking)
    with pytest.raises(MissingModality, match="cfr"):
        fitted([lacking, train[1]])


@pytest.mark.parametrize("settings", [
    {"hidden": -1}, {"topk": 0}, {"candidates": -1}, {"bank_subset": -1}, {"width": 0}, {"retriever_steps": 0},
    {"retriever_epochs": -1}, {"retriever_pixels": -1}, {"coreset": 0.0}, {"coreset": 1.5}, {"coreset": float("nan")},
    {"theta": float("nan")}, {"theta": "median"}, {"theta": None}, {"retriever_lr": 0.0}, {"retriever_lr": float("inf")}])
def test_impossible_values_are_refused_when_the_method_is_made(settings):
    (name, value), = settings.items()
    with pytest.raises(SettingsError, match=rf"{name}={value!r}"):
        CFR(**settings)


@pytest.mark.parametrize("name", ["mapper", "replace", "replace_direction", "aggregate", "smooth", "image_norm"])
def test_unknown_choices_are_refused_when_the_method_is_made(name):
    with pytest.raises(UnknownName, match=f"unknown {name} 'no'"):
        CFR(**{name: "no"})
