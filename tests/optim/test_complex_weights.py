"""Complex weights are trained as torch trains them, beside real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from fx import optim

W, A = np.array([1 + 2j, -0.5 + 0.3j], "F"), np.array([0.3 - 1j, 2 + 1j], "F")
PAIRS = [
    (optim.sgd(0.1, momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    (optim.adam(0.1, weight_decay=0.1), torch.optim.Adam, {"weight_decay": 0.1}),
    (optim.adamw(0.1), torch.optim.AdamW, {}),
    (optim.rmsprop(0.1), torch.optim.RMSprop, {}),
]


@pytest.mark.parametrize(("ours", "theirs", "given"), PAIRS)
def test_steps_are_torchs(ours, theirs, given):
    w, b = (torch.nn.Parameter(torch.tensor(v)) for v in (W, W.real.copy()))
    optimizer = theirs([w, b], lr=0.1, **given)
    params = {"b": jnp.asarray(W.real), "w": jnp.asarray(W)}
    state = ours.init(params)

    def loss(p):
        return (jnp.abs(p["w"] * A - 1) ** 2 + p["b"] ** 2).sum()

    for _ in range(4):
        optimizer.zero_grad()
        ((w * torch.tensor(A) - 1).abs() ** 2 + b**2).sum().backward()
        optimizer.step()
        updates, state = ours.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], w.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params["b"], b.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_sam_goes_uphill_first():
    """What it climbs to has a larger loss than where it was."""
    params = {"w": jnp.asarray(W)}
    seen = []

    def loss(p):
        return (jnp.abs(p["w"] * A - 1) ** 2).sum()

    def gradient(p):
        seen.append(float(loss(p)))
        return jax.grad(loss)(p)

    sharp = optim.sam(optim.sgd(0.01), rho=0.05)
    updates, _ = sharp.update(jax.grad(loss)(params), sharp.init(params), params, grad_fn=gradient)
    assert seen[0] > float(loss(params)) > float(loss(optax.apply_updates(params, updates)))


def test_lbfgs_refuses_them():
    with pytest.raises(TypeError, match="lbfgs: expected real parameters, got complex ones; keep"):
        optim.lbfgs().init({"w": jnp.asarray(W)})
