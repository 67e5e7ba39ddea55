"""MultiheadAttention, and what constructors refuse: what the table of layers does not reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from fx import functional as F
from fx import nn
from tests.functional.check import assert_close, normal
from tests.nn.attending import (
    BATCH,
    CAUSAL,
    CLOSED,
    DEAD,
    KEY,
    PADDING,
    SELF,
    SEQUENCE,
    SINGLE,
    check_spread,
    compare,
    pair,
    to_torch,
)  # fmt: skip

ATTENDED = {
    "plain": (BATCH, {}),
    "no weights": (BATCH, {"need_weights": False}),
    "weights of heads": (BATCH, {"average_attn_weights": False}),
    "padding": (BATCH, {"key_padding_mask": PADDING}),
    "padding as numbers": (BATCH, {"key_padding_mask": normal(2, 5)}),
    "mask": (BATCH, {"attn_mask": CLOSED, "need_weights": False}),
    "mask of numbers": (BATCH, {"attn_mask": normal(3, 5)}),
    "mask for every head": (BATCH, {"attn_mask": normal(8, 3, 5), "need_weights": False}),
    "masks": (BATCH, {"attn_mask": CLOSED, "key_padding_mask": PADDING}),
    "masks of both kinds": (
        BATCH,
        {"attn_mask": normal(3, 5), "key_padding_mask": PADDING, "need_weights": False},
    ),
    "causal": (SELF, {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False}),
    "causal with weights": (SELF, {"attn_mask": CAUSAL, "is_causal": True}),
    "a hint that is wrong": (
        SELF,
        {"attn_mask": np.zeros((3, 3), bool), "is_causal": True, "need_weights": False},
    ),
    "no batch": (SINGLE, {"key_padding_mask": PADDING[0]}),
    "no batch, a mask for every head": (
        SINGLE,
        {"attn_mask": normal(4, 3, 5), "average_attn_weights": False},
    ),
}
MADE = {
    "batch first": {"batch_first": True},
    "sequence first": {},
    "more keys": {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
    "own projections": {"kdim": 8, "vdim": 8, "bias": False, "batch_first": True},
}


def attended(few):
    for made in MADE:
        for name in ATTENDED:
            full = name not in few
            yield pytest.param(made, name, marks=pytest.mark.full if full else [])


@pytest.mark.filterwarnings("ignore:Support for mismatched .* is deprecated")
@pytest.mark.parametrize("made, name", [*attended(["masks", "causal"])])
def test_attention_equals_torch(made, name):
    inputs, options = ATTENDED[name]
    if not MADE[made].get("batch_first") and inputs[0].ndim == 3:
        inputs = tuple(x.swapaxes(0, 1) for x in inputs)
    compare(pair("MultiheadAttention", 8, 4, **MADE[made]), *inputs, **options)


@pytest.mark.parametrize("need_weights", [True, False])
def test_queries_that_may_attend_to_nothing(need_weights):
    """As torch's own program has it: NaN beside weights, the output's bias without them."""
    layer, model, params, state = pair("MultiheadAttention", 8, 4, batch_first=True)
    inputs = {"attn_mask": DEAD, "need_weights": need_weights}
    (output, weights), _ = model.apply(params, state, *BATCH, **inputs)
    options = {name: to_torch(value) for name, value in inputs.items()}
    expected, expected_weights = layer(*map(torch.from_numpy, BATCH), **options)
    assert_close(output, expected)
    assert np.isnan(output[:, 1]).all() == need_weights
    if need_weights:
        assert_close(weights, expected_weights)
        assert np.isnan(weights[:, 1]).all()
    else:
        assert_close(output[:, 1], jnp.broadcast_to(params["out_proj"]["bias"], (2, 8)))
        grad = jax.grad(lambda x: model.apply(params, state, x, *BATCH[1:], **inputs)[0][0].sum())
        assert jnp.isfinite(grad(jnp.asarray(BATCH[0]))).all()


def test_static_keys_and_values():
    weight, bias = normal(24, 8), normal(24, seed=1)
    out, static = normal(8, 8, seed=2), normal(8, 6, 2, seed=3)
    inputs = (*SEQUENCE, 8, 4, weight, bias, None, None, True, 0.0, out, None)
    ours = F.multi_head_attention_forward(*inputs, static_k=static, static_v=static + 1)
    tensors = [to_torch(x) for x in inputs]
    theirs = torch.nn.functional.multi_head_attention_forward(
        *tensors, static_k=torch.from_numpy(static), static_v=torch.from_numpy(static + 1)
    )
    for mine, expected in zip(ours, theirs):
        assert_close(mine, expected)


def test_one_array_is_projected_by_one_product():
    model = nn.MultiheadAttention(8, 4, batch_first=True)
    params, state = model.init(KEY)
    x = jnp.asarray(BATCH[0])

    def products(*inputs):
        program = jax.make_jaxpr(lambda *a: model.apply(params, state, *a)[0])(*inputs)
        return str(program).count("dot_general")

    assert products(x, x, x) == products(x, x, x + 1) == 6  # each tracer is an array of its own
    jaxpr = jax.make_jaxpr(lambda a: model.apply(params, state, a, a, a)[0])(x)
    assert str(jaxpr).count("dot_general") == 4


class TestDropout:
    x = jnp.ones((64, 8, 16))
    model = nn.MultiheadAttention(16, 2, 0.25, batch_first=True)
    params, state = model.init(KEY)

    def run(self, key, train=True, **options):
        return self.model.apply(
            self.params, self.state, self.x, self.x, self.x, train=train, key=key, **options
        )[0]

    def test_it_drops_weights(self):
        _, weights = self.run(KEY, average_attn_weights=False)
        kept = weights * 8 * 0.75  # equal weights of 1 / 8, divided by what is kept
        np.testing.assert_allclose(kept, np.round(kept), atol=1e-5)
        assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)

    @pytest.mark.parametrize("need_weights", [True, False])
    def test_the_key_decides(self, need_weights):
        run = lambda key: self.run(key, need_weights=need_weights)[0]
        np.testing.assert_array_equal(run(KEY), run(KEY))
        np.testing.assert_allclose(run(KEY), jax.jit(run)(KEY), atol=1e-6)
        assert (run(KEY) != run(jax.random.key(1))).any()

    def test_evaluation_needs_no_key(self):
        output, _ = self.run(None, train=False)
        assert float(jnp.ptp(output, axis=(0, 1)).max()) < 1e-6

    def test_training_does(self):
        with pytest.raises(ValueError, match="MultiheadAttention: expected a key for its random"):
            self.run(None)

    def test_transformers_drop_in_every_part(self, monkeypatch):
        layer = nn.TransformerDecoderLayer(16, 2, 32, 0.5, batch_first=True)
        params, state = layer.init(KEY)
        run = lambda key: layer.apply(params, state, self.x, self.x, train=True, key=key)[0]
        np.testing.assert_array_equal(run(KEY), run(KEY))
        assert (run(KEY) != run(jax.random.key(1))).any()
        draws, bernoulli = [], jax.random.bernoulli
        monkeypatch.setattr(jax.random, "bernoulli", lambda *a: draws.append(a) or bernoulli(*a))
        jax.eval_shape(run, KEY)
        assert len(draws) == 6  # two attentions, three residuals, the feed-forward part


def test_initial_weights():
    """Those of torch, by their limits and spread."""
    torch.manual_seed(0)
    for args, kwargs in [((64, 4), {"add_bias_kv": True}), ((64, 4), {"kdim": 32})]:
        params, _ = nn.MultiheadAttention(*args, **kwargs).init(KEY)
        theirs = torch.nn.MultiheadAttention(*args, **kwargs)
        check_spread(params, nn.MultiheadAttention(*args, **kwargs), theirs)


@pytest.mark.parametrize(
    "make, kind, text",
    [
        (lambda: nn.MultiheadAttention(8, 3), ValueError, "num_heads to divide embed_dim, got 3"),
        (lambda: nn.MultiheadAttention(0, 1), ValueError, "expected embed_dim of 1 or more, got 0"),
        (lambda: nn.MultiheadAttention(8, 2.0), TypeError, "expected num_heads an int, got 2.0"),
        (lambda: nn.MultiheadAttention(8, 2, kdim=-1), ValueError, "kdim of 0 or more, got -1"),
        (lambda: nn.MultiheadAttention(8, 2, 1.5), ValueError, "dropout between 0 and 1, got 1.5"),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, activation="silu"),
            ValueError,
            'TransformerEncoderLayer: expected activation "relu", "gelu" or a function, got .silu',
        ),
        (
            lambda: nn.TransformerDecoderLayer(8, 2, activation=3),
            TypeError,
            "expected activation a name or a function, got 3",
        ),
        (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer, 2),
            TypeError,
            "TransformerEncoder: expected a layer to copy, got <class",
        ),
        (
            lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2), 0),
            ValueError,
            "TransformerDecoder: expected num_layers of 1 or more, got 0",
        ),
        (
            lambda: nn.Transformer(8, 2, custom_decoder=F.relu),
            TypeError,
            "Transformer: expected custom_decoder a module, got",
        ),
    ],
)
def test_errors_of_constructors(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


QUERY, OTHER, _ = BATCH


@pytest.mark.parametrize(
    "inputs, options, kind, text",
    [
        ((QUERY[..., :7], OTHER, OTHER), {}, ValueError, r"query \[..., 8\].*set embed_dim=7"),
        ((QUERY, OTHER[..., :7], OTHER), {}, ValueError, r"expected input key .*set kdim=7"),
        ((QUERY[None], OTHER, OTHER), {}, ValueError, "of 2 or 3 axes, got .*reshape it"),
        ((QUERY, OTHER, QUERY), {}, ValueError, "key and value of one length"),
        ((QUERY, OTHER[:1], OTHER[:1]), {}, ValueError, "one batch size for all"),
        ((QUERY, OTHER[0], OTHER[0]), {}, ValueError, "or all three without N"),
        (
            (QUERY.astype(np.float16), OTHER, OTHER), {}, TypeError,
            "MultiheadAttention: expected float32 input, got float16",
        ),
        (
            (QUERY, OTHER, OTHER), {"attn_mask": np.zeros((3, 5), np.int32)}, TypeError,
            "expected attn_mask of booleans or floats, got int32; True is what takes no part",
        ),
        (
            (QUERY, OTHER, OTHER), {"attn_mask": np.zeros((5, 3), bool)}, ValueError,
            r"expected attn_mask \[3, 5\] or \[8, 3, 5\], got \[5, 3\]",
        ),
        (
            (QUERY, OTHER, OTHER), {"key_padding_mask": np.zeros((3, 5), bool)}, ValueError,
            r"expected key_padding_mask \[2, 5\], got \[3, 5\]; it is \[N, S\]",
        ),
        (
            (QUERY, QUERY, QUERY), {"is_causal": True}, ValueError,
            "expected attn_mask beside is_causal=True, got none; give it nn.Transformer.gen",
        ),
        (
            (QUERY, QUERY, QUERY),
            {"is_causal": True, "need_weights": False, "attn_mask": np.zeros((3, 3), np.int32)},
            TypeError, "expected attn_mask of booleans or floats, got int32",
        ),
        (
            (QUERY, QUERY, QUERY),
            {"is_causal": True, "need_weights": False, "attn_mask": np.zeros(3, bool)},
            ValueError, r"expected attn_mask \[L, S\] or \[N \* num_heads, L, S\], got \[3\]",
        ),
    ],
)  # fmt: skip
def test_errors_of_attention(inputs, options, kind, text):
    model = nn.MultiheadAttention(8, 4, batch_first=True)
    params, state = model.init(KEY)
    with pytest.raises(kind, match=text):
        model.apply(params, state, *inputs, **options)


def test_errors_of_the_function():
    x, weight = SEQUENCE[0], normal(24, 8)

    def run(*changed, width=8, heads=4, in_proj=weight, bias_k=None, bias_v=None, **options):
        return F.multi_head_attention_forward(
            x, x, x, width, heads, in_proj, None, bias_k, bias_v, False, 0.5, weight[:8], None,
            **options,
        )  # fmt: skip

    static = jnp.ones((8, 3, 2))
    wrong = {
        r"expected query \[..., 6\] and num_heads to divide 6": {"width": 6},
        "and 3 heads; the last axis is embed_dim": {"heads": 3},
        "expected in_proj_weight, got None; use_separate": {"in_proj": None},
        "expected q_proj_weight, k_proj_weight and v_proj_weight": {
            "use_separate_proj_weight": True
        },
        "expected bias_k and bias_v both or neither": {"bias_k": jnp.ones((1, 1, 8))},
        "neither beside static_k or static_v": {
            "bias_k": jnp.ones((1, 1, 8)), "bias_v": jnp.ones((1, 1, 8)), "static_k": static,
        },
        r"expected static_v \[8, S, 2\], got \[7, 3, 2\]": {"static_v": static[:7]},
        "multi_head_attention_forward: expected a PRNG key with dropout_p=0.5": {"training": True},
    }  # fmt: skip
    for text, options in wrong.items():
        with pytest.raises(ValueError, match=text):
            run(**{"training": False} | options)
