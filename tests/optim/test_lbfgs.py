import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import fx
from fx import functional as F
from fx import nn, optim
from fx.optim.lbfgs import LBFGSState
from tests.optim.problem import NAMES, data, loss_of, run_fx, run_torch

ARGUMENTS = {
    "fixed_steps": {"lr": 0.3, "max_iter": 4, "history_size": 3},
    "line_search": {
        "line_search_fn": "strong_wolfe",
        "max_iter": 4,
        "max_eval": 7,
        "history_size": 3,
    },
}
PENALTY = 0.01  # keeps weights small, where the loss is not so flat that rounding decides


def snapshots(arguments, steps=100):
    """Parameters and state of torch's optimizer before and after each of its steps."""
    weights, xs, ys = jax.tree.map(torch.tensor, data(steps))
    params = [weights[name].requires_grad_() for name in NAMES]
    optimizer = torch.optim.LBFGS(params, **arguments)
    seen = []

    def look():
        values = {n: p.detach().numpy().copy() for n, p in zip(NAMES, params)}
        return values, as_ours(optimizer.state[params[0]], values, arguments)

    for x, y in zip(xs, ys):

        def closure():
            optimizer.zero_grad()
            loss = loss_of(torch, weights, x, y, PENALTY)
            loss.backward()
            return loss

        seen.append(look())
        optimizer.step(closure)
    seen.append(look())
    return seen[:-1], seen[1:]


def as_ours(state, params, arguments):
    """torch's state as an LBFGSState: its vectors cut up, its lists as rows."""
    size = arguments["history_size"]
    ends = np.cumsum([params[name].size for name in NAMES])[:-1]

    def tree(vector):
        parts = np.split(vector.double().numpy().copy(), ends)
        return {n: part.reshape(params[n].shape) for n, part in zip(NAMES, parts)}

    def rows(vectors):
        missing = [torch.zeros(sum(p.size for p in params.values()))] * (size - len(vectors))
        return jax.tree.map(lambda *leaves: np.stack(leaves), *map(tree, [*vectors, *missing]))

    zeros = torch.zeros(sum(p.size for p in params.values()))
    held = state.get("ro") or []
    return LBFGSState(
        iterations=np.int32(state.get("n_iter", 0)),
        evaluations=np.int32(state.get("func_evals", 0)),
        direction=tree(state.get("d", zeros)),
        step=np.float64(state.get("t", 0.0)),
        gradient=tree(state.get("prev_flat_grad", zeros)),
        gradients=rows(state.get("old_dirs") or []),
        moves=rows(state.get("old_stps") or []),
        curvatures=np.asarray([*map(float, held), *[0.0] * (size - len(held))]),
        scale=np.float64(state.get("H_diag", 1.0)),
        pushed=np.int32(len(held)),
    )


def compiled_as_users_do(name):
    """The search amplifies rounding, which is another without XLA's passes, as in `make test`."""
    return pytest.param(name, marks=pytest.mark.full) if name == "line_search" else name


@pytest.mark.parametrize("name", [compiled_as_users_do(name) for name in ARGUMENTS])
def test_each_of_a_hundred_updates_equals_torchs_from_the_same_state(x64, name):
    """Each starts where torch's did, because L-BFGS amplifies rounding; see the next test."""
    before, after = snapshots(ARGUMENTS[name])
    optimizer = optim.lbfgs(**ARGUMENTS[name])
    _, xs, ys = data()

    def update(params, memory, x, y):
        def loss(params):
            return loss_of(jnp, params, x, y, PENALTY)

        state = optimizer.init(params)._replace(inner=memory)
        grads = jax.grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value_fn=loss)
        return optax.apply_updates(params, updates), state.inner

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *before)
    params, memory = jax.jit(jax.vmap(update))(*stacked, jnp.asarray(xs), jnp.asarray(ys))
    expected, expected_memory = jax.tree.map(lambda *leaves: np.stack(leaves), *after)
    np.testing.assert_array_equal(memory.iterations, expected_memory.iterations)
    np.testing.assert_array_equal(memory.evaluations, expected_memory.evaluations)
    for part in NAMES:
        np.testing.assert_allclose(params[part], expected[part], rtol=1e-10, atol=1e-10)


def test_torchs_own_runs_part_when_their_start_differs_by_rounding():
    """So the ends of two long runs on changing batches prove nothing."""
    ends = [
        run_torch(
            lambda params: torch.optim.LBFGS(params, lr=0.5, max_iter=7, history_size=3),
            steps=20,
            penalty=PENALTY,
            shift=shift,
        )[0]
        for shift in (0.0, 1e-15)
    ]
    assert np.abs(ends[0]["w1"] - ends[1]["w1"]).max() > 1e-3


@pytest.mark.full
def test_a_hundred_updates_in_a_row_equal_torchs_where_rounding_is_not_amplified(x64):
    arguments = {"line_search_fn": "strong_wolfe"}
    params, opt_state, _ = run_fx(optim.lbfgs(**arguments), batch=0, penalty=0.05)
    expected, optimizer, _ = run_torch(
        lambda params: torch.optim.LBFGS(params, **arguments), batch=0, penalty=0.05
    )
    for part in NAMES:
        np.testing.assert_allclose(params[part], expected[part], rtol=1e-10, atol=1e-10)
    theirs = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert opt_state.inner.iterations == theirs["n_iter"] > 20
    assert optim.current_lr(opt_state) == 1.0


def rosenbrock(p):
    x, y = p["xy"]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def test_it_finds_a_minimum():
    optimizer = optim.lbfgs(max_iter=60, history_size=5, line_search_fn="strong_wolfe")
    params = {"xy": jnp.asarray([-1.0, 1.5]), "empty": jnp.zeros((0, 3))}
    grads, state = jax.grad(rosenbrock)(params), optimizer.init(params)
    update = jax.jit(lambda g, s, p: optimizer.update(g, s, p, value_fn=rosenbrock))
    updates, state = update(grads, state, params)
    np.testing.assert_allclose(params["xy"] + updates["xy"], [1.0, 1.0], atol=1e-3)


def test_low_precision_parameters_keep_their_dtype_and_move():
    params = {"low": jnp.full(3, 3.0, jnp.bfloat16), "high": jnp.full(2, 3.0)}

    def loss(p):
        return jnp.sum(p["low"].astype(jnp.float32) ** 2) + 2 * jnp.sum(p["high"] ** 2)

    optimizer = optim.lbfgs(history_size=3, line_search_fn="strong_wolfe")
    grads, state = jax.grad(loss)(params), optimizer.init(params)
    update = jax.jit(lambda g, s, p: optimizer.update(g, s, p, value_fn=loss))
    updates, after = update(grads, state, params)
    for before, now in ((state, after), (params, updates)):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(
            lambda x: (x.shape, x.dtype), now
        )
    assert loss(optax.apply_updates(params, updates)) < 1e-3


def test_many_learning_rates_at_once_and_a_schedule():
    params = {"xy": jnp.asarray([-1.0, 1.5])}

    def first(lr):
        optimizer = optim.lbfgs(lambda step: lr / (step + 1), max_iter=3, history_size=2)
        grads, state = jax.grad(rosenbrock)(params), optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(grads, state, params, value_fn=rosenbrock)
        return updates["xy"], optim.current_lr(state)

    rates = jnp.linspace(0.1, 1.0, 32)
    together, last = jax.jit(jax.vmap(first))(rates)
    np.testing.assert_allclose(last, rates / 2, rtol=1e-6)
    for i in (0, 31):
        np.testing.assert_allclose(together[i], jax.jit(first)(rates[i])[0], rtol=1e-5)


def test_a_training_step_gives_it_the_loss():
    x = jax.random.normal(jax.random.key(1), (64, 3))
    batch = (x, x @ jnp.asarray([[1.0], [-2.0], [0.5]]) + 0.25)
    model = nn.Linear(3, 1)
    optimizer = optim.lbfgs(history_size=5, line_search_fn="strong_wolfe")
    step = fx.train.make_step(model, F.mse_loss, optimizer)
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    for _ in range(2):
        ts, metrics = step(ts, batch)
    assert metrics["loss"] < 1e-9 and metrics["learning_rate"] == 1.0
    np.testing.assert_allclose(ts.params["bias"], [0.25], atol=1e-4)


def test_the_gradient_function_is_used_where_given():
    params = jnp.asarray([3.0])
    optimizer = optim.lbfgs(max_iter=4, history_size=2)

    def update(**extra):
        grads, state = jnp.asarray([6.0]), optimizer.init(params)
        return optimizer.update(grads, state, params, value_fn=lambda p: jnp.sum(p**2), **extra)[0]

    same = update(grad_fn=lambda p: 2 * p)
    np.testing.assert_allclose(same, update(), rtol=1e-6)
    assert not np.allclose(update(grad_fn=lambda p: p - 5), same)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.lbfgs(-1.0), "lbfgs: expected lr >= 0, got -1.0"),
        (lambda: optim.lbfgs(max_iter=0), "lbfgs: expected max_iter of at least 1, got 0"),
        (lambda: optim.lbfgs(max_eval=0), "lbfgs: expected max_eval of at least 1, got 0"),
        (lambda: optim.lbfgs(history_size=0), "expected history_size of at least 1, got 0"),
        (lambda: optim.lbfgs(tolerance_grad=-1.0), "expected tolerance_grad >= 0, got -1.0"),
        (
            lambda: optim.lbfgs(line_search_fn="armijo"),
            "lbfgs: expected line_search_fn None or \"strong_wolfe\", got 'armijo'",
        ),
        (
            lambda: optim.lbfgs().init({"a": jnp.ones(2), "b": optax.MaskedNode()}),
            "lbfgs: expected all of the model's parameters, got a part of them",
        ),
        (
            lambda: optim.lbfgs().update(jnp.ones(2), optim.lbfgs().init(jnp.ones(2))),
            "lbfgs: expected the parameters, got None; call optimizer.update",
        ),
        (
            lambda: optim.lbfgs().update(
                jnp.ones(2), optim.lbfgs().init(jnp.ones(2)), jnp.ones(2), value=jnp.ones(())
            ),
            "lbfgs: expected value_fn, the loss as a function of the parameters; make_step gives",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
