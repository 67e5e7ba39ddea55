"""What transposed convolutions, padding, unpooling and their kin say when used wrongly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn


def call(layer, *inputs, **kwargs):
    shapes = jax.eval_shape(layer.init, jax.random.key(0))
    variables = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    return layer.apply(*variables, *inputs, **kwargs)


X = jnp.ones((2, 4, 5, 6))
BUILT = [
    (lambda: nn.ConvTranspose2d(4, 2, 3, stride=0), r"expected stride of 1 or more, got \(0, 0\)"),
    (lambda: nn.ConvTranspose2d(4, 2, 3, padding=-1), r"expected padding of 0 or more, got \(-1"),
    (lambda: nn.ConvTranspose2d(4, 2, 3, groups=4), r"expected groups to divide in_channels and"),
    (
        lambda: nn.ConvTranspose2d(4, 2, 3, padding_mode="reflect"),
        r"ConvTranspose2d: expected padding_mode \"zeros\", got 'reflect'",
    ),
    (lambda: nn.ConvTranspose2d(4, 2, (1, 2, 3)), r"expected kernel_size an int or 2 ints"),
    (lambda: nn.ReflectionPad2d((1, 2)), r"ReflectionPad2d: expected padding an int or 4 ints"),
    (lambda: nn.MaxUnpool2d((1, 2, 3)), r"MaxUnpool2d: expected kernel_size an int or 2 ints"),
    (lambda: nn.FractionalMaxPool2d(2), r"expected either output_size or output_ratio, got"),
    (
        lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5),
        r"expected output_ratio between 0 and 1, one number or 2, got 1.5",
    ),
]
CALLED = [
    (nn.ConvTranspose2d(3, 2, 3), (X,), r"expected input \[N, 3, H, W], got .*; set in_channels=4"),
    (nn.ConvTranspose1d(3, 2, 3), (X,), r"it has 4 axes where 3 are due, or 2 without N"),
    (
        nn.ConvTranspose2d(4, 2, 3, stride=2),
        (X, (11, 15)),
        r"expected output_size from \[11, 13] to \[12, 14] for input \[2, 4, 5, 6], got \[11, 15]",
    ),
    (nn.ReflectionPad1d(1), (X,), r"expected input \[N, C, L] or \[C, L], got \[2, 4, 5, 6]"),
    (nn.CrossMapLRN2d(2), (X[0],), r"CrossMapLRN2d: expected input \[N, C, H, W], got \[4, 5, 6]"),
    (nn.FractionalMaxPool2d(2, 2), (X,), r"FractionalMaxPool2d: expected a key for its random"),
]


@pytest.mark.parametrize("build, text", BUILT)
def test_built_wrongly(build, text):
    with pytest.raises(ValueError, match=text):
        build()


@pytest.mark.parametrize("layer, inputs, text", CALLED)
def test_called_wrongly(layer, inputs, text):
    with pytest.raises(ValueError, match=text):
        call(layer, *inputs)


def test_output_size_picks_one_of_the_sizes_of_a_stride():
    layer, theirs = nn.ConvTranspose2d(4, 2, 3, 2, 1), torch.nn.ConvTranspose2d(4, 2, 3, 2, 1)
    params, state = fx.load_state_dict(
        layer, {k: v.numpy() for k, v in theirs.state_dict().items()}
    )
    x = np.array(X)
    for size in ([9, 12], [10, 11], (2, 2, 10, 12)):
        expected = theirs(torch.from_numpy(x), output_size=list(size)).detach()
        output, _ = layer.apply(params, state, x, output_size=size)
        np.testing.assert_allclose(output, expected.numpy(), atol=1e-5)


def test_pooling_and_unpooling_keep_the_maxima():
    x = jnp.arange(16.0).reshape(1, 1, 4, 4)
    (maxima, places), _ = nn.MaxPool2d(2, return_indices=True).apply({}, {}, x)
    y, _ = nn.MaxUnpool2d(2).apply({}, {}, maxima, places)
    assert y.sum() == maxima.sum() and (y[0, 0, 1::2, 1::2] == maxima[0, 0]).all()
    assert nn.AdaptiveMaxPool2d(2, True)(x)[1].tolist() == [[[[5, 7], [13, 15]]]]
