"""Everything on a GPU, in stages of under nine minutes that can be run one by one.

    python -m benchmarks.gpu --list
    python -m benchmarks.gpu                    # every stage that has no result yet
    python -m benchmarks.gpu --stage train_step-convnet-512-bf16
    FX_DATA_DIR=... python -m benchmarks.gpu --stage speedrun-94 --reference cifar10-airbench

It needs `pip install '.[bench,cuda13]'` (or cuda12), PyTorch's build for CUDA, and
onnxruntime-gpu in place of onnxruntime; who runs on the CPU there is left out, and says so.

A stage leaves its JSON in benchmarks/results, with "gpu" in its name; one that has it is done, and
is run again only with `--redo`. Afterwards `python -m benchmarks.publish` writes the page.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from benchmarks import publish
from benchmarks.shared import report
from benchmarks.shared.race import has_gpu
from benchmarks.shared.stages import Stage, run_all

LIMIT_S = 530


def _steps() -> list[Stage]:
    sizes = {"convnet": (128, 512, 2048), "resnet18": (128, 1024), "gpt2": (8,), "vit": (128,)}
    stages = []
    for precision in ("bf16", "float32", "tf32"):  # the most wanted first
        for network, batches in sizes.items():
            for batch in batches:
                given = ("--network", network, "--batch", str(batch), "--precision", precision)
                few = ("--rounds", "3", "--steps", "20") if network != "convnet" else ()
                name = f"train_step-{network}-{batch}-{precision}"
                stages.append(Stage(name, ("train_step", *given, *few), LIMIT_S))
    first = [s for s in stages if s.name == "train_step-convnet-512-bf16"]
    return first + [s for s in stages if s not in first]


def _record(target: str, runs: str, reference_runs: str) -> Stage:
    given = ("--target", target, "--runs", runs, "--reference-runs", reference_runs)
    return Stage(f"speedrun-{target}", ("speedrun", *given), LIMIT_S)


STAGES = [
    Stage("peaks", ("peaks",), LIMIT_S),
    *_steps()[:1],
    _record("94", runs="50", reference_runs="20"),
    Stage("pipeline-bf16", ("pipeline", "--precision", "bf16"), LIMIT_S),
    Stage("seeds-mlp", ("seeds", "--models", "mlp"), LIMIT_S),
    Stage("seeds-convnet", ("seeds", "--models", "convnet", "--rounds", "3"), LIMIT_S),
    _record("96", runs="5", reference_runs="3"),
    Stage("inference", ("inference",), LIMIT_S),
    Stage("cold_start", ("cold_start",), LIMIT_S),
    Stage("loader", ("loader",), LIMIT_S),
    Stage("loop", ("loop",), LIMIT_S),
    Stage("growth", ("growth", "--precision", "bf16"), LIMIT_S),
    Stage("depth", ("depth",), LIMIT_S),
    Stage("checkpoint", ("checkpoint",), LIMIT_S),
    Stage("step_options", ("step_options",), LIMIT_S),
    Stage("layers", ("layers",), LIMIT_S),
    *_steps()[1:],
    Stage("pipeline-float32", ("pipeline", "--precision", "float32"), LIMIT_S),
]


def result(stage: Stage, kind: str) -> Path:
    """Where a stage leaves its JSON."""
    claim, _, variant = stage.name.partition("-")
    return report.RESULTS / ("-".join([claim, kind, variant]).rstrip("-") + ".json")


def done(stage: Stage) -> bool:
    """Whether its result is there and whole."""
    path = result(stage, "gpu")
    return path.exists() and "machine" in json.loads(path.read_text())


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stage", nargs="+", help="some stages, by name")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--redo", action="store_true", help="also what has a result")
    parser.add_argument("--tiny", action="store_true", help="on any device; leaves no results")
    parser.add_argument("--reference", help="a checkout of cifar10-airbench, for the speedrun")
    options = parser.parse_args(given)
    unknown = set(options.stage or ()) - {stage.name for stage in STAGES}
    if unknown:
        sys.exit(f"--stage: expected some of {[s.name for s in STAGES]}, got {sorted(unknown)}")
    stages = [
        with_reference(s, options.reference)
        for s in STAGES
        if not options.stage or s.name in options.stage
    ]
    if options.list:
        print("\n".join(f"{'done' if done(s) else '    '} {s.show()}" for s in stages))
        return 0
    if not options.tiny and not has_gpu():
        sys.exit("benchmarks.gpu: expected a GPU, found no nvidia-smi; --tiny runs on any device")
    return run_stages(stages, options)


def with_reference(stage: Stage, checkout: str | None) -> Stage:
    """The stages of the speedrun run the reference, too, where there is one."""
    if checkout is None or stage.claim != "speedrun":
        return stage
    return dataclasses.replace(stage, arguments=(*stage.arguments, "--reference", checkout))


def run_stages(stages: list[Stage], options: argparse.Namespace) -> int:
    left = [s for s in stages if options.tiny or options.redo or not done(s)]
    for stage in stages:
        if stage not in left:
            print(f"{stage.name}: done already")
    failed = run_all(left, tiny=options.tiny)
    if not options.tiny:
        publish.main([])
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
