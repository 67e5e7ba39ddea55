"""A training step: fx against PyTorch, plain JAX and Flax, in one run.

    python -m benchmarks.train_step --network convnet --batch 128 --rounds 5
    python -m benchmarks.train_step --network gpt2 --batch 8 --precision bf16      # on a GPU

Each contender has a process of its own; one works at a time, in rounds that take turns. A step
turns a batch of uint8 images, already on the device, into floats, flips and normalises them, and
runs forward, backward and Adam (tokens are only embedded). The first step, with compilation, is
apart. Before that every contender trains from the same weights for ten steps, without what is
random, and its losses must be PyTorch's: who departs is not timed.

Memory is on a CPU the most that steps after the first ones hold beyond a framework that has
started and done nothing (what the compiler took and kept included), and on a GPU the most that the
framework's allocator has given out (JAX's cannot be reset, so trials of kernels are in it).
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.networks.tasks import TASKS, task
from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner, Skipped

EAGER, CHANNELS_LAST = "PyTorch eager", "PyTorch eager, channels-last"
COMPILE, AUTOTUNE = "torch.compile", "torch.compile, max-autotune"
HAND, LINEN, NNX = "plain JAX by hand", "Flax Linen", "Flax NNX"
FX, OWN_FLAGS, UNJITTED = "fx", "fx, JAX's own flags", "fx, un-jitted"
CUDNN = "fx, cuDNN's attention"
PEERS = (EAGER, CHANNELS_LAST, COMPILE, AUTOTUNE, HAND, LINEN, NNX)
STEPS = 10  # of the check that losses agree
# Relative, at the tenth loss: rounding, which Adam's division passes on from step to step.
# Of the small network; deep ones amplify rounding: after 10 steps of ResNet-18 PyTorch's own two
# layouts are 1.5e-3 apart.
DEEP = 5
TOLERANCES = {"float32": 1e-3, "tf32": 2e-2, "bf16": 5e-2}


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    """By name; with bf16 PyTorch's are under autocast (AMP)."""
    given = {k: getattr(options, k) for k in ("network", "batch", "precision", "tiny")}
    images = task(options.network, options.tiny).side > 0

    def torch(**more: Any) -> Job:
        maker = "benchmarks.sides.torch_train:Trainer"
        return Job(maker, given | more, options.device, flags=False)

    def jax(flags: bool = True, **more: Any) -> Job:
        return Job("benchmarks.sides.jax_train:Trainer", given | more, options.device, flags)

    jobs = {EAGER: torch()}
    if images:
        jobs[CHANNELS_LAST] = torch(channels_last=True)
    jobs[COMPILE] = torch(channels_last=images, compiled="default")
    if options.device_kind == "gpu":
        jobs[AUTOTUNE] = torch(channels_last=images, compiled="max-autotune")
    jobs[FX] = jax()
    if options.network == "convnet":
        jobs[HAND] = jax(peer="hand")
    flash = options.network in ("gpt2", "vit") and options.precision == "bf16"
    if flash and options.device_kind == "gpu":
        jobs[CUDNN] = jax(attention="cudnn")
    if options.steps_per_call > 1:
        jobs[f"fx, {options.steps_per_call} steps a call"] = jax(
            steps_per_call=options.steps_per_call
        )
    if options.network == "convnet":
        jobs |= {LINEN: jax(peer="linen"), NNX: jax(peer="nnx")}
    # Last: what a run cut short can do without.
    if options.device_kind == "cpu":
        jobs[OWN_FLAGS] = jax(flags=False)
    if options.network == "convnet" and not options.tiny:
        jobs[UNJITTED] = jax(jitted=False)
    return report.chosen(jobs, options.only)


def reference(options: argparse.Namespace, weights: Path) -> dict[str, Any]:
    """Weights for all, PyTorch's losses from them in eager float32, and a step's arithmetic."""
    given = {k: getattr(options, k) for k in ("network", "batch", "tiny")}
    maker = "benchmarks.sides.torch_train:Reference"
    job = Job(maker, given | {"precision": "float32"}, options.device, flags=False)
    try:
        runner = Runner(job, options.timeout_s)
        runner.ask("save", str(weights))
        losses, _ = runner.ask("losses", str(weights), options.agreement_batch, STEPS)
        flops, _ = runner.ask("flops")
        runner.finish()
    except Skipped as reason:
        sys.exit(f"train_step: the check that losses agree did not run: {reason}")
    return {"losses": losses, "flops_per_step": flops}


def first(name: str, runner: Runner, options: Any, weights: Path, losses: list) -> dict[str, Any]:
    """Holds the losses to the reference's, then runs the first steps."""
    found: dict[str, Any] = {}
    if name not in (UNJITTED, OWN_FLAGS) and "steps a call" not in name:  # fx's own step has it
        own, _ = runner.ask("losses", str(weights), options.agreement_batch, STEPS)
        apart = [abs(a - b) / abs(b) for a, b in zip(own, losses, strict=True)]
        found = {"losses": own, "losses_apart": max(apart)}
        deep = 1 if options.network == "convnet" else DEEP
        if not max(apart) < deep * TOLERANCES[options.precision]:
            raise Skipped(f"not the same mathematics: losses {own}, expected {losses}")
    _, found["first_s"] = runner.ask("run", 1)
    if name != UNJITTED:
        runner.ask("run", 2)  # what a second call still prepares
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the check and all rounds."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        known = reference(options, weights)
        with Race(contenders(options), options.timeout_s, options.budget_s) as contest:
            contest.start(lambda n, r: first(n, r, options, weights, known["losses"]))

            def turn(name: str, runner: Runner) -> dict[str, Any]:
                done, seconds = runner.ask("run", 1 if name == UNJITTED else options.steps)
                return done | {"seconds": seconds}

            def last(name: str, runner: Runner) -> dict[str, Any]:
                counted = name in (FX, HAND)
                return {"bytes_per_step": runner.ask("traffic")[0]} if counted else {}

            contest.rounds(options.rounds, turn)
            found = contest.finish(last)
    race.summarise(found, PEERS)
    return {**known, "contenders": found}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--network", choices=TASKS, default="convnet")
    parser.add_argument("--batch", type=int, default=128, help="examples in a batch")
    parser.add_argument("--steps", type=int, help="steps in a turn (CPU: 8, GPU: 100)")
    parser.add_argument("--steps-per-call", type=int, help="of the last fx (CPU: none, GPU: 50)")
    parser.add_argument("--precision", choices=TOLERANCES, default="float32")
    options = parser.parse_args(given)
    options.device_kind = report.device_kind(options.device)
    gpu = options.device_kind == "gpu"
    options.steps = options.steps or (100 if gpu else 8)
    options.steps_per_call = options.steps_per_call or (50 if gpu else 1)
    if options.tiny:
        options.batch, options.steps, options.steps_per_call = 4, 1, min(2, options.steps_per_call)
    options.agreement_batch = options.batch if gpu or options.tiny else 32
    name = f"{options.network}-{options.batch}-{options.precision}"
    options.out = options.out or report.RESULTS / f"train_step-{options.device_kind}-{name}.json"
    return options


def check_compiler() -> None:
    """torch.compile needs one; without it that contender fails with a long text."""
    if not (os.environ.get("CXX") or any(map(shutil.which, ("c++", "g++", "clang++")))):
        print("no C++ compiler: torch.compile will be skipped", file=sys.stderr)


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    check_compiler()
    names = ("network", "batch", "precision", "rounds", "steps", "tiny")
    found = report.begin("train_step", given, **{name: getattr(options, name) for name in names})
    what = task(options.network, options.tiny)
    found |= {"unit": what.unit, "count_per_step": what.count(options.batch)}
    found |= measure(options)
    print(f"\n{found['machine']}\n{found['versions']}\n{found['settings']}")
    for name, entry in found["contenders"].items():
        if "settings" in entry:
            print(f"{name}: {entry['settings']}")
    print("\n" + report.race_table(found["contenders"], found["unit"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
