"""The reference pipeline in fx, as examples/cifar10.py is written."""

import os
from typing import Any

import jax
import numpy as np

import fx
from benchmarks.shared.images import batches
from benchmarks.sides.jax_train import device_name, device_peak_bytes
from fx import data, evaluate, optim, train
from fx.data import transforms as T
from fx.functional import cross_entropy


class Pipeline:
    """A contender: `run` trains and validates that many epochs."""

    def __init__(self, images: int, batch: int, precision: str):
        self.device = device_name()
        inputs, labels, source = batches(1, images + images // 4, seed=0)
        self.settings = {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "data": source}
        train_set = data.Dataset(inputs[0, :images], labels[0, :images])
        valid_set = data.Dataset(inputs[0, images:], labels[0, images:])
        self.count = len(inputs[0])
        normalize = T.Normalize(*train_set.statistics())
        augment = T.Compose(
            (
                T.ToTensor(),
                T.RandomHorizontalFlip(),
                T.RandomRotation(10),
                T.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
                normalize,
            )
        )
        on_device = jax.default_backend() != "cpu"
        self.loader = data.Loader(train_set, batch, seed=0, on_device=on_device)
        valid_loader = data.Loader(valid_set, 500, on_device=on_device)
        model = fx.models.ConvNet()
        schedule = optim.cosine_annealing_lr(1e-3, T_max=100 * len(self.loader), eta_min=1e-6)
        optimizer = optim.adam(schedule, weight_decay=1e-4)
        self.ts = train.create(model, optimizer, jax.random.key(0))
        metrics = evaluate.classification_metrics
        self.step = train.make_step(
            model,
            cross_entropy,
            optimizer,
            metrics=metrics,
            transform=augment,
            precision=precision,
            steps_per_call=len(self.loader) if on_device else 1,
        )
        prepare = T.Compose((T.ToTensor(), normalize))
        self.validate = train.make_eval(
            model, cross_entropy, valid_loader, metrics=metrics, transform=prepare
        )

    def run(self, epochs: int) -> dict[str, Any]:
        """Trains on from where it stands."""
        result = fx.fit(
            self.step, self.ts, self.loader, validate=self.validate, epochs=epochs, progress=False
        )
        self.ts = jax.block_until_ready(result.ts)
        loss = result.history[-1]["train_loss"]
        assert np.isfinite(loss), f"training diverged: {loss}"
        return {"count": self.count * epochs, "loss": float(loss)}

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken; trials of kernels are in it."""
        return device_peak_bytes()
