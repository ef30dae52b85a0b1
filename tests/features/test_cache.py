"""The cache: small, never stale, whole or absent, safe for several writers, repaired when damaged."""

import errno
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import isolated, picture, rgb, spot, table, tiff
from samples import HAND_MADE

from mmadlib.data import layout
from mmadlib.data.contents import content_key
from mmadlib.data.files import Entry, Samples
from mmadlib.errors import CacheError
from mmadlib.features import Extractor, cache, extract_all
from mmadlib.features.entry import Corrupt, decode, encode
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth, compose
from mmadlib.sample import Sample


def read(entry: Entry) -> Sample:
    return layout.read(entry, isolated=True)


@pytest.fixture
def samples(tmp_path) -> Samples:
    """Three samples on disk, the last one with a defect."""
    entries = []
    for i, defect in enumerate(["good", "good", "dent"]):
        folder = tmp_path / "data" / defect
        gt = picture(folder / "gt" / f"{i:03d}.png", spot()) if defect != "good" else None
        colour, cloud = picture(folder / "rgb" / f"{i:03d}.png", rgb(i)), tiff(folder / "xyz" / f"{i:03d}.tiff", isolated())
        entries.append(Entry(colour, cloud, gt, "part", "test", defect, "", "folder", {"index": i}))
    return Samples(entries, read)


class Counting(Extractor):
    """Descriptors at a small size that count how often they run."""

    calls = 0

    def tokens_of(self, samples):
        self.calls += len(samples)
        return super().tokens_of(samples)


@pytest.fixture(scope="module")
def extractor():
    return Counting(**HAND_MADE, size=64)


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def same(a, b):
    for side in ("rgb", "xyz"):
        np.testing.assert_array_equal(getattr(a, side).dense(), getattr(b, side).dense())
    np.testing.assert_array_equal(a.foreground, b.foreground)
    np.testing.assert_array_equal(a.cloud, b.cloud)
    assert a.meta == b.meta


def test_second_run_computes_nothing_and_reads_the_same(samples, extractor, tmp_path):
    first = extract_all(samples, extractor, tmp_path / "cache", progress=False)
    calls = extractor.calls
    second = extract_all(samples, extractor, tmp_path / "cache", progress=False)
    direct = extract_all(samples, extractor, None, progress=False)
    assert len(first) == len(second) == 3 and extractor.calls == calls + 3
    for i in range(3):
        same(first[i], second[i])
        same(first[i], direct[i])  # descriptors are stored exactly
    assert [f.meta["category"] for f in first[1:]] == ["part", "part"]
    assert extractor.calls == calls + 3


def test_truth_comes_with_the_features(samples, extractor, tmp_path):
    for features in (extract_all(samples, extractor, tmp_path / "cache", False) for _ in range(2)):
        truth = features.truth(-1)
        assert (truth.label, truth.defect, truth.modality) == (1, "dent", "unknown")
        assert truth.mask.shape == (64, 64) and truth.mask.any() and truth.path == samples.entries[2].rgb
        assert features.truth(0).label == 0 and not features.truth(0).mask.any()
        with pytest.raises(IndexError):
            features.truth(3)


def test_lists_of_samples_work_too(samples, extractor, tmp_path):
    listed = list(samples)
    features = extract_all(listed, extractor, tmp_path / "cache", False)
    same(features[2], extract_all(samples, extractor, None, False)[2])
    assert features.truth(2).path == listed[2].path and len(files(tmp_path / "cache")) == 3
    calls = extractor.calls
    extract_all([s.with_(rgb=s.rgb.copy()) for s in listed], extractor, tmp_path / "cache", False)
    assert extractor.calls == calls


def test_only_the_last_ones_stay_in_memory(samples, extractor, tmp_path):
    features = extract_all(samples, extractor, tmp_path / "cache", False, keep=2)
    assert features[0] is features[0]
    kept = features[0]
    features[1], features[2]
    assert features[0] is not kept and len(features._recent) == 2


@pytest.mark.parametrize("change", ["rgb", "xyz", "gt", "defect", "extra", "settings"])
def test_a_stale_entry_cannot_be_read(samples, extractor, tmp_path, change):
    extract_all(samples, extractor, tmp_path / "cache", False)
    entry, used = samples.entries[2], extractor
    if change in ("rgb", "gt"):
        picture(getattr(entry, change), rgb(9) if change == "rgb" else spot() * (np.arange(64) < 32).astype(np.uint8))
    elif change == "xyz":
        tiff(entry.xyz, isolated() * np.float32(1.01))
    elif change == "settings":
        used = Counting(**HAND_MADE, size=64, pad="zero")
    else:
        samples.entries[2] = replace(entry, **({"defect": "hole"} if change == "defect" else {"extra": {"crop": True}}))
    calls = used.calls
    extract_all(samples, used, tmp_path / "cache", False)
    assert used.calls == calls + (3 if change == "settings" else 1)


def test_place_and_position_do_not_matter(samples, extractor, tmp_path):
    moved = tmp_path / "moved"
    (tmp_path / "data").rename(moved)
    entries = [replace(e, rgb=moved / e.rgb.relative_to(tmp_path / "data"), xyz=moved / e.xyz.relative_to(tmp_path / "data"),
                       gt=e.gt and moved / e.gt.relative_to(tmp_path / "data"), extra={"index": 7}) for e in samples.entries]
    keys = [content_key(e) for e in entries]
    moved.rename(tmp_path / "data")
    assert keys == [content_key(e) for e in samples.entries] and len(set(keys)) == 3


def test_a_folder_that_says_preprocessed_belongs_to_the_content(samples):
    entry = samples.entries[0]
    tiff(entry.xyz, table())
    before = layout.read(entry).isolated, content_key(entry)
    (entry.xyz.parent.parent / "preprocess").mkdir()
    after = layout.read(entry).isolated, content_key(entry)
    assert not before[0] and after[0] and before[1] != after[1]


def test_entries_that_other_readers_made_are_not_found(samples, extractor, tmp_path, monkeypatch):
    extract_all(samples, extractor, tmp_path / "cache", False)
    monkeypatch.setattr(cache, "digest_of", lambda *patterns: "0" * 16 if "data/*.py" in patterns else "")
    calls = extractor.calls
    extract_all(samples, extractor, tmp_path / "cache", False)
    assert extractor.calls == calls + 3


def test_an_entry_under_the_name_of_another_sample_is_made_again(samples, extractor, tmp_path):
    features = extract_all(samples, extractor, tmp_path / "cache", False)
    expected = extractor.tokens(samples[1])
    shutil.copy(features.file(0), features.file(1))
    with pytest.warns(UserWarning, match="belongs to another sample"):
        found = extract_all(samples, extractor, tmp_path / "cache", False).tokens(1)
    np.testing.assert_array_equal(found.rgb.tokens, expected.rgb.tokens)


def test_files_named_in_extra_belong_to_the_content(samples, tmp_path):
    (tmp_path / "pose.txt").write_text("1")
    entry = replace(samples.entries[0], extra={"pose": tmp_path / "pose.txt"})
    before = content_key(entry)
    (tmp_path / "pose.txt").write_text("2")
    assert content_key(entry) != before != content_key(samples.entries[0])


def test_readers_that_make_their_files_are_asked_first(tmp_path, extractor):
    folder = tmp_path / "made"
    entry = Entry(folder / "a.png", folder / "a.tiff", None, "part", "train", "good", "", "folder", {"recipe": "of a.png"})

    def make(entry):
        picture(entry.rgb, rgb(0))
        tiff(entry.xyz, isolated())
        return read(entry)

    features = extract_all(Samples([entry], make), extractor, tmp_path / "cache", False)
    assert features[0].foreground.any()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_damage_is_reported_and_repaired(samples, extractor, tmp_path, damage):
    whole = extract_all(samples, extractor, tmp_path / "cache", False)
    path = whole.file(1)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-1000] ^= 1
    path.write_bytes({"truncated": data[:-100], "flipped": bytes(flipped), "empty": b"", "other": b"\x00" * 500}[damage])
    again = extract_all(samples, extractor, tmp_path / "cache", False)
    with pytest.warns(UserWarning, match=r"cache entry .*computed again"):
        repaired = again[1]
    same(repaired, whole[1])
    assert path.read_bytes() == data


def test_an_interrupted_run_goes_on(samples, extractor, tmp_path, monkeypatch):
    calls, run = extractor.calls, Counting.tokens_of

    def interrupted(self, samples):
        if self.calls == calls + 2:
            raise KeyboardInterrupt
        return run(self, samples)

    monkeypatch.setattr(cache, "BATCH", 2)
    monkeypatch.setattr(Counting, "tokens_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_all(samples, extractor, tmp_path / "cache", False)
    assert len(files(tmp_path / "cache")) == 2
    monkeypatch.setattr(Counting, "tokens_of", run)
    extract_all(samples, extractor, tmp_path / "cache", False)
    assert extractor.calls == calls + 3


@pytest.mark.parametrize("there", [[], [0], [1], [0, 2]])
def test_several_samples_are_computed_at_once_and_those_there_are_not(samples, extractor, tmp_path, there):
    """Also with sizes of batches that do not divide their number; everything lies at its own place."""
    listed = [samples[i % 3].with_(rgb=np.roll(samples[i % 3].rgb, i, 0)) for i in range(cache.BATCH + 1)]
    cache.FeatureSet(listed, extractor, tmp_path).ensure(there)
    calls = extractor.calls
    features = extract_all(listed, extractor, tmp_path, False)
    assert extractor.calls == calls + len(listed) - len(there)
    for sample, found in zip(listed, features, strict=True):
        np.testing.assert_array_equal(found.rgb.tokens, extractor(sample).rgb.tokens)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_failing_write_leaves_nothing_behind(samples, extractor, tmp_path, monkeypatch, code):
    def fail(self, data):
        with self.open("wb") as file:
            file.write(data[:1000])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(CacheError, match=rf"cache.*{os.strerror(code)}.*cache=None") as caught:
        extract_all(samples, extractor, tmp_path / "cache", False)
    assert caught.value.__cause__ is None and files(tmp_path / "cache") == []


def test_a_folder_that_is_a_file(samples, extractor, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CacheError, match="cache"):
        extract_all(samples, extractor, tmp_path / "cache", False)
    assert (tmp_path / "cache").read_text() == "in the way"


def test_an_unreadable_entry_is_named(samples, extractor, tmp_path):
    features = extract_all(samples, extractor, tmp_path / "cache", False)
    path = features.file(0)
    path.unlink()
    path.mkdir()
    with pytest.raises(CacheError, match="cannot be read"):
        extract_all(samples, extractor, tmp_path / "cache", False)


def fill(entries, folder):
    extract_all(Samples(entries, read), Extractor(**HAND_MADE, size=64), folder, False)


def test_two_processes_may_fill_one_cache(samples, extractor, tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(samples.entries, tmp_path / "cache")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [w.exitcode for w in workers] == [0, 0]
    assert len(files(tmp_path / "cache")) == 3
    calls = extractor.calls
    features = extract_all(samples, extractor, tmp_path / "cache", False)
    assert all(f.foreground.any() for f in features) and extractor.calls == calls


def paper_tokens(points=20_000, width=None):
    """Tokens of the published sizes, random, with a cloud of this many points."""
    rng = np.random.default_rng(0)
    valid = np.zeros(224 * 224, bool)
    valid[rng.permutation(len(valid))[:points]] = True
    valid = valid.reshape(224, 224)
    cloud = (rng.normal(size=(224, 224, 3)) * valid[..., None]).astype(np.float32)
    weight = rng.random((points, 3)).astype(np.float32)
    weight /= weight.sum(1, keepdims=True)
    xyz = Groups(3 * rng.normal(size=(1024, 1152)).astype(np.float32), rng.integers(0, 1024, (points, 3)), weight)
    rgb = Patches(3 * rng.normal(size=(784, 768)).astype(np.float32))
    meta = {"family": "paper", "rgb": "dino_vitb8", "xyz": "point_mae", "standardise": []}
    return Tokens(rgb, xyz, cloud, valid, Truth(valid[::-1], 1, "hole", "both"), meta)


def test_paper_entries_are_small_and_exact_to_a_thousandth():
    tokens = paper_tokens()
    data = encode(tokens, "a b")
    assert len(data) <= 4.5e6
    stored = decode(data, "a b")
    assert stored.truth.label == 1 and stored.truth.defect == "hole" and stored.truth.modality == "both"
    np.testing.assert_array_equal(stored.truth.mask, tokens.truth.mask)
    a, b = compose(tokens), compose(stored)
    same_geometry = (a.foreground == b.foreground).all() and (a.cloud == b.cloud).all()
    assert same_geometry
    for side in ("rgb", "xyz"):
        x, y = getattr(a, side).dense(), getattr(b, side).dense()
        assert 0 < (x - y).norm() <= 1e-3 * x.norm()


def test_values_beyond_half_precision_are_kept_whole():
    tokens = paper_tokens(500)
    tokens.rgb.tokens[0, 0] = 1e6
    stored = decode(encode(tokens, "a b"), "a b")
    np.testing.assert_array_equal(stored.rgb.tokens, tokens.rgb.tokens)
    assert stored.xyz.tokens.dtype == np.float32


def test_foreign_files_are_no_entries(tmp_path):
    from safetensors.numpy import save

    with pytest.raises(Corrupt):
        decode(save({"a": np.zeros(3, np.float32)}), "a b")
    with pytest.raises(Corrupt):
        decode(b"not safetensors", "a b")


def test_default_needs_no_folder(samples, extractor):
    features = extract_all(samples, extractor, progress=False)
    assert features.folder is None and len(list(features)) == 3
    assert cache.FeatureSet(samples, extractor, None)[2].foreground.any()


def test_a_file_replaced_while_it_is_read_poisons_nothing(samples, extractor, tmp_path, monkeypatch):
    entry = samples.entries[0]
    first, other = entry.rgb.read_bytes(), samples.entries[1].rgb.read_bytes()
    original, times = samples.read, []

    def read_late(found):
        """The picture is another one just while it is read for the first time."""
        times.append(found)
        entry.rgb.write_bytes(other if len(times) == 1 else first)
        sample = original(found)
        entry.rgb.write_bytes(other if len(times) == 1 else first)
        return sample

    late = extract_all(Samples([entry], read_late), extractor, tmp_path / "late", progress=False)
    entry.rgb.write_bytes(first)
    right = extract_all(samples.take([0]), extractor, tmp_path / "right", progress=False)
    again = extract_all(samples.take([0]), extractor, tmp_path / "late", progress=False)
    same(again[0], right[0])
    assert len(times) > 1 and len(late) == 1
