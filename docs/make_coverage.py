"""Writes docs/coverage.md: every public name of torch.nn, and what it is in fx.

    python docs/make_coverage.py          writes the page
    python docs/make_coverage.py --check  fails where the page is not what would be written

The names are torch's own. Each has its namesake, whose arguments are compared by name, order and
default, or a reason in `LEFT_OUT`; each argument that differs has a reason in `ARGUMENTS`. What has
neither raises, so that the page cannot lie.
"""

import argparse
import ast
import importlib
import inspect
import sys
from pathlib import Path
from typing import get_overloads

import torch
import torch.nn.utils.parametrizations
import torch.nn.utils.parametrize
import torch.nn.utils.rnn

PAGE = Path(__file__).parent / "coverage.md"

LAZY = "a size that is known at the first call only: `init` has no input; give the size"
INPLACE = "changes its argument in place; use the function without the underscore"
PRIVATE = "no layer: what others are made of"
ALIAS = "torch's deprecated name for "
BARE = "a product of matrices in a low-precision format of one kind of GPU, without a gradient; "
ARRAYS = "a description holds no arrays; "
LEFT_OUT = {
    "torch.nn.Container": "deprecated and empty in torch; use `Module`",
    "torch.nn.DataParallel": "arrays are sharded, not modules copied; see `docs/training.md`",
    "torch.nn.NLLLoss2d": ALIAS + "`NLLLoss`",
    "torch.nn.RNNBase": PRIVATE,
    "torch.nn.RNNCellBase": PRIVATE,
    "torch.nn.UninitializedBuffer": LAZY,
    "torch.nn.UninitializedParameter": LAZY,
    "torch.nn.functional.native_channel_shuffle": "the same as `channel_shuffle`",
    "torch.nn.functional.grouped_mm": BARE + "`jax.lax.ragged_dot`",
    "torch.nn.functional.scaled_mm": BARE + "`jax.nn.scaled_matmul`",
    "torch.nn.functional.scaled_grouped_mm": BARE + "`jax.lax.ragged_dot`",
    "torch.nn.functional.assert_int_or_pair": "a check, private in all but its name",
    "torch.nn.functional.boolean_dispatch": "part of TorchScript",
    "torch.nn.utils.clip_grad_norm": ALIAS + "`clip_grad_norm_`",
    "torch.nn.utils.clip_grad_norm_": "part of the optimizer: `optax.clip_by_global_norm`",
    "torch.nn.utils.clip_grads_with_norm_": "part of the optimizer: `optax.clip_by_global_norm`",
    "torch.nn.utils.clip_grad_value_": "part of the optimizer: `optax.clip`",
    "torch.nn.utils.get_total_norm": "`optax.global_norm`",
    "torch.nn.utils.convert_conv2d_weight_memory_format": "XLA chooses layouts",
    "torch.nn.utils.convert_conv3d_weight_memory_format": "XLA chooses layouts",
    "torch.nn.utils.fuse_conv_bn_eval": "XLA fuses them",
    "torch.nn.utils.fuse_conv_bn_weights": "XLA fuses them",
    "torch.nn.utils.fuse_linear_bn_eval": "XLA fuses them",
    "torch.nn.utils.fuse_linear_bn_weights": "XLA fuses them",
    "torch.nn.utils.remove_spectral_norm": ARRAYS + "the layer that was given is there still",
    "torch.nn.utils.remove_weight_norm": ARRAYS + "the layer that was given is there still",
    "torch.nn.utils.skip_init": ARRAYS + "`jax.eval_shape(model.init, key)` makes none",
    "torch.nn.utils.stateless": "`apply` is what `functional_call` is there",
    "torch.nn.utils.parametrize.cached": "a weight is computed once for each call of `forward`",
    "torch.nn.utils.parametrize.is_parametrized": "look for `parametrizations` in `vars(layer)`",
    "torch.nn.utils.parametrize.remove_parametrizations": ARRAYS
    + "the layer that was given is there still",
    "torch.nn.utils.parametrize.type_before_parametrizations": "the type of the layer given",
    "torch.nn.utils.parametrize.transfer_parametrizations_and_params": ARRAYS
    + "register the parametrization for the other layer",
    "torch.nn.utils.rnn.invert_permutation": "`jnp.argsort`",
}  # fmt: skip

# Of any name: what is more or less than in torch.
ARGUMENTS = {
    "key": "what is random takes a key",
    "dropout_key": "what is random takes a key, and `key` is the attention's",
    "implementation": "which of JAX's attentions runs",
    "attn_implementation": "which of JAX's attentions runs in training",
    "_stacklevel": "private: for torch's warning",
    "out": "arrays are immutable",
    "tensor": "an initialiser makes the array: `init(key, shape, dtype)`",
    "generator": "an initialiser is given a key",
    "min_value": "deprecated in torch",
    "max_value": "deprecated in torch",
}


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    page = text()
    if not parser.parse_args().check:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        sys.exit("docs/coverage.md is out of date: run python docs/make_coverage.py")


def text() -> str:
    """The page."""
    parts = [HEAD.format(version=torch.__version__.split("+")[0])]
    for where, names in lists().items():
        rows = [row(where, name) for name in names]
        there = [r for r in rows if r[1]]
        parts.append(f"\n## {where}\n\n{len(there)} of {len(rows)} names.\n")
        same = ", ".join(f"`{name}`" for name, _, note in there if not note)
        parts.append(f"\nWith torch's arguments and defaults: {same}.\n")
        other = [(name, note) for name, _, note in there if note]
        parts.append(table("differs", other))
        parts.append(table("left out, because", [(n, note) for n, ours, note in rows if not ours]))
    return "".join(parts)


HEAD = """# What there is of torch.nn

Made by `python docs/make_coverage.py` from the public names of torch {version}; a test fails where
this page is not what it would write, where a name of torch is in neither list, and where an
argument or a default differs without a reason. Quantised modules (`torch.nn.quantized`, `qat`,
`intrinsic`, `quantizable`) are not here: torch has given them up for a library of its own. What is
not a class or function of `torch.nn` is not listed.

That a function gives what torch's does is held by tables of tests here, and by the samples that
PyTorch tests its own functions with: `make test-all` takes their values, gradients and the errors
that they ask for (`tests/functional/test_torch_samples.py`, with the few differences in it).
Arguments that are drawn over what constructors take are held to twice torch's own error;
`tests/nn/bound/test_bound.py` has the families that may depart by more, each with its reason.

Three things are not torch's, on purpose. In bfloat16 and float16 the product of a linear layer or a
convolution is rounded before its bias is added, for the gradients then run in the narrow type, too.
At nan the gradients of activations are not held to torch's, which depend on whether its loop was
vectorised: of 8 numbers they differ from those of 32. Second derivatives at a kink, of `prelu` at 0
and of `binary_cross_entropy` at exactly 0 and 1, are JAX's.
"""


def table(title: str, rows: list[tuple[str, str]]) -> str:
    """Names and notes."""
    if not rows:
        return ""
    lines = "".join(f"| `{name}` | {note} |\n" for name, note in rows)
    return f"\n| name | {title} |\n|---|---|\n{lines}"


def lists() -> dict[str, list[str]]:
    """Torch's public names by module."""
    nn, functional = torch.nn, torch.nn.functional
    foreign = ("typing", "collections.abc", "torch.overrides")

    def public(module):
        return [name for name in dir(module) if not name.startswith("_")]

    def is_function(name):
        value = getattr(functional, name)
        known = callable(value) and not isinstance(value, type)
        return known and getattr(value, "__module__", "") not in foreign and "torch_f" not in name

    made = {
        "torch.nn": [n for n in public(nn) if isinstance(getattr(nn, n), type)],
        "torch.nn.functional": [n for n in public(functional) if is_function(n)],
        "torch.nn.init": [
            n for n in public(nn.init)
            if (n.endswith("_") and callable(getattr(nn.init, n))) or n == "calculate_gain"
        ],
        "torch.nn.utils": [
            n for n in nn.utils.__all__ if n not in ("parametrizations", "parametrize", "rnn")
        ],
    }  # fmt: skip
    for part in ("parametrizations", "parametrize", "rnn"):
        module = importlib.import_module(f"torch.nn.utils.{part}")
        made[f"torch.nn.utils.{part}"] = list(module.__all__)
    return made


def row(where: str, name: str) -> tuple[str, bool, str]:
    """The name, whether fx has it, and how its arguments differ or why it does not."""
    place = {"torch.nn.functional": "fx.functional"}.get(where, where.replace("torch", "fx", 1))
    module = importlib.import_module(place)
    ours = getattr(module, name.removesuffix("_") if where == "torch.nn.init" else name, None)
    full = f"{where}.{name}"
    if ours is None:
        reason = LEFT_OUT.get(full)
        if name.startswith("Lazy"):
            reason = LAZY
        elif where == "torch.nn.functional" and name.endswith("_"):
            reason = INPLACE
        if reason is None:
            raise LookupError(f"{full}: neither in fx nor in LEFT_OUT")
        return name, False, reason
    if full in LEFT_OUT:
        raise LookupError(f"{full}: in fx and in LEFT_OUT")
    theirs = getattr(importlib.import_module(where), name)
    return name, True, differences(full, ours, theirs)


# Descriptions and arrays are other things here than there; their pages say how.
OF_THEIR_OWN = {
    "torch.nn.Module": "takes nothing: see `docs/by-hand.md`",
    "torch.nn.Sequential": "any number of modules, or a dict of them",
    "torch.nn.Parameter": "a declaration: shape and initialiser",
    "torch.nn.Buffer": "a declaration: shape, initialiser, dtype and persistence",
    "torch.nn.init.ones_": "the initialiser itself",
    "torch.nn.init.zeros_": "the initialiser itself",
    "torch.nn.init.eye_": "the initialiser itself",
    "torch.nn.utils.parametrize.ParametrizationList": "made by `register_parametrization` alone",
    "torch.nn.utils.rnn.PackedSequence": "keeps its padding: `padded` and `lengths`",
}  # fmt: skip


def differences(full: str, ours, theirs) -> str:
    """How the arguments differ, with the reasons; empty where they do not."""
    if full in OF_THEIR_OWN:
        return OF_THEIR_OWN[full]
    mine, given = arguments(ours), torch_arguments(theirs)
    notes = []
    for name in [*given, *mine]:
        known = mine.get(name, "absent") == given.get(name, "absent")
        if not known:
            reason = OWN.get((full.split(".")[-1], name), ARGUMENTS.get(name))
            if reason is None:
                raise LookupError(
                    f"{full}: {name} is {mine.get(name)} here, {given.get(name)} in torch, and "
                    "there is no reason for it"
                )
            notes.append(f"`{name}`: {reason}")
    order = [n for n in mine if n in given]
    if order != [n for n in given if n in mine]:
        raise LookupError(f"{full}: arguments stand in another order, {order}")
    return "; ".join(dict.fromkeys(notes))


# Of one name.
AFTER_PRIVATE = "by keyword, because `_stacklevel` stands before it in torch"
OWN = {
    ("softmax", "dtype"): AFTER_PRIVATE,
    ("log_softmax", "dtype"): AFTER_PRIVATE,
    ("softmin", "dtype"): AFTER_PRIVATE,
}


def arguments(function) -> dict[str, tuple]:
    """Name -> default and whether it may be given by position."""
    if isinstance(function, type):
        function = function.__init__
        function = (get_overloads(function) or [function])[0]
    found = {}
    for p in inspect.signature(function).parameters.values():
        if p.name != "self":
            default = getattr(p.default, "__name__", p.default)  # "_empty" where it has none
            found[p.name] = (default, p.kind is not p.KEYWORD_ONLY)
    return found


def torch_arguments(function) -> dict[str, tuple]:
    """The same of torch's, whose compiled functions say theirs in the docstring alone."""
    if isinstance(function, type) and function.__init__ is torch.nn.Module.__init__:
        return {}
    try:
        found = arguments(function)
    except ValueError:
        return documented(function)
    if "args" in found and not isinstance(function, type):  # a dispatcher hides the arguments
        return arguments(inspect.getclosurevars(function).nonlocals["if_false"])
    return found


def documented(function) -> dict[str, tuple]:
    """Arguments by the first line of a docstring, as in `relu6(input, inplace=False) -> Tensor`."""
    doc = inspect.getdoc(function) or ""
    name = function.__name__
    if f"{name}(" not in doc:
        return UNDOCUMENTED[name]
    head = doc[doc.index(f"{name}(") :].split("->")[0].strip()
    spec = ast.parse(f"def {head}: pass").body[0].args  # type: ignore[attr-defined]
    plain = [a.arg for a in spec.args]
    defaults = ["_empty"] * (len(plain) - len(spec.defaults)) + [_value(d) for d in spec.defaults]
    found = {n: (d, True) for n, d in zip(plain, defaults)}
    kept = zip(spec.kwonlyargs, spec.kw_defaults)
    return found | {a.arg: ("_empty" if d is None else _value(d), False) for a, d in kept}


UNDOCUMENTED = {
    "conv_tbc": {"input": ("_empty", True), "weight": ("_empty", True), "bias": ("_empty", True),
                 "pad": (0, True)},
    "log_sigmoid": {"input": ("_empty", True)},
}  # fmt: skip


def _value(node):
    return eval(compile(ast.Expression(node), "<default>", "eval"))


if __name__ == "__main__":
    main()
