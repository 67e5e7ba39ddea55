"""The page's sections about the machine, about what fx costs by itself, and about its parts."""

from benchmarks import layers as claim
from benchmarks import ported as ports
from benchmarks import train_step
from benchmarks.page.results import DEVICES, Lines, Results, number, of, skipped, source, table


def machine_peaks(results: Results, kind: str) -> Lines:
    """What shares are of."""
    lines: Lines = []
    for entry in of(results, "peaks", kind).values():
        rows = [[name, f"{value / 1e9:,.0f}"] for name, value in entry["peaks"].items()]
        lines += [*source(entry), *table([DEVICES[kind], "10^9 a second"], rows), ""]
    return lines


def programs(results: Results, kind: str) -> Lines:
    """What is compiled for a GPU that is not there."""
    entry = results.get("compiled-h200")
    if kind != "gpu" or entry is None:
        return []
    rows = [
        [
            f"{each['network']}, batch {each['batch']}, {each['precision']}: {who}",
            *(f"{found[count]:,}" for count in ("kernels", "convolutions", "attention", "moved")),
            *(f"{found[size] / 1e9:.2f}" for size in ("bytes", "temporary_bytes")),
            f"{found['bytes'] / each['contenders'][train_step.FX]['bytes']:.2f}",
        ]
        for each in entry["programs"]
        for who, found in each["contenders"].items()
    ]
    head = ["", "kernels", "cuDNN's convolutions", "cuDNN's attention", "activations moved"]
    head += ["GB read and written", "GB of temporary memory", "bytes beside fx's"]
    return [*source(entry), *table(head, rows), ""]


def looping(results: Results, kind: str) -> Lines:
    """(g) The loop."""
    lines: Lines = []
    titles = {"processor_time": "the processor's time", "clock_time": "the clock's time"}
    for entry in of(results, "loop", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        for part, words in titles.items():
            rows = [
                [who, number(e["median_us_per_call"]),
                 f"{e['median_overhead_us']:.1f} ± {e['standard_error_us']:.1f}",
                 f"{e['share_of_1_ms']:.1%}"]
                for who, e in entry[part].items()
            ]  # fmt: skip
            head = [words, "us a call", "more than the bare loop", "of a step of 1 ms"]
            lines += [*table(head, rows), ""]
    return lines


def step_options(results: Results, kind: str) -> Lines:
    """What options of the step cost."""
    lines: Lines = []
    for entry in of(results, "step_options", kind).values():
        rows = [
            [f"`{name}`" if "=" in name else name,
             f"{e['median']:,.1f} ({e['low']:,.1f} to {e['high']:,.1f})",
             f"{e['cost']:+.1%} ({e['cost_low']:+.1%} to {e['cost_high']:+.1%})",
             number(e["first_s"])]
            for name, e in entry["options"].items()
        ]  # fmt: skip
        head = ["", "ms a step", "more than without", "first step, s"]
        lines += [f"### {DEVICES[kind]}", "", *source(entry), *table(head, rows), ""]
    return lines


def layers(results: Results, kind: str) -> Lines:
    """Layers one by one."""
    lines: Lines = []
    for entry in of(results, "layers", kind).values():
        found = entry["contenders"]
        rows = [
            [name, "x".join(map(str, entry["sizes"][name])),
             *(text for way in claim.WAYS
               for text in (number(found[claim.FX]["layers"][name][way]), number(ratio[way])))]
            for name, ratio in claim.ratios(found).items()
        ]  # fmt: skip
        head = ["", "input", "forward, ms", "x PyTorch's time", "with the gradient, ms"]
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        lines += [*table([*head, "x PyTorch's time"], rows), "", *skipped(found)]
    return lines


def ported(results: Results, kind: str) -> Lines:
    """Models of other libraries, ported."""
    lines: Lines = []
    for entry in of(results, "ported", kind).values():
        settings = entry["settings"]
        found = {n: e for n, e in entry["contenders"].items() if "ratios" in e}
        rows = [
            [who, number(1e3 / e["median"]), number(e["first_step_s"]),
             *(number(e["ratios"].get(peer)) for peer in ports.PEERS)]
            for who, e in found.items()
        ]  # fmt: skip
        sizes = (settings[size] for size in ("depth", "width", "batch", "length"))
        what = "{} layers of {}, {} texts of {} words".format(*sizes)
        head = ["", "ms a step", "first step, s", *(f"x {peer}" for peer in ports.PEERS)]
        lines += [f"### {ports.TITLES[settings['kind']]}, {what}, {DEVICES[kind]}", ""]
        lines += [*source(entry), *table(head, rows), "", *skipped(entry["contenders"])]
    return lines


def checkpoints(results: Results, kind: str) -> Lines:
    """What a checkpoint costs."""
    lines: Lines = []
    for entry in of(results, "checkpoint", kind).values():
        lines += [f"### {DEVICES[kind]}", "", *source(entry)]
        rows = [
            [f"{state}, {e['state_bytes'] / 1e6:.0f} MB, `{way}`",
             *(number(1e3 * e[way][key]) for key in ("held_s", "cost_s", "left_s")),
             f"{e[way]['share_of_epoch']:.2%}"]
            for state, e in entry["states"].items()
            for way in ("save", "Writer")
        ]  # fmt: skip
        head = ["", "the loop waits, ms", "costs in all, ms", "goes on for, ms", "of an epoch"]
        lines += [*table(head, rows), ""]
    return lines
