"""The dual memory: linked cells are kept, once each; an image can be taken out; what was saved comes back or is refused."""

import numpy as np
import pytest
import torch

from mmadlib.methods.shape_guided.memory import Memory


@pytest.fixture
def memory() -> Memory:
    """Two images of 5 cells, with 2 and 3 codes; cells 0 of the first and 0, 3 of the second are linked to by none."""
    links = [np.zeros((2, 5), bool), np.zeros((3, 5), bool)]
    links[0][0, [1, 2]] = links[0][1, [2, 3, 4]] = links[1][0, [1, 2]] = links[1][2, [2, 4]] = True
    return Memory.of([torch.zeros(2, 4), torch.ones(3, 4)],
                     [torch.arange(5.0)[:, None], 10 + torch.arange(5.0)[:, None]], links)


def test_only_linked_cells_are_kept(memory):
    assert memory.rgb[:, 0].tolist() == [1, 2, 3, 4, 11, 12, 14]
    assert memory.owner.tolist() == [0, 0, 1, 1, 1] and memory.owner_rgb.tolist() == [0] * 4 + [1] * 3


@pytest.mark.parametrize(("codes", "rows"), [([[0]], [1, 2]), ([[0, 1], [1, 0]], [1, 2, 3, 4]), ([[3]], []),
                                             ([[4, 0], [2, 0]], [1, 2, 11, 12, 14])])
def test_the_dictionary_has_each_linked_row_once(memory, codes, rows):
    assert memory.linked(torch.tensor(codes))[:, 0].tolist() == rows


def test_without_an_image_its_codes_and_cells_are_gone(memory):
    one = memory.without(0)
    assert len(one.codes) == 3 and one.rgb[:, 0].tolist() == [11, 12, 14]
    assert one.linked(torch.tensor([[0, 2]]))[:, 0].tolist() == [11, 12, 14]
    assert one.without(1) is one, "the last one stays"


def test_it_comes_back_as_it_was(memory):
    back = Memory.restored(memory.state())
    for name in ("codes", "owner", "rgb", "owner_rgb"):
        assert torch.equal(getattr(back, name), getattr(memory, name))
    assert (back.links != memory.links).nnz == 0


def test_links_that_lead_nowhere_are_refused(memory):
    for name, value in (("link.row", 7), ("link.start", 99)):
        state = memory.state()
        state[name] = state[name].clone()
        state[name][-1] = value
        with pytest.raises(ValueError, match=r"ind|indptr"):
            Memory.restored(state)


def test_without_colour_there_are_no_rows():
    empty = Memory.of([torch.zeros(2, 4)], [torch.zeros(5, 0)], [np.zeros((2, 5), bool)])
    assert empty.rgb.shape == (0, 0) and Memory.restored(empty.state()).links.shape == (2, 0)
