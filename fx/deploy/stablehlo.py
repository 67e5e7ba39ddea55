"""The program of a bundle: preprocess, apply and postprocess as StableHLO, weights as arguments."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from fx.deploy.signature import Inputs, describe

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_config_lock = threading.Lock()


def flatten(params: Any, state: Any) -> dict[str, np.ndarray]:
    """The leaves of both trees by name: `params.fc.weight`, `state.norm.running_mean`."""
    paths, _ = jax.tree_util.tree_flatten_with_path({"params": params, "state": state})
    weights: dict[str, np.ndarray] = {}
    for path, leaf in paths:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in weights:
            raise ValueError(f"export: two weights have the name {name!r}; rename a part")
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key):
            raise TypeError(f"export: {name!r} is a PRNG key; keep keys out of params and state")
        weights[name] = np.asarray(jnp.asarray(leaf))
    return weights


def program(
    model: Any, params: Any, state: Any, preprocess: Any, postprocess: Any
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The function `(weights, inputs) -> outputs by name` that is exported.

    Of params and state only the structure is used; the values come with each call.
    """
    _check_model(model)
    names = list(flatten(params, state))
    tree = jax.tree.structure({"params": params, "state": state})

    # Defined anew on each export, so that nothing lowered before, with source paths, is reused.
    def predict(weights: dict[str, Any], inputs: Any) -> dict[str, Any]:
        trees = jax.tree.unflatten(tree, [weights[name] for name in names])
        if preprocess is not None:
            inputs = preprocess(inputs)
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        outputs, _ = model.apply(trees["params"], trees["state"], *arguments)
        return _named(outputs, postprocess)

    return predict


def _check_model(model: Any) -> None:
    if not isinstance(model, type) and callable(getattr(model, "apply", None)):
        if "torch" not in {base.__module__.partition(".")[0] for base in type(model).__mro__}:
            return
    got, hint = type(model).__name__, ""
    if isinstance(model, type):
        got, hint = f"the class {model.__name__}", "; write it with parentheses"
    elif hasattr(model, "state_dict"):
        got, hint = f"PyTorch's {got}", "; fx.port(model) writes it for fx, with its weights"
    raise TypeError(f"export: expected a model with apply(params, state, *inputs), got {got}{hint}")


def _named(outputs: Any, postprocess: Any) -> dict[str, Any]:
    if isinstance(postprocess, str):
        if postprocess != "softmax":
            raise ValueError(
                f'export: postprocess is "softmax", None or a function, got {postprocess!r}'
            )
        shape = getattr(outputs, "shape", None)
        if shape is None or len(shape) != 2 or not jnp.issubdtype(outputs.dtype, jnp.floating):
            got = type(outputs).__name__ if shape is None else f"{outputs.dtype} {list(shape)}"
            raise ValueError(
                f"export: softmax expected the model to return floating logits [N, K], got {got}; "
                "give postprocess=None or a function"
            )
        if shape[1] == 1:
            raise ValueError(
                "export: softmax of one output is 1, whatever the model says; give postprocess="
                'None, or for a logit of two classes a function that returns {"probabilities": '
                "[N, 2]}"
            )
        return {"probabilities": jax.nn.softmax(outputs.astype(jnp.float32), axis=-1)}
    if postprocess is not None:
        outputs = postprocess(outputs)
    if not isinstance(outputs, dict):
        outputs = {"outputs": outputs}
    for name, value in outputs.items():
        if not isinstance(name, str) or not hasattr(value, "shape"):
            raise TypeError(
                f"export: expected an array or a flat dict of arrays by name, got {name!r}: "
                f"{type(value).__name__}; give a postprocess that returns such a dict"
            )
    return outputs


@contextmanager
def _without_source_paths() -> Iterator[None]:
    """Keeps the file names of the exporting machine out of the artefact."""
    with (
        _config_lock
    ):  # the setting belongs to the process; two exports must not restore each other's
        limit = jax.config.jax_traceback_in_locations_limit
        jax.config.update("jax_traceback_in_locations_limit", 0)
        try:
            yield
        finally:
            jax.config.update("jax_traceback_in_locations_limit", limit)


def lower(
    function: Callable[..., Any],
    weights: dict[str, np.ndarray],
    inputs: Inputs,
    platforms: Sequence[str],
) -> export.Exported:
    """Traces and lowers the program once for all platforms and all sizes of open axes."""
    unknown = sorted(set(platforms) - set(PLATFORMS))
    if unknown or not platforms:
        raise ValueError(
            f"export: platforms are among {', '.join(PLATFORMS)} (a GPU of NVIDIA is cuda), "
            f"got {', '.join(unknown) or 'none'}"
        )
    specs = {name: jax.ShapeDtypeStruct(w.shape, w.dtype) for name, w in weights.items()}
    try:
        with _without_source_paths():
            exported = export.export(jax.jit(function), platforms=platforms)(
                specs, inputs.abstract()
            )
    except jax.errors.InconclusiveDimensionOperation as error:
        axes = ", ".join(["the batch"] * (inputs.batch is None) + inputs.axes)
        mend = ", or say which sizes there may be: limits={...}, a range where some are too small"
        fix = ", or give the batch, too, as a number" if inputs.batch is None else ""
        raise ValueError(
            f"export: the model or its pre- or postprocessing asks about a size ({axes}) that the "
            f"export leaves open ({str(error).splitlines()[0]}); make the code independent of it"
            f"{mend if inputs.axes else ''}{fix}"
        ) from error
    except Exception as error:
        if "_DimExpr" in str(error) and "interpreted as an integer" in str(error):
            error.add_note(
                "export: the batch (and what else the export leaves open) is no number while it is "
                "exported; write x.shape[0] in place of len(x), or give a number in place of None"
            )
        if inputs.axes:
            error.add_note(
                f"export: of {', '.join(inputs.axes)} any size is tried for that limits allow; "
                'sizes that are halved and joined again need steps: limits={"'
                f'{inputs.axes[0]}": range(32, 1025, 32), ...}}'
            )
        raise
    _check_outputs(exported)
    return exported


def _check_outputs(exported: export.Exported) -> None:
    batch = exported.in_avals[-1].shape[0]
    for name, aval in outputs_of(exported).items():
        if not aval.shape or aval.shape[0] != batch:
            raise ValueError(
                f'export: expected the batch as first axis of output "{name}", '
                f"got {[str(size) for size in aval.shape]}; give a postprocess that keeps it, or, "
                "where the code has the number of rows in it, that number in place of None"
            )


def is_rounded(exported: export.Exported) -> bool:
    """Whether the program computes in floats of fewer than 32 bits anywhere."""
    return re.search(r"[x<](b?f16|f8\w+)>", exported.mlir_module()) is not None


def weights_of(exported: export.Exported) -> dict[str, Any]:
    """Shape and dtype of each weight that the program takes."""
    args, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    return args[0]


def outputs_of(exported: export.Exported) -> dict[str, Any]:
    """Shape and dtype of each output of the program."""
    return jax.tree.unflatten(exported.out_tree, exported.out_avals)


def signature(exported: export.Exported) -> tuple[Any, list[Any], list[dict[str, Any]]]:
    """Structure and shapes of the inputs, and the outputs as the manifest lists them."""
    _, inputs = exported.in_tree.children()[0].children()
    outputs = [describe(name, aval) for name, aval in outputs_of(exported).items()]
    return inputs, list(exported.in_avals[-inputs.num_leaves :]), outputs


def names_of(inputs: Any) -> list[str] | None:
    """The inputs' names where the program has them, being given a dict."""
    node = inputs.node_data()  # None for a leaf, else type and keys
    return list(node[1]) if node and node[0] is dict else None


def deserialize(blob: bytes, where: str, versions: dict[str, str]) -> export.Exported:
    """Reads the program, or says which versions did not go together."""
    try:
        exported = export.deserialize(bytearray(blob))
        exported.mlir_module()  # read here what jax would read, and fail on, in the first call
        return exported
    except Exception as error:  # flatbuffers, MLIR and jax raise kinds of their own
        raise ValueError(
            f"{where} cannot be read by jax {jax.__version__}: it is damaged, or "
            "outside of the versions that jax.export promises to read; use jax "
            f"{versions.get('jax')}, which wrote it, or export again "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
