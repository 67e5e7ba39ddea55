"""torch's optimizers and learning-rate schedules, on optax's transformations.

The optimizers have torch's names in lower case, its arguments, order, defaults and numbers. Each
starts with `lr`, a number or a schedule; `current_lr` reads it from the state. Like every optax
optimizer they take gradients to updates:

    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)

Left out are torch's `foreach`, `fused`, `capturable` and `differentiable`, which choose among its
implementations: here XLA compiles every update, and derivatives pass through all but `lbfgs`.
`SparseAdam` is left out because JAX has no sparse gradients: that of an embedding is a dense array,
so its rule, to leave alone the rows that a batch did not touch, would find none.
"""

from typing import TYPE_CHECKING

from fx.optim.adafactor import adafactor as adafactor
from fx.optim.adagrad import adadelta as adadelta
from fx.optim.adagrad import adagrad as adagrad
from fx.optim.adam import adam as adam
from fx.optim.adam import adamax as adamax
from fx.optim.adam import adamw as adamw
from fx.optim.asgd import asgd as asgd
from fx.optim.averaging import AveragedState as AveragedState
from fx.optim.averaging import averaged_params as averaged_params
from fx.optim.averaging import with_ema as with_ema
from fx.optim.averaging import with_swa as with_swa
from fx.optim.batchnorm import update_bn as update_bn
from fx.optim.clip import clip_by_norm as clip_by_norm
from fx.optim.clip import clip_by_value as clip_by_value
from fx.optim.clip import clip_grad_norm as clip_grad_norm
from fx.optim.clip import clip_grad_value as clip_grad_value
from fx.optim.compose import chained_scheduler as chained_scheduler
from fx.optim.compose import per_epoch as per_epoch
from fx.optim.compose import sequential_lr as sequential_lr
from fx.optim.compose import swa_lr as swa_lr
from fx.optim.compose import warmup_cosine_lr as warmup_cosine_lr
from fx.optim.compose import warmup_linear_lr as warmup_linear_lr
from fx.optim.cycles import cosine_annealing_warm_restarts as cosine_annealing_warm_restarts
from fx.optim.cycles import cyclic_lr as cyclic_lr
from fx.optim.cycles import cyclic_momentum as cyclic_momentum
from fx.optim.cycles import one_cycle_lr as one_cycle_lr
from fx.optim.cycles import one_cycle_momentum as one_cycle_momentum
from fx.optim.groups import freeze as freeze
from fx.optim.groups import frozen as frozen
from fx.optim.groups import groups as groups
from fx.optim.groups import without_frozen as without_frozen
from fx.optim.layerwise import layerwise as layerwise
from fx.optim.lbfgs import lbfgs as lbfgs
from fx.optim.learning_rate import ScaleByLearningRateState as ScaleByLearningRateState
from fx.optim.learning_rate import Schedule as Schedule
from fx.optim.learning_rate import current_lr as current_lr
from fx.optim.learning_rate import current_lrs as current_lrs
from fx.optim.learning_rate import scale_by_learning_rate as scale_by_learning_rate
from fx.optim.lookahead import lookahead as lookahead
from fx.optim.muon import muon as muon
from fx.optim.nadam import nadam as nadam
from fx.optim.plateau import has_plateau as has_plateau
from fx.optim.plateau import observe as observe
from fx.optim.plateau import plateau_modes as plateau_modes
from fx.optim.plateau import reduce_lr_on_plateau as reduce_lr_on_plateau
from fx.optim.radam import radam as radam
from fx.optim.rmsprop import rmsprop as rmsprop
from fx.optim.rprop import rprop as rprop
from fx.optim.sam import sam as sam
from fx.optim.schedules import constant_lr as constant_lr
from fx.optim.schedules import cosine_annealing_lr as cosine_annealing_lr
from fx.optim.schedules import exponential_lr as exponential_lr
from fx.optim.schedules import lambda_lr as lambda_lr
from fx.optim.schedules import linear_lr as linear_lr
from fx.optim.schedules import multi_step_lr as multi_step_lr
from fx.optim.schedules import multiplicative_lr as multiplicative_lr
from fx.optim.schedules import polynomial_lr as polynomial_lr
from fx.optim.schedules import step_lr as step_lr
from fx.optim.sgd import sgd as sgd

_MODULES = {
    "lr_scheduler": "its schedules are functions of the step in optim, cosine_annealing_lr for "
    "CosineAnnealingLR, which an optimizer takes as its lr: optim.sgd(optim.step_lr(0.1, 30))",
    "swa_utils": "averages are optim.with_ema and optim.with_swa, around an optimizer, and "
    "optim.averaged_params; update_bn is optim.update_bn",
}

if not TYPE_CHECKING:  # or a type checker would take any name

    def __getattr__(name: str):
        own = {each.replace("_", ""): each for each in globals() if each.islower()}
        here = own.get(name.lower())
        hint = f"in fx it is the function optim.{here}" if here else _MODULES.get(name)
        said = f"; {hint}" if hint else ""
        raise AttributeError(f"module 'fx.optim' has no attribute {name!r}{said}")
