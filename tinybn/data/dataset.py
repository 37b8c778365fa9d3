"""Datasets in memory: labelled images kept as bytes, and arrays that are indexed together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinybn._typing import Array
from tinybn.errors import DTypeError, ShapeError

Index = slice | Sequence[int] | Array


class Dataset:
    """Labelled grey images, kept as bytes until a batch is asked for.

    ``input = image / scale``, so that pixels become 0 … 1

    Args:
        images: uint8, (N, H, W). Not copied.
        labels: integers in 0 … classes − 1, (N,). Not copied.
        scale: the value of a full pixel; 255 by default.
        name: what the dataset is called where it is reported; "images" by default.
        classes: the number of classes; by default the largest label plus one.

    Raises:
        DTypeError: images are not uint8, or labels not integers.
        ShapeError: images are not (N, H, W), or labels not (N,).
        ValueError: a label outside 0 … classes − 1, or a pixel above the scale.

    >>> data = Dataset(np.full((5, 2, 2), 51, np.uint8), np.arange(5))
    >>> data
    Dataset('images': 5 of 2×2, 5 classes)
    >>> inputs, targets = data.batch([0, 3])
    >>> inputs.shape, float(inputs[0, 0, 0, 0]), targets
    ((2, 1, 2, 2), 0.20000000298023224, array([0, 3]))
    """

    def __init__(
        self, images: Array, labels: Array, *, scale: int = 255, name: str = "images", classes: int | None = None
    ) -> None:
        images, labels = np.asarray(images), np.asarray(labels)
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise DTypeError(
                f"Dataset {name!r}: expected uint8 images and integer labels, got {images.dtype}, {labels.dtype}"
            )
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ShapeError(
                f"Dataset {name!r}: expected images (N, H, W) and labels (N,), got {images.shape} and {labels.shape}"
            )
        low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, -1)
        self.classes = high + 1 if classes is None else classes
        if low < 0 or high >= self.classes:
            raise ValueError(f"Dataset {name!r}: labels go from {low} to {high}, expected 0 to {self.classes - 1}")
        if not 0 < scale <= 255 or (scale < 255 and images.size and images.max() > scale):
            raise ValueError(f"Dataset {name!r}: scale={scale} is not in 1 … 255, or there are pixels above it")
        self.images = images
        self.labels = labels
        self.scale = scale
        self.name = name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | Index) -> tuple[Array, Array]:
        """Images and labels as they are stored, in bytes; a slice gives views.

        >>> image, label = Dataset(np.zeros((5, 2, 2), np.uint8), np.arange(5))[3]
        >>> image.dtype, image.shape, int(label)
        (dtype('uint8'), (2, 2), 3)
        """
        return self.images[index], self.labels[index]

    def __repr__(self) -> str:
        height, width = self.image_shape
        return f"Dataset({self.name!r}: {len(self)} of {height}×{width}, {self.classes} classes)"

    @property
    def image_shape(self) -> tuple[int, int]:
        """(H, W)"""
        height, width = self.images.shape[1:]
        return height, width

    def batch(self, index: Index) -> tuple[Array, Array]:
        """What a model takes: new arrays, inputs float32 in 0 … 1 (B, 1, H, W) and targets int64 (B,).

        ``data.batch(slice(None))`` is the whole dataset: four times the bytes of the images.
        """
        # For 128 MNIST images: 26 µs; np.divide(…, dtype=np.float32) 27; a table of 256 floats, with take, 81. Times
        # 1/255 would be 19, the fastest, but rounds some values differently from the division, which is PyTorch's.
        inputs = self.images[index].astype(np.float32)
        inputs /= np.float32(self.scale)
        return inputs[:, None], self.labels[index].astype(np.int64)

    def take(self, index: Index) -> "Dataset":
        """The dataset of the images that a slice (without a copy) or an array of integers picks.

        >>> Dataset(np.zeros((5, 2, 2), np.uint8), np.arange(5)).take(slice(0, None, 2))
        Dataset('images': 3 of 2×2, 5 classes)
        """
        return Dataset(self.images[index], self.labels[index], scale=self.scale, name=self.name, classes=self.classes)

    def split(self, n: int) -> tuple["Dataset", "Dataset"]:
        """The first ``n`` images and the rest, for instance to train and to validate.

        Raises:
            ValueError: ``n`` is not in 0 … len(self).

        >>> Dataset(np.zeros((5, 2, 2), np.uint8), np.arange(5)).split(4)
        (Dataset('images': 4 of 2×2, 5 classes), Dataset('images': 1 of 2×2, 5 classes))
        """
        if not 0 <= n <= len(self):
            raise ValueError(f"Dataset {self.name!r}: split({n}): expected 0 … {len(self)}, the number of images")
        return self.take(slice(n)), self.take(slice(n, None))


class TrainTest(NamedTuple):
    """The two parts in which a dataset is published."""

    train: Dataset
    test: Dataset


class TensorDataset:
    """Arrays or Tensors that are indexed together along their first axis, as ``torch.utils.data.TensorDataset``.

    Args:
        tensors: one or more, of one length. What has no ``shape`` becomes an array.

    Raises:
        ShapeError: the lengths differ, or there is nothing to index.

    >>> data = TensorDataset(np.arange(6.0).reshape(3, 2), [0, 1, 2])
    >>> len(data), data[np.array([2, 0])]
    (3, (array([[4., 5.],
           [0., 1.]]), array([2, 0])))
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if hasattr(t, "shape") else np.asarray(t) for t in tensors)
        shapes = [tuple(t.shape) for t in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"TensorDataset: expected one or more arrays of one length, got shapes {shapes}")

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(t[index] for t in self.tensors)
