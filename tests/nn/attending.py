"""What the tests of attention and of the transformer share: torch's layers beside ours."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import torch

import fx
from fx import nn
from tests.functional.check import assert_close, normal

KEY = jax.random.key(0)
CAUSAL = np.triu(np.full((3, 3), -np.inf, np.float32), 1)
OPEN = np.zeros((3, 5), bool)
CLOSED = OPEN.copy()
CLOSED[0, 1:] = CLOSED[2, :2] = True
DEAD = CLOSED.copy()
DEAD[1] = True
PADDING = np.array([[False] * 3 + [True] * 2, [False] * 5])


def pair(name, *args, seed=0, **kwargs):
    """torch's layer with random weights, and ours with the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="enable_nested_tensor is True, but")
        layer = getattr(torch.nn, name)(*args, **kwargs)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.from_numpy(rng.normal(scale=0.5, size=p.shape)))
    model = getattr(nn, name)(*args, **kwargs)
    weights = {n: t.numpy() for n, t in layer.state_dict().items()}
    return layer.eval(), model, *fx.load_state_dict(model, weights)


def to_torch(value, dtype=torch.float32):
    if not isinstance(value, np.ndarray):
        return value
    value = torch.from_numpy(value)
    return value if value.dtype == torch.bool else value.to(dtype)


def compare(made, *inputs, **options):
    """Output at most twice as far from torch's float64 as torch's own float32; gradients close."""
    layer, model, params, state = made

    @jax.jit
    def run(x):
        def loss(x):
            same = [x if other is inputs[0] else other for other in inputs]
            outputs, _ = model.apply(params, state, *same, **options)
            return sum((o**2).sum() for o in jax.tree.leaves(outputs)), outputs

        return jax.grad(loss, has_aux=True)(x)

    our_gradient, ours = run(jnp.asarray(inputs[0]))
    results = {}
    for dtype in (torch.float64, torch.float32):
        by_id = {id(x): to_torch(x, dtype) for x in inputs}
        tensors = [by_id[id(x)] for x in inputs]
        tensors[0].requires_grad_()
        kwargs = {name: to_torch(value, dtype) for name, value in options.items()}
        outputs = jax.tree.leaves(layer.to(dtype)(*tensors, **kwargs))
        sum((o**2).sum() for o in outputs).backward()
        results[dtype] = [o.detach().double().numpy() for o in outputs], tensors[0].grad
    exact, gradient = results[torch.float64]
    for mine, theirs, wide in zip(jax.tree.leaves(ours), results[torch.float32][0], exact):
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(wide))
        allowed = 2 * np.nanmax(np.abs(theirs - wide)) + 1e-6 * np.nanmax(np.abs(wide))
        assert np.nanmax(np.abs(np.asarray(mine, np.float64) - wide)) <= allowed
    assert_close(our_gradient, gradient)


BATCH = normal(2, 3, 8), normal(2, 5, 8, seed=1), normal(2, 5, 8, seed=2)
SEQUENCE = tuple(x.swapaxes(0, 1) for x in BATCH)
SINGLE = tuple(x[0] for x in BATCH)
SELF = BATCH[0], BATCH[0], BATCH[0]


def check_spread(params, model, theirs):
    expected = theirs.state_dict()
    for name, value in fx.state_dict(model, params).items():
        other = expected[name].numpy()
        assert value.shape == other.shape
        if other.std() < 1e-9:  # zeros and ones
            np.testing.assert_array_equal(value, other, err_msg=name)
        else:
            few = value.size < 200
            np.testing.assert_allclose(value.std(), other.std(), rtol=0.4 if few else 0.1)
            if "bias" not in name or not few:
                limit = np.abs(other).max()
                assert 0.9 * limit < jnp.abs(value).max() < 1.1 * limit, name
