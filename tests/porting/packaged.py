"""A model as an installed package has them: hub mixins, settings, registries, questions."""

import logging
from collections import UserList
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention.flex_attention import BlockMask

log = logging.getLogger(__name__)


def is_fast_kernel_available() -> bool:
    """What an installed package asks when it is imported."""
    return False


HAS_KERNEL = is_fast_kernel_available()


def is_tracing(x: torch.Tensor) -> bool:
    """Whether a compiler looks on."""
    return torch.compiler.is_compiling()


class Settings:
    """The base of settings: none of it is needed."""

    def to_dict(self) -> dict:
        """All of them."""
        return dict(vars(self))


class NetSettings(Settings):
    """Settings of one kind of model."""

    def __init__(self, width: int):
        self.width, self.heads, self.attention, self.unused = width, 2, "eager", object()


class Registry(MutableMapping):
    """Functions by name."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable] = {}

    def __getitem__(self, key: str) -> Callable:
        return self.functions[key]

    def __setitem__(self, key: str, value: Callable) -> None:
        self.functions[key] = value

    def __delitem__(self, key: str) -> None:
        del self.functions[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.functions)

    def __len__(self) -> int:
        return len(self.functions)


ATTENTION = Registry()


def eager(module: nn.Module, x: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
    """Attention of a sort; random in training."""
    weights = (x @ x.transpose(-1, -2)).softmax(-1)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return weights @ x


def flash(module: nn.Module, x: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
    """Never runs here, and does not port."""
    return torch.ops.aten._flash_attention_forward(x)


ATTENTION["eager"], ATTENTION["flash"] = eager, flash


def padded(mask: torch.Tensor) -> torch.Tensor | None:
    """The mask as numbers; None where nothing is masked, which only values tell."""
    if not is_tracing(mask) and mask.all():
        return None
    return mask.float().unsqueeze(-1)


def sliding(x: torch.Tensor) -> torch.Tensor:
    """Needed by name only: this does not run, and would not port."""
    return torch.special.bessel_j0(x)


class HubMixin:
    """Nothing of it runs."""

    _hub = "somewhere"

    def push(self) -> None:
        """To somewhere."""
        torch.hub.load("a", "b")


class Base(nn.Module, HubMixin):
    """What all models share."""

    _shared = ["nothing"]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.parameters()).device

    def prepared(self, x: torch.Tensor) -> torch.Tensor:
        """Runs, and stays."""
        return x.to(dtype=self.dtype, device=self.device)

    def load(self) -> None:
        """Does not run."""
        torch.hub.load("a", "b")


class Processor:
    """How attention is done, apart from its weights."""

    def __init__(self, scale: float):
        self.scale = scale

    def __call__(self, part: "Attention", x: torch.Tensor) -> torch.Tensor:
        """Scaled."""
        return part.self(x) * self.scale


class Attention(nn.Module):
    """Has a part named "self", as BERT does, and attributes whose names are put together."""

    def __init__(self, config: NetSettings, processor: Processor):
        super().__init__()
        self.config, self.processor = config, processor
        self.self = nn.Linear(config.width, config.width)
        self.eager_bias = 0.5
        self.register_buffer("places", torch.arange(300).expand(1, -1), persistent=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attends."""
        if isinstance(mask, (torch.Tensor, BlockMask)) and mask.ndim == 4:
            return mask
        if self.config.attention not in ATTENTION:
            raise ValueError(self.config.attention)
        attend: Callable = ATTENTION[self.config.attention]
        log.info("attention of %s", self.config.attention)
        x = self.processor(self, x) + getattr(self, f"{self.config.attention}_bias")
        x = attend(self, x, dropout=0.1) + self.places[:, : x.shape[1], None].float()
        return x if mask is None else x * mask


@dataclass
class Out:
    """What comes out."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None = None


class Net(Base):
    """The model; the name of its head is BERT's."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.config = NetSettings(width)
        self.block = Attention(self.config, Processor(0.5))
        self.cls = nn.Linear(width, 2)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, use_cache: bool | None = None
    ) -> Out:
        """Attends to what is not masked."""
        if use_cache:
            torch.hub.load("a", "b")
        mask = None if mask is None else padded(mask)
        step = sliding if self.config.heads == 3 else None
        hidden = self.block(self.prepared(x), mask)
        if HAS_KERNEL and step is not None:
            hidden = step(hidden)
        return Out(hidden=hidden, pooled=self.cls(hidden))


class Decides(nn.Module):
    """Values decide, by what does not port: nothing is taken for granted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One of two things."""
        large = bool((torch.special.bessel_j0(x) > 2).any())
        if (torch.special.bessel_j0(x) > 2).any():
            return -x
        return x + 1 if large else x


class Tower(nn.Module):
    """A part that says where it is, and in which precision."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.fc.weight.dtype

    @property
    def device(self) -> torch.device:
        """Of its weights."""
        return self.fc.weight.device

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A layer."""
        return self.fc(x)


class Towers(nn.Module):
    """Asks a part where it is."""

    def __init__(self):
        super().__init__()
        self.tower, self.fc = Tower(), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The first layer is not trained."""
        device = self.tower.device
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
            y = self.tower(x.to(device).to(self.tower.dtype))
        return self.fc(y)


class Shifted(nn.Module):
    """Swin's layer, whose numbers the first image settles."""

    def __init__(self):
        super().__init__()
        self.window, self.shift, self.fc = 7, 3, nn.Linear(4, 4)

    def settle(self, size: int) -> None:
        """A window is no larger than the image."""
        if size <= self.window:
            self.shift = 0
            self.window = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rolled, or not."""
        self.settle(x.shape[1])
        return self.fc(x.roll(self.shift, 1)) * self.window


class ConfigDict:
    """A configuration with its entries as attributes, of a package for such."""

    def __init__(self, **fields):
        vars(self)["_fields"] = fields

    def __getattr__(self, name):
        try:
            return self._fields[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __getitem__(self, name):
        return self._fields[name]

    def keys(self):
        return self._fields.keys()


class ConfigList(UserList):
    """Its list."""


class Configured(nn.Module):
    """A model that reads one in its constructor and in forward."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(3, width) for width in config.model.sizes)

    def forward(self, x):
        model = self.config["model"]
        assert "scale" in self.config.model.keys()
        return self.layers[0](x) * model.scale + len(self.config.model.sizes)
