"""One training step: augmentation, forward, loss, gradients, update, compiled as one program."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from fx import optim
from fx.data.loader import as_integer
from fx.debug.memory import is_out_of_memory, out_of_memory
from fx.donated import is_donated
from fx.evaluate.mean import Mean
from fx.train.checks import Metrics, check_arrays, check_optimizer, check_stacked, named_leaves
from fx.train.compiles import Compilations
from fx.train.gradient import Policy, make_gradient
from fx.train.guard import guarded
from fx.train.one_step import OneStep
from fx.train.precision import check_precision, matmul_precision
from fx.train.sharding import Sharding
from fx.train.state import TrainState, check_model, check_transformation

_DONATED = (
    "train step: expected a state whose arrays are there, but {} went into an earlier call, which "
    "reused its memory; use the state that the call returned, or make the step with donate=False"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A compiled training step: `step(ts, batch) -> (ts, metrics)`.

    Attributes:
        function: The same as a pure function, not compiled; to transform or to read.
        compiled: `jax.jit(function)`; what a call runs.
        optimizer: The optimizer, with what the step's options keep in its state; for
            `train.create(model, step.optimizer, key)`.
        steps_per_call: Training steps that one call runs, over the leading axis of its batch.
        compilations: How often it was compiled, and why again.
    """

    function: Callable[[TrainState, Any], tuple[TrainState, Metrics]]
    compiled: Any = dataclasses.field(repr=False)
    optimizer: optax.GradientTransformation = dataclasses.field(repr=False)
    steps_per_call: int = 1
    compilations: Compilations = dataclasses.field(default_factory=Compilations, repr=False)

    def __call__(self, ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        """Run `steps_per_call` steps.

        Raises:
            ValueError: `ts` went into an earlier call, which reused its memory.
            TypeError: What is no state; a batch that holds something else than arrays, torch
                tensors for example.
            RuntimeError: The call compiled the step more often than `max_compiles` allows.
            MemoryError: The device's memory does not suffice; it says for what, and what to try.
        """
        if not hasattr(ts, "step"):
            came = "go on with result.ts" if hasattr(ts, "ts") else "make one with train.create"
            raise TypeError(
                f"train step: expected a training state, got {type(ts).__name__}; {came}"
            )
        if is_donated(ts.step):
            raise ValueError(_DONATED.format("this one"))
        try:
            result = self.compiled(ts, batch)
        except jax.errors.JaxRuntimeError as error:
            if is_out_of_memory(error):
                raise out_of_memory(self, ts, batch, error) from error
            raise
        except TypeError:
            check_arrays(batch)
            raise
        except (ValueError, RuntimeError) as error:
            gone = [name for name, leaf in named_leaves(ts).items() if is_donated(leaf)]
            if "deleted" in str(error) and gone:
                raise ValueError(_DONATED.format(f"ts{gone[0]}")) from error
            raise
        self.compilations.look(self.compiled._cache_size(), (ts, batch))
        return result

    def try_size(self, ts: TrainState, batch: Any, size: int, other: int | None) -> None:
        """Trace it for a batch of another size, so that what fails does so before an epoch.

        Args:
            ts: The state, or shapes of it.
            batch: A batch, or shapes of it.
            size: Its examples.
            other: Those that an epoch's last batch will have; None where nobody knows.
        """
        if other in (None, size) or self.steps_per_call > 1:
            return

        def resized(leaf: Any) -> jax.ShapeDtypeStruct:
            rows = (other,) if leaf.shape[:1] == (size,) else leaf.shape[:1]
            return jax.ShapeDtypeStruct((*rows, *leaf.shape[1:]), leaf.dtype)

        self.compiled.eval_shape(ts, batch)  # what is wrong with all is not the last one's
        try:
            self.compiled.eval_shape(ts, jax.tree.map(resized, batch))
        except Exception as error:
            error.add_note(
                f"fit tried the epoch's last batch, which has {other} examples where others have "
                f"{size}; Loader(..., drop_last=True) leaves it out"
            )
            raise


def make_step(
    model: Any,
    loss_fn: Callable[[Any, Any], jax.Array | Mean],
    optimizer: optax.GradientTransformation,
    *,
    metrics: Callable[[Any, Any], dict[str, Any]] | None = None,
    transform: Callable[[Any, jax.Array], Any] | None = None,
    precision: str = "float32",
    accumulate: int = 1,
    remat: bool | Policy = False,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    ema: float | None = None,
    check_finite: bool | str = False,
    diagnostics: bool = False,
    lr: optim.Schedule | float | None = None,
    steps_per_call: int = 1,
    donate: bool = True,
    max_compiles: int | None = None,
    sharding: Sharding | None = None,
) -> Step:
    """Make a compiled training step.

    A batch is `(inputs, targets)`. Inputs that are a tuple become several arguments of the model.
    Where targets are None, loss and metrics get the inputs in their place, after `transform`, as an
    autoencoder wants it.
    A step's randomness comes from `fold_in(ts.key, ts.step)`, split into a key for `transform` and
    one for the model, so it does not depend on how the run got there.

    Args:
        model: Any object with `apply(params, state, *inputs, train, key) -> (outputs, state)`.
        loss_fn: `(outputs, targets) -> loss`, a scalar, or a `train.Mean` of two.
        optimizer: An optax transformation, those of `fx.optim` included.
        metrics: `(outputs, targets) -> {name: scalar, train.Mean or train.Sums}`, to report beside
            the loss.
        transform: `(inputs, key) -> inputs`, compiled into the step: augmentation, normalisation.
            `transforms.WithTargets` makes one of inputs and targets; `transforms.MixUp` is one.
        precision: "float32": real float32, on GPUs and TPUs too. "tf32": products as TF32 on
            GPUs. "bf16": parameters and inputs are cast to bfloat16 for the forward pass and its
            gradient; weights, the model's state, the optimizer, outputs, loss and metrics stay
            float32. "fp16": the same with float16, and dynamic loss scaling as torch's GradScaler
            does it: steps whose gradients overflow are skipped, and reported as "skipped". `fx.fit`
            counts them, and leaves them out of the means.
        accumulate: k > 1 splits each batch into k parts, one after the other, and averages their
            gradients: less memory, the same update to rounding where `loss_fn` is a mean over
            examples of equal weight. Where it is not, as `cross_entropy` with ignore_index or class
            weights, let `loss_fn` return a `train.Mean`, whose parts are weighted; so may metrics.
            `nn.CrossEntropyLoss` and `nn.NLLLoss` give what it is made of by themselves.
            BatchNorm sees the parts, as it does in torch, and dropout draws for each.
        remat: Compute again in the backward pass what is cheap, instead of keeping it: only the
            results of products and convolutions are kept. Or a policy of
            `jax.checkpoint_policies`.
        clip_norm: Scale gradients down to this norm, over all parameters together; reported as
            "grad_norm", as it was before. What the optimizer freezes (`optim.freeze`) has no part
            in it.
        clip_value: Clip each gradient's entries to within plus and minus this, before the norm.
        ema: Keep an exponential moving average of the parameters, with this decay, in the
            optimizer's state; `optim.averaged_params(ts.opt_state)` reads it.
        check_finite: Stop at the first step whose loss or gradients are not finite: the state
            stays as it was before it, whatever comes afterwards, and "finite" is reported as
            False. `fx.fit` then raises and says where it began. "layers" reports
            "finite/<layer>" for the values that leave each layer as well.
        diagnostics: Report for each layer "gradient_norm/<layer>", before clipping, and
            "update_ratio/<layer>", the norm of its update over that of its weights.
        lr: What to report as "learning_rate" where the optimizer's state does not have it, as that
            of optax's own optimizers: the number or schedule that was given to it.
        steps_per_call: k > 1 runs k steps in one call: every leaf of the batch has a leading axis
            of at most k, and metrics come back stacked, `[k]`. Good on GPUs and TPUs; on CPUs XLA
            runs convolutions inside of loops slowly.
        donate: Reuse the memory of the state that goes in; it cannot be read afterwards.
        max_compiles: Raise where the step is compiled more often than that. A shorter last batch
            takes a compilation of its own.
        sharding: Over which devices a step is spread; see `data_parallel` and `fsdp`. Give the
            same one to `create`, and its `batch` to the loader.

    Returns:
        A `Step`. Metrics hold "loss", what `metrics` returns, "learning_rate" where `lr` or the
        optimizer's state has it (see `fx.optim.current_lr`), "learning_rate/<group>" of each
        parameter group where it has several, "weight/<name>" of a loss or metric that is a
        `train.Mean`, "sums/<name>" of a metric that is a `train.Sums`, and what the options
        report. Where an option keeps something in the optimizer's state (ema, check_finite, fp16),
        make the state with `train.create(model, step.optimizer, key)`; it is right for every step.

    Raises:
        ValueError: An unknown precision, a number out of its range; at the first call, a batch
            that is not a pair or that accumulate does not divide, a loss or metric that is not a
            scalar, a loss without a gradient to any parameter, a model whose state changes
            structure, shape or dtype, an optimizer state of another optimizer; at any call, a state
            that was donated.
        TypeError: A model, a loss or an optimizer that is none; a steps_per_call or accumulate that
            is not an integer; at the first call, a loss or metrics that ask for values (NumPy's
            functions do), metrics that are not a dictionary.
        RuntimeError: At a call that compiles the step more often than max_compiles.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> class Line:
        ...     def init(self, key):
        ...         return {"weight": jnp.zeros(())}, {}
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return params["weight"] * x, state
        >>> optimizer = fx.optim.sgd(0.5)
        >>> ts = fx.train.create(Line(), optimizer, jax.random.key(0))
        >>> step = make_step(Line(), lambda y, target: jnp.mean((y - target) ** 2), optimizer)
        >>> ts, metrics = step(ts, (jnp.ones(4), jnp.ones(4)))
        >>> print(metrics["loss"], metrics["learning_rate"], ts.params["weight"])
        1.0 0.5 1.0
    """
    check_model("make_step", model, "apply", "params, state, *inputs")
    check_precision(precision)
    steps_per_call = _at_least_one("steps_per_call", steps_per_call)
    accumulate = _at_least_one("accumulate", accumulate)
    _check_options(loss_fn, optimizer, clip_norm, clip_value, max_compiles, check_finite)
    if ema is not None:
        optimizer = optim.with_ema(optimizer, ema)
    scaled, stops = precision == "fp16", bool(check_finite)
    if scaled or stops:
        optimizer = guarded(optimizer, scaled=scaled, stops=stops)
    gradient = make_gradient(
        model,
        loss_fn,
        metrics,
        precision=precision,
        accumulate=accumulate,
        remat=remat,
        flags=check_finite == "layers",
        sharding=sharding,
    )

    one_step = OneStep(
        optimizer,
        gradient,
        transform=transform,
        clip_norm=clip_norm,
        clip_value=clip_value,
        scaled=scaled,
        stops=stops,
        diagnostics=diagnostics,
        lr=lr,
    )

    def function(ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        check_optimizer(optimizer, ts)
        if steps_per_call > 1:
            check_stacked(batch, steps_per_call)
        if sharding is not None:
            batch = sharding.split(batch, stacked=steps_per_call > 1)
        with matmul_precision(precision):
            single = steps_per_call == 1
            result = one_step(ts, batch) if single else jax.lax.scan(one_step, ts, batch)
        return result if sharding is None else sharding.keep(*result)

    compilations = Compilations(max_compiles)
    compiled = jax.jit(compilations.watch(function), donate_argnums=0 if donate else ())
    return Step(function, compiled, optimizer, steps_per_call, compilations)


def _at_least_one(name: str, value: Any) -> int:
    value = as_integer("make_step", name, value)
    if value < 1:
        raise ValueError(f"make_step: expected {name} of 1 or more, got {value}")
    return value


def _check_options(
    loss_fn: Any,
    optimizer: Any,
    clip_norm: float | None,
    clip_value: float | None,
    max_compiles: int | None,
    check_finite: bool | str,
) -> None:
    if isinstance(loss_fn, type) or not callable(loss_fn):
        raise TypeError(
            f"make_step: expected loss_fn to be a function (outputs, targets) -> loss, got "
            f"{loss_fn!r}; of a loss of nn, write an instance: nn.CrossEntropyLoss()"
        )
    if "torch" in {base.__module__.partition(".")[0] for base in type(loss_fn).__mro__}:
        raise TypeError(
            f"make_step: expected a loss_fn in JAX, got torch's {type(loss_fn).__name__}; "
            f"fx.nn.{type(loss_fn).__name__} and the functions of fx.functional are its like"
        )
    check_transformation("make_step", optimizer)
    for name, value in {"clip_norm": clip_norm, "clip_value": clip_value}.items():
        if value is not None and not value > 0:
            raise ValueError(f"make_step: expected {name} above 0, got {value}")
    if max_compiles is not None:
        _at_least_one("max_compiles", max_compiles)
    if check_finite not in (True, False, "layers"):
        raise ValueError(
            f'make_step: expected check_finite=True, False or "layers", got {check_finite!r}'
        )
