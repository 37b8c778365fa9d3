"""The same as `tinybn.functional`, under PyTorch's path: ``import tinybn.nn.functional as F``."""

# ruff: noqa: F403  # all that tinybn.functional offers

from tinybn.functional import *
from tinybn.functional import __all__ as __all__
