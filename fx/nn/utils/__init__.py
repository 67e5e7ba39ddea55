"""torch.nn.utils's names, by its modules."""

from fx.nn.spectral_norm import older_spectral_norm as spectral_norm
from fx.nn.utils import parametrizations as parametrizations
from fx.nn.utils import parametrize as parametrize
from fx.nn.utils import rnn as rnn
from fx.nn.utils.convert_parameters import parameters_to_vector as parameters_to_vector
from fx.nn.utils.convert_parameters import vector_to_parameters as vector_to_parameters
from fx.nn.weight_norm import older_weight_norm as weight_norm

__all__ = [
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
