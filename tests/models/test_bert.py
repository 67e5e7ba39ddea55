"""BERT beside Hugging Face's, from random weights of small sizes."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers, which may look there for updates

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

import fx
from fx.interop.state_dict import entries
from fx.models import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

KEY = jax.random.key(0)
SIZES = {
    "vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 24, "max_position_embeddings": 12,
}  # fmt: skip
KINDS = {
    "model": (BertModel, transformers.BertModel, {}),
    "masked": (BertForMaskedLM, transformers.BertForMaskedLM, {}),
    "classes": (
        BertForSequenceClassification,
        transformers.BertForSequenceClassification,
        {"num_labels": 3},
    ),
    "tokens": (
        BertForTokenClassification,
        transformers.BertForTokenClassification,
        {"num_labels": 3},
    ),
}
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 61, (3, 8)).astype(np.int32)
MASK = np.arange(8) < np.array([[8], [5], [2]])
TYPES = (np.arange(8) > 3).astype(np.int32) * np.ones((3, 1), np.int32)


def pair(kind, **options):
    ours, theirs, head = KINDS[kind]
    torch.manual_seed(0)
    twin = theirs(transformers.BertConfig(**SIZES, **head, initializer_range=0.2)).eval()
    for p in twin.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    model = ours(**SIZES, **head, initializer_range=0.2, **options)
    return model, twin, fx.load_state_dict(model, twin.state_dict())[0]


def outputs_of(twin):
    found = twin(
        torch.from_numpy(np.where(MASK, IDS, 0)).long(),
        attention_mask=torch.from_numpy(MASK).long(),
        token_type_ids=torch.from_numpy(TYPES).long(),
    )
    return (found[0], found[1]) if isinstance(twin, transformers.BertModel) else (found[0],)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_hugging_faces_with_and_without_a_scan(kind):
    ours, theirs, head = KINDS[kind]
    with torch.device("meta"):
        twin = theirs(transformers.BertConfig(**SIZES, **head))
    expected = {name: tuple(value.shape) for name, value in twin.state_dict().items()}
    for scan in (False, True):
        model = ours(**SIZES, **head, scan_layers=scan)
        assert {entry.name: entry.shape for entry in entries(model)} == expected
    assert isinstance(hash(model), int)


def test_the_published_size():
    params, _ = jax.eval_shape(BertModel().init, KEY)
    assert sum(a.size for a in jax.tree.leaves(params)) == 109482240


@pytest.mark.parametrize(
    ("kind", "scan"),
    [("model", False), ("masked", False), ("classes", False),
     pytest.param("tokens", False, marks=pytest.mark.full),
     pytest.param("masked", True, marks=pytest.mark.full)],
)  # fmt: skip
def test_outputs_and_gradients(kind, scan):
    model, twin, params = pair(kind, scan_layers=scan)
    theirs = outputs_of(twin)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=out.shape).astype(np.float32) for out in theirs]
    masks = [MASK if out.shape[:2] == MASK.shape else np.ones(len(MASK), bool) for out in theirs]
    weights = [w * m.reshape(*m.shape, *(1,) * (w.ndim - m.ndim)) for w, m in zip(weights, masks)]

    def loss(params):
        out, _ = model.apply(params, {}, np.where(MASK, IDS, 0), MASK, TYPES)
        out = out if isinstance(out, tuple) else (out,)
        return sum((a * w).sum() for a, w in zip(out, weights)), out

    (_, out), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    sum((a * torch.from_numpy(w)).sum() for a, w in zip(theirs, weights)).backward()
    for ours, expected, mask in zip(out, theirs, masks, strict=True):
        expected = expected.detach().numpy()
        np.testing.assert_allclose(ours[mask], expected[mask], atol=1e-5 * abs(expected).max())
    found = fx.state_dict(model, grads)
    expected = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    floor = 1e-2 * max(map(np.linalg.norm, expected.values()))  # a key's bias has none but rounding
    for name, grad in expected.items():
        error = np.linalg.norm(found[name] - grad) / max(np.linalg.norm(grad), floor)
        assert error < 2e-5, name


def test_initial_weights_are_hugging_faces():
    model = BertForMaskedLM(**{**SIZES, "hidden_size": 64})
    words, output = model.bert.embeddings.word_embeddings, model.bert.encoder.layer[0].output
    table = words.weight.init(KEY, words.weight.shape, words.weight.dtype)
    weight = output.dense.weight.init(KEY, output.dense.weight.shape, output.dense.weight.dtype)
    assert not table[0].any() and output.dense.bias.init == fx.nn.init.zeros
    for array in (table[1:], weight):
        np.testing.assert_allclose(array.std(), 0.02, rtol=0.1)
    params, _ = jax.eval_shape(model.init, KEY)
    assert "decoder" not in params["cls"]["predictions"]  # tied: weight and bias


def test_published_files_load(tmp_path):
    """As the hub has bert-base-uncased: of pre-training, with TensorFlow's names for norms."""
    model, twin, params = pair("masked")
    whole = pair("model")[1].pooler.state_dict()
    weights = {n: v.numpy() for n, v in twin.state_dict().items() if "decoder" not in n}
    weights |= {f"bert.pooler.{name}": value.numpy() for name, value in whole.items()}
    weights["cls.seq_relationship.weight"] = np.zeros((2, 16), np.float32)
    weights["bert.embeddings.position_ids"] = np.arange(12)[None]
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): a
        for name, a in weights.items()
    }
    assert sum("gamma" in name for name in old) == 6
    (tmp_path / "config.json").write_text(json.dumps(twin.config.to_dict()))
    fx.write_weights(tmp_path / "model.safetensors", old)
    again, loaded, state = BertForMaskedLM.from_pretrained(tmp_path)
    assert again == model and state == {}
    chex.assert_trees_all_equal(loaded, params)
    trunk, loaded, _ = BertModel.from_pretrained(tmp_path)
    chex.assert_trees_all_equal(loaded["encoder"], params["bert"]["encoder"])
    np.testing.assert_array_equal(loaded["pooler"]["dense"]["bias"], whole["dense.bias"])
    with pytest.raises(ValueError, match=r"missing: classifier.weight \[5, 16\]"):
        BertForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    _, tuned, _ = BertForSequenceClassification.from_pretrained(tmp_path, num_labels=5, key=KEY)
    chex.assert_trees_all_equal(tuned["bert"]["encoder"], params["bert"]["encoder"])
    assert tuned["classifier"]["weight"].shape == (5, 16) and tuned["classifier"]["weight"].any()


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="num_attention_heads to divide hidden_size, got 5 and 16"):
        BertModel(**{**SIZES, "num_attention_heads": 5})
    (tmp_path / "config.json").write_text('{"is_decoder": true}')
    with pytest.raises(ValueError, match="BertModel.from_pretrained: expected is_decoder=False"):
        BertModel.from_pretrained(tmp_path)
    model, long = BertModel(**SIZES), jnp.zeros((1, SIZES["max_position_embeddings"] + 1), int)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="at most 12 tokens a sequence, .* got 13; cut the"):
        model.apply(params, state, long)
    assert jnp.isfinite(model.apply(params, state, long, position_ids=long)[0][0]).all()


@pytest.mark.full
def test_a_few_steps_learn_and_seeds_are_an_axis():
    model = BertForSequenceClassification(**SIZES, num_labels=3)
    optimizer, labels = fx.optim.adamw(3e-3), jnp.arange(3)

    def step(carry, key):
        params, moments = carry

        def loss(params):
            logits = model.apply(params, {}, IDS, MASK, TYPES, train=True, key=key)[0]
            return fx.functional.cross_entropy(logits, labels)

        value, grads = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (jax.tree.map(jnp.add, params, updates), moments), value

    @jax.jit
    @jax.vmap
    def train(key):
        params, _ = model.init(key)
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 25))[1]

    losses = train(jax.random.split(KEY, 2))
    assert bool((losses[:, -1] < 0.6 * losses[:, 0]).all()) and losses[0, 0] != losses[1, 0]
