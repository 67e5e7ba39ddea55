"""Vision transformers, ViT-B/16 and ViT-S/16, with torchvision's names."""

import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx import functional as F
from fx import nn
from fx.models import published

# Files of before torchvision 0.13 call the two layers of an MLP so.
_RENAMED = ((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3."))
_POSITIONS = "encoder.pos_embedding"


class DropPath(nn.Module):
    """Leaves out a whole example with probability p in training, and divides others by 1 - p.

    Args:
        p: the probability of being left out.

    Source: Huang et al. 2016, section 3; timm.layers.DropPath.
    """

    def __init__(self, p: float = 0.0):
        if not 0 <= p < 1:
            raise ValueError(f"DropPath: expected p of at least 0 and below 1, got {p}")
        self.p = p

    def forward(self, x: Any) -> Any:
        """[N, ...] in, the same out."""
        if not self.training or not self.p:
            return x
        ones = jnp.ones((x.shape[0], *(1,) * (x.ndim - 1)), x.dtype)
        return x * F.dropout(ones, self.p, key=self.next_key())

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class EncoderBlock(nn.Module):
    """Attention and an MLP, each after a normalisation and with a way around.

    Args:
        num_heads: of the attention; divides hidden_dim.
        hidden_dim: the size of a position.
        mlp_dim: the size inside of the MLP.
        dropout: of the outputs and inside of the MLP.
        attention_dropout: of attention weights.
        drop_path: of both parts, example by example.
        attn_implementation: as `nn.MultiheadAttention`'s.

    Source: torchvision.models.vision_transformer.EncoderBlock, which has no drop_path.
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        attn_implementation: str | None = None,
    ):
        self.ln_1 = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, attention_dropout, batch_first=True,
            attn_implementation=attn_implementation,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(hidden_dim, eps=1e-6)
        mlp = nn.Sequential(
            nn.Linear(hidden_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, hidden_dim),
            nn.Dropout(dropout),
        )
        rules = {"weight": nn.init.xavier_uniform(), "bias": nn.init.normal(std=1e-6)}
        self.mlp = nn.init.by_type(mlp, {nn.Linear: rules})
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Any) -> Any:
        """[N, L, hidden_dim] in, the same out."""
        y = self.ln_1(x)
        y, _ = self.self_attention(y, y, y, need_weights=False)
        x = x + self.drop_path(self.dropout(y))
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class Encoder(nn.Module):
    """Positions, layers and a normalisation.

    Args:
        seq_length: L, the number of patches and of the class token.
        num_layers: how many.
        num_heads: as `EncoderBlock`'s.
        hidden_dim: as `EncoderBlock`'s.
        mlp_dim: as `EncoderBlock`'s.
        dropout: as `EncoderBlock`'s, and of the input.
        attention_dropout: as `EncoderBlock`'s.
        drop_path: of the last layer; it grows from 0 by equal steps.
        attn_implementation: as `EncoderBlock`'s.
    """

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        drop_path: float,
        attn_implementation: str | None,
    ):
        self.pos_embedding = nn.Parameter((1, seq_length, hidden_dim), nn.init.normal(std=0.02))
        self.dropout = nn.Dropout(dropout)
        rates = [drop_path * i / max(num_layers - 1, 1) for i in range(num_layers)]
        sizes = (num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        self.layers = nn.Sequential(
            {
                f"encoder_layer_{i}": EncoderBlock(*sizes, rate, attn_implementation)
                for i, rate in enumerate(rates)
            }
        )
        self.ln = nn.LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x: Any) -> Any:
        """[N, L, hidden_dim] in, the same out."""
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """A transformer over patches of an image and a class token.

    Args:
        image_size: height and width of the images.
        patch_size: height and width of a patch; divides image_size.
        num_layers: how many.
        num_heads: of the attention; divides hidden_dim.
        hidden_dim: the size of a position.
        mlp_dim: the size inside of an MLP.
        dropout: of the input, of each part's output and inside of MLPs.
        attention_dropout: of attention weights.
        num_classes: number of outputs.
        representation_size: the size of one more layer before the last; None is no such layer.
        drop_path: the probability that an example leaves out a part of the last layer; it grows
            from 0 in the first.
        attn_implementation: of `F.scaled_dot_product_attention`, in training only. "cudnn" needs
            bfloat16 or float16 and no attention_dropout.

    Raises:
        ValueError: patch_size does not divide image_size, or num_heads hidden_dim; at a call,
            images of another size.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.VisionTransformer(16, 8, 2, 2, 8, 16, num_classes=10)
        >>> params, state = model.init(jax.random.key(0))
        >>> jax.jit(model.apply)(params, state, jnp.ones((2, 3, 16, 16)))[0].shape
        (2, 10)

    Source: torchvision.models.VisionTransformer; Dosovitskiy et al. 2021. The initial weights are
    torchvision's, the last layer's being zeros.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        *,
        drop_path: float = 0.0,
        attn_implementation: str | None = None,
    ):
        if image_size % patch_size:
            raise ValueError(
                f"VisionTransformer: expected patch_size to divide image_size, got {patch_size} "
                f"and {image_size}"
            )
        self.image_size, self.patch_size = image_size, patch_size
        conv = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        cut = nn.init.trunc_normal(std=math.sqrt(1 / (3 * patch_size**2)))
        self.conv_proj = nn.init.by_type(conv, {nn.Conv2d: {"weight": cut, "bias": nn.init.zeros}})
        self.class_token = nn.Parameter((1, 1, hidden_dim), nn.init.zeros)
        self.encoder = Encoder(
            (image_size // patch_size) ** 2 + 1, num_layers, num_heads, hidden_dim, mlp_dim,
            dropout, attention_dropout, drop_path, attn_implementation,
        )  # fmt: skip
        self.heads = nn.Sequential(_heads(hidden_dim, representation_size, num_classes))

    def forward(self, x: Any) -> Any:
        """Args: x: images [N, 3, H, W], normalised. Returns: logits [N, num_classes]."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"VisionTransformer: expected images [N, 3, {self.image_size}, {self.image_size}], "
                f"got {list(x.shape)}; resize them, or build the model with their image_size"
            )
        x = self.conv_proj(x)
        n, c = x.shape[:2]
        x = x.reshape(n, c, -1).swapaxes(1, 2)  # [N, patches, hidden_dim]
        token = jnp.broadcast_to(self.class_token, (n, 1, c)).astype(x.dtype)
        return self.heads(self.encoder(jnp.concatenate([token, x], axis=1))[:, 0])

    def load_weights(
        self,
        weights: Mapping[str, Any] | str | os.PathLike[str],
        *,
        key: jax.Array | None = None,
        dtype: Any = None,
    ) -> tuple[dict, dict]:
        """Params and state from torchvision's weights, also those it published first.

        Positions of a model for images of another size are interpolated.

        Args:
            weights: Arrays by name, or what `fx.read_weights` takes.
            key: For a new head, where the weights have none or one of another size.
            dtype: Of the weights; float32 unless told.

        Raises:
            ValueError: names or shapes are not those of the model; every one is listed.
        """
        given = published.read(weights)
        if _POSITIONS in given:
            given = interpolate_embeddings(self.image_size, self.patch_size, given)
        return published.load(
            self, given, renamed=_RENAMED, head=r"heads\..*", key=key, dtype=dtype
        )


def vit_b_16(
    num_classes: int = 1000, *, image_size: int = 224, **options: Any
) -> VisionTransformer:
    """ViT-B/16; `options` are those of `VisionTransformer`. Source: torchvision's vit_b_16."""
    return VisionTransformer(image_size, 16, 12, 12, 768, 3072, num_classes=num_classes, **options)


def vit_s_16(
    num_classes: int = 1000, *, image_size: int = 224, **options: Any
) -> VisionTransformer:
    """ViT-S/16, half as wide. Source: Touvron et al. 2021 (DeiT-S); torchvision has none."""
    return VisionTransformer(image_size, 16, 12, 6, 384, 1536, num_classes=num_classes, **options)


def interpolate_embeddings(
    image_size: int,
    patch_size: int,
    model_state: Mapping[str, Any],
    interpolation_mode: str = "bicubic",
    reset_heads: bool = False,
) -> dict[str, Any]:
    """Weights for images of another size: the learned positions are resized as an image is.

    Args:
        image_size: Of the new model.
        patch_size: Of both models.
        model_state: Weights by name.
        interpolation_mode: Of `F.interpolate`, with aligned corners.
        reset_heads: Whether the head is left out.

    Returns:
        The weights, all but the positions being the same arrays.

    Raises:
        ValueError: the positions are not those of a square image.

    Source: torchvision.models.vision_transformer.interpolate_embeddings.
    """
    table = jnp.asarray(np.asarray(model_state[_POSITIONS]))
    _, length, dim = table.shape
    old, new = math.isqrt(length - 1), image_size // patch_size
    if old**2 != length - 1:
        raise ValueError(
            f"interpolate_embeddings: expected positions of a square of patches and a class token, "
            f"got {length} of them"
        )
    weights = dict(model_state)
    if old != new:
        square = table[:, 1:].swapaxes(1, 2).reshape(1, dim, old, old)
        square = F.interpolate(square, size=(new, new), mode=interpolation_mode, align_corners=True)
        square = square.reshape(1, dim, new**2).swapaxes(1, 2)
        weights[_POSITIONS] = jnp.concatenate([table[:, :1], square], axis=1)
    if reset_heads:
        weights = {name: a for name, a in weights.items() if not name.startswith("heads.")}
    return weights


def _heads(hidden_dim: int, representation_size: int | None, num_classes: int) -> dict:
    zeros = {nn.Linear: {"weight": nn.init.zeros, "bias": nn.init.zeros}}
    if representation_size is None:
        return {"head": nn.init.by_type(nn.Linear(hidden_dim, num_classes), zeros)}
    cut = nn.init.trunc_normal(std=math.sqrt(1 / hidden_dim))
    before = nn.Linear(hidden_dim, representation_size)
    before = nn.init.by_type(before, {nn.Linear: {"weight": cut, "bias": nn.init.zeros}})
    head = nn.init.by_type(nn.Linear(representation_size, num_classes), zeros)
    return {"pre_logits": before, "act": nn.Tanh(), "head": head}
