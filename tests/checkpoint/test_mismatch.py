"""What a checkpoint says that does not fit."""

import chex
import jax
import jax.numpy as jnp
import pytest

import fx
from fx import checkpoint
from tests.train.tiny_run import Net


def state(model=None, optimizer=None):
    optimizer = optimizer or fx.optim.adam(fx.optim.step_lr(0.1, 5))
    return fx.train.create(model or Net(), optimizer, jax.random.key(0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    checkpoint.save(run, state(), {})
    return run


def message(run, like):
    with pytest.raises(ValueError, match="made by another model or optimizer") as error:
        checkpoint.restore(run, like=like)
    return str(error.value)


def test_differences_are_listed_all_at_once(saved):
    like = state(optimizer=fx.optim.sgd(0.1))
    params = dict(like.params)
    params["first"] = {"weight": jnp.zeros((8, 5))}
    params["second"] = {"weight": params["second"]["weight"].astype(jnp.bfloat16)}
    params["third"] = jnp.zeros(2)
    like = like.replace(params=params, key=jax.random.key(0, impl="rbg"))
    with pytest.raises(ValueError, match="made by another model or optimizer") as error:
        checkpoint.restore(saved, like=like)
    text = str(error.value)
    for line in (
        "params/third: not in the checkpoint",
        "params/second/bias: only in the checkpoint",
        "opt_state/0/mu/first/weight: only in the checkpoint",
        "params/first/weight: expected float32[8, 5], the checkpoint has float32[8, 4]",
        "params/second/weight: expected bfloat16[3, 8], the checkpoint has float32[3, 8]",
        "key: expected key<rbg>[], the checkpoint has key<fry>[]",
        "The key is of another generator",
        "The optimizer's state was made of ['ScaleByAdamState', ",
    ):
        assert line in text, text


class Renamed(Net):
    """The same network, whose second layer has another name."""

    def init(self, key):
        params, state = super().init(key)
        return {"first": params["first"], "head": params["second"]}, state


def test_a_changed_model_is_told_in_a_few_lines(saved):
    text = message(saved, state(Renamed()))
    assert "params/head/weight: not in the checkpoint, which has params/second/weight\n" in text
    assert "params/head/bias: not in the checkpoint, which has params/second/bias\n" in text
    assert "params/second/weight: only in the checkpoint\n" in text
    # Adam keeps two arrays for each of these four; saying so once is enough.
    assert "opt_state: the same for 8 arrays that go with these parameters\n" in text
    assert text.count("opt_state") == 1
    assert "The model's parameters differ: another class, another size, or another name" in text
    assert "The optimizer's state was made of" not in text
    assert "params, state = checkpoint.restore_weights(run_dir, model); another model takes" in text


def test_another_optimizer_is_told_by_its_classes(saved):
    text = message(saved, state(optimizer=fx.optim.sgd(0.1, momentum=0.9)))
    assert "opt_state/0/mu/first/weight: only in the checkpoint" in text
    assert "The optimizer's state was made of ['ScaleByAdamState', " in text
    assert "The model's" not in text


def test_a_long_list_is_cut(tmp_path):
    ts = fx.train.TrainState(jnp.int32(0), {}, {}, (), jnp.zeros(1))
    checkpoint.save(tmp_path, ts, {})
    many = {f"layer{number:02}": jnp.ones(1) for number in range(60)}
    text = message(tmp_path, ts.replace(params=many, state={"mean": jnp.ones(1)}))
    assert text.count("not in the checkpoint") == 41
    assert "params/layer39: not in" in text and "params/layer40: not in" not in text
    assert "\n  and 20 more\n  state/mean: not in the checkpoint\n" in text


def test_weights_are_read_whatever_optimizer_made_them(tmp_path):
    """With an average, a scale without elements, and a best step beside the latest."""
    model = fx.nn.Sequential(fx.nn.Linear(3, 4), fx.nn.BatchNorm1d(4))
    best = state(model, fx.optim.with_ema(fx.optim.adam(0.1), 0.9))
    best = best.replace(opt_state=(best.opt_state, jnp.zeros((0, 2))))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, (best.params, best.state))
    checkpoint.save(tmp_path, best, {}, best=True)
    last = best.replace(step=jnp.int32(1), params=doubled[0], state=doubled[1])
    checkpoint.save(tmp_path, last, {})
    chex.assert_trees_all_equal(checkpoint.restore_weights(tmp_path, model), doubled)
    found = checkpoint.restore_weights(tmp_path, model, which="best")
    chex.assert_trees_all_equal(found, (best.params, best.state))


def test_weights_of_another_model_are_refused(saved):
    with pytest.raises(ValueError, match="made by another model") as error:
        checkpoint.restore_weights(saved, fx.nn.Linear(8, 3))
    assert "  params/weight: not in the checkpoint" in str(error.value)
    assert "opt_state" not in str(error.value)
    with pytest.raises(TypeError, match=r"expected a model with init\(key\), got NoneType"):
        checkpoint.restore_weights(saved, None)


def test_what_has_no_step_is_refused(tmp_path):
    with pytest.raises(TypeError, match="an attribute `step`, got dict; several models .* dicts"):
        checkpoint.save(tmp_path, {"generator": jnp.ones(2)}, {})


@pytest.mark.parametrize("options", [{"ema": 0.5}, {"ema": 0.5, "precision": "fp16"}])
def test_the_average_of_the_weights_is_read(tmp_path, options):
    model = fx.nn.Linear(8, 3)
    step = fx.train.make_step(model, fx.functional.cross_entropy, fx.optim.adam(0.1), **options)
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    for _ in range(3):
        ts, _ = step(ts, (jnp.ones((4, 8)), jnp.zeros(4, jnp.int32)))
    checkpoint.save(tmp_path, ts, {})
    params, _ = checkpoint.restore_weights(tmp_path, model, average=True)
    chex.assert_trees_all_equal(params, fx.optim.averaged_params(ts.opt_state))
    assert not (params["weight"] == ts.params["weight"]).all()


def test_without_an_average_there_is_none_to_read(saved):
    with pytest.raises(ValueError, match="holds 0 averages of the weights, expected one; train"):
        checkpoint.restore_weights(saved, fx.nn.Linear(8, 4), average=True)
