"""Distances and image scores by hand."""

import numpy as np
import pytest
import torch

from mmadlib.errors import UnknownName
from mmadlib.methods.distances import cosine_loss, image_score, prediction_error

ONE, OTHER = torch.tensor([[1.0, 0], [3, 4], [0, 5]]), torch.tensor([[0.0, 2], [3, 4], [0, -1]])  # at 90, 0, 180 degrees


def test_cosine_loss_is_one_minus_the_mean_cosine():
    assert cosine_loss(ONE[:2], OTHER[:2]).item() == pytest.approx(0.5)
    assert cosine_loss(ONE, OTHER).item() == pytest.approx(1)
    assert cosine_loss(ONE.reshape(3, 1, 2), OTHER.reshape(3, 1, 2)).item() == pytest.approx(1)


def test_cosine_loss_of_features_near_zero_is_that_of_the_official_code():
    """A length below 1e-6 counts as 1e-6."""
    assert cosine_loss(torch.tensor([[1e-7, 0]]), torch.tensor([[1.0, 0]])).item() == pytest.approx(0.9)


def test_cosine_loss_is_taken_in_float32():
    assert cosine_loss(ONE.bfloat16(), OTHER.bfloat16()).dtype == torch.float32


def test_prediction_error_is_the_distance_of_unit_vectors():
    assert prediction_error(ONE, OTHER).tolist() == pytest.approx([2**0.5, 0, 2])
    assert prediction_error(ONE.reshape(3, 1, 2), OTHER.reshape(3, 1, 2)).flatten().tolist() == pytest.approx([2**0.5, 0, 2])


@pytest.mark.parametrize(("norm", "score"), [("none", 3), ("cfm", 3 / 2**0.5), ("figure", 1.5), ("root", 3 / 2**0.5)])
def test_image_score_is_the_maximum_of_the_rescaled_map(norm, score):
    assert image_score(np.array([[0, 0], [1, 3]], np.float32), norm) == pytest.approx(score)
    assert image_score(np.zeros((2, 2), np.float32), norm) == 0


def test_unknown_rescalings_are_refused():
    with pytest.raises(UnknownName, match="unknown image_norm 'cmf'"):
        image_score(np.ones((2, 2)), "cmf")
