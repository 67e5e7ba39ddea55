from . import checkpoint as checkpoint
from . import data as data
from . import debug as debug
from . import deploy as deploy
from . import doctor as doctor
from . import evaluate as evaluate
from . import functional as functional
from . import interop as interop
from . import models as models
from . import nn as nn
from . import optim as optim
from . import train as train
from .deploy import export as export
from .deploy import load_bundle as load_bundle
from .interop.compare import compare as compare
from .interop.flax import from_flax as from_flax
from .interop.state_dict import load_state_dict as load_state_dict
from .interop.state_dict import state_dict as state_dict
from .interop.torch_arrays import from_torch as from_torch
from .interop.torch_arrays import to_torch as to_torch
from .interop.weights import read_weights as read_weights
from .interop.weights import write_weights as write_weights
from .nn.summary import summary as summary
from .runtime import configure as configure
from .train import fit as fit

__version__: str
