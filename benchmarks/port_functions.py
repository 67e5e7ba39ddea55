"""How many of PyTorch's functions `fx.port` writes, tried on PyTorch's own samples.

    pip install '.[test]'
    python -m benchmarks.port_functions

Each function that `torch.testing` has samples of stands in a model of its own, `torch.NAME(a, b)`
or `a.NAME(b)`, which is ported and compared, in training and in evaluation: the first three samples
that differ in their arguments, in float32 (in int64 where it takes no floats), of tensors that have
axes and elements. Left out are `torch.nn.functional`, whose functions fx has by name, what is
random or not initialised, and what is private to PyTorch or about sparse tensors. Results go to
`benchmarks/results/port-functions.json`.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SAMPLES = 3
LEFT_OUT = ("_", "nn.", "ops.", "jiterator", "sparse", "to_sparse", "torch.ops", "native_")
RANDOM = """
bernoulli cauchy empty empty_like empty_permuted empty_strided exponential geometric log_normal
multinomial new_empty new_empty_strided normal pca_lowrank rand rand_like randint randint_like randn
randn_like resize_ resize_as_ svd_lowrank uniform
""".split()
MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def forward(self, {names}):
        return {call}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="these alone; none is written then")
    options = parser.parse_args()
    import jax
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    warnings.simplefilter("ignore")
    results: dict[str, Counter] = {}
    reasons: dict[str, str] = {}
    for op in op_db:
        if op.name.startswith(LEFT_OUT) or op.name in RANDOM:
            continue
        if options.names and op.name not in options.names:
            continue
        found = results.setdefault(op.name, Counter())
        for call, tensors in samples(op):
            result = ported(call, tensors)
            if result:
                found["equal" if result == "equal" else "not"] += 1
                if result != "equal":
                    reasons.setdefault(op.name, f"{call}: {result}")
        print(op.name, dict(found), reasons.get(op.name, ""), flush=True)
    results = {name: counts for name, counts in results.items() if counts}
    kinds = Counter("all" if not c["not"] else "some" if c["equal"] else "none"
                    for c in results.values())  # fmt: skip
    calls = sum((Counter(c) for c in results.values()), Counter())
    summary = {"functions": dict(kinds), "calls": dict(calls)}
    print(summary)
    if not options.names:
        versions = {"torch": torch.__version__, "jax": jax.__version__}
        report = {
            "command": "python -m benchmarks.port_functions", "versions": versions,
            "summary": summary, "results": results, "reasons": reasons,
        }  # fmt: skip
        path = RESULTS / "port-functions.json"
        path.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


def samples(op: Any) -> Iterator[tuple[str, list[Any]]]:
    """A function's first samples of different arguments: the call as text, and its tensors."""
    import torch

    dtype = torch.float32 if torch.float32 in op.dtypes else torch.int64
    seen: set[tuple] = set()
    for sample in op.sample_inputs("cpu", dtype, requires_grad=False):
        tensors: list[Any] = []
        try:
            first, *args = (written(arg, tensors) for arg in (sample.input, *sample.args))
            args += [f"{name}={written(value, tensors)}" for name, value in sample.kwargs.items()]
        except TypeError:
            continue  # an argument that is no text: a layout, a generator
        shapes = tuple(len(tensor.shape) for tensor in tensors)
        kinds = tuple(type(arg) for arg in sample.args), tuple(sample.kwargs), shapes
        whole = tensors and all(tensor.dim() and tensor.numel() for tensor in tensors)
        if kinds in seen or not whole:
            continue
        seen.add(kinds)
        function = "." in op.name or hasattr(torch, op.name)
        given = ", ".join([first, *args] if function else args)
        yield f"{'torch' if function else first}.{op.name}({given})", tensors
        if len(seen) == SAMPLES:
            return


def written(value: Any, tensors: list[Any]) -> str:
    """An argument as Python text; tensors are named in their order.

    Raises:
        TypeError: It is something that has no text.
    """
    import torch

    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return f"x{len(tensors) - 1}"
    if isinstance(value, list | tuple):
        inner = ", ".join(written(each, tensors) for each in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, float) and value in (float("inf"), -float("inf")):
        return f'float("{value}")'
    if isinstance(value, bool | int | float | str | slice | torch.dtype | None):
        return repr(value)
    raise TypeError(f"no text for {type(value).__name__}")


def ported(call: str, tensors: list[Any]) -> str | None:
    """Whether it is equal, or why not; None where torch itself does not run it so."""
    import torch

    import fx

    names = ", ".join(f"x{n}" for n in range(len(tensors)))
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder).name  # each model in a module of its own
        path = Path(folder) / f"{name}.py"
        path.write_text(MODEL.format(names=names, call=call).lstrip())
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            with torch.no_grad():
                module.Net()(*[tensor.clone() for tensor in tensors])
        except Exception:
            return None
        try:
            given = tuple(tensor.clone() for tensor in tensors)
            found = fx.port(module.Net, given if len(given) > 1 else given[0])
        except Exception as error:
            return f"{type(error).__name__}: {error}".replace(folder, "")
        if found.equal:
            return "equal"
        first = next(iter(found.obstacles), "") or found.gradients or str(found).splitlines()[0]
        return first.replace(str(path), "net.py")


if __name__ == "__main__":
    main()
