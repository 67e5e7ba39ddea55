"""Data sets, splits, batches and image transforms."""

from fx.data import host, transforms
from fx.data.collate import PadCollate, stack
from fx.data.dataset import Dataset
from fx.data.epochs import steps_per_epoch
from fx.data.examples import Examples, Stream, from_torch
from fx.data.folders import image_folder, memory_mapped
from fx.data.folds import fold_rows, k_fold, stratified_k_fold, stratified_split
from fx.data.grain_loader import from_grain
from fx.data.huggingface import from_huggingface
from fx.data.loader import Loader
from fx.data.reading import ReadError
from fx.data.records import from_array_record, tfds
from fx.data.sampling import WeightedSampler
from fx.data.sources import cifar10, digits
from fx.data.splits import random_split
from fx.data.streams import StreamLoader
from fx.data.views import Source, concat, subset

__all__ = [
    "Dataset",
    "Examples",
    "Loader",
    "PadCollate",
    "ReadError",
    "Source",
    "Stream",
    "StreamLoader",
    "WeightedSampler",
    "cifar10",
    "concat",
    "digits",
    "fold_rows",
    "from_array_record",
    "from_grain",
    "from_huggingface",
    "from_torch",
    "host",
    "image_folder",
    "k_fold",
    "memory_mapped",
    "random_split",
    "stack",
    "steps_per_epoch",
    "stratified_k_fold",
    "stratified_split",
    "subset",
    "tfds",
    "transforms",
]
