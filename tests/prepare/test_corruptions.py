"""Sensor faults: one modality, by seed, identity at 0, growing with strength; and what a missing modality means downstream."""

import numpy as np
import pytest
from layouts import SIZE, isolated, mvtec, rgb, spot, table
from samples import HAND_MADE

from mmadlib.data import load
from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features import Extractor, extract, extract_all
from mmadlib.features.cache import FeatureSet
from mmadlib.features.entry import decode, encode, sample_key
from mmadlib.methods import CFM, Nearest
from mmadlib.prepare.corruptions import CORRUPTIONS, Corruption, corrupt, low_contrast, without_rgb, without_xyz
from mmadlib.prepare.isolate import isolate_object
from mmadlib.sample import Sample

STRENGTHS = {"depth_noise": (1e-4, 1e-3, 5e-3), "depth_holes": (0.1, 0.4, 1.0), "low_contrast": (0.2, 0.6, 1.0)}


def part(seed=0, **fields) -> Sample:
    """A bump without its table, with a defect."""
    return Sample(rgb(seed), isolated(), mask=spot() > 0, label=1, defect="dent", **{"isolated": True} | fields)


def arrays(sample: Sample) -> tuple:
    return sample.rgb, sample.xyz, sample.valid, sample.mask


def change(name: str, strength: float, sample: Sample) -> float:
    """How much a fault changed what it touches."""
    faulty = CORRUPTIONS[name](sample, strength, seed=3)
    if name == "depth_holes":
        return np.count_nonzero(sample.valid) - np.count_nonzero(faulty.valid)
    side = CORRUPTIONS[name].modality
    return float(np.abs(getattr(faulty, side).astype(float) - getattr(sample, side)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_one_modality_changes_and_the_truth_does_not(name):
    fault, sample = CORRUPTIONS[name], part()
    before = [a.copy() for a in arrays(sample)]
    faulty = fault(sample, fault.levels[-1], seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(sample), before, strict=True))  # never in place
    other = "xyz" if fault.modality == "rgb" else "rgb"
    np.testing.assert_array_equal(getattr(faulty, other), getattr(sample, other))
    assert not np.array_equal(getattr(faulty, fault.modality), getattr(sample, fault.modality))
    np.testing.assert_array_equal(faulty.mask, sample.mask)
    assert (faulty.label, faulty.defect, faulty.modality) == (1, "dent", sample.modality)
    again, another = fault(sample, fault.levels[-1], seed=1), fault(sample, fault.levels[-1], seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(faulty), arrays(again), strict=True))
    drawn = not all(np.array_equal(a, b) for a, b in zip(arrays(faulty), arrays(another), strict=True))
    assert drawn == (name in ("depth_noise", "depth_holes"))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strength_0_is_the_sample_itself(name):
    on_a_table = Sample(rgb(), table(), dataset="rendered")
    for sample in (part(), on_a_table):
        assert CORRUPTIONS[name](sample, 0) is sample
    if name in STRENGTHS:
        gone = CORRUPTIONS[name].run(part(), 0.0, 1)
        assert all(np.array_equal(a, b) for a, b in zip(arrays(gone), arrays(part()), strict=True))


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_stronger_fault_changes_more(name):
    weak, middle, strong = (change(name, s, part()) for s in STRENGTHS[name])
    assert 0 < weak < middle < strong


def test_noise_moves_points_along_their_rays():
    sample = part()
    noisy = CORRUPTIONS["depth_noise"](sample, 2e-3, seed=0)
    on = sample.valid
    rays = [s.xyz[on].astype(float) / np.linalg.norm(s.xyz[on], axis=1, keepdims=True) for s in (sample, noisy)]
    np.testing.assert_allclose(*rays, atol=1e-6)
    moved = np.linalg.norm(noisy.xyz[on], axis=1) - np.linalg.norm(sample.xyz[on], axis=1)
    assert moved.std() == pytest.approx(2e-3, rel=0.1) and abs(moved.mean()) < 4e-4
    assert not noisy.xyz[~on].any() and np.array_equal(noisy.valid, on)


def test_holes_have_the_share_asked_for_and_lie_in_each_other():
    sample = part()
    small, large, all_ = (CORRUPTIONS["depth_holes"](sample, s, seed=0) for s in (0.1, 0.3, 1.0))
    count = np.count_nonzero(sample.valid)
    assert np.count_nonzero(large.valid) == count - round(0.3 * count)
    assert not (large.valid & ~small.valid).any() and not small.xyz[~small.valid].any() and not all_.valid.any()
    lost = sample.valid & ~large.valid
    lonely = lost & ~(np.roll(lost, 1, 0) | np.roll(lost, -1, 0) | np.roll(lost, 1, 1) | np.roll(lost, -1, 1))
    assert lonely.sum() < 0.1 * lost.sum()  # blobs, not salt and pepper


def test_contrast_shrinks_about_the_mean_of_the_object():
    sample = part()
    mean = sample.rgb[sample.valid].mean(0)
    half = low_contrast(sample, 0.5).rgb.astype(float)
    np.testing.assert_allclose(half - mean, (sample.rgb - mean) / 2, atol=0.51)
    assert np.ptp(low_contrast(sample, 1.0).rgb, axis=(0, 1)).max() == 0


def test_faults_of_depth_leave_the_table_out():
    sample = Sample(rgb(), table(), dataset="rendered")
    noisy, alone = CORRUPTIONS["depth_noise"](sample, 1e-4), isolate_object(sample)
    assert noisy.isolated and np.array_equal(noisy.valid, alone.valid) and 0 < alone.valid.sum() < sample.valid.sum()
    np.testing.assert_array_equal(without_xyz(sample).valid, alone.valid)
    assert low_contrast(sample, 0.5).valid.all()  # the picture keeps its background, the cloud its table


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_sample_without_a_valid_point(name):
    empty = Sample(rgb(), np.zeros((*SIZE, 3), np.float32), isolated=True)
    faulty = CORRUPTIONS[name](empty, CORRUPTIONS[name].levels[-1], seed=0)
    assert not faulty.xyz.any() and faulty.mask.shape == SIZE


@pytest.mark.parametrize(("name", "strength"), [("depth_noise", -1e-3), ("depth_noise", np.inf), ("depth_holes", 1.1),
                                                ("low_contrast", np.nan), ("without_rgb", 0.5)])
def test_impossible_strengths(name, strength):
    with pytest.raises(SettingsError, match="strength"):
        CORRUPTIONS[name](part(), strength)
    with pytest.raises(SettingsError, match=CORRUPTIONS[name].unit.split(" ")[-1]):
        corrupt(None, name, strength)


def test_names_and_seeds_are_checked():
    with pytest.raises(UnknownName, match="did you mean 'depth_noise'"):
        corrupt(None, "depth_nose", 0.1)
    with pytest.raises(SettingsError, match="seed"):
        corrupt(None, "depth_noise", 0.1, seed=-1)
    with pytest.raises(UnknownName, match="did you mean 'frame'"):
        without_xyz(part(), mask="frames")


@pytest.fixture
def samples(tmp_path):
    mvtec(tmp_path / "data", "part", train=3, cloud=isolated)
    return load("folder", "part", "train", root=tmp_path / "data")


def test_a_corrupted_list_is_lazy_and_keeps_its_noise_per_sample(samples):
    noisy = corrupt(samples, "depth_noise", 1e-3, seed=5)
    assert len(noisy) == 3 and corrupt(samples, "depth_noise", 0.0) is samples
    np.testing.assert_array_equal(noisy[2].xyz, noisy.take([2])[0].xyz)  # whatever the place in the list
    assert not np.array_equal(noisy[0].xyz, noisy[1].xyz)  # same part, other noise
    both = corrupt(noisy, "low_contrast", 0.5)
    np.testing.assert_array_equal(both[1].xyz, noisy[1].xyz)
    assert not np.array_equal(both[1].rgb, noisy[1].rgb)
    assert [c[:3] for c in both.entries[0].extra["corruptions"]] == [("depth_noise", 1e-3, 5), ("low_contrast", 0.5, 0)]


def test_the_cache_tells_clean_from_corrupted(samples, tmp_path):
    lists = [samples, corrupt(samples, "depth_noise", 1e-3), corrupt(samples, "depth_noise", 2e-3),
             corrupt(samples, "depth_noise", 1e-3, seed=1), corrupt(samples, "without_rgb", 1)]
    extractor = Extractor(**HAND_MADE, size=64)
    files = {FeatureSet(s, extractor, tmp_path / "cache").file(0) for s in lists}
    assert len(files) == len(lists)
    first, cached = (extract_all(lists[1], extractor, tmp_path / "cache", progress=False) for _ in range(2))
    np.testing.assert_array_equal(first[0].xyz.tokens, cached[0].xyz.tokens)
    assert not np.array_equal(first[0].xyz.tokens, extract(samples[0], **HAND_MADE, size=64).xyz.tokens)
    loose = part()
    assert sample_key(loose) != sample_key(loose.with_(missing="rgb"))  # a black picture is not a missing one


@pytest.mark.parametrize("family", ["descriptors", "random"])
@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_features_of_a_missing_modality(family, side):
    sample, other = part(), "xyz" if side == "rgb" else "rgb"
    lacking, extractor = CORRUPTIONS[f"without_{side}"](sample, 1), Extractor(family, family, 64)
    features, whole = extractor(lacking), extractor(sample)
    assert features.missing == side and features.meta[side] == "none" and whole.missing == ""
    assert getattr(features, side).channels == 0 and getattr(features, side).support.all()
    np.testing.assert_array_equal(getattr(features, other).tokens, getattr(whole, other).tokens)
    np.testing.assert_array_equal(features.foreground, whole.foreground)
    assert features.cloud.any() == (side == "rgb")
    stored = decode(encode(extractor.tokens(lacking), "a b"), "a b")
    assert stored.meta["missing"] == side and getattr(stored, side).tokens.shape == (1, 0)


def test_the_frame_is_looked_at_when_no_silhouette_is_known():
    lacking = CORRUPTIONS["without_xyz_and_mask"](part(), 1)
    assert lacking.valid.all() and not lacking.xyz.any()
    features = extract(lacking, **HAND_MADE, size=64, pad="none", isolate=True)  # nothing to isolate in
    assert features.foreground.all()


def test_front_ends_called_none():
    alone, whole = extract(part(), "none", "descriptors", 64), extract(part(), **HAND_MADE, size=64)
    assert alone.missing == "rgb" and alone.rgb.channels == 0
    np.testing.assert_array_equal(alone.xyz.tokens, whole.xyz.tokens)
    assert extract(part(), "descriptors", "none", 64).missing == "xyz"
    assert Extractor("none", size=64).key != Extractor(**HAND_MADE, size=64).key
    with pytest.raises(SettingsError, match="at least one modality"):
        Extractor("none", "none")
    with pytest.raises(MissingModality, match="has no xyz, and these features use nothing else"):
        extract(without_xyz(part()), "none", "descriptors", 64)


def test_nothing_is_left_without_both():
    with pytest.raises(MissingModality, match="has no xyz and would be empty"):
        without_rgb(without_xyz(part()))
    with pytest.raises(MissingModality, match="has no rgb and would be empty"):
        without_xyz(without_rgb(part()))
    lacking = without_xyz(part())
    assert CORRUPTIONS["depth_holes"](lacking, 0.5) is lacking  # depth that is not there has no holes


def test_methods_take_what_is_left_or_say_that_they_cannot():
    train = [extract(part(seed), **HAND_MADE, size=64) for seed in range(3)]
    colour, depth = extract(without_xyz(part(9)), **HAND_MADE, size=64), extract(without_rgb(part(9)), **HAND_MADE, size=64)
    on_xyz, joint = Nearest(bank="xyz").fit(train, progress=False), Nearest(bank="joint").fit(train, progress=False)
    np.testing.assert_array_equal(on_xyz.score(depth).map, on_xyz.score(extract(part(9), **HAND_MADE, size=64)).map)
    for lacking, method, message in ((colour, on_xyz, "no 3D features.*needs RGB only"), (depth, joint, "no RGB features"),
                                     (colour, joint, "no 3D features")):
        with pytest.raises(MissingModality, match=message):
            method.score(lacking)
    mixed = Nearest(bank="xyz").fit([depth, *train], progress=False)  # the picture of one training sample is lost
    assert len(mixed.standardise.mean["rgb"]) == train[0].rgb.channels
    for method in (Nearest(bank="joint"), CFM(steps=1)):
        with pytest.raises(MissingModality, match=f"{method.name}: a sample has no RGB"):
            method.fit([depth], progress=False)


def test_noise_on_depth_shows_in_the_3d_bank_only():
    train = [extract(part(seed), **HAND_MADE, size=64) for seed in range(2)]
    noisy = [extract(CORRUPTIONS["depth_noise"](part(7), s), **HAND_MADE, size=64) for s in (0, 5e-4, 5e-3)]
    xyz, colour = (Nearest(bank=b, smooth="none").fit(train, progress=False) for b in ("xyz", "rgb"))
    mean = [xyz.score(f).map.mean() for f in noisy]
    assert mean[0] < mean[1] < mean[2]
    assert len({colour.score(f).image for f in noisy}) == 1


def test_the_table_names_units_and_levels():
    for name, fault in CORRUPTIONS.items():
        assert isinstance(fault, Corruption) and fault.unit and list(fault.levels) == sorted(fault.levels), name
