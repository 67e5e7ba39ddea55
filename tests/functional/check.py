"""How a function is held against PyTorch, and against itself under jax's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

# Relative to the largest element, because sums of many terms cancel in small ones.
TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "bfloat16": 2e-2, "float16": 4e-3}


def assert_close(ours, theirs, dtype="float32", what="", factor=1.0):
    """Equal in shape, and in value to `TOLERANCE` of the dtype; NaN and infinities in place."""
    ours, theirs = to_numpy(ours), to_numpy(theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} against torch's {theirs.shape}"
    finite = theirs[np.isfinite(theirs)]
    scale = max(1.0, np.abs(finite).max()) if finite.size else 1.0
    tolerance = factor * TOLERANCE[dtype]
    np.testing.assert_allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * scale, err_msg=what, strict=False
    )


def to_numpy(x):
    if isinstance(x, torch.Tensor):
        x = x.detach().double().numpy() if x.is_floating_point() else x.detach().numpy()
    x = np.asarray(x)
    return x if np.issubdtype(x.dtype, np.integer) or x.dtype == bool else x.astype(np.float64)


def is_float(x):
    return np.issubdtype(np.asarray(x).dtype, np.floating)


def normal(*shape, seed=0, scale=1.0):
    values = scale * np.random.default_rng([seed, *shape]).normal(size=shape)
    return np.asarray(values, np.float32)


def sample(cases, count):
    """The first cases as they are, the others as part of `make test-all`."""
    return [*cases[:count], *(pytest.param(case, marks=pytest.mark.full) for case in cases[count:])]


def check(ours, theirs, *inputs, second=True, vmap=True, factor=1.0):
    """Holds a function with one array as output against torch's, and its transformations.

    Output, gradients to all floating inputs, a product with the Hessian (`second`); eager equals
    jit, forward mode equals reverse mode, vmap equals a loop. Where torch has no second derivative
    (second=False) ours must be finite.
    """
    inputs = [np.asarray(x) for x in inputs]
    floating = [i for i, x in enumerate(inputs) if is_float(x)]

    def of_floats(*values):
        full = list(map(jnp.asarray, inputs))
        for i, value in zip(floating, values):
            full[i] = value
        return ours(*full)

    points = [jnp.asarray(inputs[i]) for i in floating]
    output = of_floats(*points)
    cotangent = normal(*output.shape, seed=1)
    tangents = [jnp.asarray(normal(*p.shape, seed=2 + i)) for i, p in enumerate(points)]

    @jax.jit
    def derivatives(points, tangents, cotangent):
        def gradients(*points):
            return jax.vjp(of_floats, *points)[1](cotangent)

        value, forward = jax.jvp(of_floats, points, tangents)
        return value, forward, *jax.jvp(gradients, points, tangents)

    value, forward, gradients, hessian = derivatives(tuple(points), tuple(tangents), cotangent)
    expected, grads, hess = _torch_derivatives(
        theirs, inputs, floating, cotangent, tangents, second
    )
    assert_close(output, value, what="jit against eager", factor=factor)
    assert_close(output, expected, what="output", factor=factor)
    for i, ours_, theirs_ in zip(floating, gradients, grads):
        assert_close(ours_, theirs_, what=f"gradient to input {i}", factor=factor)
    paired = sum(float(jnp.vdot(g, t)) for g, t in zip(gradients, tangents))
    assert_close(float(np.vdot(forward, cotangent)), paired, what="jvp", factor=10 * factor)
    assert all(jnp.isfinite(h).all() for h in hessian)
    if second:
        for i, ours_, theirs_ in zip(floating, hessian, hess):
            what = f"second derivative to input {i}"
            assert_close(ours_, theirs_, what=what, factor=10 * factor)
    if vmap:
        check_vmap(of_floats, points, factor)


def _torch_derivatives(theirs, inputs, floating, cotangent, tangents, second):
    leaves = [torch.from_numpy(np.array(x)) for x in inputs]
    points = [leaves[i].requires_grad_() for i in floating]
    expected = theirs(*leaves)
    grads = torch.autograd.grad(
        expected, points, torch.from_numpy(cotangent), create_graph=second, allow_unused=True
    )
    grads = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, points)]
    if not second:
        return expected, grads, None
    product = sum((g * torch.from_numpy(np.array(t))).sum() for g, t in zip(grads, tangents))
    hess = [None] * len(points)
    if product.requires_grad:
        hess = torch.autograd.grad(product, points, allow_unused=True)
    hess = [torch.zeros_like(p) if h is None else h for h, p in zip(hess, points)]
    return expected, grads, hess


def check_vmap(function, points, factor=1.0):
    """The function over a leading axis of all arguments equals the function in a loop."""
    others = [jnp.flip(p) for p in points]
    stacked = [jnp.stack(pair) for pair in zip(points, others)]
    mapped = jax.jit(jax.vmap(function))(*stacked)
    for one, arguments in zip(mapped, (points, others)):
        assert_close(one, function(*arguments), what="vmap against a loop", factor=factor)


def check_bfloat16(ours, *inputs, dtype="bfloat16", factor=1.0):
    """The function keeps a low precision and stays near to what it gives in float32."""
    low = [jnp.asarray(x, dtype) if is_float(x) else jnp.asarray(x) for x in inputs]
    output = ours(*low)
    assert output.dtype == jnp.dtype(dtype)
    wide = ours(*[x.astype(jnp.float32) if is_float(x) else x for x in low])
    assert_close(output, wide, dtype, what=f"{dtype} against float32", factor=factor)
