"""Held-out scores: in processes as in turns, for every method that trains."""

import numpy as np
import pytest
from synthetic import quick, shared_latent

from mmadlib.errors import SettingsError
from mmadlib.inspection.folding import folds_of, groups, held_out
from mmadlib.methods import METHODS
from mmadlib.methods.trained import Trained


def test_every_part_is_left_out_once():
    assert sorted(i for group in groups(10, 5, seed=1) for i in group) == list(range(10))
    assert groups(10, 5, seed=1) != groups(10, 5, seed=2)
    assert (folds_of("cpir", 10), folds_of("cpir", 3), folds_of("nearest", 10), folds_of("nearest", 40)) == (5, 3, 10, 10)
    with pytest.raises(SettingsError, match="folds=6: there are 5 good parts"):
        folds_of("cpir", 5, 6)


@pytest.mark.parametrize("name", ["cpir"])  # its maps hold a function that cannot be sent between processes
def test_processes_give_the_same_scores(name):
    features, settings = shared_latent(4, size=16), quick(name)
    assert issubclass(METHODS[name], Trained)
    alone, in_turns = held_out(name, features, folds=2, settings=settings, progress=False)
    beside, in_processes = held_out(name, features, folds=2, settings=settings, jobs=2, progress=False)
    assert [s.image for s in in_turns] == [s.image for s in in_processes]
    assert all(np.array_equal(a.map, b.map) for a, b in zip(in_turns, in_processes, strict=True))
    assert np.array_equal(alone.score(features[0]).map, beside.score(features[0]).map)
    # a part that was left out scores as with a model of the others
    left = next(group for group in groups(4, 2) if 0 in group)
    others = METHODS[name](**settings).fit([f for i, f in enumerate(features) if i not in left], progress=False)
    assert others.score(features[0]).image == in_turns[0].image
