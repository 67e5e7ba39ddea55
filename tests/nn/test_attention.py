"""MultiheadAttention and the transformer: what the table of layers does not reach."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import fx
from fx import functional as F
from fx import nn
from tests.functional.check import assert_close, normal

KEY = jax.random.key(0)
CAUSAL = np.triu(np.full((3, 3), -np.inf, np.float32), 1)
OPEN = np.zeros((3, 5), bool)
CLOSED = OPEN.copy()
CLOSED[0, 1:] = CLOSED[2, :2] = True
DEAD = CLOSED.copy()
DEAD[1] = True
PADDING = np.array([[False] * 3 + [True] * 2, [False] * 5])


def pair(name, *args, seed=0, **kwargs):
    """torch's layer with random weights, and ours with the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="enable_nested_tensor is True, but")
        layer = getattr(torch.nn, name)(*args, **kwargs)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.from_numpy(rng.normal(scale=0.5, size=p.shape)))
    model = getattr(nn, name)(*args, **kwargs)
    weights = {n: t.numpy() for n, t in layer.state_dict().items()}
    return layer.eval(), model, *fx.load_state_dict(model, weights)


def to_torch(value, dtype=torch.float32):
    if not isinstance(value, np.ndarray):
        return value
    value = torch.from_numpy(value)
    return value if value.dtype == torch.bool else value.to(dtype)


def compare(made, *inputs, **options):
    """Output at most twice as far from torch's float64 as torch's own float32; gradients close."""
    layer, model, params, state = made

    @jax.jit
    def run(x):
        def loss(x):
            same = [x if other is inputs[0] else other for other in inputs]
            outputs, _ = model.apply(params, state, *same, **options)
            return sum((o**2).sum() for o in jax.tree.leaves(outputs)), outputs

        return jax.grad(loss, has_aux=True)(x)

    our_gradient, ours = run(jnp.asarray(inputs[0]))
    results = {}
    for dtype in (torch.float64, torch.float32):
        by_id = {id(x): to_torch(x, dtype) for x in inputs}
        tensors = [by_id[id(x)] for x in inputs]
        tensors[0].requires_grad_()
        kwargs = {name: to_torch(value, dtype) for name, value in options.items()}
        outputs = jax.tree.leaves(layer.to(dtype)(*tensors, **kwargs))
        sum((o**2).sum() for o in outputs).backward()
        results[dtype] = [o.detach().double().numpy() for o in outputs], tensors[0].grad
    exact, gradient = results[torch.float64]
    for mine, theirs, wide in zip(jax.tree.leaves(ours), results[torch.float32][0], exact):
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(wide))
        allowed = 2 * np.nanmax(np.abs(theirs - wide)) + 1e-6 * np.nanmax(np.abs(wide))
        assert np.nanmax(np.abs(np.asarray(mine, np.float64) - wide)) <= allowed
    assert_close(our_gradient, gradient)


BATCH = normal(2, 3, 8), normal(2, 5, 8, seed=1), normal(2, 5, 8, seed=2)
SEQUENCE = tuple(x.swapaxes(0, 1) for x in BATCH)
SINGLE = tuple(x[0] for x in BATCH)
SELF = BATCH[0], BATCH[0], BATCH[0]
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


TRANSFORMED = {
    "encoder layer, causal": (
        ("TransformerEncoderLayer", 8, 2, 12),
        (BATCH[0],),
        {"src_mask": CAUSAL, "is_causal": True},
    ),
    "decoder layer, masks": (
        ("TransformerDecoderLayer", 8, 2, 12),
        (BATCH[0], BATCH[1]),
        {
            "tgt_mask": CAUSAL,
            "memory_mask": CLOSED,
            "memory_key_padding_mask": PADDING,
            "tgt_is_causal": True,
        },
    ),
    "transformer": (
        ("Transformer", 8, 2, 1, 2, 12),
        (BATCH[1], BATCH[0]),
        {
            "tgt_mask": CAUSAL,
            "src_key_padding_mask": PADDING,
            "memory_key_padding_mask": PADDING,
            "tgt_key_padding_mask": PADDING[:, :3],
        },
    ),
    "transformer without a batch": (
        ("Transformer", 8, 2, 1, 1, 12),
        (SINGLE[1], SINGLE[0]),
        {"tgt_mask": CAUSAL, "tgt_is_causal": True, "src_key_padding_mask": PADDING[0]},
    ),
}


@pytest.mark.filterwarnings("ignore:Support for mismatched .* is deprecated")
@pytest.mark.parametrize(
    "norm_first", [pytest.param(False, marks=pytest.mark.full), True], ids=["after", "first"]
)
@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformers_equal_torch(name, norm_first):
    (kind, *args), inputs, options = TRANSFORMED[name]
    made = pair(kind, *args, norm_first=norm_first, activation="gelu", batch_first=True)
    with sdpa_kernel(SDPBackend.MATH):
        compare(made, *inputs, **options)


@pytest.mark.parametrize("activation", ["relu", F.silu, nn.GELU("tanh"), jax.nn.tanh])
def test_activations(activation):
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation, batch_first=True)
    params, state = layer.init(KEY)
    x = jnp.asarray(BATCH[0])
    plain = nn.TransformerEncoderLayer(8, 2, 12, 0.0, lambda x: x, batch_first=True)
    output, _ = layer.apply(params, state, x)
    assert not jnp.allclose(output, plain.apply(params, state, x)[0])
    assert layer == nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation, batch_first=True)


def test_layers_of_a_stack_begin_differently():
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    params, _ = model.init(KEY)
    weights = [params["layers"][i]["linear1"]["weight"] for i in "01"]
    assert model.layers[0] == model.layers[1] == layer
    assert (weights[0] != weights[1]).all()


def test_initial_weights():
    """Those of torch, by their limits and spread."""
    torch.manual_seed(0)
    for args, kwargs in [((64, 4), {"add_bias_kv": True}), ((64, 4), {"kdim": 32})]:
        params, _ = nn.MultiheadAttention(*args, **kwargs).init(KEY)
        check_spread(params, nn.MultiheadAttention(*args, **kwargs), torch.nn.MultiheadAttention(
            *args, **kwargs
        ))  # fmt: skip
    args = (64, 4, 1, 1, 96)
    model = nn.Transformer(*args, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.Transformer(*args, batch_first=True)
    check_spread(model.init(KEY)[0], model, theirs)


def check_spread(params, model, theirs):
    expected = theirs.state_dict()
    for name, value in fx.state_dict(model, params).items():
        other = expected[name].numpy()
        assert value.shape == other.shape
        if other.std() < 1e-9:  # zeros and ones
            np.testing.assert_array_equal(value, other, err_msg=name)
        else:
            few = value.size < 200
            np.testing.assert_allclose(value.std(), other.std(), rtol=0.4 if few else 0.1)
            if "bias" not in name or not few:
                limit = np.abs(other).max()
                assert 0.9 * limit < jnp.abs(value).max() < 1.1 * limit, name


def test_custom_parts():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 1)
    model = nn.Transformer(8, 2, custom_encoder=encoder, num_decoder_layers=1, dim_feedforward=12)
    bound = model.encoder.layers[0].linear1.weight
    assert bound == nn.Parameter((12, 8), nn.init.xavier_uniform())
    params, state = model.init(KEY)
    output, _ = model.apply(params, state, SEQUENCE[1], SEQUENCE[0])
    assert output.shape == SEQUENCE[0].shape


def test_the_causal_mask():
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    theirs = torch.nn.Transformer.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(mask, theirs.numpy())
    low = nn.Transformer.generate_square_subsequent_mask(4, dtype=jnp.bfloat16)
    assert mask.dtype == jnp.float32 and low.dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="expected device=None, got 'cpu'"):
        nn.Transformer.generate_square_subsequent_mask(4, device="cpu")


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


def test_errors_of_the_transformer():
    model = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="one batch size, got .*batches are axis 0 with batch_f"):
        model.apply(params, state, OTHER[:1], QUERY)
    with pytest.raises(ValueError, match=r"expected input tgt \[..., 8\].*its last axis is d_mod"):
        model.apply(params, state, OTHER, QUERY[..., :7])
