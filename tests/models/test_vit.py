"""Vision transformers beside a twin in plain PyTorch, and torchvision's names."""

import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.interop.state_dict import entries
from fx.models import VisionTransformer, interpolate_embeddings
from fx.models.vit import DropPath
from tests.models import torch_twins

NAMES = json.loads((Path(__file__).parent / "torchvision_names.json").read_text())
KEY = jax.random.key(0)
SIZES = (16, 8, 2, 4, 16, 24)  # image, patch, layers, heads, dim, hidden


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    return torch_twins.VisionTransformer(*SIZES, 7).eval()


def model_of(classes=7, image=16, **options):
    return VisionTransformer(image, *SIZES[1:], num_classes=classes, **options)


def test_names_and_shapes_are_torchvisions():
    ours = {entry.name: list(entry.shape) for entry in entries(fx.models.vit_b_16())}
    assert ours == NAMES["vit_b_16"]
    params, _ = jax.eval_shape(fx.models.vit_s_16().init, KEY)
    assert sum(a.size for a in jax.tree.leaves(params)) == 22050664  # timm's figure


def test_logits_and_gradients_are_the_twins(twin):
    model = model_of()
    params, _ = fx.load_state_dict(model, twin.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(3, 7)).astype(np.float32)

    def loss(params):
        logits = model.apply(params, {}, x, train=True)[0]
        return (logits * weights).sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    theirs = twin(torch.from_numpy(x))
    (theirs * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(logits, theirs.detach(), atol=2e-6)
    found = fx.state_dict(model, grads)
    for name, p in twin.named_parameters():
        error = np.linalg.norm(found[name] - p.grad.numpy()) / np.linalg.norm(p.grad.numpy())
        assert error < 2e-5, name


def test_initial_weights_are_torchvisions():
    model = VisionTransformer(32, 8, 1, 2, 64, 128, representation_size=32)
    block = model.encoder.layers[0]
    for declared, std in [
        (model.encoder.pos_embedding, 0.02),
        (block.mlp[0].weight, np.sqrt(2 / 192)),
        (block.mlp[0].bias, 1e-6),
        (model.conv_proj.weight, np.sqrt(1 / 192)),
        (model.heads[0].weight, np.sqrt(1 / 64)),
        (model.heads[2].weight, 0),
        (model.class_token, 0),
    ]:
        array = declared.init(KEY, declared.shape, declared.dtype)
        np.testing.assert_allclose(array.std(), std, rtol=0.15)


def test_published_files_load(twin, tmp_path):
    """As torchvision's first files have it; for other images and classes, too."""
    weights = {name: value.numpy() for name, value in twin.state_dict().items()}
    params, _ = fx.load_state_dict(model_of(), weights)
    old = {}
    for name, array in weights.items():
        name = name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")
        old[name] = torch.tensor(array)
    assert old.keys() != weights.keys()
    torch.save(old, tmp_path / "vit.pth")
    chex.assert_trees_all_equal(model_of().load_weights(tmp_path / "vit.pth")[0], params)
    large = model_of(classes=5, image=32)
    with pytest.raises(ValueError, match=r"heads.head.weight: expected the shape \(5, 16\)"):
        large.load_weights(weights)
    tuned, _ = large.load_weights(weights, key=KEY)
    assert tuned["encoder"]["pos_embedding"].shape == (1, 17, 16)
    assert tuned["heads"]["head"]["weight"].shape == (5, 16)
    chex.assert_trees_all_equal(tuned["encoder"]["layers"], params["encoder"]["layers"])


def test_interpolation_is_torchs():
    table = np.random.default_rng(0).normal(size=(1, 17, 8)).astype(np.float32)
    found = interpolate_embeddings(48, 8, {"encoder.pos_embedding": table, "heads.head.bias": 0},
                                   reset_heads=True)  # fmt: skip
    square = torch.from_numpy(table[:, 1:]).permute(0, 2, 1).reshape(1, 8, 4, 4)
    expected = torch.nn.functional.interpolate(square, size=6, mode="bicubic", align_corners=True)
    expected = expected.reshape(1, 8, 36).permute(0, 2, 1)
    assert list(found) == ["encoder.pos_embedding"]
    np.testing.assert_allclose(found["encoder.pos_embedding"][:, 1:], expected, atol=1e-6)
    np.testing.assert_array_equal(found["encoder.pos_embedding"][:, :1], table[:, :1])
    with pytest.raises(ValueError, match="a square of patches and a class token, got 16"):
        interpolate_embeddings(48, 8, {"encoder.pos_embedding": table[:, 1:]})


def test_drop_path_leaves_out_whole_examples():
    drop = nn.Sequential(DropPath(0.25))
    x = jnp.ones((4000, 2, 3))
    y, _ = drop.apply({}, {}, x, train=True, key=KEY)
    assert set(jnp.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert bool((y == y[:, :1, :1]).all())
    np.testing.assert_allclose((y == 0).mean(), 0.25, atol=0.03)
    np.testing.assert_array_equal(drop.apply({}, {}, x)[0], x)
    rates = [block.drop_path.p for block in model_of(drop_path=0.1).encoder.layers]
    assert rates == [0.0, 0.1]


def test_errors():
    with pytest.raises(ValueError, match="patch_size to divide image_size, got 8 and 20"):
        model_of(image=20)
    with pytest.raises(ValueError, match=r"expected images \[N, 3, 16, 16\], got \[2, 3, 8, 8\]"):
        jax.eval_shape(lambda: model_of().apply(*model_of().init(KEY), jnp.ones((2, 3, 8, 8))))
    with pytest.raises(ValueError, match="DropPath: expected p of at least 0 and below 1, got 1"):
        DropPath(1)
