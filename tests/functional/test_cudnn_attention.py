"""cuDNN's attention, as far as it can be seen without a GPU: which program would run where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import fx
import fx.functional as F
from fx import nn
from fx.functional.attention import _cudnn, as_bias
from tests.functional.check import assert_close, normal

KEY = jax.random.key(0)
SDPA = F.scaled_dot_product_attention


class TestCudnn:
    x = jnp.asarray(normal(2, 4, 8, 16), jnp.bfloat16)

    @pytest.fixture
    def cudnn(self, monkeypatch):
        """Let jax believe that there is a cuDNN and a GPU that it runs on."""
        from jax._src.cudnn import fused_attention_stablehlo as inside

        monkeypatch.setattr(inside, "check_cudnn_version", lambda: 91000)
        monkeypatch.setattr(inside, "check_compute_capability", lambda capability: True)
        monkeypatch.setattr(inside, "is_cuda_compute_capability_equal", lambda capability: False)
        jax.clear_caches()
        yield
        jax.clear_caches()

    def attend(self, x, mask=None):
        return SDPA(x, x, x, mask, is_causal=mask is None, implementation="cudnn")

    def loss(self, x, mask=None):
        return self.attend(x, mask).astype(jnp.float32).sum()

    def lowered(self, function, platform, *inputs):
        traced = jax.jit(function).trace(*inputs)
        return traced.lower(lowering_platforms=(platform,)).as_text().count("@__cudnn$fmha")

    @pytest.mark.parametrize("mask", [None, np.tril(np.ones((8, 8), bool)), np.eye(8, dtype=bool)])
    def test_each_platform_gets_its_program(self, cudnn, mask):
        attend = lambda x: self.attend(x, mask)
        loss = lambda x: self.loss(x, mask)
        assert self.lowered(attend, "cuda", self.x) == 1
        assert self.lowered(attend, "cpu", self.x) == 0
        assert self.lowered(jax.grad(loss), "cuda", self.x) == 2
        assert self.lowered(jax.grad(loss), "cpu", self.x) == 0
        self.check_vmap(attend, mask)
        plain = SDPA(self.x, self.x, self.x, mask, is_causal=mask is None)
        assert_close(jax.jit(attend)(self.x), plain, "bfloat16")
        expected = jax.grad(
            lambda x: SDPA(x, x, x, mask, is_causal=mask is None).astype(jnp.float32).sum()
        )(self.x)
        assert_close(jax.jit(jax.grad(loss))(self.x), expected, "bfloat16")

    def check_vmap(self, attend, mask):
        if mask is not None and jax.__version_info__ >= (0, 11):  # its own rule wants all heads
            with pytest.raises(TypeError, match="cannot reshape"):
                self.lowered(jax.vmap(attend), "cuda", self.x[None])
            mask = np.broadcast_to(mask, (*self.x.shape[:-2], 8, 8))
        each = jax.vmap(lambda x: self.attend(x, mask))
        assert self.lowered(each, "cuda", self.x[None]) == 1

    @pytest.mark.parametrize(
        "length, sources, mask",
        [
            *((*sizes, mask) for sizes in ((7, 7), (8, 8)) for mask in ("none", "causal")),
            *((*sizes, mask) for sizes in ((7, 8), (8, 7)) for mask in ("none", "whole", "keys")),
            (7, 7, "whole"),
        ],
    )
    def test_odd_lengths_are_padded_and_change_nothing(self, monkeypatch, length, sources, mask):
        """What cuDNN is given, computed by jax's other program of the same function."""
        given = jax.nn.dot_product_attention
        monkeypatch.setattr(
            jax.nn,
            "dot_product_attention",
            lambda *args, implementation, **options: given(*args, implementation="xla", **options),
        )
        query = jnp.asarray(normal(2, 4, length, 16, seed=0), jnp.bfloat16)
        key, value = (jnp.asarray(normal(2, 4, sources, 16, seed=i), jnp.bfloat16) for i in (1, 2))
        open_ = {"whole": np.tril(np.ones((length, sources), bool)), "keys": np.arange(sources) < 3}
        bias = None
        if mask in open_:
            bias = as_bias(open_[mask].reshape(-1, sources), jnp.float32, causal=False, shape=())
        seen = {"scale": 0.25, "is_causal": mask == "causal"}
        found = _cudnn(query, key, value, bias, otherwise=None, **seen)
        assert found.shape == query.shape
        assert_close(found, SDPA(query, key, value, bias, **seen), "bfloat16")

    def test_layers_ask_for_it_in_training_alone(self, cudnn):
        layer = nn.MultiheadAttention(
            64, 4, batch_first=True, dtype=jnp.bfloat16, attn_implementation="cudnn"
        )
        params, state = layer.init(KEY)
        x = jnp.ones((2, 7, 64), jnp.bfloat16)

        def loss(x, train=True, weights=False):
            (y, _), _ = layer.apply(params, state, x, x, x, None, weights, train=train)
            return y.astype(jnp.float32).sum()

        assert self.lowered(jax.grad(loss), "cuda", x) == 2
        assert self.lowered(functools.partial(loss, train=False), "cuda", x) == 0
        assert self.lowered(functools.partial(loss, weights=True), "cuda", x) == 0
        vit = fx.models.VisionTransformer(16, 4, 2, 2, 32, 64, attn_implementation="cudnn")
        variables = jax.tree.map(lambda a: a.astype(jnp.bfloat16), vit.init(KEY))
        images = jnp.ones((2, 3, 16, 16), jnp.bfloat16)
        answer = lambda images: vit.apply(*variables, images, train=True, key=KEY)[0]
        assert self.lowered(answer, "cuda", images) == 2

    def test_an_export_cannot_hold_it(self, cudnn):
        with pytest.raises(ValueError, match="custom calls whose targets have no compat"):
            export.export(jax.jit(self.attend), platforms=("cuda",))(self.x).serialize()

    def test_it_traces_where_there_is_no_cudnn(self):
        assert self.lowered(self.attend, "cuda", self.x) == 0
        assert_close(self.attend(self.x), SDPA(self.x, self.x, self.x, is_causal=True), "bfloat16")

    def test_errors(self):
        x = self.x.astype(jnp.float32)
        with pytest.raises(
            TypeError, match='"cudnn" takes float16 and bfloat16, got float32; conv'
        ):
            self.attend(x)
        with pytest.raises(ValueError, match="takes no dropout.*got dropout_p=0.5"):
            SDPA(self.x, self.x, self.x, None, 0.5, dropout_key=KEY, implementation="cudnn")
        with pytest.raises(ValueError, match="E a multiple of 8.*key .2, 4, 8, 15."):
            self.attend(self.x[..., :15])
        with pytest.raises(ValueError, match='expected implementation None, "xla" or "cudnn", got'):
            SDPA(self.x, self.x, self.x, implementation="flash")
