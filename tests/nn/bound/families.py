"""Every family of draws by name."""

from tests.nn.bound.losses import LOSSES
from tests.nn.bound.plain import PLAIN
from tests.nn.bound.sequences import SEQUENCES
from tests.nn.bound.spatial import SPATIAL

FAMILIES = {**SPATIAL, **PLAIN, **LOSSES, **SEQUENCES}
