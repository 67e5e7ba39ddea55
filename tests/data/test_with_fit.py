"""Every kind of loader trains with fx.fit, and a run that stopped goes on bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx.data import Dataset, Loader, StreamLoader, WeightedSampler, from_grain


class Line:
    def init(self, key):
        return {"weight": jnp.zeros(2)}, {}

    def apply(self, params, state, x, *, train=False, key=None):
        return x @ params["weight"], state


rng = np.random.default_rng(0)
INPUTS = rng.normal(size=(30, 2)).astype(np.float32)
TARGETS = INPUTS @ np.array([1.0, -2.0], np.float32)


def noisy(example, rng):
    return example[0] + rng.normal(size=2).astype(np.float32) / 10, example[1]


def stream(epoch):
    order = np.random.default_rng(epoch).permutation(30)
    return ((INPUTS[i], TARGETS[i]) for i in order)


def pipeline(epoch):
    """Shuffled and augmented anew in each epoch, by numbers that grain draws."""
    grain = pytest.importorskip("grain")

    class Noisy(grain.transforms.RandomMap):
        def random_map(self, element, rng):
            return noisy(element, rng)

    rows = grain.MapDataset.range(30).seed(epoch).shuffle()
    pairs = rows.map(lambda i: (INPUTS[i], TARGETS[i])).to_iter_dataset()
    return pairs.random_map(Noisy()).batch(8)


LOADERS = {
    "transform": lambda: Loader(Dataset(INPUTS, TARGETS), 8, transform=noisy, workers=3),
    "sampler": lambda: Loader(
        Dataset(INPUTS, TARGETS), 8, sampler=WeightedSampler(np.ones(30), 20)
    ),
    "stream": lambda: StreamLoader(stream, 8, length=30, transform=noisy),
    "grain": lambda: from_grain(pipeline, length=4),
}


def train(make, **options):
    optimizer = fx.optim.sgd(0.1)
    step = fx.train.make_step(Line(), lambda y, t: jnp.mean((y - t) ** 2), optimizer)
    ts = fx.train.create(Line(), optimizer, jax.random.key(0))
    known = getattr(make(), "sampler", None)
    valid = make() if known is None else Loader(Dataset(INPUTS, TARGETS), 8)
    validate = fx.train.make_eval(Line(), lambda y, t: jnp.mean((y - t) ** 2), valid)
    return fx.fit(step, ts, make(), validate=validate, epochs=3, progress=False, **options)


@pytest.mark.parametrize(
    "name", ["transform", pytest.param("sampler", marks=pytest.mark.full), "stream", "grain"]
)
def test_a_run_that_stopped_goes_on_bit_for_bit(name, tmp_path):
    whole = train(LOADERS[name])
    assert whole.history[-1]["val_loss"] < whole.history[0]["val_loss"]

    class Stop(Exception):
        pass

    def stop(event):
        if event.step == 2 * len(LOADERS[name]()):
            raise Stop

    options = {"out": tmp_path / "run", "checkpoint_every": 2}
    with pytest.raises(Stop):
        train(LOADERS[name], log_every=1, callbacks=[stop], **options)
    _, kept = fx.checkpoint.restore(options["out"], like=whole.ts)
    assert (kept["epoch"], kept["steps"]) == (1, 2)  # in the middle of the second epoch
    if name == "grain":
        assert kept["loader"]["step"] == 2 and kept["loader"]["iterator"]
    resumed = train(LOADERS[name], resume=True, **options)
    assert resumed.ts.params["weight"].tolist() == whole.ts.params["weight"].tolist()
    assert resumed.history == whole.history


def test_another_pipeline_of_grain_is_refused_at_a_resume(tmp_path, capsys):
    grain = pytest.importorskip("grain")

    def pipeline(seed):
        rows = grain.MapDataset.range(30).seed(seed).shuffle()
        batches = rows.map(lambda i: (INPUTS[i], TARGETS[i])).batch(8)
        return lambda: fx.data.from_grain(batches.to_iter_dataset(), length=3)

    class Stop(Exception):
        pass

    def stop(event):
        if event.step == 2:
            raise Stop

    options = {"out": tmp_path, "checkpoint_every": 1}
    with pytest.raises(Stop):
        train(pipeline(1), callbacks=stop, **options)
    with pytest.raises(ValueError, match="had other batches than this loader.*: fingerprint was "):
        train(pipeline(2), resume=True, **options)
    assert train(pipeline(1), resume=True, **options).stopped == "finished"
    assert "cannot tell" not in capsys.readouterr().out


def test_a_resume_says_where_it_cannot_tell_the_data(tmp_path, capsys):
    train(LOADERS["stream"], out=tmp_path)
    train(LOADERS["stream"], out=tmp_path, resume=True)
    assert "whether its data is the same, this loader cannot tell" in capsys.readouterr().out
