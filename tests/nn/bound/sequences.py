"""Draws of recurrent layers, attention and transformers."""

import numpy as np

from tests.nn.bound.draw import Draw, Part
from tests.nn.bound.spatial import pick, real


def recurrent(rng):
    name = pick(rng, "RNN", "LSTM", "GRU")
    n_in, hidden, layers = pick(rng, 3, 1), pick(rng, 4, 1, 2), pick(rng, 1, 1, 2, 3)
    two = pick(rng, True, False)
    kwargs = {"num_layers": layers, "bias": pick(rng, True, False), "bidirectional": two,
              "batch_first": pick(rng, True, False)}  # fmt: skip
    if name == "RNN":
        kwargs["nonlinearity"] = pick(rng, "tanh", "relu")
    out = hidden
    if name == "LSTM" and hidden > 1 and rng.random() < 0.5:
        out = kwargs["proj_size"] = hidden - 1
    steps, n = pick(rng, 5, 1, 3), pick(rng, 2, 1, 3)
    unbatched = rng.random() < 0.2
    shape = (steps, n_in) if unbatched else (steps, n, n_in)
    if kwargs["batch_first"] and not unbatched:
        shape = (n, steps, n_in)
    on, lead = [real(rng, *shape)], () if unbatched else (n,)
    if rng.random() < 0.5:
        h = real(rng, layers * (1 + two), *lead, out)
        on.append((h, real(rng, layers * (1 + two), *lead, hidden)) if name == "LSTM" else h)
    lengths = None
    if not unbatched and rng.random() < 0.4:
        lengths = [int(k) for k in rng.integers(1, steps + 1, n)]
    return Draw(name, (n_in, hidden), kwargs, tuple(on), lengths=lengths)


def cell(rng):
    name, n_in, hidden = pick(rng, "RNNCell", "LSTMCell", "GRUCell"), pick(rng, 3, 1), 4
    kwargs = {"bias": pick(rng, True, False)}
    if name == "RNNCell":
        kwargs["nonlinearity"] = pick(rng, "tanh", "relu")
    lead = pick(rng, (2,), (1,), (), (0,))
    on, h = [real(rng, *lead, n_in)], real(rng, *lead, hidden)
    if rng.random() < 0.6:
        on.append((h, real(rng, *lead, hidden)) if name == "LSTMCell" else h)
    return Draw(name, (n_in, hidden), kwargs, tuple(on))


def causal(n, m, kind):
    above = np.triu(np.ones((n, m), bool), 1)
    return above if kind == "bool" else np.where(above, -np.inf, 0).astype(np.float32)


def padding(rng, n, length, kind=None):
    """True at the end, never everywhere; or 0 and -inf, or any numbers."""
    mask = np.arange(length) >= rng.integers(1, 1 + length, n)[:, None]
    if kind == "bool":
        return mask
    if kind == "inf":
        return np.where(mask, -np.inf, 0).astype(np.float32)
    return real(rng, n, length)


def attention(rng):
    heads = pick(rng, 1, 2, 3)
    dim = heads * pick(rng, 1, 2, 3)
    kwargs = {"bias": pick(rng, True, False), "add_bias_kv": pick(rng, False, True),
              "add_zero_attn": pick(rng, False, True),
              "batch_first": pick(rng, True, False)}  # fmt: skip
    n, tq, tk = pick(rng, 2, 1), pick(rng, 3, 1), pick(rng, 5, 3, 1)
    if rng.random() < 0.4:
        kwargs |= {"kdim": 3, "vdim": 5}
    unbatched = rng.random() < 0.2

    def tokens(t, d):
        shape = (t, d) if unbatched else (n, t, d) if kwargs["batch_first"] else (t, n, d)
        return real(rng, *shape)

    on = (tokens(tq, dim), tokens(tk, kwargs.get("kdim", dim)), tokens(tk, kwargs.get("vdim", dim)))
    call = {"need_weights": pick(rng, True, False), "average_attn_weights": pick(rng, True, False)}
    kind = pick(rng, "bool", "inf", "real")
    if rng.random() < 0.4:
        mask = padding(rng, n, tk, kind)
        call["key_padding_mask"] = mask[0] if unbatched else mask
    if rng.random() < 0.5:
        mask = causal(tq, tk, kind) if kind != "real" else real(rng, tq, tk)
        if rng.random() < 0.3:
            mask = np.stack([mask] * (heads if unbatched else n * heads))
        call["attn_mask"] = mask
    train = pick(rng, True, False)
    return Draw("MultiheadAttention", (dim, heads), kwargs, on, call, train=train)


def _block(rng):
    heads = pick(rng, 1, 2)
    kwargs = {
        "dim_feedforward": 6, "dropout": 0.0, "activation": pick(rng, "relu", "gelu"),
        "layer_norm_eps": pick(rng, 1e-5, 1e-2), "batch_first": pick(rng, True, False),
        "norm_first": pick(rng, True, False), "bias": pick(rng, True, False),
    }  # fmt: skip
    return (4, heads), kwargs


def _tokens(rng, kwargs, n, t):
    return real(rng, *((n, t, 4) if kwargs.get("batch_first") else (t, n, 4)))


def encoder(rng):
    args, kwargs = _block(rng)
    n, t = pick(rng, 2, 1), pick(rng, 3, 1, 4)
    call, kind = {}, pick(rng, "bool", "inf")
    many = rng.random() < 0.5
    if rng.random() < 0.5:
        call["mask" if many else "src_mask"] = causal(t, t, kind)
        call["is_causal"] = pick(rng, True, False, *([None] if many else []))
    if rng.random() < 0.5:
        call["src_key_padding_mask"] = padding(rng, n, t, kind)
    on = (_tokens(rng, kwargs, n, t),)
    train = pick(rng, True, False)
    if not many:
        return Draw("TransformerEncoderLayer", args, kwargs, on, call, train)
    layer = Part("TransformerEncoderLayer", args, kwargs)
    norm = pick(rng, None, Part("LayerNorm", (4,), {}))
    return Draw("TransformerEncoder", (layer, pick(rng, 1, 2)),
                {"norm": norm, "enable_nested_tensor": False}, on, call, train)  # fmt: skip


def decoder(rng):
    args, kwargs = _block(rng)
    n, t, s = pick(rng, 2, 1), pick(rng, 3, 1, 4), pick(rng, 3, 5)
    call, kind = {}, pick(rng, "bool", "inf")
    if rng.random() < 0.5:
        call["tgt_mask"] = causal(t, t, kind)
        call["tgt_is_causal"] = pick(rng, True, False)
    if rng.random() < 0.3:
        call["memory_mask"] = causal(t, s, kind)
    if rng.random() < 0.3:
        call["tgt_key_padding_mask"] = padding(rng, n, t, kind)
    if rng.random() < 0.3:
        call["memory_key_padding_mask"] = padding(rng, n, s, kind)
    on = (_tokens(rng, kwargs, n, t), _tokens(rng, kwargs, n, s))
    train = pick(rng, True, False)
    if rng.random() < 0.5:
        return Draw("TransformerDecoderLayer", args, kwargs, on, call, train)
    layer = Part("TransformerDecoderLayer", args, kwargs)
    norm = pick(rng, None, Part("LayerNorm", (4,), {}))
    return Draw("TransformerDecoder", (layer, pick(rng, 1, 2)), {"norm": norm}, on, call, train)


def transformer(rng):
    args, kwargs = _block(rng)
    kwargs |= {"num_encoder_layers": pick(rng, 1, 2, 0), "num_decoder_layers": pick(rng, 1, 2)}
    n, t, s = pick(rng, 2, 1), pick(rng, 3, 1), pick(rng, 4, 2)
    call, kind = {}, pick(rng, "bool", "inf")
    if rng.random() < 0.5:
        call["tgt_mask"] = causal(t, t, kind)
    if rng.random() < 0.5:
        call["src_mask"] = causal(s, s, kind)
    if rng.random() < 0.3:
        call["src_key_padding_mask"] = padding(rng, n, s, kind)
        call["memory_key_padding_mask"] = call["src_key_padding_mask"]
    on = (_tokens(rng, kwargs, n, s), _tokens(rng, kwargs, n, t))
    return Draw("Transformer", args, kwargs, on, call, pick(rng, True, False))


def dot_product(rng):
    lead = pick(rng, (2, 3), (2, 2), (2,), (), (0, 2))
    heads = lead[-1] if len(lead) == 2 else 1
    tq, tk, d = pick(rng, 3, 1), pick(rng, 4, 3, 1), pick(rng, 2, 5)
    call = {"scale": pick(rng, None, 0.3)}
    kv = lead
    if len(lead) == 2 and heads == 2 and rng.random() < 0.4:
        call["enable_gqa"], kv = True, (lead[0], 1)
    on = [real(rng, *lead, tq, d), real(rng, *kv, tk, d), real(rng, *kv, tk, pick(rng, d, 3))]
    if rng.random() < 0.3:
        call["is_causal"] = True
    elif rng.random() < 0.6:
        mask = pick(rng, ~causal(tq, tk, "bool"), causal(tq, tk, "inf"), real(rng, tq, tk))
        if len(lead) == 2 and rng.random() < 0.4:
            mask = np.stack([mask] * max(1, lead[0]))[:, None][: lead[0]]
        on.append(mask)
    return Draw("scaled_dot_product_attention", (), {}, tuple(on), call, still=(3,))


SEQUENCES = {f.__name__: f for f in (
    recurrent, cell, attention, encoder, decoder, transformer, dot_product,
)}  # fmt: skip
