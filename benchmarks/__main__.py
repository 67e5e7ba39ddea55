"""All claims that a CPU can answer, one after the other, and then the page about them.

    python -m benchmarks                                # `make bench`: within 20 minutes
    python -m benchmarks --all                          # larger batches, networks, growth, too
    python -m benchmarks --only train_step inference
    python -m benchmarks --list

A claim that fails is named at the end, the others go on, and the exit code is 1. The page is
written from the results that there are, those of earlier runs included.
"""

import argparse
import math
import sys

from benchmarks import publish
from benchmarks.shared.stages import Stage, run_all

MINUTES = 19.5  # what has not begun by then is named as failed
CPU = ("--device", "cpu")
CHANNELS_LAST, HAND = "PyTorch eager, channels-last", "plain JAX by hand"


def _step(name: str, limit_s: float, *only: str, **options: object) -> Stage:
    """A training step of few contenders."""
    given = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    rounds = ("--rounds", "3", "--steps", "1", "--only", *only)
    return Stage(f"train_step-{name}", ("train_step", *CPU, *given, *rounds), limit_s)


STAGES = [  # the most wanted first
    Stage("peaks", ("peaks", *CPU), 60),
    Stage("train_step", ("train_step", *CPU, "--rounds", "4", "--steps", "3"), 400),
    Stage("inference", ("inference", *CPU, "--starts", "2", "--rounds", "1", "--calls", "50"), 260),
    Stage("loader", ("loader", *CPU, "--rounds", "16"), 120),
    Stage("loop", ("loop", *CPU, "--rounds", "5"), 120),
    Stage("pipeline", ("pipeline", *CPU, "--images", "1024", "--rounds", "2"), 180),
    Stage("seeds-mlp", ("seeds", *CPU, "--models", "mlp"), 60),
    Stage("cold_start", ("cold_start", *CPU, "--rounds", "1"), 300),
    Stage("depth", ("depth", *CPU, "--rounds", "1"), 150),
]  # fmt: skip
MORE = [  # what --all has besides
    Stage("growth", ("growth", *CPU, "--rounds", "2"), 330),
    _step("512", 300, CHANNELS_LAST, HAND, "fx", batch=512),
    _step("2048", 600, CHANNELS_LAST, HAND, "fx", batch=2048),
    _step("bf16", 300, CHANNELS_LAST, HAND, "fx", precision="bf16"),
    _step("resnet18-16", 300, CHANNELS_LAST, "fx", network="resnet18", batch=16),
    _step("resnet18-128", 600, CHANNELS_LAST, "fx", network="resnet18", batch=128),
    _step("resnet18-1024", 900, CHANNELS_LAST, "fx", network="resnet18", batch=1024),
    Stage(
        "seeds-convnet",
        ("seeds", *CPU, "--models", "convnet", "--batch", "8", "--steps", "1", "--rounds", "2"),
        180,
    ),
    Stage("checkpoint", ("checkpoint", *CPU, "--rounds", "5"), 300),
    Stage("step_options", ("step_options", *CPU, "--rounds", "24", "--steps", "1"), 300),
    Stage("layers", ("layers", *CPU, "--rounds", "5"), 420),
    Stage("ported-llama", ("ported", *CPU, "--kind", "llama"), 300),
    Stage("ported-bert", ("ported", *CPU, "--kind", "bert"), 300),
]  # fmt: skip


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", help="names of stages or claims")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--all", action="store_true", help="also those that need more time")
    parser.add_argument("--minutes", type=float, help=f"for all of them ({MINUTES}; --all: no end)")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test; no figure is meant")
    options = parser.parse_args(given)
    wanted, every = set(options.only or ()), [*STAGES, *MORE]
    unknown = sorted(wanted - {name for s in every for name in (s.name, s.claim)})
    if unknown:
        sys.exit(f"--only: expected some of {[s.name for s in every]}, got {unknown}")
    named = [s for s in every if {s.name, s.claim} & wanted]
    stages = named or (every if options.all else STAGES)
    minutes = options.minutes or (math.inf if options.all or named else MINUTES)
    if options.list:
        print("\n".join(stage.show() for stage in stages))
        return 0
    failed = run_all(stages, tiny=options.tiny, within_s=60 * minutes)
    if not options.tiny:
        publish.main([])
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
