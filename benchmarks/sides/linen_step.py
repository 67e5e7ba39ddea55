"""The ConvNet's training step in Flax Linen, with the loop of its documentation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from flax.training.train_state import TrainState

from benchmarks.networks.tasks import Task
from benchmarks.shared.images import MEAN, STD
from benchmarks.sides.jax_train import convnet_layers


class ConvNet(linen.Module):
    """The reference network, channels-last as Flax has it."""

    dtype: Any = jnp.float32

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Logits of images [N, H, W, 3]; train drops."""
        for channels in (32, 64, 128):
            for _ in range(2):
                x = linen.Conv(channels, (3, 3), dtype=self.dtype)(x)
                x = linen.BatchNorm(use_running_average=False, momentum=0.9, dtype=self.dtype)(x)
                x = linen.relu(x)
            x = linen.max_pool(x, (2, 2), (2, 2))
            x = linen.Dropout(0.25, broadcast_dims=(1, 2), deterministic=not train)(x)
        x = x.mean((1, 2))
        x = linen.relu(linen.Dense(256, dtype=self.dtype)(x))
        x = linen.Dropout(0.3, deterministic=not train)(x)
        return linen.Dense(10, dtype=self.dtype)(x)


class State(TrainState):
    """With the running statistics and the key."""

    batch_stats: Any
    key: Any


def make(
    name: str,
    task: Task,
    precision: str,
    weights: dict[str, np.ndarray] | None,
    steps_per_call: int = 1,
) -> tuple[Any, Any]:
    """State and step, as `benchmarks.sides.jax_train` wants them."""
    if name != "convnet":
        raise NotImplementedError(f"in Linen there is no {task.title}")
    model = ConvNet(jnp.bfloat16 if precision == "bf16" else jnp.float32)
    random = weights is None

    @jax.jit
    def train_step(state: State, batch: Any) -> tuple[State, jax.Array]:
        images, labels = batch
        flip_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        x = images.astype(jnp.float32) / 255
        if random:
            flips = jax.random.bernoulli(flip_key, 0.5, (len(x), 1, 1, 1))
            x = jnp.where(flips, x[:, :, ::-1], x)
        x = (x - jnp.array(MEAN)) / jnp.array(STD)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            rngs = {"dropout": dropout_key}
            logits, updates = state.apply_fn(
                variables, x, random, mutable=["batch_stats"], rngs=rngs
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits.astype(jnp.float32), labels
            )
            return losses.mean(), updates

        (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        state = state.apply_gradients(grads=grads, batch_stats=updates["batch_stats"])
        return state, loss

    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), False)
    params = variables["params"] if weights is None else _given(weights)
    optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.adam(task.lr))
    state = State.create(
        apply_fn=model.apply,
        params=params,
        tx=optimizer,
        batch_stats=variables["batch_stats"],
        key=jax.random.key(0),
    )
    return state, train_step


def _given(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    layers = convnet_layers(weights)
    found: dict[str, Any] = {}
    for i, (kernel, bias) in enumerate(layers["conv"]):
        found[f"Conv_{i}"] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    for i, (scale, bias, *_) in enumerate(layers["norm"]):
        found[f"BatchNorm_{i}"] = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
    for i, (kernel, bias) in enumerate(layers["dense"]):
        found[f"Dense_{i}"] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    return found
