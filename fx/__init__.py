"""PyTorch's workflow as pure functions, compiled by XLA.

Every public name is listed in `__init__.pyi` and imported on first use.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
