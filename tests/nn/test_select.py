"""partition, merge and at: parts of trees by name."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn

MODEL = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
PARAMS, STATE = MODEL.init(jax.random.key(0))
X = jnp.ones((3, 4))


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("2.*", 2), (["*.bias", "1.weight"], 4), (lambda name, a: a.ndim == 2, 2), ("*", 6)],
)
def test_halves_are_complementary_and_merge_back(pattern, count):
    first, rest = nn.partition(PARAMS, pattern)
    assert len(jax.tree.leaves(first)) == count and len(jax.tree.leaves(rest)) == 6 - count
    chex.assert_trees_all_equal(nn.merge(first, rest), PARAMS)
    chex.assert_trees_all_equal(nn.merge(rest, first), PARAMS)


def test_training_one_half_is_training_with_the_other_frozen():
    trained, fixed = nn.partition(PARAMS, "2.*")
    optimizer = fx.optim.adamw(0.1)

    def loss(params):
        return (MODEL.apply(params, STATE, X)[0] ** 2).sum()

    @jax.jit
    def step(trained, opt_state):
        grads = jax.grad(lambda t: loss(nn.merge(t, fixed)))(trained)
        updates, opt_state = optimizer.update(grads, opt_state, trained)
        return jax.tree.map(jnp.add, trained, updates), opt_state

    opt_state = optimizer.init(trained)
    for _ in range(3):
        trained, opt_state = step(trained, opt_state)
    frozen = fx.optim.freeze(fx.optim.adamw(0.1), ["0.*", "1.*"])
    params, opt_state = PARAMS, frozen.init(PARAMS)
    for _ in range(3):
        updates, opt_state = frozen.update(jax.grad(loss)(params), opt_state, params)
        params = jax.tree.map(jnp.add, params, updates)
    chex.assert_trees_all_close(nn.merge(trained, fixed), params, rtol=1e-5)
    chex.assert_trees_all_equal(params["0"], PARAMS["0"])


def test_partition_errors():
    with pytest.raises(ValueError, match="partition: expected a pattern or several, got none"):
        nn.partition(PARAMS, [])
    with pytest.raises(TypeError, match="partition: expected a pattern as text or as a function"):
        nn.partition(PARAMS, [3])
    with pytest.raises(ValueError, match='partition: "head.*" matches no array; they are 0.bias,'):
        nn.partition(PARAMS, "head.*")
    with pytest.raises(ValueError, match='merge: "0.bias" stands in several of the trees'):
        nn.merge(PARAMS, PARAMS)
    with pytest.raises(ValueError, match="merge: expected trees of one structure"):
        nn.merge(nn.partition(PARAMS, "2.*")[0], {"a": None})
    with pytest.raises(ValueError, match="merge: expected the trees that partition returned"):
        nn.merge()


def test_at_reads_and_changes_a_copy():
    weight = PARAMS["0"]["weight"]
    assert nn.at(PARAMS, "0.weight").get() is weight and nn.at(PARAMS, "0").get() is PARAMS["0"]
    new = nn.at(PARAMS, "0.weight").set(jnp.zeros((4, 4)))
    assert not new["0"]["weight"].any() and PARAMS["0"]["weight"] is weight
    assert new["1"] is PARAMS["1"] and new["0"]["bias"] is PARAMS["0"]["bias"]
    doubled = nn.at(PARAMS, "1").apply(lambda a: 2 * a)
    np.testing.assert_array_equal(doubled["1"]["weight"], 2)
    for use in (lambda at: at.get(), lambda at: at.set(1), lambda at: at.apply(jnp.sum)):
        with pytest.raises(ValueError, match="at: nothing is called '0.kernel'; at 'kernel' is "):
            use(nn.at(PARAMS, "0.kernel"))
    with pytest.raises(ValueError, match="at: nothing is called '0.weight.x'; at 'x' is an array"):
        nn.at(PARAMS, "0.weight.x").get()
