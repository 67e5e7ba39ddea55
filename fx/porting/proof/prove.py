"""From a live PyTorch model: source, weights, and a comparison layer by layer."""

import contextlib
import functools
import inspect
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fx.interop.compare import Differences
from fx.interop.state_dict import load_state_dict, state_dict
from fx.interop.torch_arrays import from_torch
from fx.porting.calls import observed
from fx.porting.proof import aliased, alike, elsewhere, gradient, modes, trial
from fx.porting.proof.arguments import OF_APPLY, by_position, caches, check_numbers, fits, kinds
from fx.porting.proof.begun import begin
from fx.porting.proof.errors import located
from fx.porting.proof.execute import executed
from fx.porting.read.live import tables
from fx.porting.read.record import Record, originals, storages, watch
from fx.porting.text.write import Written, write


@dataclass
class Port:
    """A ported model; `print` shows the comparison, or what stands in the way.

    Attributes:
        source: The text of the written file; its `build()` makes the model.
        model: The description that the file makes; None where an obstacle prevents it.
        params: The weights.
        state: The buffers.
        error: Largest difference of the outputs in evaluation, relative to their largest
            magnitude; where float32 rounds too much to tell, as a note says, in float64.
        report: `fx.compare`'s, layer by layer; None where only outputs were compared.
        elsewhere: How outputs compare on other inputs, of other values and another batch size:
            "equal", or what differs; "" where they were not compared.
        training: The same forward in training: "equal", "random" where it draws numbers and is
            equal if both draw the same, or what differs.
        gradients: Those of a weighted sum of the outputs, in evaluation, to weights and inputs:
            "equal", or what differs; "" where they were not compared.
        constructors: "ported", or "written from the live model".
        obstacles: What stands in the way, as "file:line: what".
        notes: What was left out or changed.
        tolerance: What errors are held to.
    """

    source: str
    model: Any = None
    params: dict = field(default_factory=dict)
    state: dict = field(default_factory=dict)
    error: float = float("inf")
    report: Differences | None = None
    training: str = "not run"
    gradients: str = ""
    elsewhere: str = ""
    constructors: str = "written from the live model"
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tolerance: float = 1e-4

    @property
    def equal(self) -> bool:
        """Whether it ran, and outputs, gradients and training are PyTorch's where compared."""
        said = {self.gradients, self.elsewhere} <= {"", "equal"} and "differ" not in self.training
        return not self.obstacles and said and self.error <= self.tolerance

    def save(self, path: str | Path) -> None:
        """Write the source to a file."""
        Path(path).write_text(self.source)

    def __str__(self) -> str:
        lines = [f"obstacle: {line}" for line in self.obstacles]
        if self.report is not None:
            lines.append(str(self.report))
        elif self.model is not None:
            lines.append(f"{'equal' if self.equal else 'different'}: error {self.error:.2g}")
        if self.model is not None:
            lines += [f"other inputs: {self.elsewhere}"] * bool(self.elsewhere)
            lines += [f"gradients: {self.gradients}"] * bool(self.gradients)
            lines += [f"training: {self.training}", f"constructors: {self.constructors}"]
        return "\n".join([*lines, *(f"note: {line}" for line in self.notes)])


def port(
    model: Any, inputs: Any, *, layers: bool = True, training: bool = True,
    tolerance: float = 1e-4, **kwargs: Any,
) -> Port:  # fmt: skip
    """Writes a PyTorch model as fx source, loads its weights, and compares both layer by layer.

    The model is run, twice on the inputs, and so is the source that is written: both are code.

    Args:
        model: A `torch.nn.Module`, or a function of no arguments that makes one: then its
            constructors are seen at work and are ported, too. Those of a live model cannot be
            tried, and simple ones that take the parts are written instead.
        inputs: An example, one array or tensor or a tuple of them. What the model does with it
            decides what a call such as `x.split(2)` means.
        layers: Compare every layer, as `fx.compare` does; False compares outputs alone.
        training: Compare other inputs, gradients, and training, too. Gradients are
            always compared where the model stops some, or has some of its own.
        tolerance: Of outputs, relative to their largest magnitude.
        **kwargs: Given to the model's forward.

    Returns:
        A `Port`: print it, and look at `.equal`, `.obstacles`, `.source`; `save` writes the file.

    Raises:
        ModuleNotFoundError: PyTorch is not installed.
        TypeError: `model` is neither a module nor a function that makes one, or was scripted.
        ValueError: What PyTorch gives on these inputs is nan throughout.

    Example:
        >>> import fx, torch
        >>> found = fx.port(torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.ones(4, 3))
        >>> found.equal, found.model
        (True, Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
        ))
    """
    torch = _torch()
    built, record = Record(building=True), Record()
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    inputs = tuple(torch.as_tensor(np.array(a)) if _is_array(a) else a for a in inputs)
    live = isinstance(model, torch.nn.Module)
    module = model if live or not callable(model) else watch(model, built)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            "fx.port: expected a torch.nn.Module or a function that makes one, got "
            f"{type(module).__name__}"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"fx.port: expected a module with its Python source, got {type(module).__name__}, "
            "which torch.jit made; give the module from before"
        )
    module = getattr(module, "_orig_mod", module)  # what torch.compile was given
    with originals(module), modes.undisturbed(module):
        given = layers, training, tolerance
        found = _ported(module, record, None if live else built, inputs, kwargs, *given)
        if not live and found.equal:
            begin(found, module, built.first)
        return found


def _ported(
    module: Any, record: Record, built: Record | None, inputs: tuple, kwargs: dict,
    layers: bool, training: bool, tolerance: float,
) -> Port:  # fmt: skip
    """The port of a live model, with its constructors if there is a record of them."""
    record.tables = tables(module)
    parts = list(module.modules())
    record.held = {type(value) for part in parts for value in (part, *vars(part).values())}
    notes = []
    signature = inspect.signature(module.forward)
    inputs, kwargs = by_position(signature, inputs, kwargs)
    given = signature.bind_partial(*inputs).arguments if fits(signature, inputs) else {}
    if "use_cache" not in {*kwargs, *given} and caches(module, signature, inputs, kwargs):
        kwargs["use_cache"] = False
        notes.append("ported with use_cache=False: a cache that grows is not for compiled code")
    fresh = trial.duplicate(module)  # caches, which a run fills, have no gradients
    gradients = _run(module, inputs, kwargs, record)
    trial.same_buffers(fresh, module)
    example = _Example(module, inputs, kwargs, layers, training, fresh, gradients, notes)
    passing = functools.partial(trial.passing, fresh, inputs, kwargs)
    record.steady = functools.cache(lambda: not trial.hands_on(fresh, inputs, kwargs))
    if built is None:
        return _proved(write(module, record, None, passing), example, tolerance)
    kept = _proved(write(module, record, built, passing), example, tolerance)
    if kept.equal:
        kept.constructors = "ported"
        return kept
    made = _proved(write(module, record, None, passing), example, tolerance)
    if made.obstacles and made.error == float("inf"):
        others = [line for line in made.obstacles if line not in kept.obstacles]
        kept.notes += [f"written from the live model: {line}" for line in others]
        return kept  # its obstacles are about the user's own constructors
    differs = f"with them the outputs differ by {kept.error:.2g}"
    if kept.error <= tolerance:
        wrong = [s for s in (kept.gradients, kept.elsewhere) if s not in ("", "equal")]
        wrong += [f"training: {kept.training}"] * ("differ" in kept.training)
        differs = f"with them, {'; '.join(wrong)}"
    said = [line for line in kept.obstacles if line not in made.obstacles]
    said = said if kept.obstacles else [differs]
    made.notes += [f"the constructors were not kept: {line}" for line in said]
    return made


@dataclass
class _Example:
    """What both models are run on."""

    module: Any
    inputs: tuple
    kwargs: dict
    layers: bool
    training: bool
    fresh: Any
    gradients: tuple | None
    notes: list[str]


def _run(module: Any, inputs: tuple, kwargs: dict, record: Record) -> tuple | None:
    """Run the model in evaluation, and a copy in training, for the record; maybe gradients."""
    import torch

    (args, named), (again, named_again), (args3, named3) = (
        trial.copied((inputs, kwargs)) for _ in range(3)
    )
    record.storages = storages(module)
    with torch.no_grad(), modes.evaluating(module):
        try:
            outputs = watch(lambda: module(*args, **named), record)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            args, named = trial.copied((inputs, kwargs))
            with torch.enable_grad():  # it takes gradients itself
                outputs = watch(lambda: module(*args, **named), record)
        check_numbers(outputs)
        record.outputs, record.evaluated = kinds(outputs), set(record.lines)
        if record.asked:
            observed.as_compiled(lambda: watch(lambda: module(*args3, **named3), record))
    with contextlib.suppress(Exception), torch.no_grad():
        trained = trial.separate(module).train()
        record.storages = storages(trained)
        watch(lambda: trained(*again, **named_again), record)
    # One value per channel, say, or no targets: `training` will tell.
    with contextlib.suppress(Exception):  # of PyTorch's own, which a note will say
        return gradient.watched(module, inputs, kwargs, record)
    return None


def _proved(written: Written, example: _Example, tolerance: float) -> Port:
    """Execute the source, load the weights, and compare; with the same draws where there are."""
    found = _compared(written, example, tolerance)
    found.obstacles = [*dict.fromkeys(found.obstacles)]
    if not any(alike.SAID in line for line in found.obstacles):
        return found
    with alike.drawn():
        other = _compared(written, replace(example, gradients=None), tolerance, same_numbers=True)
    if other.obstacles:
        found.obstacles = [line for line in found.obstacles if alike.SAID not in line]
        found.obstacles += other.obstacles
        return found
    if not other.equal:
        said = "; ".join(str(other).splitlines())
        found.notes.append(f"compared with the same numbers in both: {said}")
        return found
    other.model = executed(written).build()
    other.notes.append(alike.NOTE)
    return other


def _compared(
    written: Written, example: _Example, tolerance: float, same_numbers: bool = False
) -> Port:
    found = Port(
        written.source, obstacles=written.obstacles, notes=example.notes + written.notes,
        tolerance=tolerance,
    )  # fmt: skip
    if taken := ", ".join(sorted(example.kwargs.keys() & OF_APPLY)):
        said = f"{type(example.module).__name__}.forward takes {taken} by name alone, which is what"
        found.obstacles.append(f"{said} apply calls arguments of its own; give it another name")
    found.obstacles, found.notes = ([*dict.fromkeys(x)] for x in (found.obstacles, found.notes))
    if found.obstacles:
        return found
    module = example.module
    try:
        found.model = executed(written, same_numbers).build()
        weights = _narrowed(found, from_torch({**module.state_dict(), **written.saved}))
        found.params, found.state = load_state_dict(found.model, weights)
        found.notes = _trained_here(found, module) + _limited(module) + found.notes
        found.notes += modes.notes(module)
        if written.saved:
            some = ", ".join([*written.saved][:3]) + ", ..." * (len(written.saved) > 3)
            said = "keep fx.state_dict(port.model, port.params, port.state) beside the file"
            found.notes.append(
                f"{some}: in no state_dict of PyTorch's, and too large to write; {said}"
            )
        found.obstacles += _untied(found, module)
        found.obstacles += modes.obstacles(module, written.source, trial.duplicate)
        if example.layers:
            found.report = trial.layers(found, module, example.inputs, example.kwargs)
            found.error = found.report.layers[-1].error
        else:
            found.error = trial.evaluation_error(found, module, example.inputs, example.kwargs)
        given = module, example.inputs, example.kwargs
        if found.error > tolerance and (rounded := trial.rounding(found, *given)):
            found.error, found.report, said = rounded
            found.notes.append(said)
        if found.error > tolerance:
            found.obstacles += aliased.obstacles(*given, tolerance)
        stops = any(word in written.source for word in ("stop_gradient(", "jax.custom_vjp"))
        if example.training or stops:
            found.gradients = _gradients(found, example)
        if example.training:
            given = example.fresh, example.inputs, example.kwargs
            found.elsewhere = elsewhere.compared(found, *given)
            found.training = trial.training(found, module, example.inputs, example.kwargs)
    except Exception as error:  # whatever the written code raises is an obstacle with its place
        found.obstacles.append(located(error, written))
    return found


def _narrowed(found: Port, weights: dict[str, Any]) -> dict[str, Any]:
    """Weights without float64, which JAX has only where it is told to."""
    wide = [name for name, value in weights.items() if value.dtype == np.float64]
    if not wide or jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return weights
    found.notes.append(f"{', '.join(wide[:3])}: float64 in PyTorch, float32 here")
    return {**weights, **{name: weights[name].astype(np.float32) for name in wide}}


def _trained_here(found: Port, module: Any) -> list[str]:
    """A note where weights are trained that are frozen in PyTorch."""
    ours = state_dict(found.model, found.params)
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad and n in ours]
    if not frozen:
        return []
    some = ", ".join(frozen[:3]) + ", ..." * (len(frozen) > 3)
    said = f"{len(frozen)} weights are frozen in PyTorch, not here ({some})"
    return [f"{said}; choose what is trained with fx.partition"]


def _limited(module: Any) -> list[str]:
    """A note on embeddings whose rows PyTorch writes anew when it reads them."""
    parts = [(name, getattr(part, "max_norm", None)) for name, part in module.named_modules()]
    some = ", ".join([name for name, norm in parts if norm is not None][:3])
    said = "max_norm limits rows where they are read, and the weights stay, which PyTorch changes"
    return [f"{some}: {said}"] if some else []


def _untied(found: Port, module: Any) -> list[str]:
    """An obstacle where there are more weights than in PyTorch: some are shared there."""
    theirs = sum(value.numel() for value in module.parameters())
    ours = sum(leaf.size for leaf in jax.tree.leaves(found.params))
    if ours <= theirs:
        return []
    return [f"there are {ours} numbers to train, and {theirs} in PyTorch, which shares weights"]


def _gradients(found: Port, example: _Example) -> str:
    """How gradients compare; where PyTorch cannot take them there is a note."""
    try:
        given = example.fresh, example.inputs, example.kwargs
        theirs = example.gradients or gradient.theirs(*given)
    except Exception as error:  # of PyTorch's, or of a `backward` of the model's own
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        found.notes.append(f"gradients were not compared: {kind}{str(error).splitlines()[0]}")
        return ""
    try:
        said = gradient.compared(found, *trial.arguments(example.inputs, example.kwargs), theirs)
    except NotImplementedError as error:
        found.notes.append(f"JAX takes no gradients of it: {str(error).splitlines()[0]}")
        return ""
    if said != "equal":
        with contextlib.suppress(Exception):  # whatever says that one of them is not for float64
            return gradient.compared_in_float64(found, *given)
    return said


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | jax.Array)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fx.port: expected PyTorch, which is not installed; it comes with fx's extra: "
            "pip install 'fx[torch]'"
        ) from error
    return torch
