r"""The speedrun's recipes on a CPU: accuracy beside the programs that they follow, same settings.

    FX_DATA_DIR=... python -m benchmarks.recipe --reference cifar10-airbench
    FX_DATA_DIR=... python -m benchmarks.recipe --reference cifar10-airbench --target 96 \
        --epochs 3 --images 1000 --batch 100

Both train for a few epochs on the first images of CIFAR-10, as often as `--runs` says, and are
tested with six views on the first test images. The reference is a checkout of cifar10-airbench. Its
program is copied and changed so far that it runs on a CPU: float32 for half, no GPU, no
`torch.compile`, another number of epochs and another batch; `CHANGES` has it all. It is no race,
and the times mean nothing.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fx
from benchmarks import speedrun
from benchmarks.shared import report

REFERENCE = "reference"
SCRIPTS = {94: "airbench94_muon.py", 96: "legacy/airbench96.py"}
MAKE = {94: "main(run, CifarNet().to(memory_format=torch.channels_last))", 96: "main(run)"}
CHANGES = [  # a pattern, what stands for it, and in which programs it must be found
    (r"@torch\.compile\n", "", (94,)),
    (r"\.half\(\)", ".float()", (94, 96)),
    (r"\.cuda\(\)", "", (94, 96)),
    (r'torch\.device\(("cuda"|gpu)\)', '"cpu"', (94, 96)),
    (r'device=.cuda.', 'device="cpu"', ()),
    (r"fused=True", "fused=False", (94,)),
    (r"torch\.cuda\.Event\(enable_timing=True\)", "Timer()", (94, 96)),
    (r"torch\.cuda\.synchronize\(\)", "None", (94, 96)),
    (r"batch_size = 2000\n", "batch_size = BATCH\n", (94,)),
    (r"'batch_size': 1024", "'batch_size': BATCH", (96,)),
    (r"ceil\(8 \* len", "ceil(EPOCHS * len", (94,)),
    (r"'train_epochs': 37\.0", "'train_epochs': EPOCHS", (96,)),
    (r'\nif __name__ == "__main__":\n.*', "", (94, 96)),
]  # fmt: skip
HEAD = """BATCH, EPOCHS = {batch}, {epochs}
class Timer:
    def record(self): pass
    def elapsed_time(self, other): return 0.0
"""
TAIL = """
for run in range({seed}, {seed} + {runs}):
    torch.manual_seed(run)
    print("accuracy", {make}, flush=True)
"""


def for_cpu(text: str, options: argparse.Namespace) -> str:
    """The reference's program as it runs here.

    Raises:
        ValueError: the text is not what the changes were written for.
    """
    for pattern, into, needed in CHANGES:
        text, count = re.subn(pattern, into, text, flags=re.DOTALL)
        if not count and options.target in needed:
            raise ValueError(
                f"recipe: expected {pattern!r} in {SCRIPTS[options.target]}, found none"
            )
    given = {name: getattr(options, name) for name in ("batch", "epochs", "seed", "runs")}
    return HEAD.format(**given) + text + TAIL.format(**given, make=MAKE[options.target])


def cut(folder: Path, options: argparse.Namespace) -> None:
    """Leave the first images in the tensors that the reference reads."""
    import torch

    for split, count in {"train": options.images, "test": options.test_images}.items():
        path = folder / "cifar10" / f"{split}.pt"
        known = torch.load(path)
        torch.save(
            known | {name: known[name][:count].clone() for name in ("images", "labels")}, path
        )


def run(command: list[str], folder: Path, pattern: str) -> list[float]:
    """Run a program to its end; returns the accuracies that it prints."""
    paths = [str(speedrun.ROOT), str(folder), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    ended = subprocess.run(
        [sys.executable, *command], env=env, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    if ended.returncode:
        raise RuntimeError(f"recipe: {command[0]} ended with exit code {ended.returncode}")
    return [float(each) for each in re.findall(pattern, ended.stdout)]


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Accuracies of all runs, and their mean with its interval."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        speedrun.prepare(folder)
        cut(folder, options)
        text = (options.reference / SCRIPTS[options.target]).read_text()
        (folder / "reference.py").write_text(for_cpu(text, options))
        given = {
            "--target": options.target, "--epochs": options.epochs, "--limit": options.images,
            "--test-limit": options.test_images, "--batch-size": options.batch,
            "--runs": options.runs, "--seed": options.seed, "--precision": "float32",
        }  # fmt: skip
        ours = [str(speedrun.ROOT / "examples" / "speedrun.py")]
        ours += [str(part) for pair in given.items() for part in pair]
        found = {
            speedrun.FX: run(ours, folder, r"test accuracy (\S+) in"),
            REFERENCE: run([str(folder / "reference.py")], folder, r"accuracy (0\.\d+)"),
        }
    return {name: summary(accuracies) for name, accuracies in found.items()}


def summary(accuracies: list[float]) -> dict[str, Any]:
    seen = fx.evaluate.summarize(np.asarray(accuracies))
    interval = [seen.low, seen.high] if seen.count > 1 else None
    return {
        "accuracies": accuracies,
        "accuracy": seen.mean,
        "runs": seen.count,
        "accuracy_interval": interval,
    }


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", type=int, choices=SCRIPTS, default=94)
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of the original")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000, help="to train on")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args(given)
    options.out = options.out or report.RESULTS / f"recipe-cpu-{options.target}.json"
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("target", "runs", "epochs", "images", "test_images", "batch")
    settings = {name: getattr(options, name) for name in names}
    settings["reference"] = speedrun.commit(options.reference)
    found = report.begin("recipe", given, **settings)
    found["contenders"] = measure(options)
    for name, entry in found["contenders"].items():
        print(f"{name}: {entry['accuracy']:.4f}, {entry['accuracies']}")
    report.write(found, options.out)


if __name__ == "__main__":
    main()
