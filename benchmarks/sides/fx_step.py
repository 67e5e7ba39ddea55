"""The training step in fx."""

from typing import Any

import jax
import numpy as np

import fx
from benchmarks.networks.in_fx import network, renamed
from benchmarks.networks.tasks import Task
from benchmarks.shared.images import MEAN, STD
from fx import functional as F
from fx import optim
from fx.data import transforms as T


def augmentation(flips: bool = True) -> T.Compose:
    flip = (T.RandomHorizontalFlip(),) if flips else ()
    return T.Compose((T.ToTensor(), *flip, T.Normalize(MEAN, STD)))


def loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean cross entropy over all leading axes."""
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


class Step:
    """fx's step as `(carry, batch) -> (carry, loss)`."""

    def __init__(self, step: Any):
        self.compiled, self._step = step.compiled, step

    def __call__(self, carry: Any, batch: Any) -> tuple[Any, jax.Array]:
        """Run the step."""
        carry, metrics = self._step(carry, batch)
        return carry, metrics["loss"]


def make(
    name: str,
    task: Task,
    precision: str,
    weights: dict[str, np.ndarray] | None,
    steps_per_call: int = 1,
    attention: str | None = None,
) -> tuple[Any, Step]:
    """State and step, as `benchmarks.sides.jax_train` wants them."""
    model = network(name, task, weights is None, attention)
    optimizer = optim.adam(task.lr, weight_decay=1e-4)
    step = fx.train.make_step(
        model,
        loss,
        optimizer,
        transform=augmentation(flips=weights is None) if task.side else None,
        precision=precision,
        steps_per_call=steps_per_call,
    )
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    if weights is not None:
        params, state = fx.load_state_dict(model, renamed(name, weights))
        ts = ts.replace(params=params, state=state, opt_state=optimizer.init(params))
    return ts, Step(step)
