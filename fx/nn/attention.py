"""Multi-head attention as a layer."""

from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, of_dtype, positive, shape_error
from fx.nn.linear import Linear
from fx.nn.module import Module
from fx.nn.parameter import Parameter


class NonDynamicallyQuantizableLinear(Linear):
    """torch's name for the last layer of attention, as models print it; its bias begins at 0."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None):
        super().__init__(in_features, out_features, bias, dtype=dtype)
        self.bias = Parameter((out_features,), init.zeros, dtype) if bias else None


class MultiheadAttention(Module):
    """Attention in several heads, with learned projections into them and out of them.

    Args:
        embed_dim: E, the size of queries and of the output.
        num_heads: how many heads share E.
        dropout: the probability that an attention weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: whether there is one more key and value, which are learned.
        add_zero_attn: whether there is one more key and value of zeros.
        kdim: the size of keys; E unless told.
        vdim: the size of values; E unless told.
        batch_first: whether arrays are [N, L, E] instead of [L, N, E].
        device: must be None.
        dtype: of all parameters; float32 unless told.
        attn_implementation: as `F.scaled_dot_product_attention`'s `implementation`, in training
            and where the attention weights are not asked for.

    Parameters: in_proj_weight [3 * E, E], or q_proj_weight [E, E], k_proj_weight [E, kdim] and
    v_proj_weight [E, vdim] where a size is another, Xavier-uniform; in_proj_bias [3 * E], zeros;
    bias_k and bias_v [1, 1, E], Xavier-normal; out_proj.weight [E, E], as `Linear`'s, and
    out_proj.bias [E], zeros.

    Raises:
        TypeError: a size is not an integer; at a call, an input is not of the weights' dtype, or a
            mask is neither boolean nor floating.
        ValueError: a size is less than 1 (0, of kdim and vdim); num_heads does not divide
            embed_dim; dropout is outside [0, 1]; device is not None; at a call, shapes do not fit,
            is_causal is set without a mask, or in training with dropout no key was given to
            `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.MultiheadAttention(16, num_heads=4, batch_first=True)
        >>> params, state = layer.init(jax.random.key(0))
        >>> x = jnp.ones((8, 10, 16))
        >>> (output, weights), _ = layer.apply(params, state, x, x, x)
        >>> output.shape, weights.shape
        ((8, 10, 16), (8, 10, 10))

    Source: torch.nn.MultiheadAttention. In evaluation torch may take a faster program, which gives
    NaN for a query that may attend to nothing where this gives the output projection of 0.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: None = None,
        dtype=None,
        *,
        attn_implementation: str | None = None,
    ):
        no_device(self, device)
        kdim = embed_dim if kdim is None else kdim
        vdim = embed_dim if vdim is None else vdim
        positive(self, embed_dim=embed_dim, num_heads=num_heads)
        positive(self, 0, kdim=kdim, vdim=vdim)
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: expected num_heads to divide embed_dim, got {num_heads} "
                f"heads for {embed_dim}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(
                f"MultiheadAttention: expected dropout between 0 and 1, got {dropout}; it is the "
                "probability of being dropped"
            )
        self.embed_dim, self.kdim, self.vdim = embed_dim, kdim, vdim
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.attn_implementation = attn_implementation
        packed = kdim == vdim == embed_dim

        def weight(*shape: int, present: bool) -> Any:
            return Parameter(shape, init.xavier_uniform(), dtype) if present else None

        self.in_proj_weight = weight(3 * embed_dim, embed_dim, present=packed)
        self.q_proj_weight = weight(embed_dim, embed_dim, present=not packed)
        self.k_proj_weight = weight(embed_dim, kdim, present=not packed)
        self.v_proj_weight = weight(embed_dim, vdim, present=not packed)
        self.in_proj_bias = Parameter((3 * embed_dim,), init.zeros, dtype) if bias else None
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = Parameter((1, 1, embed_dim), init.xavier_normal(), dtype)
            self.bias_v = Parameter((1, 1, embed_dim), init.xavier_normal(), dtype)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, dtype)

    def forward(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        key_padding_mask: jax.Array | None = None,
        need_weights: bool = True,
        attn_mask: jax.Array | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Attend. In both masks True means: takes no part; numbers are added to the scores.

        Args:
            query: [N, L, E] with batch_first, else [L, N, E]; or [L, E] without a batch.
            key: [N, S, kdim], [S, N, kdim] or [S, kdim]; give it by position, because `apply` has
                a `key` of its own.
            value: [N, S, vdim], [S, N, vdim] or [S, vdim].
            key_padding_mask: [N, S], or [S] without a batch.
            need_weights: whether the weights are returned; faster without.
            attn_mask: [L, S] or [N * num_heads, L, S].
            average_attn_weights: whether the returned weights are their mean over heads.
            is_causal: that attn_mask is the causal mask.

        Returns:
            The output, of the query's shape, and the weights, [N, L, S] or [N, num_heads, L, S]
            (N left out without a batch), or None.
        """
        dtype = self.out_proj.weight.dtype
        # By identity, so that one array stays one array, which takes one product to project.
        arrays = {id(x): of_dtype(self, x, dtype) for x in (query, key, value)}
        batched = arrays[id(query)].ndim == 3
        if self.batch_first and batched:
            arrays = {name: jnp.moveaxis(x, 0, -2) for name, x in arrays.items()}
        query, key, value = (arrays[id(x)] for x in (query, key, value))
        self._check_sizes(query=query, key=key, value=value)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            self.in_proj_weight is None,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            dropout_key=self.next_key() if self.training and 0 < self.dropout < 1 else None,
            implementation=self.attn_implementation if self.training else None,
        )
        return (output.swapaxes(0, 1) if self.batch_first and batched else output), weights

    def _check_sizes(self, **inputs: jax.Array) -> None:
        sizes = {"query": "embed_dim", "key": "kdim", "value": "vdim"}
        for name, x in inputs.items():
            size = getattr(self, sizes[name])
            if x.ndim not in (2, 3) or x.shape[-1] != size:
                mend = f"set {sizes[name]}={x.shape[-1]}" if x.ndim in (2, 3) else "reshape it"
                raise shape_error(self, f"{name} [..., {size}] of 2 or 3 axes", x, mend)
