"""Layers whose weights are computed: torch's older norms, which are hooks, and parametrizations."""

from typing import Any

from fx.porting.model.layout import Made
from fx.porting.read.live import spectral
from fx.porting.read.names import Obstacle, torch_name, translated


def normed(module: Any, made: Made) -> Made:
    """A layer with torch's older weight_norm or spectral_norm."""
    for hook in module._forward_pre_hooks.values():
        if type(hook).__module__ == "torch.nn.utils.weight_norm":
            args: list = [("", made)]
            args += [("name=", repr(hook.name))] if hook.name != "weight" else []
            args += [("dim=", repr(hook.dim))] if hook.dim != 0 else []
            made = Made("nn.utils.weight_norm(", args)
        if type(hook).__module__ == "torch.nn.utils.spectral_norm":
            made = Made("nn.utils.spectral_norm(", [("", made), *spectral(hook)])
    return made


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
