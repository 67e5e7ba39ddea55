"""The reference network beside its PyTorch twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from benchmarks.networks.torch_convnet import ConvNet as TorchConvNet
from fx import functional as F
from fx import nn, optim


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)


def quiet(model):
    """The same network with every dropout off."""

    def change(part):
        kinds = (nn.Dropout, nn.Dropout2d)
        return nn.replace(part, "p", 0.0) if isinstance(part, kinds) else part

    return nn.transform(model, change)


def quiet_twin():
    """The twin with every dropout off."""
    twin = TorchConvNet()
    for part in twin.modules():
        if isinstance(part, torch.nn.Dropout | torch.nn.Dropout2d):
            part.p = 0.0
    return twin.train()


def test_it_is_the_same_network():
    model, twin = fx.models.ConvNet(), TorchConvNet()
    params, state = model.init(jax.random.key(0))
    ours, theirs = fx.state_dict(model, params, state), twin.state_dict()
    assert list(ours) == list(theirs)
    assert list(ours)[0] == "features.0.weight" and list(ours)[-1] == "classifier.5.bias"
    assert sum(p.size for p in jax.tree.leaves(params)) == 323498
    assert repr(model) == repr(twin)
    for name in ("features.0.weight", "features.19.weight", "classifier.2.weight"):
        np.testing.assert_allclose(ours[name].std(), theirs[name].std(), rtol=0.05)


def test_logits_equal_the_twins(images):
    model, twin = fx.models.ConvNet(), TorchConvNet().eval()
    params, state = fx.load_state_dict(model, twin.state_dict())
    ours = jax.jit(model.apply)(params, state, images)[0]
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


STEPS = 20


def batches(rng):
    """Batches with random flips: the same for both frameworks."""
    for _ in range(STEPS):
        x, y = rng.normal(size=(8, 3, 16, 16)), rng.integers(0, 10, 8)
        flip = rng.random(8) < 0.5
        x[flip] = x[flip][..., ::-1]
        yield x, y


def follow_torch(dtype, seed=0):
    """Losses, and gradients and final buffers by name, of the twin."""
    torch.manual_seed(seed)
    twin = quiet_twin()
    start = {name: value.clone() for name, value in twin.state_dict().items()}
    twin = twin.to(dtype)
    optimizer = torch.optim.Adam(twin.parameters(), 1e-3, weight_decay=1e-4)
    losses, grads = [], []
    for x, y in batches(np.random.default_rng(1)):
        optimizer.zero_grad()
        logits = twin(torch.from_numpy(x).to(dtype))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        grads.append({n: p.grad.double().numpy().copy() for n, p in twin.named_parameters()})
    return start, losses, grads, {n: b.double().numpy() for n, b in twin.named_buffers()}


def follow_fx(start, dtype):
    """The same with fx, from the same weights."""
    model = quiet(fx.models.ConvNet())
    params, state = fx.load_state_dict(model, start, dtype=dtype)
    optimizer = optim.adam(1e-3, weight_decay=1e-4)
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, state, opt_state, x, y):
        def loss_fn(params):
            logits, new = model.apply(params, state, x, train=True)
            return F.cross_entropy(logits, y), new

        (loss, new), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(jnp.add, params, updates), new, opt_state, loss, grads

    losses, grads = [], []
    for x, y in batches(np.random.default_rng(1)):
        x, y = x.astype(dtype), y.astype(np.int32)
        params, state, opt_state, loss, grad = step(params, state, opt_state, x, y)
        losses.append(float(loss))
        grads.append({n: np.asarray(g, np.float64) for n, g in fx.state_dict(model, grad).items()})
    final = fx.state_dict(model, params, state)
    buffers = {
        n: np.asarray(v, np.float64) for n, v in final.items() if ".running_" in n or "tracked" in n
    }
    return losses, grads, buffers


def distance(ours, exact):
    """The largest relative error of any array; those that are zero but for rounding count little.

    A convolution's bias before a BatchNorm has no gradient but rounding, so the scale is at least a
    thousandth of the largest array's.
    """
    floor = 1e-3 * max(np.linalg.norm(value) for value in exact.values())
    return max(
        np.linalg.norm(ours[n] - exact[n]) / (np.linalg.norm(exact[n]) + floor) for n in exact
    )


def test_training_follows_the_twin_for_20_steps():
    """In float32, to rounding and what rounding does to a ReLU.

    The first gradient is rounding alone. Later a value near zero may fall on the other side of a
    ReLU, which moves a gradient by 1e-3 to 1e-2 and is fed back: over eight seeds that happened to
    PyTorch in float32 (against itself in float64) in five runs of 20 steps, to fx in all eight.
    """
    start, exact_losses, exact_grads, exact_buffers = follow_torch(torch.float64)
    losses, grads, buffers = follow_fx(start, np.float32)
    assert distance(grads[0], exact_grads[0]) < 5e-5
    assert abs(losses[0] - exact_losses[0]) < 2e-6
    np.testing.assert_allclose(losses, exact_losses, atol=2e-3)
    assert distance(buffers, exact_buffers) < 2e-2
    assert buffers["features.1.num_batches_tracked"] == STEPS


def test_in_float64_it_is_the_same_training(x64):
    start, exact_losses, exact_grads, exact_buffers = follow_torch(torch.float64)
    losses, grads, buffers = follow_fx(start, np.float64)
    np.testing.assert_allclose(losses, exact_losses, rtol=1e-9)
    assert max(map(distance, grads, exact_grads)) < 1e-6
    assert distance(buffers, exact_buffers) < 1e-9


def test_a_step_of_train_is_the_same_training(x64):
    start, exact_losses, _, exact_buffers = follow_torch(torch.float64)
    model = quiet(fx.models.ConvNet())
    params, state = fx.load_state_dict(model, start, dtype=np.float64)
    optimizer = optim.adam(1e-3, weight_decay=1e-4)
    step = fx.train.make_step(model, F.cross_entropy, optimizer)
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    ts = ts.replace(params=params, state=state, opt_state=optimizer.init(params))
    losses = []
    for x, y in batches(np.random.default_rng(1)):
        ts, metrics = step(ts, (x, y.astype(np.int32)))
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses, exact_losses, rtol=1e-9)
    final = fx.state_dict(model, ts.params, ts.state)
    assert (
        distance({n: np.asarray(final[n], np.float64) for n in exact_buffers}, exact_buffers) < 1e-9
    )
