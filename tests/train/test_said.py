"""What goes wrong in a run is said where it happens, with what to do."""

import random
import threading
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import data, evaluate, nn, train
from fx.functional import cross_entropy

RNG = np.random.default_rng(0)
X = RNG.standard_normal((33, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 33).astype(np.int32)
MODEL, ADAM = nn.Linear(4, 3), fx.optim.adam(1e-2)


def loader(size=16, **options):
    return data.Loader(data.Dataset(X, Y), size, **options)


def fresh(model=MODEL):
    return train.create(model, ADAM, jax.random.key(0))


def made(model=MODEL, loss=cross_entropy, **options):
    return train.make_step(model, loss, ADAM, **options), fresh(model)


def test_arrays_that_went_into_a_step():
    step, ts = made()
    step(ts, (X, Y))
    text = r"expected arrays that are there, but .* went into a training step.* \(result.ts\)"
    with pytest.raises(ValueError, match=f"Linear: {text}"):
        MODEL.apply(ts.params, ts.state, X)
    with pytest.raises(ValueError, match=f"Linear: {text}"):
        fx.state_dict(MODEL, ts.params)
    with pytest.raises(ValueError, match=r"predict: .*but params\['bias'\] went"):
        train.predict(MODEL, ts.params, ts.state, loader())
    with pytest.raises(ValueError, match=f"make_eval: {text}"):
        train.make_eval(MODEL, cross_entropy, loader())(ts)
    with pytest.raises(ValueError, match=f"export: {text}"):
        fx.export(MODEL, ts.params, ts.state, ((None, 4), "float32"), "nowhere")


def test_a_result_is_no_state():
    step, ts = made(donate=False)
    result = fx.fit(step, ts, loader(), epochs=1, progress=False)
    with pytest.raises(TypeError, match="fit: .* with a step, got Result; go on with result.ts"):
        fx.fit(step, result, loader(), epochs=1)
    with pytest.raises(TypeError, match="train step: .* got Result; go on with result.ts"):
        step(result, (X, Y))
    with pytest.raises(TypeError, match="got dict; make one with fx.train.create"):
        fx.fit(step, ts.params, loader(), epochs=1)


def drawn_by_numpy(x, key):
    return x * np.float32(np.random.rand())


def drawn_by_python(x, key):
    return x * random.random()


def many_drawn(x, key):
    return x + np.random.standard_normal(x.shape).astype(np.float32)


@pytest.mark.parametrize("transform", [drawn_by_numpy, drawn_by_python, many_drawn])
def test_random_numbers_that_tracing_makes_constants(transform):
    step, ts = made(transform=transform)
    with pytest.warns(
        RuntimeWarning, match="draws from np.random or random, which gives a constant"
    ):
        ts, _ = step(ts, (X, Y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(ts, (X, Y))
        quiet, ts = made(transform=lambda x, key: x + jax.random.normal(key, x.shape))
        quiet(ts, (X, Y))


def test_a_thread_that_draws_meanwhile_is_no_fault():
    """A loader's, say: torch's users augment so."""
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            np.random.rand()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            step, ts = made()
            step(ts, (X, Y))
    finally:
        stop.set()
        thread.join()


def test_a_fault_of_every_batch_is_not_the_last_ones():
    step, ts = made(nn.Linear(5, 3))
    with pytest.raises(ValueError, match=r"expected input .*5\], got \[16, 4\]") as caught:
        fx.fit(step, ts, loader(), epochs=1)
    assert not any("last batch" in each for each in caught.value.__notes__)


@pytest.mark.parametrize(
    ("transform", "note"),
    [
        (lambda x, t, key: (x, t), "goes in as transforms.WithTargets(function)"),
        (data.transforms.WithTargets(lambda x, t: (x, t)), "function(inputs, targets, key)"),
    ],
)
def test_how_a_transform_is_called(transform, note):
    step, ts = made(transform=transform)
    with pytest.raises(TypeError) as caught:
        step(ts, (X, Y))
    assert any(note in each for each in caught.value.__notes__)


def test_a_last_batch_that_fails_does_so_before_an_epoch():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    calls = []
    cases = [
        (made(network), r"more than 1 value per channel when training, got input \[1, 3\]"),
        (made(accumulate=4), "accumulate=4 expected batches whose number of examples it divides"),
    ]
    for (step, ts), text in cases:
        with pytest.raises(ValueError, match=text) as caught:
            fx.fit(step, ts, loader(), epochs=1, callbacks=[calls.append], log_every=1)
        note = "last batch, which has 1 examples where others have 16; Loader(..., drop_last=True)"
        assert any(note in each for each in caught.value.__notes__)
        assert not calls
        fx.fit(step, ts, loader(drop_last=True), epochs=1, progress=False)


def test_a_last_batch_is_traced_once():
    counted = chex.assert_max_traces(cross_entropy, n=2)
    step, ts = made(loss=lambda y, t: counted(y, t))
    result = fx.fit(step, ts, loader(), epochs=2, progress=False)
    assert step.compilations.count == 2 and int(result.ts.step) == 6
    assert len(step.compilations.reasons) == 1


@pytest.mark.parametrize("size, last", [(16, 1), (11, 11), (40, 33), (20, 13)])
def test_the_size_of_the_last_batch(size, last):
    (*_, (x, _)) = loader(size).epoch(0)
    assert loader(size).last_size == len(x) == last


def test_channels_and_classes_on_another_axis():
    for layer in (nn.BatchNorm1d(4), nn.InstanceNorm1d(4)):
        with pytest.raises(ValueError, match=r"channels are axis 1: jnp.moveaxis\(x, -1, 1\)"):
            layer.apply(*layer.init(jax.random.key(0)), jnp.zeros((2, 7, 4)))
        with pytest.raises(ValueError, match="set num_features=7"):
            layer.apply(*layer.init(jax.random.key(0)), jnp.zeros((2, 7, 5)))
    with pytest.raises(ValueError, match=r"last axis here: jnp.moveaxis\(outputs, 1, -1\)"):
        evaluate.classification_metrics(jnp.zeros((2, 3, 7)), jnp.zeros((2, 7), jnp.int32))


def test_inputs_of_a_summary_in_a_tuple():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b

    with pytest.raises(TypeError) as caught:
        fx.summary(Two(), (X, X))
    assert any("summary got 1 for the model's inputs" in each for each in caught.value.__notes__)
