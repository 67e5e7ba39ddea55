"""torch.nn.utils.parametrizations's names."""

from fx.nn.orthogonal import orthogonal as orthogonal
from fx.nn.spectral_norm import spectral_norm as spectral_norm
from fx.nn.weight_norm import weight_norm as weight_norm
