"""What the figures say: where fx loses, and the bars that were set."""

from typing import Any

from benchmarks import growth, inference, layers, loader, pipeline, ported, speedrun, train_step
from benchmarks.networks.tasks import TASKS
from benchmarks.page.results import DEVICES, Results, held, number, of, table

EVEN = 0.97  # less than that share of a peer's speed is a loss

# Of each part of the growth: which is ours, and what its sizes are.
GROWN = {
    "batch": (growth.FX, "training step at batch"),
    "data": (growth.LOADER, "loader, images in the data set:"),
    "seeds": (growth.TOGETHER, "runs of an MLP, seeds:"),
}


def title(name: str, entry: dict[str, Any]) -> str:
    """What a report of a training step is about."""
    settings = entry["settings"]
    what = f"{TASKS[settings['network']].title}, batch {settings['batch']}"
    return f"{what}, {settings['precision']}"


def losses(results: Results) -> list[str]:
    """A line for each comparison in which fx is the slower one."""
    found = []
    for kind, device in DEVICES.items():
        for name, entry in of(results, "train_step", kind).items():
            where = f"{device}: training step, {title(name, entry)}"
            found += _lost(where, entry["contenders"], train_step.FX, train_step.PEERS)
            found += _memory(where, entry["contenders"], train_step.FX)
        for entry in of(results, "inference", kind).values():
            for batch, contenders in entry["batches"].items():
                where = f"{device}: inference at batch {batch}"
                found += _lost(where, contenders, inference.FX, inference.PEERS)
                found += _lost(
                    where + ", the bundle", contenders, inference.ENGINE, inference.PEERS
                )
        for entry in of(results, "pipeline", kind).values():
            peers = (pipeline.USUAL, pipeline.STRONGEST)
            where = f"{device}: whole pipeline, {entry['settings']['precision']}"
            found += _lost(where, entry["contenders"], pipeline.FX, peers)
            found += _memory(where, entry["contenders"], pipeline.FX)
        found += _loaders(results, kind, device) + _growth(results, kind, device)
        found += _late(results, kind, device) + _seeds(results, kind, device)
        for entry in of(results, "ported", kind).values():
            where = f"{device}: ported {ported.TITLES[entry['settings']['kind']]}"
            found += _lost(where, entry["contenders"], ported.FX, ported.PEERS)
        found += _slow_record(results, kind, device) + _slow_layers(results, kind, device)
    return found


def _lost(where: str, contenders: dict[str, Any], own: str, peers: tuple[str, ...]) -> list[str]:
    ratios = contenders.get(own, {}).get("ratios", {})
    slower = {peer: ratios[peer] for peer in peers if ratios.get(peer, 1) < EVEN}
    if not slower:
        return []
    shares = ", ".join(f"{ratio:.2f} times {peer}'s" for peer, ratio in slower.items())
    return [f"- {where}: fx's speed is {shares}."]


def _memory(where: str, contenders: dict[str, Any], fx: str) -> list[str]:
    """Where fx holds more than the leanest of the others."""
    taken = {name: held(each) for name, each in contenders.items() if not _is_ours(name)}
    known = {name: size for name, size in taken.items() if size is not None}
    own, least = held(contenders.get(fx, {})), min(known, key=known.__getitem__, default=None)
    if own is None or least is None or own * EVEN <= known[least]:
        return []
    sizes = f"{own / 2**20:,.0f} MB, {least} {known[least] / 2**20:,.0f} MB"
    return [f"- {where}: fx holds {sizes}."]


def _is_ours(name: str) -> bool:
    return name.startswith("fx")


def _slower(where: str, speeds: dict[str, float | None], own: str) -> list[str]:
    """Beside the fastest of the others, by medians."""
    others = {name: each for name, each in speeds.items() if each and name != own}
    mine, best = speeds.get(own), max(others, key=others.__getitem__, default=None)
    if not mine or best is None or mine >= EVEN * others[best]:
        return []
    return [f"- {where}: {own} has {mine / others[best]:.2f} times the speed of {best}."]


def _loaders(results: Results, kind: str, device: str) -> list[str]:
    found = []
    for entry in of(results, "loader", kind).values():
        raced = entry["contenders"]
        for own, peer in loader.FX.items():
            alike = [
                n for n, (*_, each) in loader.CONTENDERS.items() if each == peer and n in raced
            ]
            speeds = {n: raced[n].get("median") for n in alike if n == own or not _is_ours(n)}
            found += _slower(f"{device}: loader", speeds, own)
    return found


def _growth(results: Results, kind: str, device: str) -> list[str]:
    return [
        line
        for entry in of(results, "growth", kind).values()
        for part, (own, words) in GROWN.items()
        for size in entry["parts"].get(part, {}).get(own, {})
        for line in _slower(
            f"{device}: growth, {words} {int(size):,}",
            {name: at[size].get("median") for name, at in entry["parts"][part].items()},
            own,
        )
    ]


def _late(results: Results, kind: str, device: str) -> list[str]:
    found = []
    for entry in of(results, "cold_start", kind).values():
        for what, starts in entry["starts"].items():
            times = {name: start["median"] for name, start in starts.items() if "median" in start}
            others = {name: seconds for name, seconds in times.items() if not _is_ours(name)}
            first = {"train": "training step", "predict": "prediction"}[what]
            soonest = min(others, key=others.__getitem__, default=None)
            for name, seconds in times.items():
                if _is_ours(name) and soonest and seconds * EVEN > others[soonest]:
                    found.append(
                        f"- {device}: cold start to the first {first}, {name}: "
                        f"{seconds / others[soonest]:.1f} times {soonest}'s time."
                    )
    return found


def _seeds(results: Results, kind: str, device: str) -> list[str]:
    return [
        f"- {device}: {entry['settings']['seeds']} seeds of the {model} as one program run at "
        f"{found['speed_up']:.2f} times the speed of one after the other."
        for entry in of(results, "seeds", kind).values()
        for model, found in entry["models"].items()
        if found["speed_up"] < EVEN
    ]


def _slow_record(results: Results, kind: str, device: str) -> list[str]:
    return [
        f"- {device}: speedrun to {entry['settings']['target']} %: fx takes {ratio:.2f} times the "
        f"time of the {peer}."
        for entry in of(results, "speedrun", kind).values()
        for peer, ratio in entry["contenders"].get(speedrun.FX, {}).get("ratios", {}).items()
        if ratio > 1 / EVEN
    ]


def _slow_layers(results: Results, kind: str, device: str) -> list[str]:
    found = []
    for entry in of(results, "layers", kind).values():
        beside = layers.ratios(entry["contenders"])
        for way, words in layers.WAYS.items():
            slow = {n: each[way] for n, each in beside.items() if each[way] > 1 / EVEN}
            if slow:
                worst = sorted(slow, key=slow.__getitem__, reverse=True)[:3]
                times = ", ".join(f"{name} {number(slow[name])}" for name in worst)
                found.append(
                    f"- {device}: layers one by one, {words}: fx is slower than the faster of "
                    f"PyTorch's orders in {len(slow)} of {len(beside)}; most, in times its time: "
                    f"{times}."
                )
    return found


def bars(results: Results) -> list[str]:
    """The bars of the project beside what was measured."""
    rows = [*_cpu_bars(results), *_gpu_bars(results)]
    written = [
        (
            what,
            f"{sign} {number(bar)}",
            number(found) if found is not None else "not run",
            _met(row),
        )
        for row in rows
        for what, sign, bar, found in [row]
    ]
    return table(("", "bar", "measured", ""), written)


Bar = tuple[str, str, float, float | None]


def _met(row: Bar) -> str:
    _, sign, bar, found = row
    if found is None:
        return ""
    return "met" if (found >= bar if sign == "at least" else found <= bar) else "**missed**"


def _ratio(contenders: dict[str, Any] | None, own: str, peer: str) -> float | None:
    return ((contenders or {}).get(own) or {}).get("ratios", {}).get(peer)


def _time(contenders: dict[str, Any] | None, own: str, peer: str) -> float | None:
    """A ratio of times from one of speeds."""
    ratio = _ratio(contenders, own, peer)
    return None if ratio is None else 1 / ratio


def _cpu_bars(results: Results) -> list[Bar]:
    step = results.get("train_step-cpu-convnet-128-float32", {}).get("contenders")
    answers = results.get("inference-cpu", {}).get("batches", {})
    peer = inference.CHANNELS_LAST
    rows: list[Bar] = [
        (
            "CPU: training step at batch 128, times PyTorch eager channels-last's",
            "at most", 1.5, _time(step, train_step.FX, train_step.CHANNELS_LAST),
        )
    ]  # fmt: skip
    for batch, contenders in answers.items() or {"1": None}.items():
        for own, word in {inference.FX: "", inference.ENGINE: ", the bundle"}.items():
            what = f"CPU: inference at batch {batch}{word}, times PyTorch's"
            rows.append((what, "at most", 1.05, _time(contenders, own, peer)))
    loaders = results.get("loader-cpu", {}).get("contenders", {})
    for name, what in {
        loader.HOST_TWO: "crop and flip on the host, 2 workers each",
        loader.COMPILED: "crop and flip compiled, to floats",
    }.items():
        ratio = loaders.get(name, {}).get("ratio_to_peer")
        rows.append((f"CPU: loader beside DataLoader, {what}", "at least", 5, ratio))
    loop = results.get("loop-cpu", {}).get("processor_time")
    most = loop and max(entry["median_overhead_us"] for entry in loop.values()) / 1000
    rows.append(("CPU: loop overhead, share of a step of 1 ms", "at most", 0.05, most))
    return rows


def _gpu_bars(results: Results) -> list[Bar]:
    step = results.get("train_step-gpu-convnet-512-bf16", {}).get("contenders")
    whole = results.get("pipeline-gpu-bf16", {}).get("contenders")
    rows: list[Bar] = [
        ("GPU: training step, batch 512, bf16, beside PyTorch AMP channels-last", "at least", 2,
         _ratio(step, train_step.FX, train_step.CHANNELS_LAST)),
        ("GPU: the same beside torch.compile max-autotune", "at least", 1.1,
         _ratio(step, train_step.FX, train_step.AUTOTUNE)),
        ("GPU: the same beside plain JAX by hand", "at least", 0.97,
         _ratio(step, train_step.FX, train_step.HAND)),
        ("GPU: whole pipeline beside the strongest PyTorch program", "at least", 1.1,
         _ratio(whole, pipeline.FX, pipeline.STRONGEST)),
        ("GPU: whole pipeline beside the usual PyTorch program", "at least", 10,
         _ratio(whole, pipeline.FX, pipeline.USUAL)),
    ]  # fmt: skip
    for target in speedrun.PROGRAMS:
        rows += _record_bars(
            results.get(f"speedrun-gpu-{target}", {}).get("contenders", {}), target
        )
    for model, bar in (("mlp", 8), ("convnet", 2)):
        entry = results.get(f"seeds-gpu-{model}", {}).get("models", {}).get(model, {})
        rows.append(
            (f"GPU: 32 seeds in one program, {model}", "at least", bar, entry.get("speed_up"))
        )
    return rows


def _record_bars(contenders: dict[str, Any], target: int) -> list[Bar]:
    """Accuracy, and times beside the quickest of the reference's variants."""
    ours = contenders.get(speedrun.FX, {})
    peers = [contenders[p] for p in speedrun.PEERS if "median" in contenders.get(p, {})]
    share: dict[str, float | None] = dict.fromkeys(("median", "cold_s"))
    if peers and "median" in ours:
        share = {key: ours[key] / min(peer[key] for peer in peers) for key in share}
    percent = 100 * ours["accuracy"] if "accuracy" in ours else None
    what = f"GPU: speedrun to {target} %"
    return [
        (f"{what}, mean accuracy in %", "at least", target, percent),
        (f"{what}, times the reference's time", "at most", 1, share["median"]),
        (f"{what}, times the reference's cold start", "at most", 0.5, share["cold_s"]),
    ]
