"""Bundles of several inputs, and of axes whose size is open."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import fx
from fx import nn
from fx.cli import main
from fx.deploy import load_bundle, verify
from fx.interop.weights import read_weights

PAIR = (((None, "T"), "int32"), ((None, "T"), "bool"))
RNG = np.random.default_rng(0)


class Bag(nn.Module):
    """The mean embedding of the tokens that count, as two logits."""

    def __init__(self):
        self.embed, self.head = nn.Embedding(7, 5), nn.Linear(5, 2)

    def forward(self, tokens, mask):
        counted = mask.astype(jnp.float32)[..., None]
        return self.head((self.embed(tokens) * counted).sum(1) / jnp.maximum(counted.sum(1), 1))


class Named(Bag):
    """The same of a dict."""

    def forward(self, batch):
        return super().forward(batch["tokens"], batch["mask"])


def rows(n, t):
    return RNG.integers(0, 7, (n, t), np.int32), RNG.random((n, t)) < 0.7


@pytest.fixture(scope="module")
def bag():
    return Bag(), *Bag().init(jax.random.key(0))


@pytest.fixture(scope="module")
def bundle(bag, tmp_path_factory):
    path = tmp_path_factory.mktemp("inputs") / "bundle"
    return fx.export(*bag, PAIR, path, example=rows(3, 4), classes=["a", "b"], limits={"T": 9})


@pytest.fixture(scope="module")
def engine(bundle):
    return load_bundle(bundle, run_golden=True)


def live(bag, tokens, mask):
    model, params, state = bag
    return np.asarray(jax.nn.softmax(model.apply(params, state, tokens, mask)[0]))


def test_a_tuple_is_several_arguments_under_their_names(bundle, engine):
    text = "tokens: int32 [N, T], mask: bool [N, T] -> probabilities: float32 [N, 2]"
    assert repr(engine) == f"Engine({text}, classes=2)"
    contents = json.loads((bundle / "manifest.json").read_text())
    assert contents["inputs"][1] == {"name": "mask", "shape": [None, "T"], "dtype": "bool"}
    assert contents["limits"] == {"T": [1, 9, 1]} and contents["rows_independent"] is True
    kept = read_weights(bundle / "golden.safetensors")
    assert sorted(kept) == ["input.mask", "input.tokens", "output.probabilities"]
    assert verify(bundle).ok


def test_inspect_shows_the_sizes_that_there_may_be(bundle, capsys):
    assert main(["inspect", str(bundle)]) == 0
    out = capsys.readouterr().out
    assert "inputs:\n  tokens: int32 [N, T]\n  mask: bool [N, T]\n" in out
    assert "limits:\n  T: 1 to 9\n" in out


@pytest.mark.parametrize(("n", "t"), [(1, 1), (3, 4), (5, 9)])
def test_any_length_equals_the_live_model(bag, engine, n, t):
    batch = rows(n, t)
    expected = live(bag, *batch)
    np.testing.assert_allclose(engine(batch)["probabilities"], expected, atol=1e-6)
    named = dict(zip(("mask", "tokens"), batch[::-1], strict=True))
    np.testing.assert_allclose(engine(named)["probabilities"], expected, atol=1e-6)


def test_batches_go_in_pieces(bag, bundle):
    engine, batch = load_bundle(bundle, max_batch_size=2), rows(5, 3)
    np.testing.assert_allclose(engine(batch)["probabilities"], live(bag, *batch), atol=1e-6)


def test_predict_takes_what_a_row_is(bag, engine):
    tokens, mask = rows(2, 6)
    expected = live(bag, tokens, mask)
    found = engine.predict((tokens[0], mask[0]))
    assert found["class"] == "ab"[expected[0].argmax()]
    both = engine.batch_predict([{"tokens": tokens[i], "mask": mask[i]} for i in range(2)])
    np.testing.assert_allclose([row["probabilities"] for row in both], expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"same sizes, got shapes \[\(3,\), \(3,\)\] and \[\(6,"):
        engine.batch_predict([(tokens[0], mask[0]), (tokens[1, :3], mask[1, :3])])


def test_warm_up_takes_a_size_for_each_open_axis(bundle):
    engine = load_bundle(bundle)
    assert engine.warm_up((3,), {"T": 5}) == (4,)
    engine(rows(3, 5))
    assert engine._call._cache_size() == 1
    for axes in (None, {"T": 1.5}, [3]):
        with pytest.raises(ValueError, match=r"a size for each of the open axes \['T'\], got"):
            engine.warm_up(axes=axes)
    with pytest.raises(ValueError, match=r"numbers of rows, each at least 1, got \(0,\)"):
        engine.warm_up((0,), {"T": 5})


def test_a_dict_is_one_argument(bag, tmp_path):
    _, params, state = bag
    spec = {"tokens": PAIR[0], "mask": PAIR[1]}
    tokens, mask = rows(3, 4)
    example = {"tokens": tokens, "mask": mask}
    path = fx.export(Named(), params, state, spec, tmp_path / "b", example=example)
    engine = load_bundle(path, run_golden=True)
    np.testing.assert_allclose(engine(example)["probabilities"], live(bag, tokens, mask), atol=1e-6)
    with pytest.raises(TypeError, match="expected input a dict of mask, tokens, got tuple"):
        engine((tokens, mask))


def test_preprocessing_makes_several_of_one(bag, tmp_path):
    def split(tokens):
        return tokens, tokens != 0

    tokens, _ = rows(3, 4)
    path = fx.export(*bag, PAIR[0], tmp_path / "b", preprocess=split, example=tokens)
    found = load_bundle(path)(tokens[:, :2])["probabilities"]
    np.testing.assert_allclose(found, live(bag, tokens[:, :2], tokens[:, :2] != 0), atol=1e-6)


def test_outputs_have_open_axes_too(tmp_path):
    class Shift:
        def apply(self, params, state, x, y):
            return {"longer": jnp.pad(x, ((0, 0), (0, 1))), "all": jnp.concatenate([x, y], 1)}, {}

    spec = (((None, "T"), "float32"), ((None, "S"), "float32"))
    engine = load_bundle(fx.export(Shift(), {}, {}, spec, tmp_path / "b", postprocess=None))
    assert "x: float32 [N, T], y: float32 [N, S] -> all: float32 [N, " in repr(engine)
    found = engine((np.ones((2, 3), np.float32), np.ones((2, 5), np.float32)))
    assert found["longer"].shape == (2, 4) and found["all"].shape == (2, 8)


def test_images_of_any_size_are_not_resized(tmp_path):
    class Mean:
        def apply(self, params, state, x):
            return x.astype(jnp.float32).mean((1, 2)), state

    path = fx.export(Mean(), {}, {}, ((None, "H", "W", 3), "uint8"), tmp_path / "b")
    picture = RNG.integers(0, 256, (11, 7, 3), np.uint8)
    engine = load_bundle(path)
    found, expected = (engine.predict(x) for x in (Image.fromarray(picture), picture))
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"])


def test_bundles_of_the_first_format_are_read(bundle, bag, tmp_path):
    path = fx.export(*bag, PAIR[0], tmp_path / "b", preprocess=lambda t: (t, t != 0),
                     example=rows(2, 3)[0])  # fmt: skip
    contents = json.loads((path / "manifest.json").read_text())
    assert contents.pop("limits") == {} and contents["format_version"] == 2
    (path / "manifest.json").write_text(json.dumps({**contents, "format_version": 1}))
    load_bundle(path, run_golden=True)
    (path / "manifest.json").write_text(json.dumps({**contents, "format_version": 3}))
    with pytest.raises(ValueError, match="has format version 3, this fx reads 1 to 2"):
        load_bundle(path)


class Halves(nn.Module):
    """A U-Net of one level."""

    def __init__(self):
        self.down, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x):
        small = self.down(x)
        return {"same": x + self.up(small), "half": small, "twice": self.up(x)}


def test_sizes_in_steps_are_halved_and_joined_again(tmp_path):
    spec = ((None, 3, "H", "W"), "float32")
    with pytest.raises(TypeError, match="incompatible shapes") as caught:  # 5 // 2 * 2 is not 5
        fx.export(
            Halves(), {}, {}, spec, tmp_path / "b", limits={"H": range(2, 9), "W": range(2, 9)}
        )
    assert 'need steps: limits={"H": range(32, 1025, 32), ...}' in caught.value.__notes__[-1]
    limits = {"H": range(2, 65, 2), "W": range(4, 65, 4)}
    path = fx.export(Halves(), {}, {}, spec, tmp_path / "b", postprocess=None, limits=limits)
    engine = load_bundle(path, run_golden=True)
    assert "same: float32 [N, 3, H, W], twice: float32 [N, 3, 4*H_2, 8*W_4]" in repr(engine)
    x = RNG.standard_normal((2, 3, 6, 12), np.float32)
    expected, _ = Halves().apply({}, {}, x)
    np.testing.assert_allclose(engine(x)["same"], expected["same"], atol=1e-6)
    for shape in ((1, 3, 5, 8), (1, 3, 66, 8)):
        with pytest.raises(ValueError, match="axis H has a size from 2 to 64 in steps of 2, got"):
            engine(np.zeros(shape, np.float32))


def test_an_axis_with_the_name_that_a_part_of_another_would_have(tmp_path):
    class Columns:
        def apply(self, params, state, x):
            return x[:, ::2].sum(2), state

    spec = ((None, "H", "H_2"), "float32")
    path = fx.export(Columns(), {}, {}, spec, tmp_path / "b", postprocess=None,
                     limits={"H": range(2, 9, 2)})  # fmt: skip
    engine = load_bundle(path, run_golden=True)
    assert "input: float32 [N, H, H_2] -> outputs: float32 [N, H_2_]" in repr(engine)
    np.testing.assert_allclose(engine(np.ones((1, 6, 5), np.float32))["outputs"], [[5, 5, 5]])


class Writer:
    """Continues prompts: `generate` as what is exported."""

    def __init__(self):
        self.gpt = fx.models.GPT2(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2)

    def apply(self, params, state, prompts, mask):
        return fx.models.generate(self.gpt, params, prompts, mask, max_new_tokens=4), state


def test_a_program_that_writes_text(tmp_path):
    params, state = Writer().gpt.init(jax.random.key(0))
    prompts, mask = fx.models.left_pad([[5, 6, 7, 1, 2], [8, 9]], pad_token_id=0)
    path = fx.export(Writer(), params, state, PAIR, tmp_path / "b", postprocess=None,
                     limits={"T": 12}, example=(prompts, mask))  # fmt: skip
    engine = load_bundle(path, run_golden=True)
    assert "prompts: int32 [N, T], mask: bool [N, T] -> outputs: int32 [N, T + 4]" in repr(engine)
    for prompts in ([[3]], [[1, 2, 3, 4, 5, 6, 7], [9, 8]]):
        tokens, mask = fx.models.left_pad(prompts, pad_token_id=0)
        expected = Writer().apply(params, state, tokens, mask)[0]
        np.testing.assert_array_equal(engine((tokens, mask))["outputs"], expected)


TOKENS, MASK = rows(2, 4)


@pytest.mark.parametrize(
    ("batch", "kind", "text"),
    [
        (TOKENS, TypeError, "expected input a tuple of tokens, mask, got ndarray"),
        ((TOKENS,), ValueError, "a tuple of tokens, mask, got 1 of them"),
        ({"tokens": TOKENS}, ValueError, "a tuple of tokens, mask, got a dict of tokens"),
        ((TOKENS, MASK[:, :3]), ValueError, "input arrays of one size of T, got 4 and 3"),
        ((TOKENS, MASK[:1]), ValueError, "input arrays of one size of N, got 2 and 1"),
        (rows(1, 10), ValueError, "input arrays whose axis T has a size from 1 to 9, got 10"),
        (rows(1, 0), ValueError, "axis T has a size from 1 to 9, got 0"),
        ((TOKENS, MASK[0]), ValueError, r'"mask": bool \[N, T\], .* as batch\[1\]\[None\]'),
        ((TOKENS, MASK * 1), TypeError, r'got int64 \[2, 4\]; .*np.asarray\(batch\[1\], "bool"\)'),
        ({"tokens": TOKENS, "mask": MASK * 1}, TypeError, r'np.asarray\(batch\["mask"\], "bool"\)'),
        (([[1, 2], [3]], MASK), TypeError, '"tokens": .*, got list, of which NumPy makes no array'),
        ((TOKENS, {"a": MASK}), TypeError, '"mask": .*, got dict; give an array of numbers'),
        ({1: TOKENS, "mask": MASK}, ValueError, "a tuple of tokens, mask, got a dict of 1, mask"),
    ],
)
def test_batches_that_do_not_fit(engine, batch, kind, text):
    with pytest.raises(kind, match=text):
        engine(batch)


@pytest.mark.parametrize(
    ("spec", "options", "kind", "text"),
    [
        ({}, {}, ValueError, "expected a spec for each input, by name, got {}"),
        ({"x": {"y": PAIR[0]}}, {}, ValueError, 'for "x", or a tuple or a flat dict'),
        ({"x": (4, "int32")}, {}, ValueError, 'expected a spec .* for "x"'),
        ({"x": ((4,), "int32")}, {}, ValueError, 'a shape for "x" whose first axis, the batch'),
        (PAIR, {"limits": {"S": 4}}, ValueError, r"open axes of the spec \(T\), .* got {'S': 4}"),
        (PAIR, {"limits": {"T": 0}}, ValueError, "the largest size or a range of sizes from 1 on"),
        (PAIR, {"limits": {"T": range(1, 9, 2)}}, ValueError, "starts with a multiple of its step"),
        (PAIR, {}, ValueError, "give example=, arrays for tokens, mask, of a few rows"),
        (PAIR, {"limits": 4}, ValueError, r"expected limits for open axes .* got 4"),
        (
            PAIR,
            {"limits": {"T": 3}, "example": (TOKENS, MASK)},
            ValueError,
            "example of arrays whose",
        ),
        (
            {1: PAIR[0], "x": PAIR[1]},
            {},
            ValueError,
            "expected a spec .* or a tuple or a flat dict",
        ),
        ({"x": ((None, "max"), "int32")}, {}, ValueError, "_, max, min, mod, floordiv"),
        ({"x": ((None, -1), "int32")}, {}, ValueError, "others are numbers, or names"),
        (PAIR, {"example": TOKENS}, TypeError, "an example of a tuple of tokens, mask, got nda"),
        (PAIR, {"example": (TOKENS, TOKENS)}, TypeError, 'example of "mask": bool'),
    ],
)
def test_exports_that_do_not_fit(bag, tmp_path, spec, options, kind, text):
    with pytest.raises(kind, match=text):
        fx.export(*bag, spec, tmp_path / "b", **options)
    assert not list(tmp_path.iterdir())


def test_code_that_asks_for_an_open_size_is_told_of_limits(tmp_path):
    class Positions:
        def apply(self, params, state, x):
            if x.shape[1] > len(params):
                raise ValueError("too long")
            return x + params[: x.shape[1]], state

    spec, params = ((None, "T"), "float32"), jnp.zeros(6)
    with pytest.raises(ValueError, match=r"about a size \(the batch, T\) .* limits={...}"):
        fx.export(Positions(), params, {}, spec, tmp_path / "b")
    path = fx.export(Positions(), params, {}, spec, tmp_path / "b", limits={"T": 6},
                     postprocess=None)  # fmt: skip
    assert load_bundle(path)(np.ones((1, 6), np.float32))["outputs"].shape == (1, 6)


def test_axes_in_steps_are_named_only_where_all_of_them_is_meant(tmp_path):
    class Flat:
        def apply(self, params, state, x):
            return {"flat": x.reshape(x.shape[0], -1), "same": x}, state

    path = fx.export(Flat(), {}, {}, ((None, "H", "W"), "float32"), tmp_path / "b",
                     postprocess=None, limits={k: range(2, 9, 2) for k in "HW"})  # fmt: skip
    assert "flat: float32 [N, 4*H_2*W_2], same: float32 [N, H, W]" in repr(load_bundle(path))


def test_examples_are_not_a_dict_of_batches(engine):
    with pytest.raises(
        TypeError, match="got a dict of tokens, mask; give a dict for each, or call"
    ):
        engine.batch_predict({"tokens": TOKENS, "mask": MASK})


def test_nan_names_no_class(tmp_path):
    class Same:
        def apply(self, params, state, x):
            return x, state

    engine = load_bundle(fx.export(Same(), {}, {}, ((None, 4), "float32"), tmp_path / "b"))
    broken = np.array([1, np.nan, 2, 3], np.float32)
    with pytest.raises(ValueError, match="the model gives NaN for an example, and NaN names no"):
        engine.predict(broken)
    assert np.isnan(engine(broken[None])["probabilities"]).all()


DEPLOYER = """
import sys
import numpy as np
import fx
engine = fx.load_bundle(sys.argv[1])
with np.load(sys.argv[2]) as kept:
    found = engine({"input_ids": kept["input_ids"], "attention_mask": kept["attention_mask"]})
    np.testing.assert_allclose(found["outputs"], kept["expected"], atol=1e-4)
assert not {"fx.nn", "fx.models", "flax"} & set(sys.modules)
"""


def test_bert_runs_elsewhere_with_sentences_of_any_length(tmp_path):
    model = fx.models.BertForSequenceClassification(
        num_labels=3, vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12,
    )  # fmt: skip
    params, state = model.init(jax.random.key(0))
    ids = RNG.integers(1, 50, (2, 12), np.int32)
    mask = (np.arange(12) < np.array([[12], [5]])).astype(np.int32)
    spec = (((None, "T"), "int32"), ((None, "T"), "int32"))
    path = fx.export(model, params, state, spec, tmp_path / "b", limits={"T": 12},
                     example=(ids[:, :7], mask[:, :7]), postprocess=None)  # fmt: skip
    expected, _ = model.apply(params, state, ids, mask)
    np.savez(tmp_path / "x.npz", input_ids=ids, attention_mask=mask, expected=expected)
    command = [sys.executable, "-c", DEPLOYER, str(path), str(tmp_path / "x.npz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
