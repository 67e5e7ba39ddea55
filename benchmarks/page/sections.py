"""The page's sections, one a claim: what was measured, where, and the table."""

from collections.abc import Callable
from typing import Any

from benchmarks import train_step
from benchmarks.page import own
from benchmarks.page.results import (
    DEVICES,
    Lines,
    Results,
    megabytes,
    number,
    of,
    skipped,
    source,
    spread,
    table,
)
from benchmarks.page.verdict import title


def training(results: Results, kind: str) -> Lines:
    """(a) The training step."""
    lines: Lines = []
    peaks = results.get(f"peaks-{kind}", {}).get("peaks", {})
    for name, entry in of(results, "train_step", kind).items():
        lines += [f"### {title(name, entry)}, {DEVICES[kind]}", "", *source(entry)]
        lines += _agreement(entry)
        unit = entry["unit"]
        head = ["", unit, "x eager", "x channels-last", "first step, s", "memory, MB"]
        head += ["% of peak FLOP/s", "% of copy bytes/s"]
        rows = [
            [
                who,
                spread(found),
                number(found["ratios"].get(train_step.EAGER)),
                number(found["ratios"].get(train_step.CHANNELS_LAST)),
                number(found["first_s"]),
                megabytes(found),
                *shares(entry, found, peaks),
            ]
            for who, found in entry["contenders"].items()
            if "ratios" in found
        ]
        lines += [*table(head, rows), "", *skipped(entry["contenders"]), *_settings(entry)]
    return lines


def shares(entry: dict[str, Any], found: dict[str, Any], peaks: dict[str, float]) -> list[str]:
    """Of the machine's peaks, in per cent, where they are known."""
    steps_per_s = found["median"] / entry["count_per_step"]
    flops = peaks.get(f"{entry['settings']['precision']} flops/s")
    copied = peaks.get("copy bytes/s")
    texts = []
    for amount, peak in ((entry["flops_per_step"], flops), (found.get("bytes_per_step"), copied)):
        texts.append(number(100 * amount * steps_per_s / peak) if amount and peak else "")
    return texts


def _agreement(entry: dict[str, Any]) -> Lines:
    apart = [e["losses_apart"] for e in entry["contenders"].values() if "losses_apart" in e]
    if not apart:
        return []
    losses = entry["losses"]
    return [
        f"Same mathematics: after {len(losses)} steps from the same weights PyTorch's loss is "
        f"{losses[-1]:.4f}, and the others' losses are within {max(apart):.0e} of it at each step.",
        "",
    ]


def _settings(entry: dict[str, Any]) -> Lines:
    seen: dict[str, list[str]] = {}
    for who, found in entry["contenders"].items():
        if "settings" in found:
            text = ", ".join(f"{k} {v}" for k, v in found["settings"].items() if v != "")
            seen.setdefault(text, []).append(who)
    lines = [f"- {'; '.join(who)}: {text}" for text, who in seen.items()]
    return ["Set to:", "", *lines, ""] if lines else []


def pipeline(results: Results, kind: str) -> Lines:
    """(b) The whole pipeline."""
    lines: Lines = []
    for entry in of(results, "pipeline", kind).values():
        settings = entry["settings"]
        lines += [f"### {settings['precision']}, {DEVICES[kind]}", "", *source(entry)]
        lines += [f"An epoch here has {settings['images']:,} images to train on.", ""]
        apart = [e["losses_apart"] for e in entry["contenders"].values() if "losses_apart" in e]
        if apart:
            lines += [f"Mean losses of the epochs are at most {max(apart):.1%} apart.", ""]
        rows = [
            [who, spread(e), number(e["minutes_for_100_epochs"]), number(e["first_s"]),
             number(e.get("joules_per_epoch")) or "not told"]
            for who, e in entry["contenders"].items()
            if "ratios" in e
        ]  # fmt: skip
        head = ["", "images/s", "minutes for 100 epochs of 50,000", "first epoch, s", "J an epoch"]
        lines += [*table(head, rows), "", *skipped(entry["contenders"])]
    return lines


def loading(results: Results, kind: str) -> Lines:
    """(c) The loader."""
    lines: Lines = []
    for entry in of(results, "loader", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        rows = [
            [who, spread(e), number(e.get("ratio_to_peer")), number(e["first_s"])]
            for who, e in entry["contenders"].items()
            if "median" in e
        ]
        head = ["", "images/s", "x the DataLoader that does the same", "first epoch, s"]
        lines += [*table(head, rows), "", *skipped(entry["contenders"])]
    return lines


def cold(results: Results, kind: str) -> Lines:
    """(d) Cold start."""
    lines: Lines = []
    words = {"train": "first training step", "predict": "first prediction"}
    for entry in of(results, "cold_start", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        for what, starts in entry["starts"].items():
            rows = [[who, spread(e)] for who, e in starts.items() if "median" in e]
            lines += [*table(["", f"seconds to the {words[what]}"], rows), "", *skipped(starts)]
    return lines


def many_seeds(results: Results, kind: str) -> Lines:
    """(e) Many seeds."""
    lines: Lines = []
    for entry in of(results, "seeds", kind).values():
        settings = entry["settings"]
        lines += source(entry)
        rows = [
            [
                f"{model}, {settings['seeds']} seeds, batch {settings['batch']}",
                number(e["median_together_s"]),
                number(e["median_one_by_one_s"]),
                number(e["speed_up"]),
                f"{e['relative_difference']:.0e}",
            ]
            for model, e in entry["models"].items()
        ]
        head = [
            DEVICES[kind],
            "in one program, s",
            "one by one, s",
            "times as fast",
            "weights apart",
        ]
        lines += [*table(head, rows), ""]
    return lines


def answers(results: Results, kind: str) -> Lines:
    """(f) Inference."""
    lines: Lines = []
    for entry in of(results, "inference", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        for batch, contenders in entry["batches"].items():
            rows = [
                [who, number(e["p50_ms"]), number(e["p99_ms"]), str(e["calls"]), spread(e),
                 number(e["first_s"])]
                for who, e in contenders.items()
                if "median" in e
            ]  # fmt: skip
            head = [f"batch {batch}", "p50, ms", "p99, ms", "calls", "images/s", "first call, s"]
            lines += [*table(head, rows), "", *skipped(contenders)]
    return lines


def growing(results: Results, kind: str) -> Lines:
    """(h) How it grows."""
    words = {"batch": "batch", "data": "images in the data set", "seeds": "seeds"}
    units = {"batch": "images/s", "data": "images/s", "seeds": "epochs of a run/s"}
    lines: Lines = []
    for entry in of(results, "growth", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        for part, curves in entry["parts"].items():
            sizes = list(next(iter(curves.values())))
            head = [f"{units[part]}, by {words[part]}", *(f"{int(size):,}" for size in sizes)]
            rows = [
                [who, *(number(curve[size].get("median")) for size in sizes)]
                for who, curve in curves.items()
            ]
            lines += [*table(head, rows), ""]
    for entry in of(results, "depth", kind).values():
        lines += ["Seconds to trace and compile a training step of a transformer:", ""]
        lines += [*source(entry), *depth_table(entry), ""]
    return lines


def depth_table(entry: dict[str, Any]) -> Lines:
    """The table that docs/models.md has, too."""
    ways = entry["ways"]
    rows = []
    for depth in ways["Stack"]:
        row = [depth]
        for way in ("Stack", "Sequential"):
            found = ways.get(way, {}).get(depth)
            seconds = found and f"{found['trace_s']:.2f}, {found['compile_s']:.2f}"
            row += [seconds, f"{found['equations']:,.0f}"] if found else ["not tried", ""]
        rows.append(row)
    head = ["layers", "`nn.Stack`: trace, compile", "equations"]
    head += ["`nn.Sequential`: trace, compile", "equations"]
    return table(head, rows)


def records(results: Results, kind: str) -> Lines:
    """The speedrun."""
    lines: Lines = []
    for entry in of(results, "speedrun", kind).values():
        settings = entry["settings"]
        lines += [f"### To {settings['target']} %, {DEVICES[kind]}", "", *source(entry)]
        if settings["reference"] == "none":
            lines += ["The reference was not at hand.", ""]
        rows = [
            [who, _accuracy(e), spread(e), number(e["first_s"]), number(e["cold_s"])]
            for who, e in entry["contenders"].items()
            if "median" in e
        ]
        head = ["", "mean accuracy", "s a run", "first run, s", "process start to its end, s"]
        lines += [*table(head, rows), "", *skipped(entry["contenders"])]
    for entry in of(results, "recipe", kind).values():
        settings = entry["settings"]
        what = (
            f"The recipe for {settings['target']} % after {settings['epochs']} epochs of "
            f"{settings['images']:,} images in batches of {settings['batch']}, tested on "
            f"{settings['test_images']:,}; the reference changed to run on a CPU in float32"
        )
        lines += [f"### The recipe for {settings['target']} %, {DEVICES[kind]}", "", *source(entry)]
        rows = [[who, _accuracy(e)] for who, e in entry["contenders"].items()]
        lines += [f"{what}.", "", *table(["", "mean accuracy"], rows), ""]
    return lines


def _accuracy(entry: dict[str, Any]) -> str:
    interval = entry["accuracy_interval"]
    low_high = f"{interval[0]:.2%} to {interval[1]:.2%}, " if interval else ""
    return f"{entry['accuracy']:.2%} ({low_high}n = {entry['runs']})"


SECTIONS: list[tuple[str, str, Callable[[Results, str], Lines]]] = [
    (
        "The machine",
        "The fastest product of large matrices and the fastest copy that either framework "
        "reached. Shares below are of these.",
        own.machine_peaks,
    ),
    (
        "A training step",
        "From uint8 images on the device, in a process for each contender, in rounds that take "
        "turns; the first step, with compilation, is apart. Figures are medians (least to most); "
        "a ratio is the median over the rounds, so it is not the quotient of the medians. FLOPs "
        "are those of products and convolutions as PyTorch counts them, the same for all; bytes "
        "are what XLA counts after fusion, so they are known for JAX's programs alone. Memory is "
        "on a CPU what steps hold beyond the started framework, on a GPU the most that the "
        "framework's allocator has given out.",
        training,
    ),
    (
        "The step's program for an H200",
        "XLA's compiler for CUDA needs no GPU: these are the programs that it makes of a training "
        "step for an H200, read and not run, so that no time is in them. Activations moved are "
        "kernels that only copy or transpose one. Bytes are XLA's count after fusion, and all "
        "that cuDNN's calls are given and give. (On a CPU no activation is moved between two "
        "spatial operations either, but for the gradients of weights XLA turns their arguments, "
        "up to 11 in the ConvNet's step; tests/test_kept_fast.py counts them.)",
        own.programs,
    ),
    (
        "The whole pipeline",
        "Reading, flips, rotation, colour jitter, training and validation of the reference recipe. "
        "The usual program has per-image transforms in a DataLoader with two workers; the "
        "strongest has the data set on the device and augments in batches there, compiled.",
        pipeline,
    ),
    (
        "The loader",
        "Batches of 128 with random crop and flip; every batch is waited for.",
        loading,
    ),
    (
        "Cold start",
        "From starting a process to its first training step at batch 128, and to its first answer "
        "for one image. Cached starts find what an earlier one left.",
        cold,
    ),
    (
        "Many seeds",
        "Every seed must come to the weights of its run alone, to rounding, or the program ends; "
        "how far apart they are is relative to the largest change of a weight.",
        many_seeds,
    ),
    (
        "Inference",
        "From uint8 images in NumPy to probabilities in NumPy, preprocessing and transfers "
        "included, in float32. All contenders gave the same probabilities first.",
        answers,
    ),
    (
        "The loop",
        "`fx.fit` beside a bare loop over the same compiled step: the median of the rounds and its "
        "standard error. The processor's time is that around a tiny step, where nothing hides it, "
        "in a process that has one core; the clock's time is with a step of 1 ms.",
        own.looping,
    ),
    (
        "Options of the step",
        "The reference network's step at batch 128 with one option each, all of them fx's, in one "
        "process in turns. What is more than without is the median over the rounds (least to "
        "most).",
        own.step_options,
    ),
    (
        "Layers one by one",
        "`fx.nn`'s layers beside `torch.nn`'s of the same arguments, weights and input, float32, "
        "channels-last where they are spatial, training; PyTorch in the faster of its orders. A "
        "gradient is to the parameters and to the input. Below 1 fx is the faster one. All "
        "answers and gradients were the same first. What is done in between, fusion and the "
        "optimizer's part, is not in it.",
        own.layers,
    ),
    (
        "Ported models",
        "Hugging Face's models trained in PyTorch, and as `fx.port` writes them: AdamW in float32, "
        "dropout off; the losses of the first ten steps were the same. The port's time, before the "
        "first step, is not in it.",
        own.ported,
    ),
    (
        "How it grows",
        "The same figures against size.",
        growing,
    ),
    (
        "The speedrun",
        "CIFAR-10 to an accuracy in the fewest seconds: `examples/speedrun.py` beside the program "
        "that its recipe is from, KellerJordan's cifar10-airbench, unchanged, on the same device. "
        "Accuracies have 95 % confidence intervals; the first run has compilation in it, the "
        "others have not; caches were empty. For 96 % the compiled reference also leaves out easy "
        "images, which fx does not.",
        records,
    ),
    (
        "Checkpoints",
        "What `fx.checkpoint.save` and the background `Writer` cost a run.",
        own.checkpoints,
    ),
]
