import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from fx import functional as F
from fx.functional.layout import as_weights_lie, per_axis
from tests.functional.check import assert_close, normal


def test_no_transpose_is_left_between_spatial_functions():
    """What the layout rests on: XLA cancels the transposes inside a chain."""

    def chain(x, w):
        for _ in range(3):
            x = F.relu(F.conv2d(x, w, padding=1))
            x, _ = F.batch_norm(x, None, None, training=True)
            x = F.max_pool2d(x, 2)
        return x

    x, w = jnp.ones((4, 8, 32, 32)), jnp.ones((8, 8, 3, 3))
    compiled = jax.jit(chain).lower(x, w).compile().as_text()
    large = [
        line
        for line in compiled.splitlines()
        if " transpose(" in line and "f32[4," in line.split(" transpose(")[0]
    ]
    # One in front, one behind: each may stand alone or in a fusion of its own.
    assert len(large) <= 2, "\n".join(large)


def test_no_transpose_is_left_between_spatial_functions_in_the_gradient():
    def loss(ws, x):
        for w in ws:
            x = F.conv2d(x, w, padding=1)
            x, _ = F.batch_norm(x, None, None, jnp.ones(8), jnp.ones(8), training=True)
            x = F.silu(F.relu(x))
        return jnp.sum(jnp.square(F.max_pool2d(x, 2)))

    # More rows than 32, where XLA sums in stages on a CPU and wants the layout that it sums in.
    x, ws = jnp.ones((64, 8, 16, 16)), [jnp.ones((8, 8, 3, 3))] * 3
    compiled = jax.jit(jax.grad(loss)).lower(ws, x).compile().as_text()
    large = [
        line
        for line in compiled.splitlines()
        if re.search(r"= f32\[64,\d+,\d+,\d+\]\S* (transpose|copy)\(", line)
    ]
    # The input's own, as a transpose and a copy of it, each alone or in a fusion.
    assert len(large) <= 2, "\n".join(large)


def test_pointwise_functions_keep_name_and_values():
    x = jnp.asarray(normal(2, 3, 4, 5))
    assert pickle.loads(pickle.dumps(F.relu)) is F.relu
    assert jnp.array_equal(F.leaky_relu(x, 0.2), jnp.where(x > 0, x, 0.2 * x))


def every_family(x, w):
    """[N, 3, 8, 8] to [N, 5], through each family that looks at shapes."""
    x = F.conv2d(x, w, padding="same")
    x, _ = F.batch_norm(x, jnp.zeros(8), jnp.ones(8))
    x = F.max_pool2d(F.gelu(F.group_norm(x, 2)), 2)
    x = F.avg_pool2d(F.dropout2d(x, 0.5, False), 3, 1, 1)
    x = F.adaptive_avg_pool2d(F.pad(x, (1, 1, 1, 1), "reflect"), (2, 1))
    x = F.layer_norm(F.linear(x.reshape(x.shape[0], -1), jnp.ones((5, 16))), 5)
    return F.log_softmax(F.normalize(x), dim=1)


@pytest.mark.emitters  # else XLA gives -inf for a softmax of equal values
def test_the_batch_may_be_symbolic():
    x, w = normal(3, 3, 8, 8), jnp.asarray(normal(8, 3, 3, 3))
    (n,) = export.symbolic_shape("n")
    exported = export.export(jax.jit(lambda x: every_family(x, w)))(
        jax.ShapeDtypeStruct((n, 3, 8, 8), jnp.float32)
    )
    assert_close(exported.call(x), every_family(x, w))


def test_training_batch_norm_with_a_symbolic_batch():
    (n,) = export.symbolic_shape("n")

    def norm(x):
        return F.batch_norm(x, jnp.zeros(3), jnp.ones(3), training=True)

    exported = export.export(jax.jit(norm))(jax.ShapeDtypeStruct((n, 3), jnp.float32))
    x = normal(4, 3)
    jax.tree.map(assert_close, exported.call(x), norm(x))


def test_gradients_lie_as_weights_do_off_a_cpu():
    tree = {"conv": jnp.ones((2, 3, 4, 4)), "bias": jnp.ones(2), "places": jnp.ones((1, 2, 3))}
    traced = jax.jit(as_weights_lie).trace(tree)
    found = [
        traced.lower(lowering_platforms=(platform,)).as_text().count("@LayoutConstraint")
        for platform in ("cpu", "cuda", "tpu")
    ]
    assert found == [0, 1, 1]
    stacked = jax.tree.map(lambda x: x[None], tree)
    for same, given in (
        (as_weights_lie(tree), tree),
        (jax.vmap(as_weights_lie)(stacked), stacked),
        (jax.jvp(as_weights_lie, (tree,), (tree,))[1], tree),
        (jax.grad(lambda t: sum(map(jnp.sum, jax.tree.leaves(as_weights_lie(t)))))(tree), tree),
        (as_weights_lie({"bias": tree["bias"]}), {"bias": tree["bias"]}),
    ):
        jax.tree.map(np.testing.assert_array_equal, same, given)


def test_per_axis():
    assert per_axis(2, 3, "f", "stride") == (2, 2, 2)
    assert per_axis([2], 3, "f", "stride") == (2, 2, 2)
    assert per_axis((1, 2), 2, "f", "stride") == (1, 2)
    assert type(per_axis(np.int64(1), 2, "f", "stride")[0]) is int
    with pytest.raises(
        ValueError, match=r"f: expected stride an int or a tuple of 3 ints, got \(1"
    ):
        per_axis((1, 2), 3, "f", "stride")
    with pytest.raises(TypeError, match=r"f: expected stride an int or a tuple of 2 ints, got '2'"):
        per_axis("2", 2, "f", "stride")  # pyright: ignore
    with pytest.raises(TypeError, match="f: expected stride an int or a tuple of 2 ints, got True"):
        per_axis(True, 2, "f", "stride")
