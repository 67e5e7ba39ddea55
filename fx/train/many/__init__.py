"""Many runs of one recipe as an axis: seeds, learning rates, folds."""

from fx.train.many.fit import fit_many as fit_many
from fx.train.many.runs import Runs as Runs
from fx.train.many.together import ManyState as ManyState
