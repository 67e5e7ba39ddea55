"""GPT-2 beside Hugging Face's, from random weights of small sizes."""

import json
import os
from functools import partial

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers, which may look there for updates

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from transformers.generation import logits_process

import fx
from fx.interop.state_dict import entries
from fx.models import GPT2, decode, filter_logits, generate, generation, left_pad, prefill, sample

KEY = jax.random.key(0)
SIZES = {"vocab_size": 61, "n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 4}
PROMPTS = [[5, 6, 7, 8, 9], [11, 3], [1, 2, 3, 4]]


@pytest.fixture(scope="module")
def twin():
    """Hugging Face's model, with weights large enough that tokens differ."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(**SIZES, initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).eval()
    for name, p in model.named_parameters():
        if "bias" in name or "ln" in name:
            p.data += 0.1 * torch.randn_like(p)
    return model


@pytest.fixture(scope="module")
def ours(twin):
    model = GPT2(**SIZES)
    return model, fx.load_state_dict(model, twin.state_dict())[0]


@pytest.fixture(scope="module")
def batch():
    return left_pad(PROMPTS, pad_token_id=0)


def test_names_are_hugging_faces_with_and_without_a_scan(twin):
    expected = {name: tuple(value.shape) for name, value in twin.state_dict().items()}
    for form in (GPT2(**SIZES), GPT2(**SIZES, scan_layers=True)):
        assert [(e.name, e.shape) for e in entries(form)] == list(expected.items())
    params, _ = jax.eval_shape(GPT2().init, KEY)
    assert sum(a.size for a in jax.tree.leaves(params)) == 124439808


def test_initial_weights_are_hugging_faces():
    model = GPT2(**{**SIZES, "n_embd": 64}).transformer
    layer = model.h[1]
    for declared, std in [
        (model.wte.weight, 0.02),
        (model.wpe.weight, 0.02),
        (layer.attn.c_attn.weight, 0.02),
        (layer.attn.c_proj.weight, 0.01),  # 0.02 / sqrt(2 * 2 layers)
        (layer.mlp.c_proj.weight, 0.01),
        (layer.mlp.c_fc.bias, 0),
    ]:
        array = declared.init(KEY, declared.shape, declared.dtype)
        np.testing.assert_allclose(array.std(), std, rtol=0.05)


@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.full)])
def test_logits_and_gradients(twin, ours, batch, scan):
    model = GPT2(**SIZES, scan_layers=scan)
    params, _ = fx.load_state_dict(model, twin.state_dict())
    ids, mask = batch
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    weights = np.random.default_rng(0).normal(size=(*ids.shape, 61)).astype(np.float32)
    weights *= mask[..., None]

    def loss(params):
        logits = model.apply(params, {}, ids, mask)[0]
        return (logits * weights).sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    twin.zero_grad()
    theirs = twin(
        torch.from_numpy(ids).long(),
        attention_mask=torch.from_numpy(mask).long(),
        position_ids=torch.from_numpy(positions),
    ).logits
    (theirs * torch.from_numpy(weights)).sum().backward()
    scale = float(theirs.detach().abs().max())
    np.testing.assert_allclose(logits[mask], theirs.detach().numpy()[mask], atol=1e-5 * scale)
    found = fx.state_dict(model, grads)
    for name, p in twin.named_parameters():
        error = np.linalg.norm(found[name] - p.grad.numpy()) / np.linalg.norm(p.grad.numpy())
        assert error < 1e-5, name


def test_greedy_tokens_are_hugging_faces(twin, ours, batch):
    ids, mask = batch
    found = generate(*ours, ids, mask, max_new_tokens=12)
    expected = twin.generate(
        torch.from_numpy(ids).long(),
        attention_mask=torch.from_numpy(mask).long(),
        max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    assert found.tolist() == expected.tolist()
    assert len(set(found[:, 5:].ravel().tolist())) > 4  # tokens do differ


def test_the_cache_gives_what_no_cache_gives(ours):
    """Also where it is filled in two parts, and where layers are one scan."""
    model, params = ours
    tokens = jax.random.randint(KEY, (2, 10), 0, 61)
    whole = jax.jit(model.apply)(params, {}, tokens)[0]
    scanned = GPT2(**SIZES, scan_layers=True)
    stacked, _ = fx.load_state_dict(scanned, fx.state_dict(model, params))

    @partial(jax.jit, static_argnums=0)
    def in_parts(form, weights):
        first, cache = prefill(form, weights, tokens[:, :4], length=10)
        (more, cache), _ = form.apply(weights, {}, tokens[:, 4:9], cache=cache)
        last, cache = decode(form, weights, cache, tokens[:, 9])
        logits = jnp.concatenate([first[:, None], more, last[:, None]], 1)
        return logits, cache, decode(form, weights, cache, tokens[:, 9])[0]

    for form, weights in ((model, params), (scanned, stacked)):
        logits, cache, beyond = in_parts(form, weights)
        np.testing.assert_allclose(logits, whole[:, 3:], atol=1e-4)
        assert int(cache["length"]) == 10 and bool(cache["mask"].all())
        assert bool(jnp.isnan(beyond).all())


def test_a_row_ends_with_its_token(twin, ours, batch):
    model, params = ours
    ids, mask = batch
    free = generate(model, params, ids, mask, max_new_tokens=8)
    eos = int(free[0, 7])
    found = generate(model, params, ids, mask, max_new_tokens=8, eos_token_id=eos, pad_token_id=60)
    expected = twin.generate(
        torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask).long(),
        max_new_tokens=8, do_sample=False, eos_token_id=eos, pad_token_id=60,
    ).numpy()  # fmt: skip
    assert eos in expected[0] and expected[0, -1] == 60
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert (np.asarray(found)[:, expected.shape[1] :] == 60).all()


def test_what_is_drawn_from_is_what_hugging_face_leaves():
    logits = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32) * 3
    tensor = torch.from_numpy(logits)
    for k, p in [(5, None), (None, 0.7), (10, 0.5), (100, 1e-9)]:
        expected = logits_process.TemperatureLogitsWarper(0.7)(None, tensor)
        if k:
            expected = logits_process.TopKLogitsWarper(k)(None, expected)
        if p:
            expected = logits_process.TopPLogitsWarper(p)(None, expected)
        np.testing.assert_allclose(filter_logits(logits, 0.7, k, p), expected, rtol=1e-6)


def test_drawn_tokens_have_their_probabilities():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    drawn = sample(jnp.broadcast_to(logits, (20000, 4)), KEY, top_p=0.9)
    shares = jnp.bincount(drawn, length=4) / 20000
    np.testing.assert_allclose(shares, np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.015)


def test_sampling_follows_the_key_and_compiles_once(ours, batch):
    model, params = ours
    ids, mask = batch
    options = {"max_new_tokens": 6, "top_k": 20, "top_p": 0.95}
    first = generate(model, params, ids, mask, key=KEY, temperature=2.0, **options)
    compiled = generation._generate._cache_size()
    again = generate(model, params, ids, mask, key=KEY, temperature=2.0, **options)
    other = generate(model, params, ids, mask, key=jax.random.key(1), temperature=1.5, **options)
    assert generation._generate._cache_size() == compiled
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist() and first.shape == other.shape == (3, 11)


def test_published_files_load(twin, ours, tmp_path):
    """As the hub has GPT-2: no prefix, no head, and causal masks among the weights."""
    _, params = ours
    weights = {n: v.numpy() for n, v in twin.state_dict().items() if n != "lm_head.weight"}
    old = {n.removeprefix("transformer."): v for n, v in weights.items()}
    for i in range(2):
        old[f"h.{i}.attn.bias"] = np.tril(np.ones((1, 1, 24, 24), np.float32))
        old[f"h.{i}.attn.masked_bias"] = np.float32(-1e4)
    (tmp_path / "config.json").write_text(json.dumps(twin.config.to_dict()))
    fx.write_weights(tmp_path / "model.safetensors", old)
    model, loaded, state = GPT2.from_pretrained(tmp_path, resid_pdrop=0.0)
    assert model == GPT2(**SIZES, initializer_range=0.3, resid_pdrop=0.0) and state == {}
    chex.assert_trees_all_equal(loaded, params)
    half = GPT2.from_pretrained(tmp_path, scan_layers=True, dtype=jnp.bfloat16)[1]
    assert half["transformer"]["h"]["block"]["ln_1"]["weight"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="unexpected: transformer.h.0.nonsense"):
        model.load_weights({**old, "transformer.h.0.nonsense": np.zeros(3, np.float32)})
    twin.save_pretrained(tmp_path / "saved")
    chex.assert_trees_all_equal(GPT2.from_pretrained(tmp_path / "saved")[1], params)


def test_what_a_configuration_asks_for_and_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        GPT2.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"scale_attn_by_inverse_layer_idx": true}')
    with pytest.raises(ValueError, match="expected scale_attn_by_inverse_layer_idx=False"):
        GPT2.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="activation_function: expected one of gelu, gelu_new"):
        GPT2(**SIZES, activation_function="mish")
    with pytest.raises(ValueError, match="n_head to divide n_embd, got 5 and 16"):
        GPT2(**{**SIZES, "n_head": 5})


def test_a_sequence_longer_than_the_positions():
    model, long = GPT2(**SIZES), jnp.zeros((1, SIZES["n_positions"] + 1), int)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="GPT2: expected at most 24 tokens a sequence, .* got 25"):
        model.apply(params, state, long)
    padded = jnp.ones(long.shape, bool).at[:, 0].set(False)
    assert jnp.isfinite(model.apply(params, state, long, padded)[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 30}, "within the model's 24 positions, got 5 [+] 30"),
        ({"max_new_tokens": 0}, "max_new_tokens of 1 or more"),
        ({"temperature": 0.5}, "expected a key to draw tokens with"),
        ({"key": KEY, "temperature": 0.0}, "temperature above 0"),
        ({"key": KEY, "top_p": 1.5}, "top_p above 0 and at most 1, got 1.5"),
        ({"pad_token_id": 3}, "pad_token_id follows eos_token_id"),
        ({"attention_mask": np.array([[1, 1, 1, 1, 0]] * 3)}, "use fx.models.left_pad"),
        ({"attention_mask": np.ones((3, 4))}, r"expected attention_mask \[3, 5\]"),
    ],
)  # fmt: skip
def test_errors_of_generate(ours, batch, options, message):
    with pytest.raises(ValueError, match=message):
        generate(*ours, batch[0], **{"max_new_tokens": 4, **options})


@pytest.mark.full
def test_a_few_steps_learn_and_seeds_are_an_axis(ours):
    model, first = ours
    tokens = jax.random.randint(KEY, (4, 12), 0, 61)
    optimizer = fx.optim.adamw(2e-2)

    def step(carry, key):
        params, moments = carry

        def loss(params):
            logits = model.apply(params, {}, tokens[:, :-1], train=True, key=key)[0]
            return fx.functional.cross_entropy(logits.reshape(-1, 61), tokens[:, 1:].reshape(-1))

        value, grads = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (jax.tree.map(jnp.add, params, updates), moments), value

    @jax.jit
    @jax.vmap
    def train(key):
        noise = jax.random.normal(key, (16,))
        params = jax.tree.map(lambda a: 0.1 * (a + noise[0]), first)
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 25))[1]

    losses = train(jax.random.split(KEY, 2))
    assert bool((losses[:, -1] < losses[:, 0] - 0.5).all()) and losses[0, 0] != losses[1, 0]


@pytest.mark.full
def test_it_exports(ours, tmp_path):
    model, params = ours
    tokens = np.asarray(jax.random.randint(KEY, (2, 7), 0, 61), np.int32)
    path = fx.export(
        model, params, {}, ((None, 7), "int32"), tmp_path / "bundle", postprocess=None,
        platforms=["cpu"], example=tokens,
    )  # fmt: skip
    found = fx.load_bundle(path)(tokens)["outputs"]
    np.testing.assert_allclose(found, model.apply(params, {}, tokens)[0], atol=1e-4)
