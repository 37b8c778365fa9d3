"""Normalization layers: batch normalization in its variants, and those with statistics of each example's own."""

from tinybn.nn.normalization.batchnorm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from tinybn.nn.normalization.conventions import CONVENTIONS, Convention
from tinybn.nn.normalization.rows import GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm

__all__ = [
    "CONVENTIONS",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Convention",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "RMSNorm",
]
