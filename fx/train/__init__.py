"""What a training run is made of: state, step, evaluation, loop."""

from fx.train.callbacks import Event as Event
from fx.train.callbacks import JsonLog as JsonLog
from fx.train.callbacks import TensorBoard as TensorBoard
from fx.train.loop import Result as Result
from fx.train.loop import fit as fit
from fx.train.predict import make_eval as make_eval
from fx.train.predict import predict as predict
from fx.train.state import TrainState as TrainState
from fx.train.state import create as create
from fx.train.step import Step as Step
from fx.train.step import make_step as make_step
