"""The transformer of torch.nn: stacks of encoder and decoder layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, positive, shape_error
from fx.nn.container import ModuleList
from fx.nn.describe import rebuild
from fx.nn.module import Module, where
from fx.nn.normalization import LayerNorm
from fx.nn.parameter import Parameter
from fx.nn.rewrite import transform
from fx.nn.transformer_layer import TransformerDecoderLayer, TransformerEncoderLayer


def _copies(kind: str, layer: Any, count: int) -> ModuleList:
    if not isinstance(layer, Module):
        raise TypeError(f"{kind}: expected a layer to copy, got {layer!r}; make one first")
    return ModuleList([transform(layer, lambda part: part) for _ in range(count)])


def _xavier(part: Module) -> Module:
    """Begin everything with two axes or more as torch's Transformer does."""
    changed = {
        name: Parameter(value.shape, init.xavier_uniform(), value.dtype)
        for name, value in vars(part).items()
        if isinstance(value, Parameter) and len(value.shape) > 1
    }
    return rebuild(type(part), vars(part) | changed)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Args:
        encoder_layer: what every layer is a copy of; each begins with weights of its own.
        num_layers: how many.
        norm: a normalisation after the last one, or None.
        enable_nested_tensor: accepted, no effect.
        mask_check: accepted, no effect.

    Raises:
        TypeError: encoder_layer is not a module; num_layers is not an integer.
        ValueError: num_layers is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.TransformerEncoderLayer(16, nhead=4, batch_first=True)
        >>> model = nn.TransformerEncoder(layer, num_layers=2)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((8, 10, 16)))[0].shape
        (8, 10, 16)

    Source: torch.nn.TransformerEncoder, whose layers begin with equal weights. In evaluation its
    nested tensors give 0, before the norm, at positions that are padding.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ):
        positive(self, num_layers=num_layers)
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: jax.Array,
        mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        is_causal: bool | None = None,
    ) -> jax.Array:
        """Run the layers in turn; arguments as those of `TransformerEncoderLayer`.

        is_causal None is False: torch would look whether the mask is causal, to the same values.
        """
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                is_causal=bool(is_causal),
                src_key_padding_mask=src_key_padding_mask,
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Args:
        decoder_layer: what every layer is a copy of; each begins with weights of its own.
        num_layers: how many.
        norm: a normalisation after the last one, or None.

    Raises:
        TypeError: decoder_layer is not a module; num_layers is not an integer.
        ValueError: num_layers is less than 1.

    Source: torch.nn.TransformerDecoder, whose layers begin with equal weights.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        positive(self, num_layers=num_layers)
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: jax.Array,
        memory: jax.Array,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Run the layers in turn; arguments as those of `TransformerDecoderLayer`."""
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder of "Attention Is All You Need".

    Args:
        d_model: E, the size of everything between the layers.
        nhead: the number of heads.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: the size inside of each layer's feed-forward part.
        dropout: the probability of being dropped, everywhere.
        activation: "relu", "gelu", a function or a module.
        custom_encoder: a module in place of the encoder.
        custom_decoder: a module in place of the decoder.
        layer_norm_eps: of all normalisations.
        batch_first: whether arrays are [N, L, E] instead of [L, N, E].
        norm_first: whether parts normalise what goes into them instead of what comes out.
        bias: whether linear layers and normalisations have biases.
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Parameters: as its layers name them; all with two axes or more begin Xavier-uniform, those of a
    custom encoder or decoder as well.

    Raises:
        TypeError: a size is not an integer, the activation cannot be called, or a custom part is
            not a module.
        ValueError: a size is less than 1; nhead does not divide d_model; an unknown activation;
            device is not None; at a call, src and tgt do not end in d_model or differ in batch.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> model = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)
        >>> params, state = model.init(jax.random.key(0))
        >>> mask = nn.Transformer.generate_square_subsequent_mask(6)
        >>> source, target = jnp.ones((8, 10, 16)), jnp.ones((8, 6, 16))
        >>> model.apply(params, state, source, target, tgt_mask=mask, tgt_is_causal=True)[0].shape
        (8, 6, 16)

    Source: torch.nn.Transformer.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[jax.Array], jax.Array] = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        for name, part in (("encoder", custom_encoder), ("decoder", custom_decoder)):
            if part is not None and not isinstance(part, Module):
                raise TypeError(f"Transformer: expected custom_{name} a module, got {part!r}")
        settings: Any = (
            *(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps),
            *(batch_first, norm_first, bias, None, dtype),
        )

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*settings)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        self.decoder = custom_decoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*settings)
            self.decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder, self.decoder = (transform(p, _xavier) for p in (self.encoder, self.decoder))
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: jax.Array,
        tgt: jax.Array,
        src_mask: jax.Array | None = None,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Encode src, and decode tgt with what came of it.

        In all masks True means: takes no part; numbers are added to the scores.

        Args:
            src: [N, S, E] with batch_first, else [S, N, E]; or [S, E] without a batch.
            tgt: [N, T, E], [T, N, E] or [T, E].
            src_mask: [S, S] or [N * nhead, S, S].
            tgt_mask: [T, T] or [N * nhead, T, T].
            memory_mask: [T, S] or [N * nhead, T, S].
            src_key_padding_mask: [N, S], or [S] without a batch.
            tgt_key_padding_mask: [N, T] or [T].
            memory_key_padding_mask: [N, S] or [S].
            src_is_causal: that src_mask is the causal mask; None is False.
            tgt_is_causal: that tgt_mask is the causal mask; None is False.
            memory_is_causal: that memory_mask is the causal mask.

        Returns:
            [N, T, E], [T, N, E] or [T, E].
        """
        src, tgt = jnp.asarray(src), jnp.asarray(tgt)
        for name, x in (("src", src), ("tgt", tgt)):
            if x.ndim not in (2, 3) or x.shape[-1] != self.d_model:
                expected = f"{name} [..., {self.d_model}] of 2 or 3 axes"
                raise shape_error(self, expected, x, "its last axis is d_model")
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ValueError(
                f"{where(self)}: expected src and tgt with one batch size, got {list(src.shape)} "
                f"and {list(tgt.shape)}; batches are axis {batch} with "
                f"batch_first={self.batch_first}"
            )
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: None = None, dtype: Any = None
    ) -> jax.Array:
        """The causal mask, [sz, sz]: -inf above the diagonal, 0 elsewhere.

        Args:
            sz: the length of the sequence.
            device: must be None.
            dtype: float32 unless told.

        Raises:
            ValueError: device is not None.
        """
        if device is not None:
            raise ValueError(
                f"generate_square_subsequent_mask: expected device=None, got {device!r}; use "
                "jax.device_put(mask, device)"
            )
        return jnp.triu(jnp.full((sz, sz), -jnp.inf, dtype or jnp.float32), 1)
