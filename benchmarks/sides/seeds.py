"""Some seeds of a model, trained together or one by one; see benchmarks.seeds."""

import argparse
from typing import Any

from benchmarks import seeds
from benchmarks.sides.jax_train import device_name


class Seeds:
    """A contender.

    Args:
        model: a name of `benchmarks.seeds.MODELS`.
        seeds: how many.
        way: "together" or "one by one".
    """

    def __init__(self, model: str, seeds: int, way: str):
        self.device, self.settings = device_name(), {}
        self._seeds, self._way, self._epoch = seeds, way.replace(" ", "_"), 0
        self._race = _race(model, seeds)

    def run(self, epochs: int) -> dict[str, Any]:
        """Train all of them on for so many epochs; counts runs times epochs."""
        for _ in range(epochs):
            getattr(self._race, self._way)(self._epoch)
            self._epoch += 1
        return {"count": self._seeds * epochs}


def _race(model: str, count: int) -> seeds.Race:
    return seeds.Race(model, argparse.Namespace(seeds=count, batch=32, steps=20))
