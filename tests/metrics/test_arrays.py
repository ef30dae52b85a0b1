"""Every metric takes scores and masks in any form and gives the number of the same values in float64."""

import numpy as np
import pytest
import torch

from mmadlib import metrics
from mmadlib.errors import SettingsError

RNG = np.random.default_rng(0)
MASKS = np.zeros((4, 6, 7))
MASKS[1:3, 1:4, 2:5] = 1
# eighths below 8: values that half precision holds, with ties
MAPS = (RNG.integers(0, 24, MASKS.shape) + 20 * MASKS) / 8
FOREGROUND = np.ones_like(MASKS)
FOREGROUND[:, 0] = 0
SCORES, LABELS = MAPS.max((1, 2)) - [0, 3, 0, 0], np.array([0.0, 1, 1, 0])

CALLS = {  # every public name, on the four kinds of input
    "image_auroc": lambda f, g: metrics.image_auroc(f(SCORES), g(LABELS)),
    "image_ap": lambda f, g: metrics.image_ap(f(SCORES), g(LABELS)),
    "image_f1_max": lambda f, g: metrics.image_f1_max(f(SCORES), g(LABELS)),
    "bootstrap_auroc": lambda f, g: metrics.bootstrap_auroc(f(SCORES), g(LABELS), n=50),
    "auroc_gap": lambda f, g: metrics.auroc_gap(f(SCORES), f(SCORES[::-1].copy()), g(LABELS), n=50),
    "pixel_auroc": lambda f, g: metrics.pixel_auroc(f(MAPS), g(MASKS)),
    "pixel_ap": lambda f, g: metrics.pixel_ap(f(MAPS), g(MASKS)),
    "pixel_f1_max": lambda f, g: metrics.pixel_f1_max(f(MAPS), g(MASKS)),
    "aupro": lambda f, g: (metrics.aupro(f(MAPS), g(MASKS), foreground=g(FOREGROUND)),
                           metrics.aupro(f(MAPS), g(MASKS), 0.1, 9)),
    "evaluate_maps": lambda f, g: metrics.evaluate_maps(f(MAPS), g(MASKS), f(SCORES), g(LABELS), g(FOREGROUND), f(2 * MAPS),
                                                        extra=("i_ap", "i_f1_max", "p_ap", "p_f1_max")),
}
REAL = {
    "float32": lambda a: a.astype(np.float32), "float16": lambda a: a.astype(np.float16), "nested lists": lambda a: a.tolist(),
    "list of arrays": list, "tensor": torch.from_numpy, "half": lambda a: torch.from_numpy(a).half(),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(), "with gradient": lambda a: torch.from_numpy(a).requires_grad_(),
    "result of a network": lambda a: torch.from_numpy(a).float().requires_grad_() * 1,
    "list of tensors with gradient": lambda a: [torch.tensor(x, dtype=torch.bfloat16, requires_grad=True) for x in a],
    "lists of tensors": lambda a: [[torch.tensor(x).half() for x in row] if np.ndim(row) else torch.tensor(row) for row in a],
    "tuple": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
}
YES_NO = {
    "bool": lambda a: a > 0, "uint8": lambda a: a.astype(np.uint8), "float16": lambda a: a.astype(np.float16),
    "list": lambda a: a.tolist(), "list of bools": lambda a: (a > 0).tolist(),
    "bool tensor": lambda a: torch.from_numpy(a) > 0, "uint8 tensor": lambda a: torch.from_numpy(a).byte(),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(), "list of tensors": lambda a: [torch.tensor(x) for x in a],
}


def plain(a):
    return a


def test_every_public_metric_is_called_here():
    assert set(CALLS) == set(metrics.__all__)


@pytest.mark.parametrize("form", REAL)
@pytest.mark.parametrize("name", CALLS)
def test_scores_in_any_form(name, form):
    assert CALLS[name](REAL[form], plain) == CALLS[name](plain, plain)


@pytest.mark.parametrize("form", YES_NO)
@pytest.mark.parametrize("name", CALLS)
def test_masks_and_labels_in_any_form(name, form):
    assert CALLS[name](plain, YES_NO[form]) == CALLS[name](plain, plain)


@pytest.mark.parametrize("name", CALLS)
def test_tensors_are_fetched_from_where_they_are(name, monkeypatch):
    """Without a GPU: an untouched tensor cannot be turned into an array, only the copy that cpu() of its values gives."""
    fetched, cpu = [], torch.Tensor.cpu

    class Far(torch.Tensor):
        def cpu(self):
            fetched.append(not self.requires_grad)
            return cpu(self.as_subclass(torch.Tensor))

        def numpy(self, **_):
            raise AssertionError("still on the other device")

        __array__ = numpy

    def far(a):
        return torch.from_numpy(a.copy()).as_subclass(Far).requires_grad_()

    assert CALLS[name](far, far) == CALLS[name](plain, plain)
    assert fetched and all(fetched)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and a torch that knows it")
@pytest.mark.parametrize("name", CALLS)
def test_tensors_on_a_gpu_are_fetched(name):
    def there(a):
        return torch.from_numpy(a).to("cuda", torch.bfloat16).requires_grad_()

    assert CALLS[name](there, there) == CALLS[name](plain, plain)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: metrics.image_auroc([1, None], [0, 1]), "scores: real numbers are needed, not values of type object"),
    (lambda: metrics.image_auroc(["1", "2"], [0, 1]), "scores: real numbers are needed"),
    (lambda: metrics.image_ap([[1, 2], [3]], [0, 1]), "scores: lists of one length are needed"),
    (lambda: metrics.auroc_gap([1, 2], [1j, 2], [0, 1]), "scores: real numbers are needed, not values of type complex128"),
    (lambda: metrics.image_f1_max(torch.ones(2, 2), [0, 1]), r"scores \(2, 2\) and labels \(2,\)"),
    (lambda: metrics.pixel_auroc([[[1, 2], [3]]], MASKS[:1]), r"maps\[0\]: lists of one length"),
    (lambda: metrics.pixel_ap(3, MASKS), "maps must be a list of images"),
    (lambda: metrics.aupro(torch.tensor(3.0), MASKS), "maps must be a list of images"),
    (lambda: metrics.aupro(MAPS, MASKS.astype(str)), r"masks\[0\]: real numbers are needed"),
    (lambda: metrics.aupro(MAPS, np.where(MASKS, np.nan, 0)), r"masks\[1\] holds NaN"),
    (lambda: metrics.aupro(MAPS, MASKS, foreground=np.full(MASKS.shape, np.nan)), r"foreground\[0\] holds NaN"),
])
def test_what_are_no_numbers_is_refused(call, words):
    with pytest.raises(SettingsError, match=words):
        call()
