"""PyTorch as the reference. Without it the tests that ask for it are skipped, or fail if TINYBN_REQUIRE_TORCH=1."""

import os
from typing import Any

import numpy as np
import pytest


def load_torch() -> Any:
    """The module; call it inside a test, so that the file's other tests run without it."""
    if os.environ.get("TINYBN_REQUIRE_TORCH") != "1":
        return pytest.importorskip("torch")
    try:
        import torch
    except ImportError as error:
        pytest.fail(f"TINYBN_REQUIRE_TORCH=1, but torch cannot be imported: {error}")
    return torch


def to_torch(value: Any, requires_grad: bool = False) -> Any:
    """An array as a torch tensor with a memory of its own, indices as int64; tuples one by one; all else as it is."""
    if type(value) is tuple:
        return tuple(to_torch(part) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    dtype = np.int64 if value.dtype == np.int32 else value.dtype
    tensor = load_torch().tensor(value.tolist(), dtype=torch_dtype(dtype)).reshape(value.shape)
    return tensor.requires_grad_(requires_grad)


def torch_dtype(dtype: Any) -> Any:
    """A NumPy dtype as torch's."""
    return getattr(load_torch(), np.dtype(dtype).name)


def to_numpy(tensor: Any) -> Any:
    return tensor.detach().numpy()
