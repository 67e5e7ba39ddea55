"""The training step in fx."""

from typing import Any

import jax
import numpy as np

import fx
from benchmarks.networks.tasks import Task
from benchmarks.shared.images import MEAN, STD
from fx import functional as F
from fx import nn, optim
from fx.data import transforms as T


def augmentation(flips: bool = True) -> T.Compose:
    flip = (T.RandomHorizontalFlip(),) if flips else ()
    return T.Compose((T.ToTensor(), *flip, T.Normalize(MEAN, STD)))


def network(name: str, task: Task, dropout: bool = True, attention: str | None = None) -> Any:
    """The network of fx.models; the ConvNet's dropouts can be off."""
    options = dict(task.options)
    if name == "resnet18" and hasattr(fx.models, "resnet18"):
        return fx.models.resnet18(num_classes=10, small_images=True)
    if name == "gpt2" and hasattr(fx.models, "GPT2"):
        return _gpt2(options, attention)
    if name == "convnet":
        model = fx.models.ConvNet(dropout_rate=0.3 if dropout else 0.0)
        for place, layer in enumerate(model.features):
            if isinstance(layer, nn.Dropout2d) and not dropout:
                model = nn.replace(model, f"features.{place}", nn.Dropout2d(0.0))
        return model
    raise NotImplementedError(f"fx.models has no {task.title} yet")


def _gpt2(options: dict[str, Any], attention: str | None) -> Any:
    """Without dropout, as the twin."""
    names = {"vocabulary": "vocab_size", "length": "n_positions", "dim": "n_embd"}
    names |= {"depth": "n_layer", "heads": "n_head"}
    given = {names[name]: value for name, value in options.items()}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return fx.models.GPT2(**given, **off, attn_implementation=attention)


# What the twins in torch call otherwise; of GPT-2, layers in blocks have weights [in, out] here.
GPT2_NAMES = (
    ("blocks.", "transformer.h."),
    ("norm1.", "ln_1."),
    ("norm2.", "ln_2."),
    ("qkv.", "c_attn."),
    ("attn.proj.", "attn.c_proj."),
    ("fc1.", "mlp.c_fc."),
    ("fc2.", "mlp.c_proj."),
)


def renamed(name: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A twin's weights under the names of fx.models."""
    if name != "gpt2":
        return weights
    found = {}
    for key, value in weights.items():
        if key.startswith("blocks."):
            for theirs, ours in GPT2_NAMES:
                key = key.replace(theirs, ours)
            found[key] = value.T if value.ndim == 2 else value
        else:
            found["transformer." + key.replace("norm.", "ln_f.")] = value
    return found | {"lm_head.weight": weights["wte.weight"]}


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
