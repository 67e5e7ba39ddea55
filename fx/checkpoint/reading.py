"""Reading a run's checkpoints: the newest one that is sound."""

import contextlib
import json
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fx.checkpoint.folder import candidates, folder_of, known_steps, step_of
from fx.checkpoint.manifest import is_best, newer, read_manifest, verify
from fx.checkpoint.tree import abstract, check_tree, empty, is_stored, place


def restore(
    run_dir: str | os.PathLike[str],
    like: Any,
    which: str | int = "latest",
    *,
    notify: Callable[[str], None] = print,
) -> tuple[Any, dict[str, Any]]:
    """Read the newest sound checkpoint of a run.

    Every file is compared with its hash first. A step with a missing, truncated or changed file is
    passed over, said so, and the one before is read.

    Args:
        run_dir: The run's folder.
        like: A pytree of the structure, shapes and dtypes that are expected: a fresh training
            state, or `jax.eval_shape` of its making. Arrays come back with the shardings of `like`.
        which: "latest", "best", or a step's number: that one and no other.
        notify: Called with a sentence when a step is passed over.

    Returns:
        The training state and the loop state.

    Raises:
        FileNotFoundError: The run has no checkpoint (no best one, none of that step).
        TypeError: A `which` of another kind.
        ValueError: None of them is sound; the faults of each are listed. Or the newest is of a
            format that a later version of fx writes. Or the checkpoint is of another model or
            optimizer: names, shapes and dtypes that differ are listed all at once.

    Source: orbax alone reads flipped bytes, casts dtypes and fills partial trees without a word.
    """
    path = _newest_sound(folder_of(run_dir), _checked(which), notify)
    ts = _load(path, read_manifest(path), like)
    return ts, json.loads((path / "loop.json").read_text())


def restore_weights(
    run_dir: str | os.PathLike[str],
    model: Any,
    which: str | int = "latest",
    *,
    average: bool = False,
    part: str | None = None,
    notify: Callable[[str], None] = print,
) -> tuple[Any, Any]:
    """Read a model's weights from a run, whatever optimizer trained them: to use or to export them.

    Only their part of the files is read.

    Args:
        run_dir: The run's folder.
        model: Any object with `init(key) -> (params, state)`, as it was trained.
        which: "latest", "best", or a step's number, as in `restore`.
        average: The average of the parameters that `make_step(ema=...)`, `optim.with_ema` or
            `optim.with_swa` kept, in place of the last ones.
        part: Whose weights, "generator" say, where the state that was saved has several training
            states, by the name that it has there.
        notify: Called with a sentence when a damaged step is passed over.

    Returns:
        `(params, state)`, on the process's first device. Of several processes each reads for
        itself, so that one of them alone may.

    Raises:
        FileNotFoundError: The run has no checkpoint (no best one, none of that step).
        TypeError: A model without `init`; a `which` of another kind.
        ValueError: As in `restore`; of params and state, all that differs is listed. No average,
            or several, were kept. Several training states were saved, and `part` is none of them.

    Example:
        >>> import tempfile
        >>> import jax
        >>> import fx
        >>> model = fx.nn.Linear(3, 2)
        >>> ts = fx.train.create(model, fx.optim.adam(0.1), jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as run:
        ...     path = fx.checkpoint.save(run, ts, {})
        ...     params, state = restore_weights(run, model)
        >>> bool((params["weight"] == ts.params["weight"]).all())
        True
    """
    if isinstance(model, type) or not callable(getattr(model, "init", None)):
        raise TypeError(
            "checkpoint.restore_weights: expected a model with init(key), got "
            f"{type(model).__name__}; restore(run_dir, like=ts) reads a whole training state"
        )
    path = _newest_sound(folder_of(run_dir), _checked(which), notify)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    manifest = read_manifest(path)
    own = _prefix(path, manifest["tree"], part)
    place = _average(path, manifest["tree"], own) if average else f"{own}params"
    like = {place: params, f"{own}state": state}
    found = _load(path, manifest, like, parts=tuple(like))
    return found[place], found[f"{own}state"]


def _prefix(path: Path, tree: dict[str, Any], part: str | None) -> str:
    """What the names of a training state begin with: nothing, or "generator/", one of several."""
    heads = [name.removesuffix("/key") for name in tree if name.endswith("/key")]
    several = [] if "key" in tree else [head for head in heads if f"{head}/step" in tree]
    if (part is None and not several) or part in several:
        return "" if part is None else f"{part}/"
    known = f"those of {', '.join(several)}" if several else "one training state, without a name"
    raise ValueError(
        f"checkpoint.restore_weights: {path} holds {known}, got part={part!r}; "
        + (f"pass part={several[0]!r}, say" if several else "leave part= out")
    )


def _average(path: Path, tree: dict[str, Any], own: str = "") -> str:
    """Where a step keeps the average of its parameters: "opt_state/average", say."""
    found = [name.removesuffix("n_averaged") + "average" for name in tree
             if name.startswith(f"{own}opt_state/") and name.endswith("/n_averaged")]  # fmt: skip
    if len(found) != 1:
        raise ValueError(
            f"checkpoint.restore_weights: {path} holds {len(found)} averages of the weights, "
            "expected one; train with make_step(ema=0.999), optim.with_ema or optim.with_swa, or "
            "leave average=True out"
        )
    return found[0]


def _load(path: Path, manifest: dict[str, Any], like: Any, parts: tuple[str, ...] = ()) -> Any:
    """Read a step into the structure of `like`: all of it, or the parts of it so called."""
    tree = manifest["tree"]
    starts = tuple(f"{part}/" for part in parts)
    others = [name for name in tree if parts and not name.startswith(starts)]
    if parts:
        kept = {name: entry for name, entry in tree.items() if name not in others}
        manifest = {"tree": kept}  # of another optimizer nothing is to be said
    expected = check_tree(path, manifest, like)
    from orbax.checkpoint import v1  # takes half a second, and no other part of fx needs it

    shapes: dict[str, Any] = {n: abstract(leaf) for n, leaf in expected.items() if is_stored(leaf)}
    # orbax leaves out what is `...`, and still compares the names with those on the disk.
    shapes |= {name: ... for name in others if 0 not in tree[name]["shape"]}
    # A whole state may be spread over all processes; weights each reads for itself.
    with _alone(v1) if parts else contextlib.nullcontext():
        loaded = v1.load(str(path / "tree"), shapes)
    leaves = [
        place(loaded[name], leaf) if name in loaded else empty(leaf)
        for name, leaf in expected.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _alone(v1: Any) -> Any:
    """A context in which a process reads for itself, and waits for no other one."""
    context, own = v1.Context(), jax.process_index()
    context.multiprocessing.primary_host = own
    context.multiprocessing.active_processes = {own}
    context.multiprocessing.barrier_sync_key_prefix = f"process_{own}_"
    return context


def steps(run_dir: str | os.PathLike[str]) -> list[int]:
    """List the steps that a run has checkpoints of, oldest first; sound or not.

    Example:
        >>> steps("no/such/run")
        []
    """
    return known_steps(folder_of(run_dir))


def _checked(which: Any) -> str | int:
    if isinstance(which, str):
        if which not in ("latest", "best"):
            raise ValueError(
                'checkpoint.restore: expected which="latest", "best" or a step\'s number, got '
                f"{which!r}"
            )
        return which
    try:
        return operator.index(which)
    except TypeError as error:
        raise TypeError(
            'checkpoint.restore: expected which="latest", "best" or a step\'s number, got '
            f"{type(which).__name__}"
        ) from error


def _newest_sound(folder: Path, which: str | int, notify: Callable[[str], None]) -> Path:
    faults = []
    for path in candidates(folder):
        if isinstance(which, int) and step_of(path) != which:
            continue
        if error := newer(path):
            # Going on from an older step would write beside what is newer, and mix two runs.
            raise ValueError(
                f"checkpoint {path}: {error}; read it with the version that wrote it, or a later "
                "one"
            )
        if which == "best" and is_best(path) is False:
            continue
        found = verify(path)
        if not found:
            if faults:
                notify(f"{'; '.join(faults)}. Using step {step_of(path)} instead.")
            return path
        faults.append(f"checkpoint {path} is damaged: {', '.join(found)}")
    others = f"; there are {known_steps(folder)}"
    if faults:
        if which == "latest":
            raise ValueError("no sound checkpoint is left. " + "; ".join(faults))
        text = (
            f"no sound checkpoint is left of {'the best' if which == 'best' else f'step {which}'}"
        )
        raise ValueError(f"{text}. {'; '.join(faults)}{others}, to be read by which=step")
    if isinstance(which, int):
        raise FileNotFoundError(f"no checkpoint of step {which} in {folder}{others}")
    raise FileNotFoundError(f"no {'best ' * (which == 'best')}checkpoint in {folder}")
