"""The SDF network: sizes, the recorded outputs, the initial sphere, planes learned, what a code does not depend on."""

import numpy as np
import pytest
import torch
from recipe import recipe
from recorded import RECORDED

from mmadlib.methods.shape_guided.network import SDF
from mmadlib.methods.shape_guided.patches import normalised
from mmadlib.methods.shape_guided.pretraining import noisy, pull_loss
from mmadlib.methods.training import train

OFFICIAL = {"conv1": "points.0.0", "bn1": "points.0.1", "conv2": "points.1.0", "bn2": "points.1.1", "conv3": "points.2.0",
            "bn3": "points.2.1", "fc1": "whole.0.0", "bn4": "whole.0.1", "fc2": "whole.1.0", "bn5": "whole.1.1"}
FIELD = {"fc1": "code", "fc2": "point", "fc3": "both", "fc5": "out"} | {f"fc4{i}": f"hidden.{i}" for i in range(7)}
WEIGHTS = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def official_name(name: str) -> str:
    """Ours -> the name under which the recipe knows it."""
    part, _, rest = name.partition(".")
    names = OFFICIAL if part == "encoder" else FIELD
    theirs, ours = next((theirs, ours) for theirs, ours in names.items() if rest.startswith(f"{ours}."))
    kind = rest.removeprefix(f"{ours}.")
    return f"sdf_model.{'encoder' if part == 'encoder' else 'NIF'}.{theirs}.{WEIGHTS.get(kind, kind)}"


@pytest.fixture(scope="module")
def recorded():
    """The published network with the recorded parameters, and what it said."""
    net = SDF()
    state = {}
    for name, value in net.state_dict().items():
        shape = (*value.shape, 1) if "points" in name and value.ndim == 2 else value.shape  # of a 1x1 convolution
        state[name] = recipe(official_name(name), shape, "shape_guided/A").reshape(value.shape)
    net.load_state_dict(state)
    return net.eval(), dict(np.load(RECORDED / "shape_guided.npz"))


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_published_sizes():
    net = SDF()
    assert (count(net.encoder), count(net.decoder), count(net)) == (734_848, 2_435_585, 3_170_433)


def test_codes_distances_and_pulled_queries_are_the_recorded_ones(recorded):
    net, d = recorded
    points, queries = torch.from_numpy(normalised(d["in.patches"])), torch.from_numpy(d["in.queries"])
    with torch.no_grad():
        code = net.encoder(points)
        at_points, at_queries = net.decoder(code, points), net.decoder(code, queries)
    np.testing.assert_allclose(code, d["out.code"], atol=1e-5)
    np.testing.assert_allclose(at_points, d["out.sdf_at_points"][..., 0], atol=1e-5)
    np.testing.assert_allclose(at_queries, d["out.sdf_at_queries"][..., 0], atol=1e-5)
    np.testing.assert_allclose(net.pulled(code, queries, differentiable=False).detach(), d["out.pulled_queries"], atol=1e-5)


def test_a_code_does_not_depend_on_the_order_of_points_nor_on_place_and_scale(recorded):
    net, d = recorded
    order = np.random.default_rng(0).permutation(d["in.patches"].shape[1])
    patches = d["in.patches"].astype(np.float64)
    with torch.no_grad():
        one, shuffled, moved = (net.encoder(torch.from_numpy(normalised(p)))
                                for p in (patches, patches[:, order], 7 * patches + [1.0, 2.0, -3.0]))
    torch.testing.assert_close(shuffled, one, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, one, atol=1e-5, rtol=0)


def test_the_field_starts_as_a_sphere_whatever_the_code():
    """Width 512: the radius that random layers make of .5 varies less."""
    torch.manual_seed(0)
    net = SDF(512)
    direction = torch.nn.functional.normalize(torch.randn(1, 200, 3), dim=-1)
    with torch.no_grad():
        inside, on, outside = (net.decoder(torch.rand(1, 128), r * direction) for r in (0.0, 0.5, 1.0))
    assert inside.max() == pytest.approx(-0.5, abs=1e-3) and outside.min() > 0
    assert abs(on.mean()) < 0.2 and on.std() < 0.1


def tilted_planes(n: int, points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n patches of a plane, tilted up to about 30 degrees, and their normals."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(n, 3)) * [0.2, 0.2, 0] + [0, 0, 1]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    flat = np.concatenate([rng.uniform(-1, 1, (n, points, 2)), np.zeros((n, points, 1))], -1)
    flat[..., 2] = -(flat[..., :2] * normal[:, None, :2]).sum(-1) / normal[:, None, 2]
    return torch.from_numpy(normalised(flat)), torch.from_numpy(normal.astype(np.float32))


def after_planes(sphere: str, steps: int = 60) -> tuple[torch.Tensor, ...]:
    """The field of a new plane, on it and 0.1 above and below it, once a network was trained on others; rate as a cosine."""
    torch.manual_seed(0)
    net, (planes, _), (new, normal) = SDF(64, 16, 2, sphere), tilted_planes(64, 100, 0), tilted_planes(8, 100, 1)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)

    def terms(step):
        adam.param_groups[0]["lr"] = 1e-3 * (1 + np.cos(np.pi * step / steps)) / 2
        some = planes[torch.randperm(64)[:8]]
        return {"pull": pull_loss(net, some, *noisy(some, 32))}

    train("planes", steps, terms, {"net": net}, {"adam": adam}, progress=False)
    with torch.no_grad():
        code, off = net.encoder(new), 0.1 * normal[:, None]
        return tuple(net.decoder(code, new + shift) for shift in (0, off, -off))


def test_a_network_trained_on_planes_knows_a_new_plane_and_for_a_while_its_two_sides():
    """Pulling knows no sign: the field that starts around the sheet loses it at once, the one behind it within 400 steps."""
    (on, above, below), (published, *sides) = after_planes("behind"), after_planes("centre")
    away = torch.stack([above, below]).abs().mean()
    assert on.abs().mean() < 0.04 and on.abs().mean() < 0.5 * away and away.item() == pytest.approx(0.1, abs=0.03)
    assert (above * below < 0).float().mean() > 0.75 and (sides[0] * sides[1] < 0).float().mean() < 0.1
    assert published.abs().mean() > 1.2 * on.abs().mean()
