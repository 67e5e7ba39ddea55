import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from fx import optim, train
from tests.optim.wrapping import Net, batches, by_hand, check_in_training, close, full, mse

STEPS = 20
clip = optim.clip_by_norm(1.0)


def tree():
    params, _ = Net().init(jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)


def torch_net(params):
    t = jax.tree.map(lambda leaf: torch.nn.Parameter(torch.tensor(np.asarray(leaf))), params)
    body, head = t["body"], t["head"]

    def loss(x, y):
        hidden = torch.tanh(x @ body["weight"] + body["bias"])
        return ((hidden @ head["weight"] + head["bias"] - y) ** 2).mean()

    return t, jax.tree.leaves(t), loss


def torch_sam(params, rho, adaptive, xs, ys):
    """The two steps of davda54/sam around torch's SGD."""
    t, parameters, loss = torch_net(params)
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    for x, y in zip(torch.tensor(xs), torch.tensor(ys)):
        optimizer.zero_grad()
        loss(x, y).backward()
        with torch.no_grad():
            norms = [((p.abs() if adaptive else 1) * p.grad).norm() for p in parameters]
            scale = rho / (torch.stack(norms).norm() + 1e-12)
            old = [p.clone() for p in parameters]
            for p in parameters:
                p.add_((p**2 if adaptive else 1) * p.grad * scale)
        optimizer.zero_grad()
        loss(x, y).backward()
        for p, value in zip(parameters, old):
            p.data = value
        optimizer.step()
    return jax.tree.map(lambda p: p.detach().numpy(), t)


@pytest.mark.parametrize("rho, adaptive", [(0.05, False), (0.5, False), (2.0, True)])
def test_sam_is_torchs_common_version(x64, rho, adaptive):
    xs, ys = batches(STEPS, np.float64)
    ours = by_hand(optim.sam(optim.sgd(0.1, 0.9), rho, adaptive), tree(), xs, ys)[-1][0]
    close(ours, torch_sam(tree(), rho, adaptive, xs, ys), rtol=1e-10)


def test_sam_is_optaxs_opaque_one(x64):
    xs, ys = batches(STEPS, np.float64)
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    opaque = optax.contrib.sam(optax.sgd(0.1), adversary, sync_period=2, opaque_mode=True)

    def update(updates, state, params=None, *, grad_fn, **extra):
        return opaque.update(updates, state, params, grad_fn=lambda p, _: grad_fn(p))

    theirs = optax.GradientTransformationExtraArgs(opaque.init, update)
    expected = by_hand(theirs, tree(), xs, ys)[-1][0]
    close(by_hand(optim.sam(optax.sgd(0.1)), tree(), xs, ys)[-1][0], expected, rtol=1e-10)


def test_gradients_of_zero_stay_finite():
    params = {"w": jnp.zeros(3)}
    for adaptive in (False, True):
        optimizer = optim.sam(optim.sgd(0.1), adaptive=adaptive)
        updates, _ = optimizer.update(params, optimizer.init(params), params, grad_fn=lambda p: p)
        np.testing.assert_array_equal(updates["w"], np.zeros(3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.lookahead(optim.sam(optax.adam(0.05)), k=3, alpha=0.8),
        full(lambda: optim.sam(optax.sgd(0.1), rho=0.5, adaptive=True)),
        full(lambda: optim.with_ema(optim.sam(optax.chain(clip, optim.sgd(0.1))))),
        full(lambda: optim.sam(optim.freeze(optim.sgd(0.1), "head.*"))),
        full(lambda: optim.lookahead(optim.adam(0.05), k=2)),
    ],
    ids=range(5),
)
def test_in_training(make):
    check_in_training(make())


def test_the_step_gives_sam_its_gradient():
    """Another update than without, and the same state: no memory of its own."""
    batch = jnp.ones((8, 4)), jnp.zeros((8, 2))
    updated = []
    for optimizer in (optim.sgd(0.1), optim.sam(optim.sgd(0.1), rho=0.5)):
        ts = train.create(Net(), optimizer, jax.random.key(0))
        ts, metrics = train.make_step(Net(), mse, optimizer)(ts, batch)
        updated.append(ts)
        assert metrics["learning_rate"] == np.float32(0.1)
    assert jax.tree.structure(updated[0]) == jax.tree.structure(updated[1])
    assert not np.allclose(updated[0].params["body"]["weight"], updated[1].params["body"]["weight"])


def torch_lookahead(params, k, alpha, xs, ys):
    t, parameters, loss = torch_net(params)
    optimizer = torch.optim.Adam(parameters, 0.05)
    slow = [p.detach().clone() for p in parameters]
    for taken, (x, y) in enumerate(zip(torch.tensor(xs), torch.tensor(ys)), start=1):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
        if taken % k == 0:
            for s, p in zip(slow, parameters):
                s += alpha * (p.detach() - s)
                p.data = s.clone()
    return jax.tree.map(lambda p: p.detach().numpy(), t)


@pytest.mark.parametrize("k, alpha", [(5, 0.5), (3, 0.8), (1, 0.5), (4, 1.0)])
def test_lookahead_is_the_papers_in_torch(x64, k, alpha):
    xs, ys = batches(STEPS, np.float64)
    ours = by_hand(optim.lookahead(optim.adam(0.05), k, alpha), tree(), xs, ys)
    close(ours[-1][0], torch_lookahead(tree(), k, alpha, xs, ys), rtol=1e-9)
    params, opt_state = ours[k - 1]
    jax.tree.map(np.testing.assert_array_equal, params, opt_state.slow)


def test_lookahead_is_optaxs(x64):
    xs, ys = batches(STEPS, np.float64)
    theirs = optax.lookahead(optax.adam(0.05), sync_period=5, slow_step_size=0.5)
    pair = optax.LookaheadParams.init_synced(tree())
    state = theirs.init(pair)

    @jax.jit
    def step(pair, state, x, y):
        grads = jax.grad(lambda p: mse(Net().apply(p, {}, x)[0], y))(pair.fast)
        updates, state = theirs.update(grads, state, pair)
        return optax.apply_updates(pair, updates), state

    with jax.numpy_dtype_promotion("standard"):
        for x, y in zip(xs, ys):
            pair, state = step(pair, state, x, y)
    ours = by_hand(optim.lookahead(optax.adam(0.05)), tree(), xs, ys)[-1]
    close(ours[0], pair.fast, rtol=1e-10)
    close(ours[1].slow, pair.slow, rtol=1e-10)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda o: optim.sam(o, -0.1), "sam: expected rho >= 0, got -0.1"),
        (lambda o: optim.lookahead(o, 0), "lookahead: expected k of at least 1 step, got 0"),
        (
            lambda o: optim.lookahead(o, alpha=0.0),
            r"lookahead: expected alpha in \(0, 1\], got 0.0",
        ),
        (
            lambda o: optim.sam(o).update({"w": jnp.ones(2)}, o.init({}), {"w": jnp.ones(2)}),
            "sam: expected params and grad_fn, the gradient as a function of the parameters; fx",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make(optim.sgd(0.1))
