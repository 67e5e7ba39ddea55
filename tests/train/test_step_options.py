"""The options of make_step, each against what one would write by hand."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import fx
from fx.train.fetch import as_arrays
from fx.train.guard import GROWTH_INTERVAL, INIT_SCALE, guarded
from fx.train.record import Record
from tests.train.tiny_run import Batches, Net, accuracy, assert_same_bits, data, jitter, loss_fn

OPTIMIZER = fx.optim.sgd(0.1, momentum=0.9)


class Plain(Net):
    """Without dropout; its state counts calls and does not enter its outputs."""

    def apply(self, params, state, x, *, train=False, key=None):
        outputs, _ = super().apply(params, {"mean": jnp.zeros(4)}, x, train=False)
        return outputs, {"mean": state["mean"] + 1.0 if train else state["mean"]}


def batch(rows=8):
    return next(iter(Batches(batch_size=rows).epoch(0)))


def make(model=None, loss=loss_fn, optimizer=OPTIMIZER, **options):
    model = model or Plain()
    step = fx.train.make_step(model, loss, optimizer, donate=False, **options)
    return step, fx.train.create(model, step.optimizer, jax.random.key(0))


def gradients(ts, examples, model=None):
    def objective(params):
        outputs, _ = (model or Plain()).apply(params, ts.state, examples[0], train=True)
        return loss_fn(outputs, examples[1])

    return jax.grad(objective)(ts.params)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_is_the_large_batch(parts):
    whole, ts = make(metrics=accuracy, transform=jitter)
    split, _ = make(metrics=accuracy, transform=jitter, accumulate=parts)
    (one, report), (many, reports) = whole(ts, batch()), split(ts, batch())
    chex.assert_trees_all_close(one.params, many.params, rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_close(one.opt_state, many.opt_state, rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_close(report, reports, rtol=1e-5)
    assert float(many.state["mean"][0]) == parts  # the state went through every part


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("options", [{"ignore_index": 1}, {"weight": (0.1, 3.0, 1.0)}], ids=str)
def test_parts_of_unequal_weight_are_the_large_batch(options, parts):
    def mean(outputs, targets, **reduction):
        weight = options.get("weight")
        given = {"weight": jnp.array(weight)} if weight else options
        return fx.functional.cross_entropy(outputs, targets, **given, **reduction)

    def weights(targets):
        return jnp.array(options["weight"])[targets] if "weight" in options else targets != 1

    def both(outputs, targets):
        total = mean(outputs, targets, reduction="sum")
        return fx.train.Mean(total, jnp.sum(weights(targets)))

    inputs, targets = batch()
    targets = np.where(np.arange(8) < 2, 1, targets)  # the first of 4 parts has nothing that counts
    whole, ts = make(loss=mean)
    split, _ = make(loss=both, accumulate=parts)
    (one, report), (many, reports) = (step(ts, (inputs, targets)) for step in (whole, split))
    chex.assert_trees_all_close(one.params, many.params, rtol=1e-5, atol=1e-7)
    assert reports.pop("weight/loss") == pytest.approx(float(jnp.sum(weights(targets))))
    chex.assert_trees_all_close(report, reports, rtol=1e-5)
    if parts > 1:
        equal = make(loss=lambda y, t: jnp.nan_to_num(mean(y, t)), accumulate=parts)[0]
        assert abs(equal(ts, (inputs, targets))[1]["loss"] - report["loss"]) > 0.01


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_metric_of_unequal_weight_is_that_of_the_large_batch(parts):
    def counting(outputs, targets):
        counted = targets != 1
        hits = (outputs.argmax(-1) == targets) & counted
        first = fx.train.Mean(jnp.sum(hits), jnp.sum(counted))
        return {"accuracy": first, "size": fx.train.Mean(jnp.float32(6), len(targets))}

    inputs, targets = batch()
    targets = np.where(np.arange(8) < 2, 1, targets)
    step, ts = make(metrics=counting, accumulate=parts)
    outputs, _ = Plain().apply(ts.params, ts.state, inputs, train=True)
    counted = targets != 1
    expected = np.mean(np.argmax(outputs, -1)[counted] == targets[counted])
    report = step(ts, (inputs, targets))[1]
    np.testing.assert_allclose(report["accuracy"], expected, rtol=1e-6)
    np.testing.assert_allclose(report["size"], 6 * parts / 8, rtol=1e-6)


def test_parts_of_a_batch_draw_their_own_numbers():
    class Noise(Plain):
        def apply(self, params, state, x, *, train=False, key=None):
            noise = jax.random.normal(key, ())
            return x @ params["first"]["weight"].T * 0 + noise, state

    step, ts = make(Noise(), lambda y, t: jnp.mean(y), accumulate=2)
    _, model_key = jax.random.split(jax.random.fold_in(ts.key, 0))
    drawn = [jax.random.normal(jax.random.fold_in(model_key, i), ()) for i in range(2)]
    np.testing.assert_allclose(step(ts, batch())[1]["loss"], np.mean(drawn), rtol=1e-6)


def test_a_batch_that_cannot_be_split_is_named():
    step, ts = make(accumulate=3)
    with pytest.raises(ValueError, match=r"accumulate=3 expected batches.*got an array \[8, 4\]"):
        step(ts, batch())


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("remat", [True, jax.checkpoint_policies.nothing_saveable])
def test_rematerialisation_gives_the_same_step(remat, accumulate):
    plain, ts = make(Net(), accumulate=accumulate)
    saving, _ = make(Net(), accumulate=accumulate, remat=remat)
    (one, report), (other, reports) = plain(ts, batch()), saving(ts, batch())
    chex.assert_trees_all_close((one.params, report), (other.params, reports), rtol=1e-5, atol=1e-7)
    assert "remat" in str(jax.make_jaxpr(saving.function)(ts, batch()))


def test_rematerialisation_keeps_products_only():
    class Deep(Plain):
        def apply(self, params, state, x, *, train=False, key=None):
            h = x @ params["first"]["weight"].T
            for _ in range(20):
                h = jnp.tanh(h * 1.1)
            return h @ params["second"]["weight"].T + params["second"]["bias"], state

    examples = (jnp.ones((512, 4)), jnp.zeros(512, jnp.int32))
    sizes = []
    for remat in (False, True):
        step, ts = make(Deep(), remat=remat)
        jaxpr = jax.make_jaxpr(step.function)(ts, examples)
        sizes.append(sum(eqn.primitive.name == "tanh" for eqn in _equations(jaxpr.jaxpr)))
    assert sizes == [20, 40]


def _equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


@pytest.mark.parametrize("largest", [0.05, 100.0])
def test_clipping_by_norm_is_torchs(largest):
    step, ts = make(optimizer=fx.optim.sgd(1.0), clip_norm=largest)
    grads = gradients(ts, batch())
    leaves = [torch.nn.Parameter(torch.zeros(g.shape)) for g in jax.tree.leaves(grads)]
    for leaf, g in zip(leaves, jax.tree.leaves(grads)):
        leaf.grad = torch.from_numpy(np.array(g))
    norm = torch.nn.utils.clip_grad_norm_(leaves, largest)
    new, metrics = step(ts, batch())
    np.testing.assert_allclose(metrics["grad_norm"], norm.numpy(), rtol=1e-5)
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: a - b, ts.params, new.params))
    for leaf, got in zip(leaves, moved):
        np.testing.assert_allclose(got, leaf.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_clipping_by_value():
    step, ts = make(optimizer=fx.optim.sgd(1.0), clip_value=0.01)
    new, _ = step(ts, batch())
    expected = jax.tree.map(
        lambda p, g: p - jnp.clip(g, -0.01, 0.01), ts.params, gradients(ts, batch())
    )
    chex.assert_trees_all_close(new.params, expected, rtol=1e-5, atol=1e-6)


def test_a_moving_average_is_kept():
    step, ts = make(ema=0.5)
    average = ts.params
    for each in Batches().epoch(0):
        ts, _ = step(ts, each)
        average = jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, average, ts.params)
    assert int(ts.step) == 6
    found = fx.optim.averaged_params(ts.opt_state)
    # torch's average starts with the weights after the first step.
    ts, first = fx.train.create(Plain(), step.optimizer, jax.random.key(0)), None
    for each in Batches().epoch(0):
        ts, _ = step(ts, each)
        first = (
            ts.params
            if first is None
            else jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, first, ts.params)
        )
    chex.assert_trees_all_close(found, first, rtol=1e-5)


def poison(examples):
    return examples[0] * jnp.nan, examples[1]


def test_a_bad_step_changes_nothing_and_neither_do_later_ones():
    step, ts = make(Net(), check_finite=True, ema=0.9)
    ts, metrics = step(ts, batch())
    assert bool(metrics["finite"])
    bad, metrics = step(ts, poison(batch()))
    assert not bool(metrics["finite"]) and int(bad.step) == 1
    later, metrics = step(bad, batch())
    assert not bool(metrics["finite"])
    for after in (bad, later):
        assert_same_bits(
            (after.params, after.state, after.opt_state.inner, after.step, after.key),
            (ts.params, ts.state, ts.opt_state.inner, ts.step, ts.key),
        )


def test_gradients_that_are_not_finite_are_found_where_the_loss_is():
    def loss(outputs, targets):
        return jnp.sum(jnp.sqrt(outputs * 0.0))  # its gradient is 0 times infinity

    step, ts = make(loss=loss, check_finite=True)
    _, metrics = step(ts, batch())
    assert float(metrics["loss"]) == 0.0 and not bool(metrics["finite"])


def test_the_check_changes_no_step_that_is_good():
    plain, one = make(Net())
    checked, other = make(Net(), check_finite=True)
    for each in Batches().epoch(0):
        (one, _), (other, _) = plain(one, each), checked(other, each)
    chex.assert_trees_all_close(one.params, other.params, rtol=1e-6)


def test_the_first_bad_step_of_a_call_is_the_last():
    step, ts = make(check_finite=True, steps_per_call=3)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), batch())
    inputs = stacked[0].at[1].set(jnp.nan)
    new, metrics = step(ts, (inputs, stacked[1]))
    assert metrics["finite"].tolist() == [True, False, False] and int(new.step) == 1


def test_half_precision_leaves_steps_that_overflow_out_and_halves_the_scale():
    seen = []

    class Watching(Plain):
        def apply(self, params, state, x, *, train=False, key=None):
            seen.append({leaf.dtype for leaf in jax.tree.leaves((params, x))})
            return super().apply(params, state, x, train=train, key=key)

    step, ts = make(Watching(), lambda y, t: 10.0 * loss_fn(y, t), precision="fp16")
    assert float(ts.opt_state.scale) == INIT_SCALE
    scales, before = [], ts
    for _ in range(12):
        ts, metrics = step(ts, batch())
        scales.append(float(metrics["loss_scale"]))
        if scales[-1] < (scales[-2] if len(scales) > 1 else INIT_SCALE):
            assert_same_bits((ts.params, ts.state), (before.params, before.state))
        before = ts
    assert seen[0] == {jnp.dtype(jnp.float16)}
    assert scales[0] == INIT_SCALE / 2 and scales[-1] == scales[-2]  # it has found its scale
    assert {leaf.dtype for leaf in jax.tree.leaves(ts.params)} == {jnp.dtype(jnp.float32)}
    assert int(ts.step) == 12


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_skipped_steps_are_counted_and_enter_no_mean(steps_per_call):
    step, ts = make(
        loss=lambda y, t: 10.0 * loss_fn(y, t),
        precision="fp16",
        clip_norm=1.0,
        steps_per_call=steps_per_call,
    )
    logs = []
    log = lambda event: logs.append(event.values) if event.kind == "log" else None
    kept = jax.tree.map(jnp.copy, ts)
    row, later = fx.fit(
        step, ts, Batches(), epochs=2, log_every=2, callbacks=[log], progress=False
    ).history
    ts, taken, skipped = kept, [], 0
    for one in Batches().epoch(0, steps_per_call=steps_per_call):
        ts, metrics = step(ts, one)
        norms, flags = (np.atleast_1d(metrics[name]) for name in ("grad_norm", "skipped"))
        taken += norms[~flags].tolist()
        skipped += int(flags.sum())
    assert 0 < skipped < 6 and row["train_skipped"] == skipped and later["train_skipped"] == 0
    assert np.isfinite(taken).all()
    assert row["train_grad_norm"] == pytest.approx(np.mean(taken), rel=1e-6)
    assert sum(values["skipped"] for values in logs[:3]) == skipped
    assert type(row["train_skipped"]) is int


def test_where_every_step_was_skipped_there_is_no_mean():
    record = Record({})
    record.add(as_arrays([({"loss": 2.0, "grad_norm": np.inf, "skipped": True}, 1)]), np.array([8]))
    assert math.isnan(record.means()["grad_norm"]) and record.means()["skipped"] == 1
    record.add(as_arrays([({"loss": 4.0, "grad_norm": 3.0, "skipped": False}, 1)]), np.array([8]))
    assert record.means() == {"loss": 4.0, "grad_norm": 3.0, "skipped": 1}


def test_half_precision_trains_as_float32_does():
    half, one = make(precision="fp16")
    full, other = make()
    one = one.replace(opt_state=one.opt_state._replace(scale=jnp.float32(256)))  # no overflow
    for epoch in range(3):
        for each in Batches().epoch(epoch):
            (one, _), (other, _) = half(one, each), full(other, each)
    chex.assert_trees_all_close(one.params, other.params, atol=3e-2)


def test_the_scale_moves_as_torchs():
    scaler = torch.amp.GradScaler("cpu", growth_interval=GROWTH_INTERVAL)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    ours = guarded(optax.sgd(0.0), scaled=True, stops=False)
    params = {"w": jnp.zeros(1)}

    @jax.jit
    def update(state, value):
        return ours.update({"w": value}, state, params, value=jnp.float32(1.0))[1]

    state = ours.init(params)
    state = state._replace(good_steps=jnp.int32(GROWTH_INTERVAL - 3))
    scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    scaler._growth_tracker.fill_(GROWTH_INTERVAL - 3)
    for value in [1.0, 1.0, 1.0, np.inf, 1.0, np.nan, np.nan, 1.0]:
        weight.grad = torch.full((1,), value)
        scaler.scale(torch.ones(()))
        scaler.step(optimizer)
        scaler.update()
        state = update(state, jnp.full(1, value, jnp.float32))
        assert float(state.scale) == scaler.get_scale()
        assert int(state.good_steps) == int(scaler._growth_tracker)


def test_half_precision_fails_for_good_where_the_loss_is_not_finite():
    step, ts = make(precision="fp16", check_finite=True)
    after, metrics = step(ts, poison(batch()))
    assert not bool(metrics["finite"])
    assert_same_bits(after.params, ts.params)


def test_an_option_with_a_state_needs_its_optimizer():
    step = fx.train.make_step(Plain(), loss_fn, OPTIMIZER, check_finite=True)
    ts = fx.train.create(Plain(), OPTIMIZER, jax.random.key(0))
    with pytest.raises(ValueError, match=r"train.create\(model, step.optimizer, key\)"):
        step(ts, batch())


def test_a_second_compilation_is_explained():
    step, ts = make()
    ts, _ = step(ts, batch())
    ts, _ = step(ts, batch())
    assert step.compilations.count == 1 and step.compilations.reasons == []
    step(ts, batch(4))
    assert step.compilations.reasons == [
        "batch[0] was float32[8, 4] and is float32[4, 4], batch[1] was int32[8] and is int32[4]"
    ]
    step(ts.replace(step=0), batch(4))
    assert step.compilations.reasons[1] == "ts.step was int32[] and is Python int"
    x, y = batch(4)
    step(ts, (x, y.astype(np.int8)))
    assert "batch[1] was int32[4] and is int8[4]" in step.compilations.reasons[2]


def test_compilations_are_counted_where_jaxs_cache_is_full_and_not_in_other_programs():
    step, ts = make(max_compiles=1)

    class Full:
        def __call__(self, *arguments):
            return compiled(*arguments)

        def _cache_size(self):
            return 0

    compiled, full = step.compiled, dataclasses.replace(step, compiled=Full())
    jax.eval_shape(full, ts, batch(2))
    assert full.compilations.count == 0
    ts, _ = full(ts, batch())
    assert full.compilations.count == 1
    with pytest.raises(
        RuntimeError, match="expected at most 1 compilation, this call was number 2"
    ):
        full(ts, batch(4))


def test_weak_types_are_named():
    step, ts = make()
    step(ts, batch())
    weak = jax.tree.map(lambda leaf: leaf, ts.params)
    weak["second"]["bias"] = jnp.broadcast_to(jnp.asarray(1.0), (3,))
    step(ts.replace(params=weak), batch())
    assert step.compilations.reasons == [
        "ts.params['second']['bias'] was float32[3] and is weakly typed float32[3]"
    ]


def test_more_compilations_than_allowed_are_an_error():
    step, ts = make(max_compiles=1)
    ts, _ = step(ts, batch())
    with pytest.raises(RuntimeError, match=r"at most 1 compilation, this call was number 2: batch"):
        step(ts, batch(4))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("expected accumulate of 1 or more, got 0", {"accumulate": 0}),
        ("expected clip_norm above 0, got 0", {"clip_norm": 0}),
        ("expected clip_value above 0, got -1", {"clip_value": -1}),
        ("expected max_compiles of 1 or more, got 0", {"max_compiles": 0}),
    ],
)
def test_errors(text, options):
    with pytest.raises(ValueError, match=text):
        make(**options)


def test_a_step_can_be_vmapped_scanned_and_differentiated():
    step, _ = make(accumulate=2, clip_norm=1.0, check_finite=True)
    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.vmap(lambda key: fx.train.create(Plain(), step.optimizer, key))(keys)
    together, _ = jax.vmap(step.function, (0, None))(many, batch())
    alone, _ = step(fx.train.create(Plain(), step.optimizer, keys[1]), batch())
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[1], together.params), alone.params, rtol=1e-5, atol=1e-6
    )

    inner, ts = make(optimizer=fx.optim.sgd(0.1))
    x, y = map(jnp.asarray, batch())

    def after_training(shift):  # meta-learning: through five steps of training
        def body(ts, _):
            return inner.function(ts, (x + shift, y))[0], None

        trained, _ = jax.lax.scan(body, ts, None, length=5)
        return loss_fn(Plain().apply(trained.params, trained.state, x)[0], y)

    slope = jax.grad(after_training)(jnp.float32(0.0))
    numeric = (after_training(jnp.float32(1e-2)) - after_training(jnp.float32(-1e-2))) / 2e-2
    np.testing.assert_allclose(slope, numeric, rtol=2e-2)


def test_layers_that_are_finite_are_told_from_those_that_are_not():
    class Fragile(fx.nn.Module):
        def forward(self, x):
            return jnp.log(x - jnp.max(x))  # minus infinity at the largest, nan below

    model = fx.nn.Sequential({"fc": fx.nn.Linear(4, 3), "fragile": Fragile()})
    for accumulate in (1, 2):
        step, ts = make(model, check_finite="layers", accumulate=accumulate)
        _, metrics = step(ts, batch())
        assert bool(metrics["finite/fc"]) and not bool(metrics["finite/fragile"])
        assert not bool(metrics["finite"])


def test_diagnostics_are_norms_by_layer():
    step, ts = make(optimizer=fx.optim.sgd(0.1), diagnostics=True, clip_norm=1e-3)
    new, metrics = step(ts, batch())
    grads = gradients(ts, batch())
    for layer in ("first", "second"):
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads[layer])))
        np.testing.assert_allclose(metrics[f"gradient_norm/{layer}"], norm, rtol=1e-5)
        moved, size = (
            np.sqrt(sum(np.sum(np.square(a)) for a in jax.tree.leaves(tree)))
            for tree in (
                jax.tree.map(jnp.subtract, new.params[layer], ts.params[layer]),
                ts.params[layer],
            )
        )
        np.testing.assert_allclose(metrics[f"update_ratio/{layer}"], moved / size, rtol=1e-4)


def test_plain_optax_reports_its_rate_where_it_is_told():
    schedule = optax.linear_schedule(0.5, 0.0, 10)
    step, ts = make(optimizer=optax.sgd(schedule), lr=schedule)
    ts, metrics = step(ts, batch())
    assert float(metrics["learning_rate"]) == 0.5
    assert float(step(ts, batch())[1]["learning_rate"]) == pytest.approx(0.45)
    step, ts = make(lr=7.0)  # what the state knows is the truth
    assert float(step(ts, batch())[1]["learning_rate"]) == pytest.approx(0.1)


def test_sams_second_gradient_is_clipped_and_checked_too():
    largest = 1e-3
    step, ts = make(optimizer=fx.optim.sam(fx.optim.sgd(1.0)), clip_norm=largest)
    new, _ = step(ts, batch())
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, new.params, ts.params))
    assert float(moved) <= largest * 1.001

    class Cliff(Plain):
        """Finite where it starts, and nowhere near."""

        def apply(self, params, state, x, *, train=False, key=None):
            outputs, state = super().apply(params, state, x, train=train, key=key)
            here = jnp.all(params["second"]["bias"] == 0)
            return outputs * jnp.where(here, 1.0, jnp.nan), state

    step, ts = make(Cliff(), optimizer=fx.optim.sam(fx.optim.sgd(0.1)), check_finite=True)
    new, metrics = step(ts, batch())
    assert not bool(metrics["finite"])
    assert_same_bits(new.params, ts.params)


def test_weakly_typed_leaves_do_not_compile_twice():
    class Weak(Plain):
        def init(self, key):
            params, state = super().init(key)
            return params | {"scale": jnp.asarray(0.5)}, state

    step, ts = make(Weak(), max_compiles=1)
    for each in Batches().epoch(0):
        ts, _ = step(ts, each)


def take(model=None, loss=loss_fn, **options):
    step, ts = make(model, loss, **options)
    return step(ts, data(8))[0]


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"remat": True}, {"precision": "fp16"}])
@pytest.mark.parametrize(
    "loss",
    [
        lambda y, t: jnp.mean((jnp.argmax(y, 1) != t).astype(jnp.float32)),
        lambda y, t: jnp.mean(jnp.round(y) ** 2),
        lambda y, t: jnp.mean(jax.lax.stop_gradient(y)),
        lambda y, t: jnp.float32(1.0),
    ],
)
def test_a_loss_without_a_gradient_is_refused(loss, options):
    with pytest.raises(ValueError, match="train step: expected a loss with a gradient to the para"):
        take(None, loss, **options)


def test_a_gradient_to_one_parameter_will_do():
    class OnlyBias(Net):
        def apply(self, params, state, x, *, train=False, key=None):
            params = jax.lax.stop_gradient(params) | {"second": params["second"]}
            return super().apply(params, state, x, train=train, key=key)

    assert int(take(OnlyBias()).step) == 1
