"""Many runs of one recipe: seeds, learning rates, folds; in one program or one by one."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fx.data.batch import first_batch
from fx.data.loader import as_integer
from fx.donated import is_donated
from fx.optim import has_plateau
from fx.train.many.measure import measure
from fx.train.many.runs import Runs
from fx.train.many.together import ManyStep
from fx.train.many.ways import Plan, begun_as, one_by_one, one_program, step_of_all
from fx.train.record import mode_of
from fx.train.state import TrainState
from fx.train.step import Step
from fx.train.tunable import fixed_rates
from fx.train.watch.callbacks import write_whole


def fit_many(
    step: Step,
    states: Sequence[TrainState],
    loader: Any,
    *,
    names: Sequence[Any] | None = None,
    validate: Any = None,
    epochs: int,
    patience: int | None = None,
    monitor: str | None = None,
    mode: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    how: str = "auto",
    **options: Any,
) -> Runs:
    """Train several runs of one recipe: seeds, learning rates, folds.

    Run i is `fx.fit(step, states[i], loader[i], validate=validate, ...)`. Done one after the
    other, it equals that to the bit. In one program, by `jax.vmap`, it equals it up to the
    rounding of float32, which training amplifies: sums are taken in another order (weights of a
    small network differed by 2e-7 after 18 steps of Adam on a CPU). Random numbers are the same
    with JAX's default generator, threefry; those of rbg differ under vmap.

    What makes the runs differ is in the lists: a key in each state determines weights, dropout
    and augmentation, a loader's seed the order of its batches. A single loader is shared: all
    runs see the same batches, and in one program they are read once.

        seeds = range(32)
        runs = fx.train.fit_many(
            step,
            [fx.train.create(model, optimizer, jax.random.key(seed)) for seed in seeds],
            [fx.data.Loader(train_set, 64, seed=seed) for seed in seeds],
            validate=validate,
            epochs=10,
        )
        print(runs.table())

    Learning rates differ by `fx.train.tunable`, folds by their loaders and validations.

    A run that diverges does not end the others, where the step was made with check_finite: it stays
    as it was before the bad step, its result has `stopped="diverged"` and the step's number, and
    the statistics leave it out and say so.

    Args:
        step: From `make_step`; the same for all runs.
        states: A state for each run, from `create`. They are copied, and stay usable.
        loader: A loader for each run; or one for all.
        names: What the runs are called in tables; 0, 1, ... unless told.
        validate: `ts -> {"loss": ..., ...}`, see `make_eval`; or one for each run.
        epochs: How many to train.
        patience: Stop a run after so many epochs without a better validation. In one program it
            then stays as it is, and the program ends with the last run.
        monitor: As for `fx.fit`.
        mode: As for `fx.fit`.
        out: A folder. One program writes to it what `fx.fit` does, with the numbers of run i as
            "train_loss[i]"; otherwise each run has a folder in it, `0`, `1`, ...
        resume: Go on with what is in `out`, the way that it was begun.
        how: "vmap", one program; "loop", one after the other; "auto" measures both on the first
            batch and takes what is faster, or the loop where one program would not fit into the
            device's memory. Convolutions with weights of their own for each run are slow on CPUs.
        options: Of `fx.fit`: log_every, progress, checkpoint_every, keep, keep_best (one by one
            only), callbacks. In one program callbacks get a `ManyState`.

    Returns:
        `Runs`, with a `Result` for each run. After Ctrl-C those that were begun.

    Raises:
        TypeError: A step that is no `Step`; states that are not a sequence of them; a loader
            without `epoch` or length, a list of batches included.
        ValueError: No states; lists of other lengths; states of different steps, structures,
            shapes, or learning rates that are not `tunable`; loaders of other lengths or batch
            shapes in one program (how="loop" takes these, and "auto" takes it then); an unknown
            how; a resume that asks for the other way, or under other names; and what `fx.fit`
            raises.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> class Line:
        ...     def init(self, key):
        ...         return {"weight": jax.random.normal(key)}, {}
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return params["weight"] * x, state
        >>> class Ones:
        ...     def __len__(self):
        ...         return 2
        ...     def epoch(self, n):
        ...         yield from [(jnp.ones(4), jnp.ones(4))] * 2
        >>> optimizer = fx.optim.sgd(0.25)
        >>> step = fx.train.make_step(Line(), lambda y, t: jnp.mean((y - t) ** 2), optimizer)
        >>> states = [fx.train.create(Line(), optimizer, jax.random.key(seed)) for seed in range(3)]
        >>> runs = fit_many(step, states, Ones(), epochs=4, how="vmap", progress=False)
        >>> bool(jnp.all(runs.values("train_loss") < 0.01)), runs.summary("train_loss").count
        (True, 3)
    """
    states = _check_states(step, states)
    count = len(states)
    _check_loaders(loader if isinstance(loader, list | tuple) else [loader])
    loaders = _each("loader", loader, count)
    checks = [] if validate is None else _each("validate", validate, count)
    names = tuple(range(count)) if names is None else tuple(names)
    if len(names) != count:
        raise ValueError(f"fit_many: expected a name for each of {count} states, got {len(names)}")
    if how not in ("auto", "vmap", "loop"):
        raise ValueError(f'fit_many: expected how="auto", "vmap" or "loop", got {how!r}')
    _check_judged(validate, patience, monitor, mode)
    folder = None if out is None else Path(out)
    judged = {"patience": patience, "monitor": monitor, "mode": mode}
    plan = Plan(names, step, states, loaders, checks, folder, resume, epochs, judged, options)
    _keep_names(plan)
    how, why, many = _decide(plan, how)
    if options.get("progress", True):
        print(f"fit_many: {count} runs, {_WORDS[how]}: {why}", flush=True)
    results, weights = one_program(plan, many) if how == "vmap" else one_by_one(plan)
    return Runs(names[: len(results)], tuple(results), weights, how, why)


def _keep_names(plan: Plan) -> None:
    """Write what the runs are called beside them; raise where those to go on with have others."""
    if plan.out is None:
        return
    path, names = plan.out / "names.json", [repr(name) for name in plan.names]
    if plan.resume and path.exists():
        before = json.loads(path.read_text())
        if before != names:
            raise ValueError(
                f"fit_many: the runs in {plan.out} are called {', '.join(before)}, and not "
                f"{', '.join(names)}; give the states in their order, or choose another out"
            )
    elif jax.process_index() == 0 and not plan.has_begun:
        plan.out.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(names))


_WORDS = {"vmap": "in one program", "loop": "one by one"}


def _check_states(step: Any, states: Any) -> list[TrainState]:
    if not isinstance(step, Step):
        raise TypeError(
            f"fit_many: expected step to be a Step, got {type(step).__name__}; make one with "
            "fx.train.make_step(model, loss_fn, optimizer)"
        )
    if isinstance(states, TrainState) or not isinstance(states, Sequence):
        raise TypeError(
            f"fit_many: expected states to be a list of states, got {type(states).__name__}; make "
            "one for each run, [fx.train.create(model, optimizer, jax.random.key(seed)) for seed "
            "in range(32)]"
        )
    if not states:
        raise ValueError("fit_many: expected a state for each run, got an empty list")
    for run, ts in enumerate(states):
        if any(map(is_donated, jax.tree.leaves(ts))):
            raise ValueError(
                f"fit_many: expected states whose arrays are there, but that of run {run} went "
                "into an earlier step, which reused its memory; create it again"
            )
        first, found = _kinds(states[0]), _kinds(ts)
        if found != first:
            changed = next(n for n in {**first, **found} if first.get(n) != found.get(n))
            raise ValueError(
                f"fit_many: expected states of one structure, but {changed} is "
                f"{first.get(changed, 'not there')} in run 0 and "
                f"{found.get(changed, 'not there')} in run {run}; make all with one model and "
                "one kind of optimizer (learning rates differ by fx.train.tunable)"
            )
    steps = [int(jax.device_get(ts.step)) for ts in states]
    if len(set(steps)) > 1:
        raise ValueError(f"fit_many: expected states of the same step, got {steps}")
    _check_rates(states)
    return list(states)


def _check_rates(states: Sequence[TrainState]) -> None:
    """Raise where fresh states were made with rates of their own, which the step does not read."""
    first, *others = map(fixed_rates, states)
    for run, rates in enumerate(others, start=1):
        apart = [pair for pair in zip(first, rates) if pair[0] != pair[1]]
        if apart:
            raise ValueError(
                f"fit_many: expected states of one optimizer, but run 0 has the learning rate "
                f"{apart[0][0]:.3g} where run {run} has {apart[0][1]:.3g}; the step would train "
                "all with its own. For a rate a run, make step and states with optimizers "
                "fx.train.tunable(fx.optim.adam, lr)"
            )


def _kinds(ts: TrainState) -> dict[str, str]:
    leaves = jax.tree.leaves_with_path(ts)
    return {
        jax.tree_util.keystr(path): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in leaves
    }


def _check_judged(validate: Any, patience: Any, monitor: str | None, mode: str | None) -> None:
    if validate is None and (patience is not None or monitor is not None):
        raise ValueError("fit_many: patience and monitor need validate=; make one with make_eval")
    if patience is not None and as_integer("fit_many", "patience", patience) < 1:
        raise ValueError(f"fit_many: expected patience of 1 or more, got {patience}")
    if mode not in (None, "max", "min"):
        raise ValueError(f'fit_many: expected mode="max" or "min", got {mode!r}')
    if monitor is not None and mode is None:
        mode_of(monitor)  # raises where the name does not tell; better now than after an epoch


def _each(what: str, given: Any, count: int) -> list[Any]:
    """One for all as a list of one, one for each as a list of `count`."""
    if not isinstance(given, list | tuple):
        return [given]
    if len(given) != count:
        raise ValueError(
            f"fit_many: expected a {what} for each of {count} states, or one for all, got a list "
            f"of {len(given)}"
        )
    return list(given)


def _check_loaders(loaders: Sequence[Any]) -> None:
    for each in loaders:
        if not callable(getattr(each, "epoch", None)) or not hasattr(each, "__len__"):
            raise TypeError(
                f"fit_many: expected loaders with epoch() and len(), got {type(each).__name__}; "
                "batches in a list are for fx.fit alone: wrap a data set in "
                "fx.data.Loader(dataset, batch_size)"
            )


def _decide(plan: Plan, how: str) -> tuple[str, str, ManyStep | None]:
    """Say how to run, why, and return the step of one program where it was made."""
    count, begun = len(plan.states), begun_as(plan)
    if begun is not None:
        if how not in ("auto", begun):
            raise ValueError(
                f"fit_many: the runs in {plan.out} were begun with how={begun!r}, so they cannot "
                f"go on with how={how!r}; leave it out, or choose another out"
            )
        return begun, "as it was begun", step_of_all(plan) if begun == "vmap" else None
    if how != "loop" and plan.options.get("keep_best", 1) > 1:
        if how == "vmap":
            raise ValueError(
                "fit_many: one program keeps the weights of each run's best epoch, and no more of "
                'them; keep_best needs how="loop"'
            )
        return "loop", "each run keeps its best checkpoints", None
    if how == "loop" or (how == "auto" and count == 1):
        return "loop", "asked for" if how == "loop" else "there is one", None
    if has_plateau(plan.states[0].opt_state):
        if how == "vmap":
            raise ValueError(
                "fit_many: reduce_lr_on_plateau listens to each run's own metric, which one "
                'program does not tell it; use how="loop"'
            )
        return "loop", "each run's plateau listens to its own metric", None
    lengths = [(len(each), getattr(each, "last_size", None)) for each in plan.loaders]
    if len(set(lengths)) > 1 and how == "auto":
        return "loop", "their batches differ in number or size", None
    if len({steps for steps, _ in lengths}) > 1:
        raise ValueError(
            "fit_many: expected loaders of the same number of steps, got "
            f'{[steps for steps, _ in lengths]}; make the data sets equally long, or how="loop"'
        )
    many = step_of_all(plan)
    if how == "vmap":
        return "vmap", "asked for", many
    scanned = {} if plan.step.steps_per_call == 1 else {"steps_per_call": plan.step.steps_per_call}
    batch = first_batch(plan.batches(plan.watch()).epoch(0, **scanned))
    alone = jax.tree.map(jnp.copy, plan.states[0])
    single = first_batch(plan.loaders[0].epoch(0, **scanned))
    how, why = measure(many, plan.stacked(), batch, plan.step, alone, single, count)
    return how, why, many
