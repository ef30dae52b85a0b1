"""Parameters of the recorded networks: numbers that anyone can make again from the name of a tensor."""

import zlib

import numpy as np
import torch


def recipe(key, shape, salt="point_mae/A"):
    """The recorded weights: reproducible numbers from the key."""
    u, last = np.random.default_rng(zlib.crc32(f"{salt}:{key}".encode())).random(shape), key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(0)
    value = (0.5 + u if last == "running_var" else 0.2 * (2 * u - 1) if last == "running_mean"
             else 0.5 + 0.5 * u if last == "gamma" else 1.4 + 0.2 * (2 * u - 1) if last == "weight_g"
             else (2 * u - 1) * np.sqrt(3 / np.prod(shape[1:])) if len(shape) > 1
             else 1 + 0.2 * (2 * u - 1) if last == "weight" else 0.1 * (2 * u - 1))
    return torch.from_numpy(np.asarray(value, np.float32))
