"""torch's optimizers and learning-rate schedules, on optax's transformations."""

from fx.optim.learning_rate import ScaleByLearningRateState as ScaleByLearningRateState
from fx.optim.learning_rate import Schedule as Schedule
from fx.optim.learning_rate import current_lr as current_lr
from fx.optim.learning_rate import scale_by_learning_rate as scale_by_learning_rate
from fx.optim.optimizers import adam as adam
from fx.optim.optimizers import adamw as adamw
from fx.optim.optimizers import rmsprop as rmsprop
from fx.optim.optimizers import sgd as sgd
from fx.optim.schedules import constant_lr as constant_lr
from fx.optim.schedules import cosine_annealing_lr as cosine_annealing_lr
from fx.optim.schedules import exponential_lr as exponential_lr
from fx.optim.schedules import linear_lr as linear_lr
from fx.optim.schedules import multi_step_lr as multi_step_lr
from fx.optim.schedules import step_lr as step_lr
