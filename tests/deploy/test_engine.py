import functools
import io
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fx.deploy
from fx.deploy import load_bundle
from fx.interop.weights import read_weights, write_weights

from .conftest import CLASSES, SPEC, scale

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("size", [1, 3, 8, 40])
def test_any_batch_size_equals_the_live_model(engine, images, live, size):
    found = engine(images[:size])
    assert found.keys() == {"probabilities"} and found["probabilities"].dtype == np.float32
    np.testing.assert_allclose(found["probabilities"], live(images[:size]), atol=1e-5)


def test_large_weights_are_arguments_and_change_nothing(bundle, images, live, monkeypatch):
    monkeypatch.setattr(fx.deploy.engine, "FOLDED_BYTES", 0)
    engine = load_bundle(bundle)
    assert isinstance(engine._call, functools.partial)
    np.testing.assert_allclose(engine(images[:3])["probabilities"], live(images[:3]), atol=1e-5)


def test_batches_longer_than_the_limit_go_in_pieces(bundle, images, live):
    engine = load_bundle(bundle, max_batch_size=6)
    np.testing.assert_allclose(engine(images)["probabilities"], live(images), atol=1e-5)
    assert [engine.bucket(n) for n in range(1, 7)] == [1, 2, 4, 4, 6, 6]
    assert engine._call._cache_size() == 2  # 6 rows, six times, and 4


def test_few_sizes_are_compiled(bundle, images):
    engine = load_bundle(bundle)
    assert engine.warm_up((1, 3, 4, 30)) == (1, 4, 32)
    for size in (1, 3, 4, 17, 30):
        engine(images[:size])
    assert engine._call._cache_size() == 3


def test_the_last_piece_of_a_large_batch_is_warmed_up_too(bundle, images):
    engine = load_bundle(bundle, max_batch_size=16)
    assert engine.warm_up((40,)) == (8, 16)
    engine(images)
    assert engine._call._cache_size() == 2


def test_predict(engine, images, live):
    found = engine.predict(images[0])
    expected = live(images[:1])[0]
    assert found.keys() == {"class", "class_index", "confidence", "probabilities"}
    assert (
        found["class_index"] == expected.argmax() and found["class"] == CLASSES[expected.argmax()]
    )
    assert type(found["class_index"]) is int and type(found["confidence"]) is float
    assert found["confidence"] == pytest.approx(expected.max(), abs=1e-5)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)


def test_batch_predict(engine, images, live):
    found = engine.batch_predict(images[:5])
    np.testing.assert_allclose([row["probabilities"] for row in found], live(images[:5]), atol=1e-5)
    assert engine.batch_predict([]) == [] == engine.batch_predict(iter(()))


def test_repr(engine):
    text = "Engine(input: uint8 [N, 8, 6, 3] -> probabilities: float32 [N, 4], classes=4)"
    assert repr(engine) == text


def test_classes_are_indices_where_none_are_named(tiny, tmp_path, images):
    engine = load_bundle(fx.deploy.export(*tiny, SPEC, tmp_path / "b", preprocess=scale))
    found = engine.predict(images[0])
    assert found["class"] == str(found["class_index"])


def test_rows_that_depend_on_each_other_are_neither_padded_nor_split(tmp_path):
    class OwnStatistics:  # BatchNorm without running statistics
        def apply(self, params, state, x):
            return x - x.mean(0), state

    path = fx.deploy.export(OwnStatistics(), {}, {}, ((None, 4), "float32"), tmp_path / "b")
    engine = load_bundle(path, max_batch_size=2, run_golden=True)
    assert engine.manifest["rows_independent"] is False
    x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    logits = np.exp(x - x.mean(0))
    expected = logits / logits.sum(1, keepdims=True)
    np.testing.assert_allclose(engine(x)["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(
        [found["probabilities"] for found in engine.batch_predict(x)], expected, atol=1e-5
    )
    assert engine.warm_up((5,)) == (5,)


def test_threads(bundle, images, live):
    engine, expected = load_bundle(bundle, max_batch_size=8), live(images)
    start = threading.Barrier(4)

    def work(i):
        start.wait()
        for size in (1, 3, 8, 11):
            found = engine(images[i : i + size])["probabilities"]
            np.testing.assert_allclose(found, expected[i : i + size], atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 300), limit=st.integers(1, 300))
def test_buckets_hold_their_rows(bundle_engine, size, limit):
    bundle_engine.max_batch_size = limit
    bucket = bundle_engine.bucket(min(size, limit))
    assert min(size, limit) <= bucket <= limit and (bucket & (bucket - 1) == 0 or bucket == limit)


@pytest.fixture(scope="module")
def bundle_engine(bundle):
    return load_bundle(bundle)


@pytest.mark.parametrize(
    ("batch", "kind", "text"),
    [
        (np.zeros((8, 6, 3), np.uint8), ValueError, r"uint8 \[N, 8, 6, 3\], got uint8 \[8, 6, 3\]; "
         r"give one row as batch\[None\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), ValueError, r"got uint8 \[2, 8, 8, 3\]$"),
        (np.zeros((2, 8, 6, 3)), TypeError, r'got float64 .*; convert it: np.asarray\(batch, "uin'),
        (np.zeros((0, 8, 6, 3), np.uint8), ValueError, r"of at least one row, got uint8 \[0,"),
    ],
)  # fmt: skip
def test_batches_that_do_not_fit(engine, batch, kind, text):
    with pytest.raises(kind, match=text):
        engine(batch)


def test_float64_is_not_taken_for_float32(tmp_path):
    class Identity:
        def apply(self, params, state, x):
            return x, state

    path = fx.deploy.export(Identity(), {}, {}, ((None, 4), "float32"), tmp_path / "b")
    engine = load_bundle(path)
    with pytest.raises(TypeError, match=r"expected input float32 \[N, 4\], got float64 \[1, 4\]"):
        engine(np.zeros((1, 4)))
    with pytest.raises(TypeError, match=r"expected float32, got float64; convert it"):
        engine.predict(np.zeros(4))
    with pytest.raises(
        ValueError, match=r"expected one example float32 \[4\], got .*batch_predict"
    ):
        engine.predict(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="only one that takes uint8 .* reads image files"):
        engine.predict(Image.new("RGB", (4, 4)))
    assert engine(jnp.zeros((1, 4), jnp.float32))["probabilities"].tolist() == [[0.25] * 4]


def test_images_that_do_not_fit(engine, images, tmp_path):
    with pytest.raises(ValueError, match=r"expected one image uint8 \[8, 6, 3\], got uint8 \[1, 8"):
        engine.predict(images[:1])
    with pytest.raises(ValueError, match=r"is a folder; give the images in it, .*\*.png say"):
        engine.predict(tmp_path)
    with pytest.raises(TypeError, match="batch_predict: expected many images, got 3; use predict"):
        engine.batch_predict(3)
    with pytest.raises(TypeError, match="expected many images, got 'a.png'; use predict"):
        engine.batch_predict("a.png")


def test_a_bundle_without_probabilities_predicts_nothing(tiny, tmp_path):
    path = fx.deploy.export(*tiny, SPEC, tmp_path / "b", preprocess=scale, postprocess=None)
    with pytest.raises(
        ValueError, match="the bundle gives outputs, not probabilities; call engine"
    ):
        load_bundle(path).predict(np.zeros((8, 6, 3), np.uint8))


def test_max_batch_size_is_positive(bundle):
    for size in (0, 2.5, None):
        with pytest.raises(ValueError, match=f"max_batch_size of 1 or more, got {size}"):
            load_bundle(bundle, max_batch_size=size)


# Files


def test_a_path_and_a_pil_image_give_what_the_array_gives(engine, images, tmp_path):
    picture = Image.fromarray(images[0])
    picture.save(tmp_path / "a.png")
    expected = engine.predict(images[0])["probabilities"]
    path, content = tmp_path / "a.png", (tmp_path / "a.png").read_bytes()
    for image in (picture, path, str(path), content, memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(engine.predict(image)["probabilities"], expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1"])
def test_modes_and_sizes_are_converted(engine, tmp_path, mode):
    Image.new("RGB", (50, 31), (255, 255, 255)).convert(mode).save(tmp_path / "a.tiff")
    white = engine.predict(np.full((8, 6, 3), 255, np.uint8))["probabilities"]
    np.testing.assert_array_equal(engine.predict(tmp_path / "a.tiff")["probabilities"], white)


def test_photographs_are_turned_upright(engine, images, tmp_path):
    upright = Image.fromarray(images[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        engine.predict(tmp_path / "a.png")["probabilities"],
        engine.predict(images[0])["probabilities"],
    )


def test_files_that_are_not_images(engine, images, tmp_path):
    with pytest.raises(FileNotFoundError, match="no image file at .*gone.png"):
        engine.predict(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="the file cannot be read as an image"):
        engine.predict(b"hello")
    with pytest.raises(TypeError, match="expected many images, got one file's bytes; use predict"):
        engine.batch_predict(b"hello")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="text.png cannot be read as an image"):
        engine.predict(tmp_path / "text.png")
    Image.fromarray(images.reshape(40, 48, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    with pytest.raises(ValueError, match="cut.png cannot be read as an image .*truncated"):
        engine.predict(tmp_path / "cut.png")
    Image.fromarray(np.full((8, 6), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="deep.png has mode I;16, more than 8 bits a channel"):
        engine.predict(tmp_path / "deep.png")


def test_without_pillow_the_extra_is_named(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[images\]' in fx's folder"):
        engine.predict("a.png")


# Bundles that are not as they were written


def test_what_is_not_a_bundle(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle at .*gone"):
        load_bundle(tmp_path / "gone")
    with pytest.raises(ValueError, match="is not a bundle, that is, a folder with manifest.json"):
        load_bundle(tmp_path)


def test_every_missing_or_altered_file_is_named(copy):
    weights = copy / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    (copy / "golden.safetensors").unlink()
    (copy / "model.stablehlo").write_bytes((copy / "model.stablehlo").read_bytes()[:-1])
    with pytest.raises(ValueError, match="copy is damaged: ") as error:
        load_bundle(copy)
    text = str(error.value)
    assert "golden.safetensors is missing" in text
    assert "weights.safetensors was altered: its sha256 is" in text
    assert "model.stablehlo has" in text


def rewrite(path, **fields):
    contents = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(contents | fields))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"format": "other"}, 'manifest.json is not of a bundle: expected "format": "fx-bundle"'),
        (
            {"format_version": 3},
            "has format version 3, this fx reads 1 to 2: use the fx that wrote",
        ),
        ({"files": None}, 'is damaged: expected "files" of kind dict, got None'),
        ({"files": {}}, "model.stablehlo is not listed in the manifest as it should be"),
        ({"files": {"../x": {}}}, r"\.\./x is not listed in the manifest as it should be"),
        ({"calling_convention_version": 4}, r"has calling convention 4, and jax .* knows \d+ to"),
        ({"platforms": ["tpu"]}, "was exported for tpu, and this is cpu"),
        ({"inputs": []}, "the program takes .* and the manifest says .*different exports"),
        ({"classes": ["a"]}, "there are 4 probabilities and 1 classes"),
    ],
)
def test_manifests_that_do_not_fit(copy, fields, text):
    rewrite(copy, **fields)
    with pytest.raises(ValueError, match=text):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
def test_garbage_for_a_manifest(copy, text):
    (copy / "manifest.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match="manifest.json is (damaged|not of a bundle)"):
        load_bundle(copy)


@pytest.mark.parametrize("cut", [0, 3, 500, -200])
def test_a_program_that_cannot_be_read_names_the_versions(copy, cut):
    program = copy / "model.stablehlo"
    program.write_bytes(program.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"model.stablehlo cannot be read by jax .* use jax \d+\."):
        load_bundle(copy, verify=False)


def test_a_program_of_a_newer_stablehlo_names_the_versions(copy):
    program = copy / "model.stablehlo"
    blob = program.read_bytes()
    assert b"tanh_v2" in blob
    program.write_bytes(blob.replace(b"tanh_v2", b"tanh_v9"))
    with pytest.raises(ValueError, match=r"model.stablehlo cannot be read by jax .* use jax \d+\."):
        load_bundle(copy, verify=False)


def test_an_expired_program_names_the_versions(bundle, monkeypatch):
    def expired(blob):
        raise ValueError("older than the 6-month backward-compatibility window")

    monkeypatch.setattr("fx.deploy.stablehlo.export.deserialize", expired)
    with pytest.raises(ValueError, match=r"use jax \d.*or export again \(ValueError: older than"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"params.fc2.weight": np.ones((4, 9), np.int8)}, r"expects float32 \[4, 16\], .* \[4, 9"),
        ({"params.fc2.weight": np.ones((4, 16), np.float16)}, r"float32 \[4, 16\].*has float16"),
        ({"params.new": np.ones(1, np.float32)}, '"params.new": the program expects no such'),
        ({"params.fc1.bias": None}, r'weight "params.fc1.bias": .* \[16\], .* has none; its files'),
    ],
)  # fmt: skip
def test_weights_of_another_export(copy, change, text):
    weights = read_weights(copy / "weights.safetensors") | change
    write_weights(copy / "weights.safetensors", {k: v for k, v in weights.items() if v is not None})
    with pytest.raises(ValueError, match=text):
        load_bundle(copy, verify=False)


def test_other_weights_of_the_same_shape_are_found_by_the_golden_output(copy):
    weights = read_weights(copy / "weights.safetensors")
    write_weights(copy / "weights.safetensors", {k: v * 0 for k, v in weights.items()})
    load_bundle(copy, verify=False)
    with pytest.raises(ValueError, match="the golden outputs differ by 0.*, more than 0.0001"):
        load_bundle(copy, verify=False, run_golden=True)


def test_a_bundle_of_64_bits_needs_x64(tmp_path, x64):
    import jax

    class Wide:
        def apply(self, params, state, x):
            return x.astype(jnp.float64) @ params["w"], state

    params = {"w": jnp.ones((4, 3), jnp.float64)}
    path = fx.deploy.export(Wide(), params, {}, ((None, 4), "float32"), tmp_path / "b")
    assert load_bundle(path)(np.ones((1, 4), np.float32))["probabilities"].shape == (1, 3)
    wide = fx.deploy.export(Wide(), params, {}, ((None, 4), "float64"), tmp_path / "wide")
    for bundle, name in ((path, "params.w"), (wide, "input")):
        text = f'"{name}" has 64 bits; start with JAX_EN'
        with jax.enable_x64(False), pytest.raises(ValueError, match=text):
            load_bundle(bundle)


LIGHT = """
import sys
import fx
engine = fx.load_bundle(sys.argv[1])
import numpy as np
print(engine.predict(np.zeros((8, 6, 3), np.uint8))["class"])
heavy = ("fx.nn", "fx.models", "fx.functional", "fx.optim", "fx.train", "fx.data",
         "flax", "optax", "orbax", "torch", "sklearn", "PIL", "matplotlib")
print([name for name in sys.modules if name in heavy or name.startswith("fx.nn.")])
"""


def test_a_process_that_serves_imports_no_model_code(bundle):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(bundle)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    name, heavy = done.stdout.splitlines()
    assert name in CLASSES and heavy == "[]"
