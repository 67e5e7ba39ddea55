"""SyncBatchNorm over a named axis equals BatchNorm over the whole batch; and AdaptiveLogSoftmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from tests.functional.check import assert_close, normal

KEY = jax.random.key(0)
SETTINGS = [
    {},
    {"momentum": None},
    {"affine": False},
    {"track_running_stats": False},
    {"bias": False},
]


@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_over_a_mapped_axis(kwargs):
    sync = nn.SyncBatchNorm(3, process_group="shares", **kwargs)
    whole = nn.BatchNorm2d(3, **kwargs)
    params, state = whole.init(KEY)
    params = jax.tree.map(lambda a: a + 0.5, params)
    x = jnp.asarray(normal(8, 3, 2, 2)) + jnp.arange(8.0)[:, None, None, None]

    def loss(layer, params, state, x):
        y, new = layer.apply(params, state, x, train=True)
        return (y**3).sum(), (y, new)

    @jax.jit
    def both(params, state, x):
        run = jax.value_and_grad(loss, (1, 3), has_aux=True)
        (_, (y, new)), (to_params, to_x) = run(whole, params, state, x)

        def share(params, state, x):
            def total(params, x):
                value, aux = loss(sync, params, state, x)
                return value, aux

            return jax.value_and_grad(total, (0, 1), has_aux=True)(params, x)

        shares = x.reshape(4, 2, *x.shape[1:])
        mapped = jax.vmap(share, (None, None, 0), axis_name="shares")(params, state, shares)
        return (y, new, to_params, to_x), mapped

    (y, new, to_params, to_x), ((_, (parts, states)), (by_params, by_x)) = both(params, state, x)
    assert_close(parts.reshape(y.shape), y)
    assert_close(by_x.reshape(to_x.shape), to_x, factor=5)
    jax.tree.map(lambda a, b: assert_close(a.sum(0), b, factor=5), by_params, to_params)
    jax.tree.map(lambda a, b: assert_close(a, jnp.stack([b] * 4)), states, new)


def test_evaluation_needs_no_axis():
    layer = nn.SyncBatchNorm(3, process_group="shares")
    params, state = layer.init(KEY)
    x = jnp.asarray(normal(2, 3))
    assert_close(layer.apply(params, state, x)[0], nn.BatchNorm1d(3).apply(params, state, x)[0])


def test_conversion():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3, 1e-3, bias=False), nn.ReLU())
    sync = nn.SyncBatchNorm.convert_sync_batchnorm(model, "shares")
    assert sync[1] == nn.SyncBatchNorm(3, 1e-3, process_group="shares", bias=False)
    assert sync[0] == model[0] and sync[2] == model[2]
    variables = model.init(KEY)
    x = jnp.asarray(normal(2, 1, 2, 2))
    assert_close(sync.apply(*variables, x)[0], model.apply(*variables, x)[0])


def test_sync_errors():
    layer = nn.SyncBatchNorm(3, process_group="shares")
    params, state = layer.init(KEY)
    run = jax.vmap(lambda x: layer.apply(params, state, x, train=True)[0], axis_name="shares")
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        run(jnp.ones((1, 1, 3)))
    with pytest.raises(ValueError, match=r"expected input \[N, 3, \.\.\.], got \[2, 4]; set num_f"):
        run(jnp.ones((2, 2, 4)))
    with pytest.raises(
        ValueError, match=r"expected input \[N, 3, \.\.\.], got \[3]; add the batch"
    ):
        run(jnp.ones((2, 3)))


class Words(nn.Module):
    """Calls the methods of a part."""

    def __init__(self):
        self.part = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=True)

    def forward(self, x):
        return self.part.log_prob(x), self.part.predict(x)


def test_adaptive_methods():
    other = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=True)
    weights = {f"part.{n}": t.numpy().copy() for n, t in other.state_dict().items()}
    params, state = fx.load_state_dict(Words(), weights)
    x = normal(16, 8, scale=4.0)
    (log_prob, classes), _ = jax.jit(Words().apply)(params, state, jnp.asarray(x))
    assert_close(log_prob, other.log_prob(torch.from_numpy(x)))
    np.testing.assert_array_equal(classes, other.predict(torch.from_numpy(x)))


def test_adaptive_out_of_range_is_nan():
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3])
    variables = layer.init(KEY)
    (output, loss), _ = layer.apply(*variables, jnp.ones((2, 8)), jnp.array([11, 12]))
    assert jnp.isnan(output).tolist() == [False, True] and jnp.isnan(loss)


def test_adaptive_errors():
    for cutoffs in ([], [0, 3], [3, 3], [5, 3], [12], [2.5]):
        with pytest.raises(ValueError, match="expected cutoffs increasing from 1 or more to less"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3])
    variables = layer.init(KEY)
    with pytest.raises(ValueError, match=r"expected input \[N, 8] and target \[N], .* \[3, 8] and"):
        layer.apply(*variables, jnp.ones((3, 8)), jnp.zeros(2, jnp.int32))


def test_random_slopes_in_a_model():
    model = nn.Sequential(nn.RReLU())
    y, _ = model.apply({}, {}, -jnp.ones(100), train=True, key=KEY)
    assert len(np.unique(y)) > 90 and y.min() >= -1 / 3 and y.max() <= -1 / 8
    assert_close(model.apply({}, {}, -jnp.ones(3))[0], -np.ones(3) * 11 / 48)


def test_layers_refuse_wrong_settings():
    with pytest.raises(ValueError, match="MultiMarginLoss: expected p 1 or 2, got 3"):
        nn.MultiMarginLoss(3)
    with pytest.raises(ValueError, match=r"MultiMarginLoss: expected weight \[C], got \[1, 2]"):
        nn.MultiMarginLoss(weight=np.ones((1, 2)))
    for kind in (nn.TripletMarginLoss, nn.TripletMarginWithDistanceLoss):
        with pytest.raises(ValueError, match=f"{kind.__name__}: expected margin > 0, got 0"):
            kind(margin=0)
