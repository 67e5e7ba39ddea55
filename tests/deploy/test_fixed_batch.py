"""A batch of one size, for models that cannot leave it open."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx

ROWS = np.random.default_rng(0).normal(size=(11, 6)).astype(np.float32)


class OfFour:
    """Its code has the number of rows in it; `centred` makes each depend on the others."""

    def __init__(self, centred: bool = False):
        self.centred = centred

    def apply(self, params, state, x):
        x = x.reshape(4, 2, 3).sum(-1) * params["scale"]
        return (x - x.mean(0) if self.centred else x), state


def exported(path, model, spec=((4, 6), "float32"), **kwargs):
    params = {"scale": jnp.array([1.0, 2.0])}
    return fx.export(model, params, {}, spec, path / "bundle", **kwargs)


def test_any_number_of_rows_is_run_in_batches_of_that_size(tmp_path):
    path = exported(tmp_path, OfFour())
    engine = fx.load_bundle(path, run_golden=True)
    expected = jax.nn.softmax(ROWS.reshape(11, 2, 3).sum(-1) * np.array([1.0, 2.0]))
    for size in (1, 4, 5, 11):
        got = engine(ROWS[:size])["probabilities"]
        np.testing.assert_allclose(got, expected[:size], rtol=1e-5, atol=1e-7)
    answers = engine.batch_predict(ROWS)
    assert [a["class_index"] for a in answers] == expected.argmax(-1).tolist()
    assert engine.warm_up((1, 3, 9)) == (4,)
    assert fx.deploy.verify(path).ok
    assert repr(engine) == "Engine(input: float32 [4, 6] -> probabilities: float32 [4, 2])"


def test_rows_that_depend_on_each_other_are_neither_padded_nor_split(tmp_path):
    engine = fx.load_bundle(exported(tmp_path, OfFour(centred=True)), run_golden=True)
    assert engine(ROWS[:4])["probabilities"].shape == (4, 2)
    assert engine.warm_up() == (4,)
    for size in (1, 8):
        with pytest.raises(ValueError, match=f"expected 4 rows, the batch that .* got {size}; the"):
            engine(ROWS[:size])


def test_a_fixed_batch_beside_an_open_size(tmp_path):
    class Sums:
        def apply(self, params, state, x, y):
            return x.reshape(2, -1, 3).sum((1, 2)) + y, state

    spec = (((2, "T"), "float32"), ((2,), "float32"))
    path = fx.export(
        Sums(), {}, {}, spec, tmp_path / "b", limits={"T": range(3, 31, 3)}, postprocess=None
    )
    engine, y = fx.load_bundle(path), np.arange(3, dtype=np.float32)
    for length in (6, 30):
        x = np.ones((3, length), np.float32)
        assert engine((x, y))["outputs"].tolist() == [length, length + 1, length + 2]
    with pytest.raises(ValueError, match="arrays of one size of N, got 3 and 2"):
        engine((np.ones((3, 6), np.float32), y[:2]))


def test_a_model_that_asks_for_the_batch_is_told_to_fix_it(tmp_path):
    with pytest.raises(ValueError, match="code has the number of rows in it, that number in place"):
        exported(tmp_path, OfFour(), ((None, 6), "float32"))

    class Asks:
        def apply(self, params, state, x):
            return (x if x.shape[0] > 3 else -x), state

    with pytest.raises(ValueError, match="or give the batch, too, as a number"):
        exported(tmp_path, Asks(), ((None, 6), "float32"))


@pytest.mark.parametrize(
    "spec, message",
    [
        (((0, 6), "float32"), "the batch, is None, or how many rows"),
        (((True, 6), "float32"), "the batch, is None, or how many rows"),
        ((((4, 6), "float32"), ((None, 6), "float32")), "one batch for all .*, got 4, None"),
    ],
)
def test_a_batch_that_is_none(tmp_path, spec, message):
    with pytest.raises(ValueError, match=message):
        exported(tmp_path, OfFour(), spec)


def test_an_example_has_the_batchs_rows(tmp_path):
    exported(tmp_path, OfFour(), example=ROWS[:4])
    with pytest.raises(ValueError, match="an example of 4 rows, the batch of the spec, got 11"):
        exported(tmp_path, OfFour(), example=ROWS, overwrite=True)


@pytest.mark.parametrize("batch", [0, -4, True, "N"])
def test_a_batch_that_no_export_writes(tmp_path, batch):
    path = exported(tmp_path, OfFour())
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["inputs"][0]["shape"][0] = batch
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match='damaged: "inputs" is'):
        fx.load_bundle(path)


def test_a_manifest_of_another_batch_is_refused(tmp_path):
    path = exported(tmp_path, OfFour())
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["inputs"][0]["shape"][0] = 8
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="the program takes"):
        fx.load_bundle(path)
