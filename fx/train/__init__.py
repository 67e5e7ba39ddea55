"""What a training run is made of: state, step, evaluation, loop."""

from fx.train.loop import Result as Result
from fx.train.loop import fit as fit
from fx.train.lr_finder import LRRange as LRRange
from fx.train.lr_finder import find_lr as find_lr
from fx.train.many import ManyState as ManyState
from fx.train.many import Runs as Runs
from fx.train.many import fit_many as fit_many
from fx.train.many import tunable as tunable
from fx.train.predict import Evaluation as Evaluation
from fx.train.predict import make_eval as make_eval
from fx.train.predict import predict as predict
from fx.train.processes import distributed as distributed
from fx.train.sharding import Sharding as Sharding
from fx.train.sharding import data_parallel as data_parallel
from fx.train.sharding import fsdp as fsdp
from fx.train.state import TrainState as TrainState
from fx.train.state import create as create
from fx.train.step import Step as Step
from fx.train.step import make_step as make_step
from fx.train.watch.callbacks import JsonLog as JsonLog
from fx.train.watch.callbacks import TensorBoard as TensorBoard
from fx.train.watch.callbacks import WandB as WandB
from fx.train.watch.cost import Meter as Meter
from fx.train.watch.event import Event as Event
from fx.train.watch.event import Stop as Stop
from fx.train.watch.profile import profiled as profiled
