"""Losses in chunks: the mean over all rows, each chunk computed anew for its gradient."""

import pytest
import torch

from mmadlib.methods.recompute import in_chunks


@pytest.mark.parametrize(("size", "calls"), [(10, 1), (11, 1), (9, 4), (4, 6)])
def test_chunks_weigh_by_their_rows(size, calls):
    x, weight, seen = torch.arange(20.0).reshape(10, 2), torch.tensor(3.0, requires_grad=True), []

    def losses(rows, others):
        seen.append(len(rows))
        return {"mean": weight * (rows + others).mean()}

    found = in_chunks(losses, x, 2 * x, size=size)
    assert list(found) == ["mean"] and found["mean"].item() == pytest.approx(3 * 3 * 9.5)
    found["mean"].backward()
    assert weight.grad.item() == pytest.approx(3 * 9.5)
    assert len(seen) == calls and max(seen) <= size  # twice each, but all at once where they fit
