import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, normal


@pytest.mark.parametrize(
    "case",
    [
        ("pixel_shuffle", (2, 8, 2, 3), 2),
        ("pixel_shuffle", (9, 2, 1), 3),
        ("pixel_unshuffle", (2, 1, 3, 4, 6), 2),
        ("channel_shuffle", (2, 6, 3), 3),
        ("channel_shuffle", (2, 6, 3, 2), 2),
    ],
    ids=str,
)
def test_against_torch(case):
    name, shape, number = case
    for x in (normal(*shape), np.arange(np.prod(shape)).reshape(shape)):
        ours = getattr(F, name)(jnp.asarray(x), number)
        assert_close(ours, getattr(TF, name)(torch.from_numpy(x), number))


def test_errors():
    x = jnp.ones((2, 6, 3, 4))
    with pytest.raises(
        ValueError, match=r"pixel_shuffle: expected channels that 2 \* 2 divides, go"
    ):
        F.pixel_shuffle(x, 2)
    with pytest.raises(
        ValueError, match=r"pixel_unshuffle: expected a height and width that 2 div"
    ):
        F.pixel_unshuffle(x, 2)
    with pytest.raises(
        ValueError, match=r"channel_shuffle: expected channels that groups=4 divides"
    ):
        F.channel_shuffle(x, 4)
    with pytest.raises(
        ValueError, match=r"pixel_shuffle: expected input with 3 axes or more, chann"
    ):
        F.pixel_shuffle(x[0, 0], 1)
    with pytest.raises(ValueError, match=r"channel_shuffle: expected groups of 1 or more, got 0"):
        F.channel_shuffle(x, 0)
