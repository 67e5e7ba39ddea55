"""torch's flat `state_dict` to and from params and state, by name."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from fx.interop.loaded import Loaded
from fx.interop.torch_arrays import is_tensor, items, tensor_array
from fx.nn import describe
from fx.nn.initial import initial_value
from fx.nn.module import Module
from fx.nn.parameter import Buffer


def state_dict(model: Module, params: dict, state: dict | None = None) -> dict[str, Any]:
    """List every array under the name that torch gives it, in torch's order.

    Args:
        model: the description.
        params: its params, or a tree of the same structure: gradients, moments, an average.
        state: its state; without it, buffers are left out.

    Returns:
        A flat dict ``{"features.0.weight": array, ...}``. Tied weights stand under each of their
        names; buffers with ``persistent=False`` do not. Layers of an `nn.Stack` and copies of an
        `nn.vmap` stand one by one, "layers.0.weight", "layers.1.weight", as in torch.

    Raises:
        ValueError: the trees are not those of the model; every difference is listed.
        TypeError: the model is no module of fx's: one of `from_flax`, say.

    Example:
        >>> import fx, jax
        >>> model = fx.nn.Linear(3, 2)
        >>> params, state = model.init(jax.random.key(0))
        >>> {name: array.shape for name, array in fx.state_dict(model, params, state).items()}
        {'weight': (2, 3), 'bias': (2,)}

    Source: torch.nn.Module.state_dict.
    """
    _check_module("state_dict", model)
    whole = state if state is not None else _absent(model)
    arrays = describe.match(model, params, whole)
    return {
        entry.name: arrays[entry.leaf.path][entry.index] if entry.index else arrays[entry.leaf.path]
        for entry in entries(model)
        if not isinstance(entry.leaf.declaration, Buffer)
        or (state is not None and entry.leaf.declaration.persistent)
    }


@overload
def load_state_dict(
    model: Module, state_dict: Mapping[str, Any], strict: Literal[True] = True, *, dtype: Any = None
) -> tuple[dict, dict]: ...


@overload
def load_state_dict(
    model: Module, state_dict: Mapping[str, Any], strict: bool, *, dtype: Any = None
) -> Loaded: ...


def load_state_dict(
    model: Module, state_dict: Mapping[str, Any], strict: bool = True, *, dtype: Any = None
) -> tuple[dict, dict]:
    """Make params and state from a flat dict of arrays by torch's names.

    Args:
        model: the description.
        state_dict: name to array: JAX, NumPy, or torch tensors on any device.
        strict: every name must be there and no other; False fills missing ones from the
            initialisers with ``jax.random.key(0)`` and passes unexpected ones over.
        dtype: for floating arrays, in place of the declared one.

    Returns:
        ``(params, state)``. With ``strict=False`` this pair has the attributes `missing_keys` and
        `unexpected_keys`, lists of names, as what torch returns: look at them, since a name that
        is written otherwise is among both and nowhere else.

    Raises:
        ValueError: listing at once every missing and unexpected name (if strict), every wrong
            shape, what a wrapper puts in front of all names, names none of which is the model's
            (if not strict), and every dtype that cannot be
            converted without loss: another kind (integers for floats), or float64 for float32
            unless `dtype` asks for it. Of tied weights one name is enough; where several are
            there, they must be equal.
        TypeError: `state_dict` is not a flat dict: a path, None, a checkpoint with more in it;
            `strict` is no bool.

    Example:
        >>> import fx, numpy as np
        >>> weights = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
        >>> params, state = fx.load_state_dict(fx.nn.Linear(3, 2), weights)
        >>> params["weight"].shape
        (2, 3)

    Source: torch.nn.Module.load_state_dict, which converts dtypes without a word. As there, files
    of before PyTorch 0.4.1 lack a BatchNorm's `num_batches_tracked`, which then is 0.
    """
    _check_module("load_state_dict", model)
    nested = [k for k, v in items("load_state_dict", state_dict) if isinstance(v, Mapping)]
    if nested:
        raise TypeError(
            f"load_state_dict: expected a flat dict of arrays by name, got dicts in it, under "
            f"{nested}; of a checkpoint give that which has the weights; "
            "params as init returns them need no loading"
        )
    if not isinstance(strict, bool):
        raise TypeError(f"load_state_dict: expected strict to be True or False, got {strict!r}")
    trees: tuple[dict, dict] = {}, {}
    wrong: list[str] = []
    listed = entries(model)
    names: dict[tuple, list[Entry]] = {}  # of each array
    for entry in listed:
        names.setdefault((entry.leaf.source, entry.index), []).append(entry)
    initial: dict[tuple[str, ...], Any] = {}
    filled: set[str] = set()
    found: dict[tuple, Any] = {}
    for (source, index), several in names.items():
        declared = several[0].leaf.declaration
        given = [entry for entry in several if entry.name in state_dict]
        if given:
            value = _fitting(given[0], state_dict[given[0].name], dtype, wrong)
            _check_tied(given, state_dict, wrong)
        elif strict and not _may_lack(source[-1], declared):
            wrong.append(f"missing: {several[0].name} {list(several[0].shape)}")
            continue
        else:
            if source not in initial:
                own = next(entry.leaf for entry in several if entry.leaf.path == source)
                initial[source] = initial_value(own, jax.random.key(0))
            value = initial[source][index]
            if not _may_lack(source[-1], declared):
                filled |= {entry.name for entry in several}
        found[source, index] = value
    known = {entry.name for entry in listed}
    unexpected = [name for name in state_dict if name not in known]
    wrong += _advice(known, state_dict)
    if not strict and state_dict and known and known.isdisjoint(state_dict):
        own = _few(entry.name for entry in listed)
        wrong.append(f"no name is one of the model's: {_few(state_dict)} came, {own} are")
    if strict:
        wrong += [f"unexpected: {name}" for name in unexpected]
    if wrong:
        todo = "pass strict=False where names alone differ"
        if not strict:
            todo = "leave out of the dict what is not to be loaded, a head of other classes say"
            todo += ", and rename what is named otherwise"
        raise ValueError(
            f"load_state_dict: the weights do not fit {type(model).__name__}; change the model, or "
            f"{todo}\n  " + "\n  ".join(wrong)
        )
    for leaf in describe.leaves(model):
        if leaf.path == leaf.source:
            sizes = tuple(n for _, n in leaf.copies)
            value = _stacked(found, leaf.source, sizes)
            describe.put(trees[isinstance(leaf.declaration, Buffer)], leaf.source, value)
    missing = [entry.name for entry in listed if entry.name in filled]
    return trees if strict else Loaded.of(trees, missing, unexpected)


@dataclass(frozen=True)
class Entry:
    """A line of a `state_dict`: its name, and where its array is."""

    name: str
    leaf: describe.Leaf
    index: tuple[int, ...] = ()  # in the leaf's array, where that holds several layers

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of this line's array."""
        return self.leaf.declaration.shape[len(self.index) :]


def entries(model: Module) -> list[Entry]:
    """Every line of a model's `state_dict`, in torch's order: layer by layer."""
    found: list[tuple[tuple, Entry]] = []
    first: dict[tuple[str, ...], int] = {}  # of each stack, the place of its first array
    for place, leaf in enumerate(describe.leaves(model)):
        steps = sorted((*leaf.copies, *leaf.shared))
        own = [step for step, _ in leaf.copies]
        for numbers in itertools.product(*(range(n) for _, n in steps)):
            path, order = list(leaf.path), []
            for (step, _), number in zip(steps, numbers):
                path[step] = str(number)
                order += [first.setdefault(tuple(path[:step]), place), number]
            index = tuple(i for (step, _), i in zip(steps, numbers) if step in own)
            found.append(((*order, place), Entry(".".join(path), leaf, index)))
    return [entry for _, entry in sorted(found, key=lambda each: each[0])]


def _stacked(found: Mapping, source: tuple[str, ...], sizes: tuple[int, ...]) -> Any:
    """The array of a leaf, its layers put together."""
    if not sizes:
        return found[source, ()]
    rows = [found[source, index] for index in np.ndindex(*sizes)]
    return jnp.stack(rows).reshape(*sizes, *rows[0].shape)


def _may_lack(name: str, declared: Any) -> bool:
    """Whether a file may be without that array: no parameter, and not listed, or not always."""
    if not isinstance(declared, Buffer):
        return False
    return not declared.persistent or name == "num_batches_tracked"


def _check_module(where: str, model: Any) -> None:
    if not describe.is_module(model):
        raise TypeError(
            f"{where}: expected a model of fx.nn, whose arrays have torch's names, got "
            f"{type(model).__name__}"
            + ("; write it with parentheses" if isinstance(model, type) else "")
            + "; the trees of another model, Flax's say, are flat by flax.traverse_util."
            'flatten_dict(params, sep="."), and fx.write_weights takes them so'
        )


def _absent(model: Module) -> dict:
    """A state of the right structure to match against, where none was given."""
    state: dict = {}
    for leaf in describe.leaves(model):
        if isinstance(leaf.declaration, Buffer) and leaf.path == leaf.source:
            describe.put(state, leaf.path, np.zeros(leaf.declaration.shape, leaf.declaration.dtype))
    return state


def _few(names: Iterable[str]) -> str:
    first = list(itertools.islice(names, 4))
    return ", ".join(first[:3] + ["..."] * (len(first) > 3))


def _advice(known: set[str], given: Mapping) -> list[str]:
    """What to do where all names begin with what a wrapper has put in front of them."""
    prefix, rest = "", list(given)
    while rest and not known & set(rest):
        first, dot, _ = rest[0].partition(".")
        if not dot or any(not name.startswith(first + dot) for name in rest):
            return []
        prefix, rest = prefix + first + dot, [name.removeprefix(first + dot) for name in rest]
    if not prefix or not rest:
        return []
    return [
        f'every name begins with "{prefix}", as a wrapper (DataParallel, torch.compile) leaves it: '
        f'give {{name.removeprefix("{prefix}"): a for name, a in weights.items()}}'
    ]


def _check_tied(entries: list[Entry], given: Mapping, wrong: list[str]) -> None:
    first, *others = entries
    for other in others:
        if not np.array_equal(_array(given[first.name]), _array(given[other.name])):
            wrong.append(f"{other.name} is tied to {first.name}, but the two arrays differ")


def _array(value: Any) -> Any:
    """A torch tensor, NumPy or JAX array as one that JAX takes; see `from_torch`."""
    if is_tensor(value):
        return tensor_array(value, "load_state_dict")
    return value if isinstance(value, jax.Array) else np.asarray(value)


def _fitting(entry: Entry, given: Any, dtype: Any, wrong: list[str]) -> Any:
    """The array in the declared dtype, or a line in `wrong`."""
    value, declared = _array(given), entry.leaf.declaration
    if value.shape != entry.shape:
        wrong.append(f"{entry.name}: expected the shape {entry.shape}, got {value.shape}")
        return None
    floating = jnp.issubdtype(declared.dtype, jnp.floating)
    target = jnp.dtype(dtype) if dtype is not None and floating else declared.dtype
    kinds = (jnp.floating, jnp.integer, jnp.bool_, jnp.complexfloating)
    if not any(jnp.issubdtype(value.dtype, k) and jnp.issubdtype(target, k) for k in kinds):
        wrong.append(f"{entry.name}: expected the dtype {target}, got {value.dtype}")
        return None
    if floating and dtype is None and value.dtype.itemsize > target.itemsize:
        wrong.append(
            f"{entry.name}: expected the dtype {target}, got {value.dtype}, which would be "
            f"rounded; pass dtype=jnp.{target} (or jnp.{value.dtype} under x64)"
        )
        return None
    if jnp.issubdtype(target, jnp.integer) and value.size:
        low, high = np.iinfo(target).min, np.iinfo(target).max
        if np.asarray(value).min() < low or np.asarray(value).max() > high:
            wrong.append(f"{entry.name}: a value does not fit {target}")
            return None
    if isinstance(value, jax.Array):
        return jnp.array(value, target, copy=True)
    return jax.device_put(np.array(value, target))  # torch goes on writing to its own memory
