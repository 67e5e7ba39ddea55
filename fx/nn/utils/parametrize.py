"""torch.nn.utils.parametrize's names."""

from fx.nn.parametrize import ParametrizationList as ParametrizationList
from fx.nn.parametrize import register_parametrization as register_parametrization
