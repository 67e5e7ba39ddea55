"""Layers whose weights are computed: torch's older norms, which are hooks, and parametrizations."""

from typing import Any

from fx.porting.model.layout import Made
from fx.porting.read.live import spectral
from fx.porting.read.names import Obstacle, torch_name, translated


def normed(module: Any, made: Made, path: str) -> Made:
    """A layer with torch's older weight_norm or spectral_norm.

    Raises:
        Obstacle: a hook of the user's computes a weight.
    """
    for hook in module._forward_pre_hooks.values():
        if type(hook).__module__ == "torch.nn.utils.weight_norm":
            args: list = [("", made)]
            args += [("name=", repr(hook.name))] if hook.name != "weight" else []
            args += [("dim=", repr(hook.dim))] if hook.dim != 0 else []
            made = Made("nn.utils.weight_norm(", args)
        if type(hook).__module__ == "torch.nn.utils.spectral_norm":
            made = Made("nn.utils.spectral_norm(", [("", made), *spectral(hook)])
        owner = getattr(hook, "__module__", None) or type(hook).__module__
        if owner.partition(".")[0] != "torch" and (weights := _set_by_hooks(module)):
            name = getattr(hook, "__qualname__", type(hook).__qualname__)
            said = f"a forward pre-hook, {name}, computes its {weights[0]}; have"
            mend = "torch.nn.utils.parametrize do it, or a class of your own in its forward"
            raise Obstacle(None, f'"{path}": {said} {mend}')
    return made


def _set_by_hooks(module: Any) -> list[str]:
    """Weights of a layer that are plain tensors: a hook computes them before each call."""
    given = vars(module)
    names = [name for name in ("weight", "bias") if hasattr(given.get(name), "grad_fn")]
    return [name for name in names if name not in module._parameters]


def parametrized(tree: Any, module: Any, path: str) -> Made:
    """A layer with parametrizations: torch has given it a class of its own.

    Raises:
        Obstacle: the layer is the user's, or a weight goes through several.
    """
    base = torch_name(type(module).__bases__[0]) or ""
    if not base.startswith("nn.") or translated(base) is None:
        said = "has parametrizations: give fx.port a function that makes it"
        raise Obstacle(None, f'"{path}": {said}')
    made = tree._layer(module, base, base, path)
    for name, parts in module.parametrizations.items():
        if len(parts) > 1:
            raise Obstacle(None, f'"{path}": {name} goes through {len(parts)} parametrizations')
        made = _through(tree, made, name, parts[0], f"{path}.parametrizations.{name}.0")
    return made


def _through(tree: Any, made: Made, name: str, part: Any, path: str) -> Made:
    """A layer, a weight of which is what a part makes of another array."""
    given: list = [("", made), ("", f'"{name}"')]
    kind = type(part).__name__
    if type(part).__module__ != "torch.nn.utils.parametrizations":
        given.append(("", tree.make(part, path.lstrip("."))))
        return Made("nn.utils.parametrize.register_parametrization(", given)
    if kind == "_WeightNorm":
        return Made("nn.utils.parametrizations.weight_norm(", [*given, ("dim=", repr(part.dim))])
    if kind == "_SpectralNorm":
        words = ("n_power_iterations", "eps", "dim")
        given += [(f"{word}=", repr(getattr(part, word))) for word in words]
        return Made("nn.utils.parametrizations.spectral_norm(", given)
    said = "give fx.port a function that makes it"
    raise Obstacle(None, f'"{path}": the arguments of {kind.lower()[1:]} are not known; {said}')
