"""BERT with Hugging Face's names; `bert_heads.py` has the models with a head."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx import nn
from fx.models import published
from fx.nn import draws

_ARGUMENTS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings",
    "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
_FIXED = {
    "add_cross_attention": False,
    "is_decoder": False,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
}
# What TensorFlow called a normalisation's arrays; the first published files still do.
_RENAMED = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))
# Heads, which a model's file may have and another model not; and counters of positions.
_HEADS = r"cls\..*|classifier\..*|(bert\.)?pooler\..*"
_IGNORED = (_HEADS, r"(bert\.)?embeddings\.(position_ids|token_type_ids)")


class Embeddings(nn.Module):
    """Words, positions and token types, added and normalised; sizes as in `BertModel`."""

    def __init__(
        self, vocab_size: int, hidden_size: int, max_position_embeddings: int,
        type_vocab_size: int, pad_token_id: int | None, eps: float, dropout: float,
    ):  # fmt: skip
        self.word_embeddings = nn.Embedding(vocab_size, hidden_size, padding_idx=pad_token_id)
        self.position_embeddings = nn.Embedding(max_position_embeddings, hidden_size)
        self.token_type_embeddings = nn.Embedding(type_vocab_size, hidden_size)
        self.LayerNorm, self.dropout = nn.LayerNorm(hidden_size, eps), nn.Dropout(dropout)

    def forward(self, input_ids: Any, token_type_ids: Any, position_ids: Any) -> Any:
        """[N, T] integers in; [N, T, hidden_size] out."""
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))


class SelfAttention(nn.Module):
    """Attention in several heads, before its output layer; sizes as in `BertModel`."""

    def __init__(self, hidden_size: int, heads: int, dropout: float, implementation: str | None):
        self.num_attention_heads, self.dropout = heads, dropout
        self.attn_implementation = implementation
        self.query, self.key, self.value = (nn.Linear(hidden_size, hidden_size) for _ in range(3))

    def forward(self, x: Any, mask: Any = None) -> Any:
        """[N, T, hidden_size] in, the same out."""
        n, t, c = x.shape

        def heads(layer: Any) -> Any:
            return layer(x).reshape(n, t, self.num_attention_heads, -1).swapaxes(1, 2)

        rate = self.dropout if self.training else 0.0
        output = F.scaled_dot_product_attention(
            heads(self.query),
            heads(self.key),
            heads(self.value),
            mask,
            rate,
            dropout_key=self.next_key() if 0 < rate < 1 else None,
            implementation=self.attn_implementation if self.training else None,
        )
        return output.swapaxes(1, 2).reshape(n, t, c)


class Output(nn.Module):
    """A linear layer, dropout, a way around, and a normalisation of the sum.

    Args:
        size: of the input.
        hidden_size: of the output and of the way around.
        eps: of the normalisation.
        dropout: of the layer's output.
    """

    def __init__(self, size: int, hidden_size: int, eps: float, dropout: float):
        self.dense = nn.Linear(size, hidden_size)
        self.LayerNorm, self.dropout = nn.LayerNorm(hidden_size, eps), nn.Dropout(dropout)

    def forward(self, x: Any, around: Any) -> Any:
        """[..., size] and [..., hidden_size] in; the latter out."""
        return self.LayerNorm(self.dropout(self.dense(x)) + around)


class Dense(nn.Module):
    """A linear layer and an activation, called `dense` as Hugging Face has it."""

    def __init__(self, size: int, out: int, activation: str):
        self.dense = nn.Linear(size, out)
        self.activation = published.activation(activation, "Bert: hidden_act")

    def forward(self, x: Any) -> Any:
        """[..., size] in; [..., out] out."""
        return self.activation(self.dense(x))


class Attention(nn.Module):
    """Attention and its output layer."""

    def __init__(self, attention: SelfAttention, output: Output):
        self.self, self.output = attention, output

    def forward(self, x: Any, mask: Any = None) -> Any:
        """[N, T, hidden_size] in, the same out."""
        return self.output(self.self(x, mask), x)


class Layer(nn.Module):
    """A layer of BERT: attention and two linear layers, each normalised after its way around."""

    def __init__(self, attention: Attention, intermediate: Dense, output: Output):
        self.attention, self.intermediate, self.output = attention, intermediate, output

    def forward(self, x: Any, mask: Any = None) -> Any:
        """[N, T, hidden_size] in, the same out."""
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The layers, one after another, or as one scan."""

    def __init__(self, layers: Any):
        self.layer = layers

    def forward(self, x: Any, mask: Any = None) -> Any:
        """[N, T, hidden_size] in, the same out."""
        if isinstance(self.layer, nn.Stack):
            return self.layer(x, mask)
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pretrained(nn.Module):
    """What the models of this file share: how their weights are loaded."""

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        key: jax.Array | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> tuple[Any, dict, dict]:
        """A model and its weights from a folder as Hugging Face's hub has it.

        Args:
            folder: Holds `config.json`, and `model.safetensors` or what else `fx.read_weights`
                finds. Nothing is downloaded.
            key: For a new head, where the file has none or one of another size.
            dtype: Of the weights; float32 unless told.
            **options: Arguments of the class, in place of what the configuration says.

        Returns:
            ``model, params, state``.

        Raises:
            FileNotFoundError: there is no config.json, or there are no weights.
            ValueError: the configuration asks for what this model lacks, or the weights do not fit.
        """
        config = published.read_config(folder)
        given = published.arguments(config, _ARGUMENTS, _FIXED, f"{cls.__name__}.from_pretrained")
        model = cls(**{**given, **options})
        return model, *model.load_weights(folder, key=key, dtype=dtype)

    def load_weights(
        self,
        weights: Mapping[str, Any] | str | os.PathLike[str],
        *,
        key: jax.Array | None = None,
        dtype: Any = None,
    ) -> tuple[dict, dict]:
        """Params and state from Hugging Face's weights, with "bert." in front or without.

        Args:
            weights: Arrays by name, or what `fx.read_weights` takes.
            key: For a new head (classifier, pooler, predictions), where they have none or one of
                another size.
            dtype: Of the weights; float32 unless told.

        Raises:
            ValueError: names or shapes are not those of the model; every one is listed.
        """
        return published.load(
            self, weights, trunk="bert", renamed=_RENAMED, ignored=_IGNORED, head=_HEADS, key=key,
            dtype=dtype,
        )  # fmt: skip


class BertModel(Pretrained):
    """BERT's encoder.

    Args:
        vocab_size: number of tokens.
        hidden_size: the size of a position: 768, or 1024 for large.
        num_hidden_layers: 12, or 24.
        num_attention_heads: 12, or 16.
        intermediate_size: between a layer's two linear layers: 3072, or 4096.
        hidden_act: "gelu", "gelu_new", "relu", "silu" or "tanh".
        hidden_dropout_prob: dropout before each way around ends, and of the embeddings.
        attention_probs_dropout_prob: dropout of attention weights.
        max_position_embeddings: how long a sequence can be.
        type_vocab_size: number of token types.
        initializer_range: standard deviation of the initial weights.
        layer_norm_eps: of all normalisations.
        pad_token_id: the token whose embedding is zero and stays so; None is none.
        add_pooling_layer: whether there is a layer over the first position.
        scan_layers: whether the layers are one `nn.Stack`, compiled once for all; names in
            `fx.state_dict` stay.
        attn_implementation: of `F.scaled_dot_product_attention`, in training only. "cudnn" needs
            bfloat16 or float16 and attention_probs_dropout_prob=0.

    Raises:
        ValueError: num_attention_heads does not divide hidden_size; an unknown activation.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.BertModel(99, 8, 2, 2, 16, max_position_embeddings=16)
        >>> params, state = model.init(jax.random.key(0))
        >>> (hidden, pooled), _ = jax.jit(model.apply)(params, state, jnp.ones((3, 5), int))
        >>> hidden.shape, pooled.shape
        ((3, 5, 8), (3, 8))

    Source: transformers.BertModel; Devlin et al. 2019.
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        *,
        add_pooling_layer: bool = True,
        scan_layers: bool = False,
        attn_implementation: str | None = None,
    ):
        if hidden_size % num_attention_heads:
            raise ValueError(
                "BertModel: expected num_attention_heads to divide hidden_size, got "
                f"{num_attention_heads} and {hidden_size}"
            )
        self.max_position_embeddings = max_position_embeddings
        rate, eps = hidden_dropout_prob, layer_norm_eps

        def layer() -> Layer:
            attend = SelfAttention(
                hidden_size, num_attention_heads, attention_probs_dropout_prob, attn_implementation
            )
            attention = Attention(attend, Output(hidden_size, hidden_size, eps, rate))
            wide = Dense(hidden_size, intermediate_size, hidden_act)
            return Layer(attention, wide, Output(intermediate_size, hidden_size, eps, rate))

        n = num_hidden_layers
        layers = nn.Stack(layer(), n) if scan_layers else nn.ModuleList(layer() for _ in range(n))
        embeddings = Embeddings(
            vocab_size, hidden_size, max_position_embeddings, type_vocab_size, pad_token_id, eps,
            rate,
        )  # fmt: skip
        self.embeddings = initial(embeddings, initializer_range)
        self.encoder = initial(Encoder(layers), initializer_range)
        pooler = Dense(hidden_size, hidden_size, "tanh")
        self.pooler = initial(pooler, initializer_range) if add_pooling_layer else None

    def forward(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Run the encoder.

        Args:
            input_ids: [N, T] integers.
            attention_mask: [N, T], 1 or True for tokens, 0 for padding; None is no padding.
            token_type_ids: [N, T]: 0 unless told.
            position_ids: [N, T]: from 0 on unless told.

        Returns:
            [N, T, hidden_size], and the pooled first position [N, hidden_size] or None.

        Raises:
            ValueError: T is more than max_position_embeddings, and no position_ids are given.
        """
        token_type_ids = jnp.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        if position_ids is None:
            published.check_length(input_ids, self.max_position_embeddings, "BertModel")
            position_ids = jnp.arange(input_ids.shape[1])
        x = self.embeddings(input_ids, token_type_ids, position_ids)
        mask = None if attention_mask is None else attention_mask.astype(bool)[:, None, None]
        x = self.encoder(x, mask)
        return x, None if self.pooler is None else self.pooler(x[:, 0])


def initial(part: Any, std: float) -> Any:
    """BERT's initial weights: normal; the row of padding and biases are zeros."""
    linear = {"weight": nn.init.normal(std=std), "bias": nn.init.zeros}

    def change(m: Any) -> Any:
        if isinstance(m, nn.Embedding):
            rows = nn.init.Initialiser(_normal_but_padding, std=std, row=m.padding_idx)
            return nn.init.by_type(m, {nn.Embedding: rows})
        return nn.init.by_type(m, {nn.Linear: linear}) if isinstance(m, nn.Linear) else m

    return nn.transform(part, change)


def _normal_but_padding(key: Any, shape: tuple, dtype: Any, std: float, row: int | None) -> Any:
    table = std * draws.normal(key, shape, dtype)
    return table if row is None else table.at[row].set(0)
