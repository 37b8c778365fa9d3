"""The 1,797 small handwritten digits that come with tinybn: what works without a network."""

from pathlib import Path

import numpy as np

from tinybn.data.dataset import Dataset, TrainTest

_TRAIN = 1437  # four fifths


def digits() -> TrainTest:
    """Handwritten digits of 8×8 pixels: 1,437 images to train and 360 to test, ten classes.

    Each pixel counts the ink in a 4×4 block of a 32×32 bitmap: 0 … 16, which is the ``scale`` of the datasets.

    The split is the order of the source: the first 1,437 images train, the last 360 test. Thirteen people wrote the
    digits, and the source keeps the images of one person mostly together but does not name the writers. So the test
    holds mostly people whose writing the model has not seen, as in MNIST, though one or two may be in both parts. A
    shuffled split would be an easier test.

    Returns:
        ``train`` and ``test``, a ``Dataset`` each: uint8 images (N, 8, 8), uint8 labels (N,), scale 16.

    Reference:
        E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
        https://doi.org/10.24432/C50P49, CC BY 4.0. These are the 1,797 images of its test part.

    >>> train, test = digits()
    >>> train, test
    (Dataset('digits train': 1437 of 8×8, 10 classes), Dataset('digits test': 360 of 8×8, 10 classes))
    >>> image, label = train[0]
    >>> int(label), int(image.max())
    (0, 15)
    """
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        images, labels = file["images"], file["labels"]
    return TrainTest(
        Dataset(images[:_TRAIN], labels[:_TRAIN], scale=16, name="digits train", classes=10),
        Dataset(images[_TRAIN:], labels[_TRAIN:], scale=16, name="digits test", classes=10),
    )
