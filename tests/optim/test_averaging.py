import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import swa_utils

from fx import optim
from tests.optim.wrapping import Net, batches, by_hand, check_in_training, close, full

STEPS = 30


def history(x64_params, optimizer):
    xs, ys = batches(STEPS, np.float64)
    return by_hand(optimizer, x64_params, xs, ys)


def tree():
    params, _ = Net().init(jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)


def in_torch(steps, due, **average):
    """torch's AveragedModel, given our weights after each step."""
    leaves = [jax.tree.leaves(params) for params, _ in steps]
    model = torch.nn.ParameterList(torch.tensor(np.asarray(leaf)) for leaf in leaves[0])
    averaged = swa_utils.AveragedModel(model, **average)
    for taken, values in enumerate(leaves, start=1):
        for parameter, value in zip(model, values):
            parameter.data = torch.tensor(np.asarray(value))
        if due(taken):
            averaged.update_parameters(model)
    return [p.detach().numpy() for p in averaged.module]


@pytest.mark.parametrize(
    "decay, every, start", [(0.9, 1, 0), (0.3, 4, 7), (0.0, 1, 3), (1.0, 2, 0)]
)
def test_an_ema_is_torchs(x64, decay, every, start):
    optimizer = optim.with_ema(optim.adam(0.05), decay, every, start)
    steps = history(tree(), optimizer)
    expected = in_torch(
        steps,
        lambda taken: taken > start and (taken - start) % every == 0,
        multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay),
    )
    ours = jax.tree.leaves(optim.averaged_params(steps[-1][1]))
    close(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("start, every", [(0, 1), (12, 5)])
def test_an_swa_is_torchs(x64, start, every):
    steps = history(tree(), optim.with_swa(optim.sgd(0.1, 0.9), start, every))
    expected = in_torch(
        steps,
        lambda taken: taken > start and (taken - start) % every == 0,
        # Not the multi_avg_fn, whose 1 / (n + 1) is a float32 number.
        avg_fn=swa_utils.get_swa_avg_fn(),
    )
    close(jax.tree.leaves(optim.averaged_params(steps[-1][1])), expected, rtol=1e-12, atol=1e-14)
    chosen = [params for taken, (params, _) in enumerate(steps, 1) if taken > start]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *chosen[every - 1 :: every])
    close(optim.averaged_params(steps[-1][1]), mean, rtol=1e-12, atol=1e-14)


def test_the_optimizer_itself_goes_the_same_way(x64):
    plain = history(tree(), optim.adam(0.1))
    wrapped = history(tree(), optim.with_ema(optim.adam(0.1)))
    close(wrapped[-1][0], plain[-1][0], rtol=1e-12)


def test_before_the_first_averaging_it_is_the_current_weights():
    params = {"w": jnp.zeros(())}
    optimizer = optim.with_swa(optim.sgd(1.0), start=2, every=3)
    opt_state, seen = optimizer.init(params), []
    for _ in range(8):
        updates, opt_state = optimizer.update({"w": jnp.float32(-1)}, opt_state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float(optim.averaged_params(opt_state)["w"]))
    assert seen == [1, 2, 3, 4, 5, 5, 5, 6.5]


def test_a_warm_up_forgets_the_first_weights(x64):
    steps = history(tree(), optim.with_ema(optim.adam(0.05), 0.8, warmup=True))
    average = steps[0][0]
    for n, (params, _) in enumerate(steps[1:], start=1):
        decay = min(0.8, (1 + n) / (10 + n))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
    close(optim.averaged_params(steps[-1][1]), average, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.with_ema(optax.adam(0.01), 0.5, start=3, warmup=True),
        full(lambda: optim.with_ema(optim.adam(0.01), 0.5)),
        full(lambda: optim.with_swa(optim.sgd(0.1), start=2, every=2)),
    ],
    ids=range(3),
)
def test_in_training(make):
    ts = check_in_training(make())
    average = optim.averaged_params(ts.opt_state)
    assert jax.tree.structure(average) == jax.tree.structure(ts.params)
    outputs, _ = Net().apply(average, ts.state, jnp.ones((8, 4)))
    assert np.all(np.isfinite(outputs))


def test_the_learning_rate_is_read_and_a_frozen_group_stays():
    frozen = optim.freeze(optim.adam(0.5), "head.*")
    ts = check_in_training(optim.with_ema(optim.reduce_lr_on_plateau(frozen), 0.5))
    assert float(optim.current_lr(ts.opt_state)) == 0.5
    average = optim.averaged_params(ts.opt_state)
    jax.tree.map(np.testing.assert_array_equal, average["head"], ts.params["head"])


def test_no_array_appears_twice_before_the_first_step():
    params = Net().init(jax.random.key(0))[0]
    for optimizer in (optim.with_ema(optim.sgd(0.1)), optim.lookahead(optim.sgd(0.1))):
        leaves = jax.tree.leaves((params, optimizer.init(params)))
        pointers = [leaf.unsafe_buffer_pointer() for leaf in leaves]
        assert len(set(pointers)) == len(pointers)


def test_bfloat16_weights_keep_their_dtype():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    optimizer = optim.with_ema(optim.sgd(0.1), 0.5)
    opt_state = optimizer.init(params)
    _, after = optimizer.update(params, opt_state, params)
    assert optim.averaged_params(after)["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda o: optim.with_ema(o, 1.5), r"with_ema: expected decay in \[0, 1\], got 1.5"),
        (lambda o: optim.with_ema(o, every=0), "with_ema: expected every of at least 1 step, got"),
        (lambda o: optim.with_swa(o, -1, 1), "with_swa: expected start of at least 0 steps, got"),
        (lambda o: optim.averaged_params(o.init({})), "expected a state with one average, got 0"),
        (lambda o: optim.averaged_params([optim.with_ema(o).init({})] * 2), "average, got 2; wrap"),
        (lambda o: update(optim.with_ema(o)), "with_ema: expected the parameters, got None; call"),
        (lambda o: update(optim.lookahead(o)), "lookahead: expected the parameters, got None"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make(optim.sgd(0.1))


def update(optimizer):
    params = {"w": jnp.ones(2)}
    return optimizer.update(params, optimizer.init(params))
