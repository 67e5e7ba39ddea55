"""What forward hooks are in torch: outputs of parts by name, and arrays added to them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from fx.nn.names import matches


class Watch:
    """Collects the outputs of some parts in one run, and adds perturbations to them.

    A part's first call is called by the part's name, "layer1.relu", its second "layer1.relu#2".
    """

    def __init__(
        self, wanted: Callable[[str], bool], perturb: Mapping[str, Any], counts: dict[str, int]
    ):
        self.wanted, self.perturb, self.counts = wanted, perturb, counts
        self.seen: dict[str, Any] = {}
        self.called: dict[str, None] = {}  # every name, in order
        self.added: set[str] = set()  # of the perturbations
        self.trace = get_opaque_trace_state()

    def __call__(self, path: tuple[str, ...], part: Any, _: tuple, outputs: Any) -> Any:
        """Note a call; returns the outputs with what is added to them."""
        plain = ".".join(path)
        count = self.counts[plain] = self.counts.get(plain, 0) + 1
        name = plain if count == 1 else f"{plain}#{count}"
        self.called[name] = None
        wanted = self.wanted(name)
        if (wanted or name in self.perturb) and get_opaque_trace_state() != self.trace:
            raise RuntimeError(
                f"{part._scope.where()}: its output is captured or perturbed under a "
                "transformation inside of forward (a jax.jit, checkpoint, vmap, grad, scan or "
                "cond), and would leak. Capture the part that holds the transformation, or use "
                "nn.remat, nn.Stack or nn.vmap, which hand outputs on"
            )
        if name in self.perturb:
            self.added.add(name)
            outputs = _add(name, outputs, self.perturb[name])
        if wanted:
            self.seen[name] = outputs
        return outputs


class TopWatch(Watch):
    """The watch of one `apply`, by the patterns that its caller gave."""

    def __init__(self, capture: Any, perturb: Any):
        patterns = (capture,) if isinstance(capture, str) else tuple(capture or ())
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise TypeError(f"capture: expected names or patterns as text, got {pattern!r}")
        if perturb is not None and not isinstance(perturb, Mapping):
            raise TypeError(
                f"perturb: expected a dict of arrays by name, got {type(perturb).__name__}; "
                'write perturb={"layer1": jnp.zeros(shape)}'
            )
        super().__init__(self._pick, dict(perturb or {}), {})
        self.patterns, self.used = patterns, set()
        self.returns = capture is not None

    def _pick(self, name: str) -> bool:
        plain = name.partition("#")[0]
        found = {p for p in self.patterns if matches(p, name) or matches(p, plain)}
        self.used |= found
        return bool(found)

    def result(self, outputs: Any) -> Any:
        """What `apply` returns as outputs, once every name was found."""
        lost = [p for p in self.patterns if p not in self.used]
        lost += [name for name in self.perturb if name not in self.added]
        if lost:
            raise ValueError(
                f"capture or perturb: no call of a part is called {', '.join(map(repr, lost))}; "
                f"those of this run are {', '.join(map(repr, self.called))}"
            )
        return (outputs, self.seen) if self.returns else outputs


class Inside:
    """What a watch wants of a part that a transformation runs, for n copies under their names.

    Inside of a `Stack` called "layers" one program runs as "layers.block"; outside there are
    "layers.0", "layers.1", ... Without n the names are the same.
    """

    def __init__(self, outer: Watch, path: tuple[str, ...], n: int | None):
        self.outer, self.n = outer, n
        self.start, self.base = ".".join(path), ".".join(path[:-1])
        self.perturb = self._stacked(n) if n else self._below(self.start)

    def watch(self, perturb: Mapping[str, Any]) -> Watch:
        """The watch of one run inside; of several traces of it the last one counts."""
        self.last = Watch(self._wanted, perturb, dict(self.outer.counts))
        return self.last

    def hand_on(self, seen: Mapping[str, Any]) -> None:
        """Give the outer watch what was captured, an axis of copies in front if there are n."""
        self.outer.counts.update(self.last.counts)
        for name in self.last.called:
            self.outer.called.update(dict.fromkeys(self._names(name)))
        for name in self.last.added:
            self.outer.added.update(self._names(name))
        for name, value in seen.items():
            for i, outside in enumerate(self._names(name)):
                if self.outer.wanted(outside):
                    whole = self.n is None
                    one = value if whole else jax.tree.map(lambda a, i=i: a[i], value)
                    self.outer.seen[outside] = one

    def _names(self, name: str) -> Iterable[str]:
        if self.n is None:
            return [name]
        rest, base = name[len(self.start) :], self.base + "." if self.base else ""
        return [f"{base}{i}{rest}" for i in range(self.n)]

    def _wanted(self, name: str) -> bool:
        return any([self.outer.wanted(outside) for outside in self._names(name)])

    def _below(self, start: str) -> dict[str, Any]:
        ends = (start + ".", start + "#")
        return {
            name: value
            for name, value in self.outer.perturb.items()
            if not start or name == start or name.startswith(ends)
        }

    def _stacked(self, n: int) -> dict[str, Any]:
        found: dict[str, dict[int, Any]] = {}
        for i, start in enumerate(self._names(self.start)):
            for name, value in self._below(start).items():
                found.setdefault(self.start + name[len(start) :], {})[i] = value
        stacked = {}
        for name, values in found.items():
            none = jax.tree.map(jnp.zeros_like, next(iter(values.values())))
            rows = [values.get(i, none) for i in range(n)]
            stacked[name] = jax.tree.map(lambda *a: jnp.stack(a), *rows)
        return stacked


def _add(name: str, outputs: Any, perturb: Any) -> Any:
    def one(output: Any, added: Any) -> Any:
        if jnp.shape(output) != jnp.shape(added):
            raise ValueError(
                f'perturb "{name}": expected the shape of the output, {list(jnp.shape(output))}, '
                f"got {list(jnp.shape(added))}"
            )
        return output + jnp.asarray(added, jnp.result_type(output))

    return jax.tree.map(one, outputs, perturb)
