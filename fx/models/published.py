"""Published weights under the names that their files have, and Hugging Face's folders.

Nothing is downloaded.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fx import functional as F
from fx.interop.state_dict import entries, load_state_dict
from fx.interop.weights import read_weights
from fx.nn.initial import initial_value
from fx.nn.module import Module


def gelu_tanh(x: jax.Array) -> jax.Array:
    """GELU in its approximation by tanh, which Hugging Face calls gelu_new."""
    return F.gelu(x, "tanh")


# Names that configurations have for activations.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": F.tanh,
}


def activation(name: str, where: str) -> Callable[[jax.Array], jax.Array]:
    """The function of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"{where}: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def check_length(input_ids: jax.Array, most: int, where: str) -> None:
    """Sequences have a learned vector for each of their positions.

    Raises:
        ValueError: they are longer than that. Of a length that an export leaves open JAX asks for
            its limits.
    """
    if input_ids.shape[1] > most:
        raise ValueError(
            f"{where}: expected at most {most} tokens a sequence, which is how many positions have "
            f"weights, got {input_ids.shape[1]}; cut the sequences, or give position_ids"
        )


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `config.json` in a folder says.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"from_pretrained: expected a folder with config.json and weights, got {folder}, which "
            "has no config.json; build the model and give its load_weights the weights alone"
        )
    return json.loads(path.read_text())


def arguments(
    config: Mapping[str, Any], names: Sequence[str], fixed: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The constructor's arguments that a configuration has.

    Args:
        config: What `read_config` returned.
        names: Of the arguments.
        fixed: Settings that the model has no argument for, and their only value.
        where: For the error.

    Raises:
        ValueError: one of `fixed` has another value.
    """
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"{where}: expected {name}={value!r} in the configuration, got {config[name]!r}, "
                "which this model does not compute"
            )
    return {name: config[name] for name in names if name in config}


def read(weights: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    """Weights by name, from a file unless they are such already."""
    return weights if isinstance(weights, Mapping) else read_weights(weights)


def load(
    model: Module,
    weights: Mapping[str, Any] | str | os.PathLike[str],
    *,
    trunk: str = "",
    renamed: Sequence[tuple[str, str]] = (),
    ignored: Sequence[str] = (),
    head: str | None = None,
    key: jax.Array | None = None,
    dtype: Any = None,
) -> tuple[dict, dict]:
    """Params and state from weights under the model's names, and under those of older files.

    Args:
        model: The description.
        weights: Arrays by name, or what `fx.read_weights` takes.
        trunk: The part under which a model with a head has what a file without one has at the top:
            "transformer", "bert".
        renamed: Patterns and what takes their place, for old files.
        ignored: Patterns of names that are no weights of the model.
        head: A pattern of names that need not be in a file, or not in the model's shape, where
            `key` is given.
        key: For the initial values of these.
        dtype: For floating arrays, in place of the declared one.

    Raises:
        ValueError: as `fx.load_state_dict`: names or shapes that are not the model's.
    """
    known = {entry.name: entry for entry in entries(model)}
    found = {}
    for name, value in read(weights).items():
        for pattern, new in renamed:
            name = re.sub(pattern, new, name)
        name = _placed(name, known, trunk)
        if name in known or not any(re.fullmatch(pattern, name) for pattern in ignored):
            found[name] = value
    if head is not None and key is not None:
        for name, entry in known.items():
            fits = name in found and np.shape(found[name]) == entry.shape
            own = entry.leaf.path == entry.leaf.source  # and not another name of a tied array
            if own and not fits and re.fullmatch(head, name):
                found[name] = initial_value(entry.leaf, key)[entry.index]
    return load_state_dict(model, found, dtype=dtype)


def _placed(name: str, known: Mapping[str, Any], trunk: str) -> str:
    """A name with the trunk's in front, or without it, if the model knows it so."""
    longer, shorter = f"{trunk}.{name}", name.removeprefix(f"{trunk}.")
    if name in known or not trunk:
        return name
    return longer if longer in known else shorter if shorter in known else name
