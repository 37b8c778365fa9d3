"""Datasets and loaders: MNIST, the digits that come with tinybn, and batches of whatever can be indexed."""

from tinybn.data.dataset import Dataset, TensorDataset, TrainTest
from tinybn.data.digits import digits
from tinybn.data.download import DataUnavailableError
from tinybn.data.idx import parse_idx, read_idx
from tinybn.data.loader import DataLoader
from tinybn.data.mnist import mnist

__all__ = [
    "DataLoader",
    "DataUnavailableError",
    "Dataset",
    "TensorDataset",
    "TrainTest",
    "digits",
    "mnist",
    "parse_idx",
    "read_idx",
]
