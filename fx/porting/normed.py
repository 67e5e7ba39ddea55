"""Layers whose weight is normalised, by torch's parametrisations or by its older hooks."""

from typing import Any

from fx.porting.layout import Made
from fx.porting.live import spectral
from fx.porting.names import Obstacle, torch_name

_DEFAULTS = {"n_power_iterations": 1, "eps": 1e-12, "dim": 0}


def layer(module: Any, path: str) -> str:
    """The layer of torch.nn that was parametrised, by its name here.

    Raises:
        Obstacle: it is one of the user's.
    """
    name = torch_name(type(module).__bases__[0])
    if name is None or not name.startswith("nn."):
        raise Obstacle(
            None, f'"{path}": has parametrizations: give fx.port a function that makes it'
        )
    return name


def parametrized(module: Any, made: Made, path: str) -> Made:
    """The layer with torch's parametrisations around it.

    Raises:
        Obstacle: there is another one than weight_norm and spectral_norm.
    """
    for name, parts in module.parametrizations.items():
        kind = type(parts[0]).__name__
        if len(parts) > 1 or kind not in ("_WeightNorm", "_SpectralNorm"):
            raise Obstacle(
                None, f'"{path}": the parametrization {kind} of a live model is not read'
            )
        args: list = [("", made)] + ([("name=", repr(name))] if name != "weight" else [])
        for word, default in _DEFAULTS.items():
            value = getattr(parts[0], word, default)
            args += [(f"{word}=", repr(value))] if value != default else []
        word = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm"}[kind]
        made = Made(f"nn.utils.parametrizations.{word}(", args)
    return made


def older(module: Any, made: Made) -> Made:
    """A layer with torch's older weight_norm or spectral_norm, which are hooks."""
    for hook in module._forward_pre_hooks.values():
        if type(hook).__module__ == "torch.nn.utils.weight_norm":
            args: list = [("", made)]
            args += [("name=", repr(hook.name))] if hook.name != "weight" else []
            args += [("dim=", repr(hook.dim))] if hook.dim != 0 else []
            made = Made("nn.utils.weight_norm(", args)
        if type(hook).__module__ == "torch.nn.utils.spectral_norm":
            made = Made("nn.utils.spectral_norm(", [("", made), *spectral(hook)])
    return made
