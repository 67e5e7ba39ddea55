"""Parameter groups by name: one optimizer for each, and parameters that stay as they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fx.nn.names import Pattern, dotted, matches, several

DEFAULT = "default"


class Rule:
    """Which parameter is of which group, and which groups stay as they are.

    It goes with the state, as no part of its structure: patterns may be functions, which are not
    those of another run.
    """

    def __init__(self, keys: Sequence[tuple[Pattern, ...]], stay: tuple[bool, ...]):
        self.keys, self.stay = keys, stay

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.stay == other.stay

    def __hash__(self) -> int:
        return hash(self.stay)


@struct.dataclass
class GroupsState:
    """What `groups` keeps.

    Attributes:
        inner_states: One optimizer state per group, in order, the default's last.
        names: What the groups are called.
        rule: Which parameters they have.
    """

    inner_states: tuple
    names: tuple[str, ...] = struct.field(pytree_node=False)
    rule: Rule = struct.field(pytree_node=False)


def groups(
    groups: Mapping[Pattern | tuple[Pattern, ...], optax.GradientTransformation],
    default: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Give groups of parameters optimizers of their own.

    A parameter is called by its path with dots, as in torch's `named_parameters`: "fc1.weight",
    "layers.0.bias". It belongs to the first group that it matches.

    Args:
        groups: Pattern, or tuple of patterns, to optimizer. `*` stands for any text, dots
            included: "features.*.weight", "*.bias". A predicate gets the name and the array.
        default: Optimizer of what no pattern matches; without it, everything has to match.

    Returns:
        An optax transformation. `current_lr` reads the first group's rate from its state,
        `current_lrs` those of all groups, by their patterns. Transformations that are to see all
        parameters at once (`sam`, `with_ema`, clipping by the norm of everything) go around it.

    Raises:
        ValueError: No groups, or two predicates of one name; at init, a pattern that matches
            nothing, a group that earlier ones leave nothing to, or a parameter without a group.
        TypeError: A pattern that is neither text nor a function.

    Example:
        >>> import jax
        >>> import fx
        >>> from fx import nn, optim
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
        >>> params, _ = model.init(jax.random.key(0))

        The usual recipe, no weight decay on biases and on the scales of normalisations:

        >>> def no_decay(name, array):
        ...     return array.ndim < 2
        >>> decayed, plain = optim.adamw(1e-3), optim.adamw(1e-3, weight_decay=0.0)
        >>> optimizer = groups({no_decay: plain}, default=decayed)
        >>> opt_state = optimizer.init(params)
        >>> {name: float(rate) for name, rate in optim.current_lrs(opt_state).items()}
        {'no_decay': 0.0010000000474974513, 'default': 0.0010000000474974513}

        A smaller rate for all but the head:

        >>> optimizer = groups({"2.*": optim.sgd(0.1)}, default=optim.sgd(0.01))

    Source: torch's parameter groups, each with an optimizer instead of options; made of
    `optax.masked`, as `optax.partition` is.
    """
    keys = [key if isinstance(key, tuple) else (key,) for key in groups]
    names = _names(keys)
    optimizers = list(groups.values())
    if default is not None:
        optimizers.append(default)
        names = (*names, DEFAULT)
    rule = Rule(keys, tuple(o.update is _stay for o in optimizers))

    def mask(group: int) -> Callable[[Any], Any]:
        return lambda tree: _map_named(lambda name, p: _group_of(keys, name, p) == group, tree)

    chain: Any = optax.chain(*(optax.masked(o, mask(group)) for group, o in enumerate(optimizers)))

    def init(params: Any) -> Any:
        _check(keys, params, default is not None)
        return GroupsState(tuple(chain.init(params)), names, rule)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates, inner = chain.update(updates, state.inner_states, params, **extra)
        return updates, GroupsState(tuple(inner), names, rule)

    return optax.GradientTransformationExtraArgs(init, update)


def frozen() -> optax.GradientTransformation:
    """An optimizer that changes nothing: for a group of `groups`.

    Returns:
        An optax transformation without a state. Parameters keep their bits.

    Example:
        >>> from fx import optim
        >>> optimizer = optim.groups({"backbone.*": frozen()}, default=optim.adamw(1e-3))

    Source: `requires_grad = False` in torch. `optax.set_to_zero` adds 0.0, which makes 0.0 of -0.0.
    """
    return optax.GradientTransformation(lambda params: optax.EmptyState(), _stay)


def _stay(updates: Any, state: Any, params: Any = None) -> Any:
    del params
    # x + -0.0 is x for every x.
    return jax.tree.map(lambda u: jnp.full_like(u, -0.0), updates), state


def freeze(
    optimizer: optax.GradientTransformation, patterns: Pattern | Sequence[Pattern]
) -> optax.GradientTransformationExtraArgs:
    """Keep some parameters as they are.

    They keep their bits, whatever the optimizer does (weight decay, momentum), and take no memory
    in its state. `make_step` leaves their gradients out, of norms and of what is computed.

    Args:
        optimizer: Optimizer of the others. It does not see the frozen ones: a clipping by norm
            inside of it leaves their gradients out, as torch does.
        patterns: Which to freeze: a pattern or several, as in `groups`.

    Returns:
        An optax transformation.

    Raises:
        ValueError: No patterns; at init, a pattern that matches nothing.
        TypeError: A pattern that is neither text nor a function.

    Example:
        >>> from fx import optim
        >>> optimizer = freeze(optim.adamw(1e-3), ["embed.*", "layers.0.*"])

        Everything but the head:

        >>> optimizer = freeze(optim.adamw(1e-3), lambda name, p: not name.startswith("head."))
    """
    return groups({several(patterns): frozen()}, default=optimizer)


def without_frozen(grads: Any, opt_state: Any) -> Any:
    """Zeros in place of the gradients of parameters that the optimizer freezes.

    XLA then does not compute them, and no norm counts them. `make_step` calls it.

    Args:
        grads: Gradients, or any tree of the parameters' structure.
        opt_state: The optimizer's state. Groups inside of what optax masks are not looked for.

    Example:
        >>> import fx
        >>> optimizer = freeze(fx.optim.sgd(0.1), "a")
        >>> params = {"a": jnp.ones(2), "b": jnp.ones(2)}
        >>> without_frozen(params, optimizer.init(params))["a"].tolist()
        [0.0, 0.0]

    Source: `requires_grad = False` in torch, where there are no such gradients.
    """
    named = {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(grads)}
    frozen = _frozen_in(opt_state, named)
    return _map_named(lambda name, g: jnp.zeros_like(g) if name in frozen else g, grads)


def _frozen_in(state: Any, named: Mapping[str, Any]) -> set[str]:
    """Which of these parameters, all that an optimizer has, it freezes."""
    # Groups within a mask of optax's know nothing of what it leaves out.
    ends = (GroupsState, optax.MaskedState)
    found: set[str] = set()
    for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, ends)):
        if isinstance(node, GroupsState):
            for group, inner in enumerate(node.inner_states):
                own = {n: a for n, a in named.items() if _group_of(node.rule.keys, n, a) == group}
                found |= {*own} if node.rule.stay[group] else _frozen_in(inner.inner_state, own)
    return found


def check_whole(where: str, params: Any) -> None:
    """Raise where a transformation that has to see all parameters is inside of a group."""
    nodes = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    if any(isinstance(node, optax.MaskedNode) for node in nodes):
        raise ValueError(
            f"{where}: expected all parameters, got those of one group; put it around the groups: "
            f"{where}(groups(...))"
        )


def _names(keys: Sequence[tuple[Pattern, ...]]) -> tuple[str, ...]:
    if not keys or not all(keys):
        raise ValueError("groups: expected at least one pattern for each group, got none")
    for pattern in (pattern for key in keys for pattern in key):
        if not isinstance(pattern, str) and not callable(pattern):
            raise TypeError(
                "groups: expected a pattern as text or as a function of name and array, got "
                f"{type(pattern).__name__}"
            )
    names = tuple(", ".join(_text(pattern) for pattern in key) for key in keys)
    for name in names:
        if names.count(name) > 1 or name == DEFAULT:
            raise ValueError(
                f'groups: expected groups of different names, got two called "{name}"; define '
                "predicates with def, each with its own name"
            )
    return names


def _text(pattern: Pattern) -> str:
    return pattern if isinstance(pattern, str) else getattr(pattern, "__name__", repr(pattern))


def _group_of(keys: Sequence[tuple[Pattern, ...]], name: str, array: Any) -> int:
    found = (i for i, key in enumerate(keys) if any(matches(p, name, array) for p in key))
    return next(found, len(keys))


def _map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(dotted(path), leaf), tree)


def _check(keys: Sequence[tuple[Pattern, ...]], params: Any, has_default: bool) -> None:
    named = {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    if not named:  # optax asks with a placeholder, to find the parameters in a state
        return
    faults = list(_faults(keys, named, has_default))
    if faults:
        raise ValueError(f"groups: {'; '.join(faults)}; the parameters are {', '.join(named)}")


def _faults(
    keys: Sequence[tuple[Pattern, ...]], named: Mapping[str, Any], has_default: bool
) -> Iterator[str]:
    taken = {name: _group_of(keys, name, array) for name, array in named.items()}
    for index, key in enumerate(keys):
        lost = [p for p in key if not any(matches(p, n, array) for n, array in named.items())]
        for pattern in lost:
            inside = isinstance(pattern, str) and any(n.startswith(f"{pattern}.") for n in named)
            hint = f', only parts of their names; write "{pattern}.*"' * inside
            yield f'"{_text(pattern)}" matches no parameter{hint}'
        if not lost and index not in taken.values():
            yield (
                f'"{", ".join(map(_text, key))}" matches only what earlier groups take; '
                "put it before them"
            )
    left = [name for name, group in taken.items() if group == len(keys)]
    if left and not has_default:
        yield f"{', '.join(left)} match no pattern; give default="
