"""Do both sides train the same network? Losses from the same weights, without randomness."""

import jax
import numpy as np
import torch

import fx
from benchmarks import fx_side, torch_side
from benchmarks.images import batches
from fx import functional as F
from fx import nn

STEPS, BATCH = 10, 32


def losses() -> tuple[list[float], list[float]]:
    """Returns torch's and fx's losses of the first steps, in float32, without flips and drops."""
    images, labels, _ = batches(STEPS, BATCH, seed=1)
    torch.manual_seed(0)
    torch_side.set_precision("float32")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    twin = torch_side.ConvNet(dropout_rate=0.0).to(device)
    weights = {name: tensor.cpu().numpy().copy() for name, tensor in twin.state_dict().items()}
    for layer in twin.modules():
        if isinstance(layer, torch.nn.Dropout2d):
            layer.p = 0.0
    step = torch_side.make_step(twin, "float32", channels_last=False, flips=False)
    pairs = zip(*(torch.from_numpy(array).to(device) for array in (images, labels)), strict=True)
    theirs = [step(x, y).item() for x, y in pairs]
    return theirs, _fx_losses(weights, images, labels)


def _fx_losses(weights: dict, images: np.ndarray, labels: np.ndarray) -> list[float]:
    model = fx.models.ConvNet(dropout_rate=0.0)
    for place, layer in enumerate(fx.models.ConvNet().features):
        if isinstance(layer, nn.Dropout2d):
            model = nn.replace(model, f"features.{place}", nn.Dropout2d(0.0))
    params, state = fx.load_state_dict(model, weights)
    optimizer = fx_side.optimizer()
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    ts = ts.replace(params=params, state=state, opt_state=optimizer.init(params))
    step = fx.train.make_step(
        model, F.cross_entropy, optimizer, transform=fx_side.augmentation(flips=False)
    )
    found = []
    for x, y in zip(images, labels.astype(np.int32), strict=True):
        ts, metrics = step(ts, (x, y))
        found.append(float(metrics["loss"]))
    return found
