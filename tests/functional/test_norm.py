import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

BATCH = [
    ((4, 3), {}),
    ((2, 3, 5), {"eps": 1e-2}),
    ((2, 3, 4, 5), {"momentum": 0.3}),
    ((2, 3, 2, 4, 3), {"momentum": 0.0}),
    ((1, 3, 4, 5), {"momentum": 1.0}),
]
PLAIN = [
    ("layer_norm", (2, 5, 6), (6,), (6,)),
    ("layer_norm", (2, 5, 6), (5, 6), (5, 6)),
    ("group_norm", (2, 6, 4, 5), 3, (6,)),
    ("rms_norm", (3, 6), (6,), (6,)),
    ("group_norm", (3, 6), 2, (6,)),
    ("group_norm", (2, 4, 3), 4, (4,)),
    ("group_norm", (2, 4, 3, 2, 3), 1, (4,)),
    ("layer_norm", (4,), (4,), (4,)),
    ("rms_norm", (2, 5, 6), (5, 6), (5, 6)),
]


def ident(case):
    return str(case).replace(" ", "").replace("'", "")


def statistics(channels):
    return normal(channels, seed=3), normal(channels, seed=4) ** 2 + 0.5


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", sample(BATCH, 3), ids=ident)
def test_batch_norm(case, training):
    shape, arguments = case
    mean, var = statistics(shape[1])

    def ours(x, w, b):
        return F.batch_norm(x, mean, var, w, b, training=training, **arguments)[0]

    def theirs(x, w, b):
        running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
        return TF.batch_norm(x, *running, w, b, training=training, **arguments)

    inputs = normal(*shape), normal(shape[1], seed=1), normal(shape[1], seed=2)
    check(ours, theirs, *inputs, factor=2)


@pytest.mark.parametrize("case", BATCH, ids=ident)
@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(case, name):
    shape, arguments = case
    if name == "instance_norm" and len(shape) == 2:
        shape = (*shape, 6)
    mean, var = statistics(shape[1])
    x = normal(*shape)
    flag = {"batch_norm": "training", "instance_norm": "use_input_stats"}[name]
    running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    expected = getattr(TF, name)(torch.from_numpy(x), *running, **{flag: True}, **arguments)
    output, new = getattr(F, name)(
        x, jnp.asarray(mean), jnp.asarray(var), **{flag: True}, **arguments
    )
    assert_close(output, expected)
    assert_close(new[0], running[0])
    assert_close(new[1], running[1])
    _, same = getattr(F, name)(x, jnp.asarray(mean), jnp.asarray(var), **{flag: False})
    np.testing.assert_array_equal(same[0], mean)
    np.testing.assert_array_equal(same[1], var)


def test_running_statistics_carry_no_gradient():
    mean, var = map(jnp.asarray, statistics(3))
    total = lambda x: sum(map(jnp.sum, F.batch_norm(x, mean, var, training=True)[1]))
    assert not jax.grad(total)(normal(4, 3)).any()


def test_without_running_statistics():
    x = normal(4, 3, 5)
    output, new = F.batch_norm(x, None, None, training=True)
    assert new == (None, None)
    assert_close(output, TF.batch_norm(torch.from_numpy(x), None, None, training=True))


def test_momentum_may_be_traced():
    mean, var = map(jnp.asarray, statistics(3))
    update = jax.jit(lambda x, m: F.batch_norm(x, mean, var, training=True, momentum=m)[1])
    new = update(normal(4, 3), jnp.float32(0.25))
    expected = F.batch_norm(normal(4, 3), mean, var, training=True, momentum=0.25)[1]
    assert_close(new[0], expected[0])
    assert_close(new[1], expected[1])


def test_the_variance_survives_a_large_mean():
    x = normal(64, 3) + 3e3
    output, _ = F.batch_norm(x, None, None, training=True)
    exact = TF.batch_norm(torch.from_numpy(x).double(), None, None, training=True)
    # What float32 keeps of the input's deviations at a mean of 3000.
    assert_close(output, exact, factor=20)


@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm(use_input_stats):
    mean, var = statistics(3)

    def ours(x, w, b):
        return F.instance_norm(x, mean, var, w, b, use_input_stats)[0]

    def theirs(x, w, b):
        running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
        return TF.instance_norm(x, *running, w, b, use_input_stats)

    check(ours, theirs, normal(2, 3, 4, 5), normal(3, seed=1), normal(3, seed=2), factor=2)


@pytest.mark.parametrize("case", sample(PLAIN, 4), ids=ident)
def test_plain(case):
    name, shape, argument, weight = case
    arrays = [normal(*weight, seed=1)] + [normal(*weight, seed=2)] * (name != "rms_norm")
    check(
        lambda x, *arrays: getattr(F, name)(x, argument, *arrays),
        lambda x, *arrays: getattr(TF, name)(x, argument, *arrays),
        normal(*shape),
        *arrays,
        factor=2,
    )


@pytest.mark.parametrize("case", PLAIN[:4], ids=ident)
def test_without_weights(case):
    name, shape, argument, _ = case
    x = normal(*shape)
    assert_close(
        getattr(F, name)(x, argument, eps=0.1),
        getattr(TF, name)(torch.from_numpy(x), argument, eps=0.1),
    )


def test_layer_norm_takes_a_number():
    x = normal(2, 4)
    assert_close(F.layer_norm(x, 4), TF.layer_norm(torch.from_numpy(x), (4,)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_kept_beside_float32_weights(dtype):
    w = normal(6)
    check_bfloat16(lambda x: F.layer_norm(x, 6, w, w), normal(3, 6), dtype=dtype)
    check_bfloat16(lambda x: F.rms_norm(x, 6, w), normal(3, 6), dtype=dtype)
    check_bfloat16(lambda x: F.group_norm(x, 2, w, w), normal(3, 6), dtype=dtype)
    norm = lambda x: F.batch_norm(x, jnp.zeros(6), jnp.ones(6), w, w, training=True)
    check_bfloat16(lambda x: norm(x)[0], normal(8, 6), dtype=dtype)
    new = norm(normal(8, 6).astype(dtype))[1]
    assert new[0].dtype == new[1].dtype == jnp.float32


def test_float64(x64):
    x = normal(4, 3).astype(np.float64)
    mean, var = jnp.zeros(3), jnp.ones(3)
    output, new = F.batch_norm(x, mean, var, training=True)
    assert output.dtype == new[0].dtype == jnp.float64
    assert_close(output, TF.batch_norm(torch.from_numpy(x), None, None, training=True), "float64")


def test_errors():
    x = jnp.ones((2, 3, 4))
    stats = jnp.zeros(3), jnp.ones(3)
    with pytest.raises(
        ValueError, match=r"more than 1 value per channel .* input \[1, 3]; use a l"
    ):
        F.batch_norm(jnp.ones((1, 3)), *stats, training=True)
    with pytest.raises(ValueError, match=r"instance_norm: expected more than 1 value per channel"):
        F.instance_norm(jnp.ones((2, 3, 1)))
    with pytest.raises(
        ValueError, match=r"expected running_mean and running_var when not training"
    ):
        F.batch_norm(x, None, None)
    with pytest.raises(ValueError, match=r"batch_norm: expected running_var \[3], got \[4]"):
        F.batch_norm(x, stats[0], jnp.ones(4))
    with pytest.raises(ValueError, match=r"batch_norm: expected input \[N, C, ...], got \[3]"):
        F.batch_norm(jnp.ones(3), *stats)
    with pytest.raises(TypeError, match=r"batch_norm: expected a floating input, got int32"):
        F.batch_norm(x.astype(jnp.int32), *stats)
    with pytest.raises(ValueError, match=r"expected num_groups to divide the 3 channels .* got 2"):
        F.group_norm(x, 2)
    with pytest.raises(ValueError, match=r"group_norm: expected weight \[3], got \[4]"):
        F.group_norm(x, 3, jnp.ones(4))
    with pytest.raises(ValueError, match=r"layer_norm: expected input \[..., 3], got \[2, 3, 4]"):
        F.layer_norm(x, 3)
    with pytest.raises(ValueError, match=r"layer_norm: expected bias \[4], got \[3]"):
        F.layer_norm(x, 4, None, jnp.ones(3))


@pytest.mark.parametrize(("part", "shape"), [("within", (3, 13, 19)), ("moments", (13, 19, 3))])
def test_layers_of_one_shape_are_traced_once(part, shape, monkeypatch):
    calls, function = [], jax.lax.rsqrt
    monkeypatch.setattr(jax.lax, "rsqrt", lambda x: calls.append(x) or function(x))

    def loss(ws, x):
        for w in ws:
            if part == "within":
                x = F.layer_norm(x, shape[-1], w)
            else:
                x, _ = F.batch_norm(x, None, None, w, training=True)
        return x.sum()

    ws = [jnp.ones(19)] * 6
    jax.make_jaxpr(jax.grad(loss))(ws, jnp.ones(shape))
    assert 1 <= len(calls) <= 3


def test_without_a_spatial_element_the_running_statistics_stay():
    x, mean, var = np.zeros((2, 3, 0), np.float32), normal(3), np.abs(normal(3, seed=1))
    running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    TF.instance_norm(torch.from_numpy(x), *running, momentum=0.5)
    _, statistics = F.instance_norm(*map(jnp.asarray, (x, mean, var)), momentum=0.5)
    for ours, theirs, before in zip(statistics, running, (mean, var)):
        assert_close(ours, theirs)
        assert_close(ours, before)


def test_second_derivatives_of_an_empty_batch_are_no_nan():
    def gradient(weight):
        normed = lambda x: F.batch_norm(x, None, None, weight, training=True)[0]
        return jnp.sum(jax.grad(lambda x: jnp.sum(normed(x) ** 2))(jnp.ones((0, 3))))

    assert jax.grad(gradient)(jnp.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("jit", [jax.jit, lambda function: function])
def test_a_group_of_one_has_no_gradient(jit):
    x, weight, bias = normal(5, 3), normal(3, seed=1), normal(3, seed=2)
    gradient = jit(jax.grad(lambda x: (F.group_norm(x, 3, weight, bias) * x).sum()))
    assert gradient(x).tolist() == np.tile(bias, (5, 1)).tolist()
    output, pullback = jax.vjp(lambda x: F.layer_norm(x, 1, weight[:1], bias[:1]), x[..., None])
    assert (output == bias[0]).all() and (pullback(output)[0] == 0).all()
    assert jnp.isnan(F.layer_norm(jnp.array([jnp.nan, jnp.inf])[:, None], 1)).all()
