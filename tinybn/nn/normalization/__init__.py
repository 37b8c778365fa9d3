"""Normalization layers: batch normalization in its variants, and those with statistics of each example's own."""

from tinybn.nn.normalization.batchnorm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from tinybn.nn.normalization.conventions import CONVENTIONS, Convention
from tinybn.nn.normalization.convert import convert_batch_norm, rename_batch_norm
from tinybn.nn.normalization.ghost import GhostBatchNorm1d, GhostBatchNorm2d
from tinybn.nn.normalization.momentum import BatchNormMomentum, exponential_momentum
from tinybn.nn.normalization.partial import (
    MeanOnlyBatchNorm1d,
    MeanOnlyBatchNorm2d,
    VarianceOnlyBatchNorm1d,
    VarianceOnlyBatchNorm2d,
)
from tinybn.nn.normalization.renorm import BatchRenorm1d, BatchRenorm2d
from tinybn.nn.normalization.rows import GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm

NORMALIZATIONS = BatchNorm, LayerNorm, GroupNorm, RMSNorm  # all layers that normalize are one of these

__all__ = [
    "CONVENTIONS",
    "NORMALIZATIONS",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormMomentum",
    "BatchRenorm1d",
    "BatchRenorm2d",
    "Convention",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "MeanOnlyBatchNorm1d",
    "MeanOnlyBatchNorm2d",
    "RMSNorm",
    "VarianceOnlyBatchNorm1d",
    "VarianceOnlyBatchNorm2d",
    "convert_batch_norm",
    "exponential_momentum",
    "rename_batch_norm",
]
