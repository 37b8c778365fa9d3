"""Blocks whose order is an argument: a weight with what goes around it, and residual blocks."""

from tinybn.nn.blocks.plain import ConvBlock, LinearBlock
from tinybn.nn.blocks.residual import ResidualBlock, ResidualLinearBlock

__all__ = ["ConvBlock", "LinearBlock", "ResidualBlock", "ResidualLinearBlock"]
