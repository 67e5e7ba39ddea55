"""Data sets, splits, batches and image transforms."""

from fx.data import transforms
from fx.data.dataset import Dataset
from fx.data.loader import Loader
from fx.data.sources import cifar10, digits
from fx.data.splits import random_split

__all__ = ["Dataset", "Loader", "cifar10", "digits", "random_split", "transforms"]
