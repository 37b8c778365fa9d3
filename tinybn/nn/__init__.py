"""Layers and containers, under the names and with the arguments of ``torch.nn``."""

from tinybn.nn import init
from tinybn.nn.activation import ReLU, Sigmoid, Tanh
from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv2d
from tinybn.nn.dropout import Dropout
from tinybn.nn.linear import Flatten, Linear
from tinybn.nn.loss import CrossEntropyLoss
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm1d, BatchNorm2d
from tinybn.nn.parameter import Parameter
from tinybn.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "init",
]
