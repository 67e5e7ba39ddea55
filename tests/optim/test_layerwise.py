"""The layers of a stack, which one array holds, trained as layers that stand one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx import data, nn, optim, train

N = 5
OPTIMIZERS = {
    "muon": lambda: optim.muon(0.02, ns_dtype=jnp.float32),
    "adafactor": lambda: optim.adafactor(0.1),
    "optax.adafactor": lambda: optax.adafactor(0.01, min_dim_size_to_factor=4),
    "optax.lamb": lambda: optax.lamb(0.01),
    "optax.novograd": lambda: optax.novograd(1e-3),
    "lookahead": lambda: optim.lookahead(optim.adafactor(optim.step_lr(0.1, 2)), k=2),
}


class Block(nn.Module):
    def __init__(self):
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        return x + self.down(jax.nn.gelu(self.up(x)))


def mse(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def matrices(name, array):
    del array
    return name.endswith("weight")


def both():
    """A stack and the same layers in turn, each with its weights."""
    stack, plain = nn.Stack(Block(), N), nn.Sequential(*[Block() for _ in range(N)])
    params, _ = stack.init(jax.random.key(0))
    return (stack, params), (plain, fx.load_state_dict(plain, fx.state_dict(stack, params))[0])


def trained(model, params, optimizer, steps=6):
    x = jax.random.normal(jax.random.key(1), (7, 8))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state):
        grads = jax.grad(lambda p: mse(model.apply(p, {}, x)[0], jnp.cos(3 * x)))(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    with jax.numpy_dtype_promotion("standard"):  # as optax expects, and make_step gives
        for _ in range(steps):
            params, opt_state = step(params, opt_state)
    return fx.state_dict(model, params), opt_state


def check_equal(found, expected):
    for part, value in expected.items():
        np.testing.assert_allclose(found[part], value, rtol=1e-4, atol=2e-6, err_msg=part)


def grouped(optimizer):
    return optim.groups({matrices: optimizer}, default=optim.adamw(1e-3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stack_moves_as_layers_that_stand_one_by_one(name):
    stacked, plain = both()
    found, _ = trained(*stacked, grouped(optim.layerwise(OPTIMIZERS[name]())))
    expected, _ = trained(*plain, grouped(OPTIMIZERS[name]()))
    check_equal(found, expected)


def test_a_norm_is_that_of_one_layer():
    stacked, plain = both()
    clipped = optax.chain(optim.clip_by_norm(1e-3), optim.sgd(0.1, momentum=0.9))
    found, _ = trained(*stacked, optim.layerwise(clipped))
    expected, _ = trained(*plain, optim.groups({f"{i}.*": clipped for i in range(N)}))
    check_equal(found, expected)


def test_the_state_keeps_its_structure_and_its_one_rate():
    (stack, params), _ = both()
    optimizer = optim.layerwise(optim.adafactor(optim.step_lr(0.5, 3, 0.1)))
    _, opt_state = trained(stack, params, optimizer, steps=4)
    alone = optim.adafactor(0.5).init(jax.tree.map(lambda leaf: leaf[0], params))
    assert jax.tree.structure(opt_state) == jax.tree.structure(alone)
    np.testing.assert_allclose(optim.current_lr(opt_state), 0.05, rtol=1e-6)
    row_var = opt_state[-1].inner.row_var
    assert row_var["block"]["up"]["weight"].shape == (N, 16, 1)


def test_the_program_does_not_grow_with_the_layers():
    def length(n):
        optimizer = optim.layerwise(optim.muon(0.02))
        weights = {"weight": jnp.ones((n, 4, 4))}
        state = optimizer.init(weights)
        return len(jax.make_jaxpr(optimizer.update)(weights, state, weights).eqns)

    assert length(3) == length(30)


def test_scale_is_a_rate_for_each_layer_and_zero_keeps_the_bits():
    (stack, params), (plain, listed) = both()
    scale = [0.0, 0.25, 0.5, 0.75, 1.0]
    rates = {f"{i}.*": optim.adamw(1e-2 * s) for i, s in enumerate(scale)}
    found, _ = trained(stack, params, optim.layerwise(optim.adamw(1e-2), scale=scale))
    expected, _ = trained(plain, listed, optim.groups(rates))
    check_equal(found, expected)
    start = fx.state_dict(stack, params)
    assert all(np.array_equal(found[n], start[n]) for n in start if n.startswith("0."))
    assert not np.array_equal(found["1.up.weight"], start["1.up.weight"])


def test_it_trains_by_fit_with_seeds_side_by_side():
    (stack, _), _ = both()
    optimizer = grouped(optim.layerwise(optim.muon(0.02, ns_dtype=jnp.float32)))
    step = train.make_step(stack, mse, optimizer)
    x = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    loader = data.Loader(data.Dataset(x, np.cos(3 * x)), 8, seed=0)
    states = [train.create(stack, optimizer, jax.random.key(seed)) for seed in range(2)]
    together = train.fit_many(step, states, loader, epochs=1, how="vmap", progress=False)
    ts = train.create(stack, optimizer, jax.random.key(1))
    alone = fx.fit(step, ts, loader, epochs=1, progress=False)
    found = fx.state_dict(stack, together.results[1].ts.params)
    check_equal(found, fx.state_dict(stack, alone.ts.params))


@pytest.mark.parametrize(
    ("optimizer", "params", "said"),
    [
        (optim.adam(), {"a": jnp.ones((3, 2)), "b": jnp.ones(4)}, "a'] .3, 2., .'b'] .4."),
        (optim.adam(), {"a": jnp.ones(())}, "one length of the first axis"),
        (optax.contrib.prodigy(), {"a": jnp.ones((3, 2))}, "differs from layer to layer"),
    ],
)
def test_what_is_not_a_stack_is_refused(optimizer, params, said):
    wrapped = optim.layerwise(optimizer)
    with pytest.raises(ValueError, match=said):
        wrapped.update(params, wrapped.init(params), params)


@pytest.mark.parametrize("scale", [[-1.0, 1.0], 0.5, [[1.0]]])
def test_a_wrong_scale_is_refused(scale):
    with pytest.raises(ValueError, match="factors .n. of 0 or more"):
        optim.layerwise(optim.adam(), scale=scale)


def test_a_scale_of_another_length_is_refused():
    with pytest.raises(ValueError, match="each of 3 layers, got 2"):
        optim.layerwise(optim.adam(), scale=[1.0, 0.5]).init({"a": jnp.ones((3, 2))})
