"""Write docs/benchmarks.md, its pictures and the tables in other pages from the results alone.

    python -m benchmarks.publish

Nothing on the page is written by hand, so that it says what benchmarks/results says; a test makes
it again and compares. What fx loses stands first.
"""

import argparse
import re
from pathlib import Path

from benchmarks import gpu, train_step
from benchmarks.page import plots, verdict
from benchmarks.page.results import DEVICES, Results, load, number, table
from benchmarks.page.sections import SECTIONS, depth_table

ROOT = Path(__file__).parent.parent
PAGE, IMAGES = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "images"
CLAIMS = {"A training step": "train_step", "The whole pipeline": "pipeline"}
CPU_RESULTS = (
    "peaks-cpu", "train_step-cpu-convnet-128-float32", "inference-cpu", "loader-cpu", "loop-cpu",
    "pipeline-cpu-float32", "seeds-cpu-mlp", "cold_start-cpu", "depth-cpu", "growth-cpu",
    "train_step-cpu-convnet-512-float32", "train_step-cpu-convnet-2048-float32",
    "train_step-cpu-convnet-128-bf16", "train_step-cpu-resnet18-16-float32",
    "train_step-cpu-resnet18-128-float32", "train_step-cpu-resnet18-1024-float32",
    "seeds-cpu-convnet", "checkpoint-cpu", "step_options-cpu", "layers-cpu",
    "ported-cpu-llama", "ported-cpu-bert",
)  # fmt: skip
CLAIMS |= {"Inference": "inference", "How it grows": "growth", "The speedrun": "speedrun"}


def page(results: Results, pictures: dict[tuple[str, str], str]) -> str:
    """The text of docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "fx beside PyTorch, `torch.compile`, onnxruntime, Flax and plain JAX. `python -m "
        "benchmarks.publish` writes this page from the JSON in `benchmarks/results/`; `make bench` "
        "measures in under 20 minutes what a CPU can, `python -m benchmarks --all` larger batches"
        ", other networks and growth, too, and `python -m benchmarks.gpu` what needs a GPU.",
        "",
        "## Where fx loses",
        "",
        *(verdict.losses(results) or ["- In none of the results that there are."]),
        "",
        "## The bars",
        "",
        *verdict.bars(results),
        "",
        "On shared cores a ratio moves by 15 % and more either way from one run to the next of the "
        "same command on the same code, so a CPU's bar that is met or missed by less may come out "
        "otherwise.",
        "",
        *_missing(results),
    ]
    for heading, words, section in SECTIONS:
        written = [section(results, kind) for kind in DEVICES]
        if any(written):
            lines += [f"## {heading}", "", words, ""]
            lines += _shown(heading, pictures)
            lines += [line for part in written for line in part]
    return "\n".join(lines).rstrip() + "\n"


def _missing(results: Results) -> list[str]:
    """What has not been run."""
    missing = [n for n in CPU_RESULTS if n not in results]
    left = [s for s in gpu.STAGES if gpu.result(s, "gpu").stem not in results]
    lines = []
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        lines += [f"On a CPU, `python -m benchmarks --all` has not left: {names}.", ""]
    if left:
        names = ", ".join(f"`{stage.name}`" for stage in left)
        none = len(left) == len(gpu.STAGES)
        reason = "No GPU was at hand, so nothing was measured on one. " if none else ""
        lines += [
            f"{reason}`python -m benchmarks.gpu` runs what is missing, a stage at a time, each in "
            f"under nine minutes: {names}.",
            "",
        ]
    return ["## What has not been run", "", *lines] if lines else []


def _shown(heading: str, pictures: dict[tuple[str, str], str]) -> list[str]:
    claim = CLAIMS.get(heading, "")
    lines = []
    for kind, device in DEVICES.items():
        if (claim, kind) in pictures:
            lines += [f"![{heading}, {device}](images/{pictures[claim, kind]})", ""]
    return lines


def readme(results: Results) -> str:
    """The table of README's "How fast"."""
    entry = results["train_step-cpu-convnet-128-float32"]
    found = {name: e for name, e in entry["contenders"].items() if "ratios" in e}
    peer = train_step.CHANNELS_LAST
    rows = [
        [name, number(e["median"]), number(e["ratios"].get(peer)), f"{e['first_s']:.1f} s"]
        for name, e in sorted(found.items(), key=lambda item: -item[1]["median"])
    ]
    head = ["", "images/s", f"beside {peer}", "first step"]
    return "\n".join([*table(head, rows), "", *_sentences(found)])


def _sentences(found: Results) -> list[str]:
    """What the table says, in words; each only where its contenders ran."""
    ours, peer = found.get(train_step.FX), train_step.CHANNELS_LAST
    lines = [
        "Ratios are medians over interleaved rounds, so they are not quotients of the medians."
    ]
    if ours and peer in ours["ratios"]:
        lines.append(f"fx takes {number(1 / ours['ratios'][peer])} times the time of {peer}.")
    slow = found.get(train_step.UNJITTED)
    if ours and slow:
        times = number(ours["median"] / slow["median"])
        lines.append(f"Compiled it is {times} times as fast as the same code by single operations.")
    return lines


def models(results: Results) -> str:
    """The table of docs/models.md on depth."""
    return "\n".join(depth_table(results["depth-cpu"]))


TABLES = {ROOT / "README.md": readme, ROOT / "docs" / "models.md": models}
MARK = re.compile(
    r"(<!-- python -m benchmarks\.publish writes this -->\n).*?(\n<!-- end -->)", re.S
)


def filled(text: str, made: str) -> str:
    """A page with the part between the marks made anew."""
    if not MARK.search(text):
        raise ValueError(f"publish: expected a part between marks, {MARK.pattern!r}, found none")
    return MARK.sub(lambda match: match[1] + made + match[2], text)


def main(given: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args(given)
    results = load()
    IMAGES.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(results, plots.draw(results, IMAGES)))
    for path, make in TABLES.items():
        path.write_text(filled(path.read_text(), make(results)))
    print(f"{PAGE}\n{IMAGES}\n" + "\n".join(map(str, TABLES)))


if __name__ == "__main__":
    main()
