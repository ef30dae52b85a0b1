"""What the methods of memory banks share: which number judges an image."""

import numpy as np
import pytest
from synthetic import shared_latent

from mmadlib.methods import METHODS


@pytest.mark.parametrize("name", ["btf", "patchcore", "m3dm"])
def test_an_image_is_judged_by_its_map_or_by_its_patches(name):
    train, test = shared_latent(2), shared_latent(1, seed=4)[0]
    of_map, of_patches = (METHODS[name](image=rule, reweight="none").fit(train, progress=False).score(test)
                          for rule in ("map", "patch"))
    assert np.array_equal(of_map.map, of_patches.map) and of_map.image == of_map.map.max()
    assert of_patches.image > of_map.image, "no blur has lowered it"
