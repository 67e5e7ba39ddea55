"""The share of other libraries' architectures that `fx.port` ports with equal outputs.

    python -m benchmarks.ports torchvision
    python -m benchmarks.ports transformers --parameters 100
    python -m benchmarks.ports transformers --parameters 100 --narrow
    python -m benchmarks.ports timm --every 13
    python -m benchmarks.ports timm --smallest 692

Each name is built with random weights (random statistics and scales, too) and run on the smallest
input of a list that it takes. Those with more than `--parameters` million parameters are passed
over, and counted as such: a model is in memory four times. Equal is a largest difference of 1e-4 of
the largest logit. Results go to `benchmarks/results/ports-LIBRARY.json` after each name; a second
run goes on where the first ended, `--again` tries what failed. `--smallest` takes the smallest
of each of timm's modules, then the smallest of all, and has a file of its own. Of transformers, the
base model of each type is made with two layers; `--narrow` takes those that were too large then,
64 wide with four heads, into a file of its own. Neither torchvision nor timm is a dependency:
install them beside fx first.
"""

import argparse
import gc
import importlib
import inspect
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.shared import hugging_face

RESULTS = Path(__file__).parent / "results"
SIZES = (64, 96, 128, 160, 192, 224, 240, 256, 288, 299, 336, 384, 448, 512)


class TimeUp(BaseException):
    """The limit for one name has passed."""


def main() -> None:
    arguments = _parser().parse_args()
    kind = arguments.library + "-smallest" * bool(arguments.smallest) + "-narrow" * arguments.narrow
    path = arguments.out or RESULTS / f"ports-{kind}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"results": {}}
    found["versions"] = versions(arguments.library)
    chosen = f" --smallest {arguments.smallest}" if arguments.smallest else ""
    chosen = chosen or f" --every {arguments.every}" * (arguments.every > 1)
    chosen += " --narrow" * arguments.narrow
    found["command"] = f"python -m benchmarks.ports {arguments.library}{chosen}"
    everything = too_large() if arguments.narrow else all_names(arguments.library)
    found["names"] = {"all": len(everything), "every": arguments.every}
    names = arguments.names or everything[:: arguments.every]
    if arguments.smallest:
        found["names"] = {"all": len(everything), "smallest": arguments.smallest}
        names = arguments.names or smallest_names(everything)[: arguments.smallest]
    for name in names:
        before = found["results"].get(name)
        if before and not (arguments.again and before["result"] not in ("equal", "no input")):
            continue
        found["results"][name] = tried(name, arguments)
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(name, found["results"][name], flush=True)
    print(summary(found["results"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Count the architectures that port.")
    parser.add_argument("library", choices=("torchvision", "timm", "transformers"))
    parser.add_argument("names", nargs="*", help="by default all, in alphabetical order")
    parser.add_argument("--every", type=int, default=1, help="take each n-th name")
    parser.add_argument("--smallest", type=int, help="so many of timm's, by size")
    parser.add_argument("--narrow", action="store_true", help="transformers' too large ones")
    parser.add_argument("--parameters", type=float, default=700.0, help="at most, in millions")
    parser.add_argument("--limit-s", type=int, default=400, help="of a CPU, for one name")
    parser.add_argument("--again", action="store_true", help="try what failed once more")
    parser.add_argument("--out", type=Path)
    return parser


def all_names(library: str) -> list[str]:
    """The models of torchvision, timm's architectures, or Hugging Face's types.

    torchvision's detection models are not among them: they keep as many boxes as values say, which
    no compiled program can, and quantised ones are left out here on purpose.
    """
    if library == "transformers":
        return hugging_face.names()
    if library == "timm":
        return sorted(importlib.import_module("timm").list_models())
    models = importlib.import_module("torchvision.models")
    kinds = (models, models.segmentation, models.video, models.optical_flow)
    return [name for kind in kinds for name in sorted(models.list_models(module=kind))]


def too_large() -> list[str]:
    """The types of Hugging Face that were too large with the widths they have."""
    found = json.loads((RESULTS / "ports-transformers.json").read_text())["results"]
    return sorted(name for name, each in found.items() if each["result"] == "too large")


def smallest_names(names: list[str]) -> list[str]:
    """Names by their number of parameters; first of all the smallest of each of timm's modules."""
    timm = importlib.import_module("timm")
    modules = {
        name: module
        for module in timm.models.list_modules()
        for name in timm.list_models(module=module)
    }
    sizes = {name: millions(maker("timm", name)) for name in names}
    by_size = sorted(names, key=lambda name: (sizes[name], name))
    first: dict[str, str] = {}
    for name in by_size:
        first.setdefault(modules[name], name)
    heads = list(first.values())
    return heads + [name for name in by_size if name not in set(heads)]


def maker(library: str, name: str, narrow: bool = False) -> Callable[[], Any]:
    """A function that makes an architecture with random weights."""
    if library == "transformers":
        return hugging_face.maker(name, narrow)
    if library == "timm":
        timm = importlib.import_module("timm")
        return lambda: timm.create_model(name, pretrained=False)
    models = importlib.import_module("torchvision.models")
    words = inspect.signature(models.get_model_builder(name)).parameters
    given = {word: None for word in ("weights", "weights_backbone") if word in words}
    return lambda: models.get_model(name, **given)


def tried(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Port one architecture, and say what came of it."""
    import jax

    began = time.perf_counter()
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, arguments.limit_s)
    try:
        found = _tried(name, arguments)
    except TimeUp:
        found = {"result": "time", "reason": f"more than {arguments.limit_s} s of a CPU"}
    except Exception as error:  # the report names what failed; the other names go on
        found = {"result": "obstacle", "reason": f"{type(error).__name__}: {error}"[:300]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.collect()  # the last model, before the next one
        jax.clear_caches()
    return found | {"seconds": round(time.perf_counter() - began, 1)}


def _stop(*_: Any) -> None:
    raise TimeUp


def _tried(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    import fx

    torch.manual_seed(0)
    make = maker(arguments.library, name, arguments.narrow)
    try:
        size = millions(make)
    except Exception as error:
        if arguments.library != "transformers":
            raise
        # A type that needs another library, or settings of its own.
        return {"result": "no input", "reason": f"is not made: {error}"[:300]}
    if size > arguments.parameters:
        return {"result": "too large", "reason": f"{size:.0f} million parameters"}

    model: Any = None

    def shaken() -> Any:
        nonlocal model
        model = None  # makes room for the next
        model = make().eval()
        shake(model)
        return model

    named = arguments.library == "transformers"
    x = hugging_face.inputs(shaken()) if named else smallest(shaken())
    if x is None:
        return {"result": "no input", "reason": "takes none of the inputs that are tried"}
    # Other constructors come out of tables of settings: the parts are written instead.
    given = shaken if arguments.library == "torchvision" else model
    words: dict[str, Any] = x if named else {}  # type: ignore[assignment]
    port = fx.port(given, () if named else x, layers=False, training=False, **words)
    shapes: Any = {word: list(value.shape) for word, value in words.items()}
    shapes = shapes or [list(each.shape) for each in tuple(x)]
    shapes = shapes[0] if len(shapes) == 1 and not words else shapes
    found: dict[str, Any] = {"input": shapes, "constructors": port.constructors}
    with torch.no_grad():
        logits = first(model(**words)) if named else first(model(*x))
    if not (torch.isfinite(logits).all() and logits.std() > 1e-3 * logits.abs().max()):
        return found | {"result": "different", "reason": "its logits in PyTorch say nothing"}
    if port.equal:
        return found | {"result": "equal", "error": port.error}
    if port.obstacles:
        return found | {"result": "obstacle", "reason": _short(port.obstacles[0])}
    return found | {"result": "different", "reason": "logits differ", "error": port.error}


def first(outputs: Any) -> Any:
    """The first tensor of nested outputs, as numbers."""
    while not hasattr(outputs, "dtype"):
        outputs = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs[0]
    return outputs.float()


def millions(make: Callable[[], Any]) -> float:
    """Parameters, counted without making them where that is possible."""
    import torch

    try:
        with torch.device("meta"):
            model = make()
    except (NotImplementedError, RuntimeError, ValueError):
        model = make()
    return sum(p.numel() for p in model.parameters()) / 1e6


def shake(model: Any) -> None:
    """Give weights and statistics values that leave no part of a model without effect.

    BatchNorm's scales are about 0.5: at 1, what blocks add to each other grows with their number,
    and rounding with it, until PyTorch's own float32 and float64 logits have nothing in common.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            noise = torch.randn(value.shape, generator=generator)
            fan_in = value[0].numel() if value.ndim > 1 and len(value) else 1
            if value.ndim > 1 and fan_in > 1:
                value.copy_(noise * (1.5 / fan_in) ** 0.5)
            else:
                value.add_(0.1 * noise)
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight.mul_(0.5)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            elif name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))


def smallest(model: Any) -> tuple[Any, ...] | None:
    """The smallest image that a model takes, as a batch of one; a clip, or a pair of images."""
    import torch

    origin = type(model).__module__
    if origin.startswith("torchvision.models.optical_flow"):
        return tuple(2 * torch.rand(1, 3, 128, 128) - 1 for _ in range(2))
    if origin.startswith("torchvision.models.video"):
        size = 224 if origin.endswith(("mvit", "s3d")) else 64
        return (torch.randn(1, 3, 16, size, size),)
    whole = (getattr(model, "default_cfg", None) or {}).get("input_size", (3, 224, 224))
    sizes = [n for n in SIZES if n < whole[-1]] + [whole[-1]]
    for size in sizes:
        x = torch.randn(1, whole[0], size, size)
        try:
            with torch.no_grad():
                model(x)
            return (x,)
        except (AssertionError, RuntimeError, ValueError, TypeError, IndexError):
            continue
    return None


def _short(obstacle: str) -> str:
    """An obstacle without the folder that the library is installed in."""
    return re.sub(r"/\S*/site-packages/", "", obstacle)[:300]


def versions(library: str) -> dict[str, str]:
    """Of what takes part."""
    names = ("torch", "jax", "numpy", library)
    return {name: importlib.import_module(name).__version__ for name in names}


def summary(results: dict[str, dict[str, Any]]) -> str:
    """Counts, and the reasons of those that do not port."""
    kinds = Counter(each["result"] for each in results.values())
    tried_ = sum(kinds[kind] for kind in ("equal", "different", "obstacle", "time"))
    share = kinds["equal"] / tried_ if tried_ else 0.0
    lines = [f"{kinds['equal']} of {tried_} tried are equal ({share:.0%}); {dict(kinds)}"]
    reasons: dict[str, list[str]] = {}
    for name, each in results.items():
        if each["result"] not in ("equal", "too large", "no input"):
            reasons.setdefault(re.sub(r"^\S+: ", "", each.get("reason", ""))[:90], []).append(name)
    for reason, names in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        lines.append(f"{len(names):4}  {reason}  {', '.join(names[:3])}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
