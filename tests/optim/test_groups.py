import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from fx import checkpoint, nn, optim, train
from tests.optim.wrapping import Net, batches, by_hand, check_in_training, mse


def tree():
    return Net().init(jax.random.key(0))[0]


def test_groups_train_as_torchs_do(x64):
    """torch.optim.AdamW with param_groups: no decay on biases, a smaller rate for the body."""
    xs, ys = batches(30, np.float64)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree())
    optimizer = optim.groups(
        {
            "*.bias": optim.adamw(0.02, weight_decay=0.0),
            "body.*": optim.adamw(0.001, weight_decay=0.3),
        },
        default=optim.adamw(0.02, weight_decay=0.3),
    )
    ours = by_hand(optimizer, params, xs, ys)[-1][0]

    t = jax.tree.map(lambda leaf: torch.nn.Parameter(torch.tensor(np.asarray(leaf))), params)
    body, head = t["body"], t["head"]
    theirs = torch.optim.AdamW(
        [
            {"params": [body["bias"], head["bias"]], "weight_decay": 0.0, "lr": 0.02},
            {"params": [body["weight"]], "lr": 0.001},
            {"params": [head["weight"]], "lr": 0.02},
        ],
        weight_decay=0.3,
    )
    for x, y in zip(torch.tensor(xs), torch.tensor(ys)):
        theirs.zero_grad()
        hidden = torch.tanh(x @ body["weight"] + body["bias"])
        ((hidden @ head["weight"] + head["bias"] - y) ** 2).mean().backward()
        theirs.step()
    for part in t:
        for name in t[part]:
            np.testing.assert_allclose(ours[part][name], t[part][name].detach(), rtol=1e-10)


def test_the_first_match_wins_and_rates_are_read_by_name():
    optimizer = optim.groups(
        {
            ("head.weight", "body.bias"): optim.sgd(0.5),
            "head.*": optax.inject_hyperparams(optax.sgd)(learning_rate=0.25),
            "*": optim.frozen(),
        }
    )
    opt_state = optimizer.init(tree())
    rates = {name: float(rate) for name, rate in optim.current_lrs(opt_state).items()}
    assert rates == {"head.weight, body.bias": 0.5, "head.*": 0.25}
    assert float(optim.current_lr(opt_state)) == 0.5
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, tree()), opt_state, tree())
    moved = jax.tree.map(lambda u: float(u.ravel()[0]), updates)
    assert moved == {
        "body": {"weight": 0.0, "bias": -0.5},
        "head": {"weight": -0.5, "bias": -0.25},
    }


def test_rates_without_groups_and_without_a_rate():
    assert list(optim.current_lrs(optim.adam(0.5).init(tree()))) == ["default"]
    assert optim.current_lrs(optax.adam(0.5).init(tree())) == {}
    learning_rate = {"learning_rate": jnp.ones(2), "hyperparams": {"learning_rate": jnp.ones(2)}}
    assert float(optim.current_lr(optim.adam(0.5).init(learning_rate))) == 0.5


def test_the_order_is_kept_through_jit():
    """Dictionaries come out of jit sorted; the first group stays the first."""
    optimizer = optim.groups({"head.*": optim.sgd(0.5)}, default=optim.sgd(0.25))
    opt_state = jax.jit(optimizer.init)(tree())
    assert float(optim.current_lr(opt_state)) == 0.5
    assert list(optim.current_lrs(opt_state)) == ["head.*", "default"]


def test_names_are_those_of_a_model():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    params, _ = model.init(jax.random.key(0))

    def no_decay(name, array):
        return name.endswith("bias") or array.ndim == 1

    optimizer = optim.groups({no_decay: optim.sgd(1.0)}, default=optim.frozen())
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params))
    moved = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, u in jax.tree_util.tree_leaves_with_path(updates)
        if jnp.any(u != 0)
    ]
    assert moved == ["0.bias", "1.bias", "1.weight", "2.bias"]


AWKWARD = jnp.array([0.0, -0.0, 1e-40, -jnp.inf, jnp.nan, 0.1], jnp.float32)


def test_frozen_parameters_keep_their_bits_and_cost_no_memory():
    params = {"a": {"weight": AWKWARD}, "b": {"weight": jnp.ones(7)}}
    decayed = optim.adamw(0.1, weight_decay=0.5)
    optimizer = optim.freeze(optax.chain(optim.clip_by_norm(1.0), decayed), "a.*")

    @jax.jit
    def step(params, opt_state):
        grads = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), params)
        grads["b"] = jax.tree.map(jnp.ones_like, params["b"])
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    with jax.numpy_dtype_promotion("standard"):
        opt_state = optimizer.init(params)
        new, opt_state = step(*step(params, opt_state))
    bits = [np.asarray(p["a"]["weight"]).view(np.int32) for p in (new, params)]
    np.testing.assert_array_equal(*bits)
    assert np.all(np.isfinite(new["b"]["weight"])) and np.all(new["b"]["weight"] < 1)
    assert {leaf.shape for leaf in jax.tree.leaves(opt_state)} == {(), (7,)}


def test_freeze_takes_several_patterns_and_a_predicate():
    for patterns in (["body.weight", "body.bias"], lambda name, p: not name.startswith("head.")):
        optimizer = optim.freeze(optim.sgd(1.0), patterns)
        updates, _ = optimizer.update(
            jax.tree.map(jnp.ones_like, tree()), optimizer.init(tree()), tree()
        )
        assert all(not np.any(leaf) for leaf in jax.tree.leaves(updates["body"]))
        assert all(np.all(leaf == -1) for leaf in jax.tree.leaves(updates["head"]))


FROZEN = {
    "freeze": lambda: optim.freeze(optim.sgd(1.0), "body.*"),
    "a predicate": lambda: optim.freeze(optim.sgd(1.0), lambda name, p: name.startswith("body")),
    "a group": lambda: optim.groups({"body.*": optim.frozen()}, default=optim.sgd(1.0)),
    "within a group": lambda: optim.groups(
        {"head.*": optim.sgd(1.0)}, default=optim.freeze(optim.sgd(1.0), "*")
    ),
    "within others": lambda: optim.lookahead(
        optax.chain(optax.identity(), optim.freeze(optim.sgd(1.0), "body.*")), k=99
    ),
}


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_frozen_has_no_part_in_the_norm(name, accumulate):
    """As torch's clip_grad_norm_, which passes over parameters that want no gradient."""
    x, y = np.full((8, 4), 3.0, np.float32), np.full((8, 2), 50.0, np.float32)
    step = train.make_step(
        Net(), mse, FROZEN[name](), clip_norm=1.0, donate=False, accumulate=accumulate,
        check_finite=True, diagnostics=True,
    )  # fmt: skip
    ts = train.create(Net(), step.optimizer, jax.random.key(0))
    new, metrics = step(ts, (x, y))

    params = jax.tree.map(
        lambda leaf: torch.nn.Parameter(torch.tensor(np.asarray(leaf))), ts.params
    )
    for leaf in params["body"].values():
        leaf.requires_grad_(False)
    hidden = torch.tanh(torch.tensor(x) @ params["body"]["weight"] + params["body"]["bias"])
    outputs = hidden @ params["head"]["weight"] + params["head"]["bias"]
    torch.nn.functional.mse_loss(outputs, torch.tensor(y)).backward()
    norm = torch.nn.utils.clip_grad_norm_([*params["body"].values(), *params["head"].values()], 1)
    np.testing.assert_allclose(metrics["grad_norm"], norm.item(), rtol=1e-5)
    assert metrics["gradient_norm/body"] == 0 and metrics["gradient_norm/head"] > 1
    for key, leaf in params["head"].items():
        moved = ts.params["head"][key] - new.params["head"][key]
        np.testing.assert_allclose(moved, leaf.grad, rtol=1e-3, atol=1e-5)


def test_gradients_of_what_is_frozen_are_not_computed():
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(6)))
    x = jnp.ones((32, 64))

    def flops(optimizer, **options):
        step = train.make_step(model, mse, optimizer, **options)
        ts = train.create(model, step.optimizer, jax.random.key(0))
        return step.compiled.lower(ts, (x, x)).compile().cost_analysis()["flops"]

    head = optim.freeze(optim.sgd(0.1), lambda name, p: not name.startswith("5."))
    assert flops(head, clip_norm=1.0, check_finite=True) < 0.6 * flops(optim.sgd(0.1))


def test_in_a_part_that_optax_masks_others_keep_their_gradients():
    inner = optim.freeze(optim.sgd(1.0), "*.bias")
    optimizer = optax.partition({"a": inner, "b": optax.sgd(1.0)}, {"body": "a", "head": "b"})
    grads = jax.tree.map(jnp.ones_like, tree())
    kept = optim.without_frozen(grads, optimizer.init(tree()))
    jax.tree.map(np.testing.assert_array_equal, kept, grads)


def test_in_training_and_in_a_checkpoint(tmp_path):
    optimizer = optim.groups(
        {"*.bias": optim.frozen(), lambda name, p: name == "head.weight": optax.adam(0.1)},
        default=optim.lookahead(optim.sgd(0.1, 0.9), k=2),
    )
    ts = check_in_training(optimizer)
    checkpoint.save(tmp_path, ts, {})
    back, _ = checkpoint.restore(tmp_path, like=train.create(Net(), optimizer, jax.random.key(1)))
    assert jax.tree.structure(back) == jax.tree.structure(ts)
    jax.tree.map(np.testing.assert_array_equal, back.opt_state, ts.opt_state)
    other = optim.groups({"*.bias": optim.frozen()}, default=optim.sgd(0.1))
    with pytest.raises(ValueError, match="expected ts.opt_state to be that of"):
        train.make_step(Net(), mse, other)(back, (jnp.ones((8, 4)), jnp.ones((8, 2))))


def test_parameters_are_found_in_the_state():
    """What shards a state asks for its parameters with a placeholder."""
    for optimizer in (
        optim.groups({"body.*": optim.adam()}, default=optim.frozen()),
        optim.with_ema(optim.adam()),
        optim.lookahead(optim.reduce_lr_on_plateau(optim.sam(optim.adam()))),
    ):
        opt_state = optimizer.init(tree())
        marked = optax.tree_utils.tree_map_params(
            optimizer,
            lambda leaf: "param",
            opt_state,
            transform_non_params=lambda leaf: "other",
            is_leaf=lambda node: isinstance(node, optax.MaskedNode),
        )
        assert {"param", "other"} == set(jax.tree.leaves(marked))


@pytest.mark.parametrize(
    "groups, default, text",
    [
        ({}, None, "groups: expected at least one pattern for each group, got none"),
        ({(): optim.sgd(0.1)}, None, "groups: expected at least one pattern for each group"),
        ({"default": optim.sgd(0.1)}, None, 'different names, got two called "default"'),
        (
            {(lambda n, p: True): optim.sgd(0.1), (lambda n, p: False): optim.sgd(0.1)},
            None,
            'groups: expected groups of different names, got two called "<lambda>"; define',
        ),
        (
            {"neck.*": optim.sgd(0.1)},
            optim.sgd(0.1),
            r'"neck.\*" matches no parameter; the parameters are body.bias, body.weight, head.b',
        ),
        (
            {"body": optim.sgd(0.1)},
            optim.sgd(0.1),
            r'"body" matches no parameter, only parts of their names; write "body.\*"; the',
        ),
        (
            {("head.*", "nose"): optim.sgd(0.1)},
            None,
            '"nose" matches no parameter; body.bias, body.weight match no pattern; give default=',
        ),
        (
            {"*": optim.sgd(0.1), "head.*": optim.sgd(0.2)},
            None,
            r'"head.\*" matches only what earlier groups take; put it before them',
        ),
    ],
)
def test_errors(groups, default, text):
    with pytest.raises(ValueError, match=text):
        optim.groups(groups, default).init(tree())


def test_a_pattern_of_another_kind():
    with pytest.raises(TypeError, match="pattern as text or as a function of name and array, got"):
        optim.freeze(optim.sgd(0.1), [3])
    with pytest.raises(ValueError, match="expected at least one pattern for each group, got none"):
        optim.freeze(optim.sgd(0.1), [])


@pytest.mark.parametrize("name", ["sam", "with_ema"])
def test_what_needs_all_parameters_says_so(name):
    inner = getattr(optim, name)(optim.sgd(0.1))
    with pytest.raises(ValueError, match=rf"{name}: expected all parameters, .*{name}\(groups"):
        optim.groups({"head.*": inner}, default=optim.sgd(0.1)).init(tree())
