"""The ConvNet's training step in Flax NNX, with the loop of its documentation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.networks.tasks import Task
from benchmarks.shared.images import MEAN, STD
from benchmarks.sides.jax_train import convnet_layers


class ConvNet(nnx.Module):
    """The reference network, channels-last as Flax has it."""

    def __init__(self, dtype: Any, dropout: bool, rngs: nnx.Rngs):
        pairs = ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
        self.convs = nnx.List([nnx.Conv(i, o, (3, 3), dtype=dtype, rngs=rngs) for i, o in pairs])
        self.norms = nnx.List(
            [nnx.BatchNorm(o, momentum=0.9, dtype=dtype, rngs=rngs) for _, o in pairs]
        )
        rates = (0.25, 0.3) if dropout else (0.0, 0.0)
        self.drop2d = nnx.Dropout(rates[0], broadcast_dims=(1, 2), rngs=rngs)
        self.drop = nnx.Dropout(rates[1], rngs=rngs)
        self.dense1 = nnx.Linear(128, 256, dtype=dtype, rngs=rngs)
        self.dense2 = nnx.Linear(256, 10, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [N, H, W, 3]."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = nnx.relu(norm(conv(x)))
            if i % 2:
                x = self.drop2d(nnx.max_pool(x, (2, 2), (2, 2)))
        x = self.drop(nnx.relu(self.dense1(x.mean((1, 2)))))
        return self.dense2(x)


def make(
    name: str,
    task: Task,
    precision: str,
    weights: dict[str, np.ndarray] | None,
    steps_per_call: int = 1,
) -> tuple[Any, Any]:
    """State and step, as `benchmarks.sides.jax_train` wants them; NNX changes in place."""
    if name != "convnet":
        raise NotImplementedError(f"in NNX there is no {task.title}")
    random = weights is None
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    model = ConvNet(dtype, random, nnx.Rngs(0))
    model.train()
    if weights is not None:
        _load(model, weights)
    tx = optax.chain(optax.add_decayed_weights(1e-4), optax.adam(task.lr))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def train_step(model: ConvNet, optimizer: nnx.Optimizer, batch: Any, key: Any) -> jax.Array:
        images, labels = batch
        x = images.astype(jnp.float32) / 255
        if random:
            flips = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
            x = jnp.where(flips, x[:, :, ::-1], x)
        x = (x - jnp.array(MEAN)) / jnp.array(STD)

        def loss_fn(model: ConvNet) -> jax.Array:
            logits = model(x).astype(jnp.float32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads)
        return loss

    rngs = nnx.Rngs(1)

    def step(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
        return carry, train_step(model, optimizer, batch, rngs())

    return nnx.state(model), step


def _load(model: ConvNet, weights: dict[str, np.ndarray]) -> None:
    layers = convnet_layers(weights)
    for conv, (kernel, bias) in zip(model.convs, layers["conv"], strict=True):
        conv.kernel[...], conv.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)
    for norm, (scale, bias, *_) in zip(model.norms, layers["norm"], strict=True):
        norm.scale[...], norm.bias[...] = jnp.asarray(scale), jnp.asarray(bias)
    for dense, (kernel, bias) in zip((model.dense1, model.dense2), layers["dense"], strict=True):
        dense.kernel[...], dense.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)
