"""The transformer and its layers: what the table of layers does not reach."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fx import functional as F
from fx import nn
from tests.nn.attending import (
    BATCH,
    CAUSAL,
    CLOSED,
    KEY,
    PADDING,
    SEQUENCE,
    SINGLE,
    check_spread,
    compare,
    pair,
)  # fmt: skip

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
    args = (64, 4, 1, 1, 96)
    model = nn.Transformer(*args, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.Transformer(*args, batch_first=True)
    check_spread(model.init(KEY)[0], model, theirs)


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


def test_errors_of_the_transformer():
    model = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="one batch size, got .*batches are axis 0 with batch_f"):
        model.apply(params, state, BATCH[1][:1], BATCH[0])
    with pytest.raises(ValueError, match=r"expected input tgt \[..., 8\].*its last axis is d_mod"):
        model.apply(params, state, BATCH[1], BATCH[0][..., :7])
