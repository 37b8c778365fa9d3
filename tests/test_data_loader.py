"""Datasets and loaders: what a batch holds, in which order, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybn.data import DataLoader, Dataset, TensorDataset, digits
from tinybn.errors import DTypeError, ShapeError
from tinybn.random import default_generator, manual_seed


def make(n=10, **options):
    images = np.random.default_rng(0).integers(0, 256, (n, 4, 3), dtype=np.uint8)
    return Dataset(images, np.arange(n, dtype=np.uint8), **options)


def order(loader):
    return [y.tolist() for _, y in loader]


def test_dataset_keeps_bytes():
    data = make()
    assert len(data) == 10 and data.image_shape == (4, 3) and data.classes == 10
    image, label = data[3]
    assert image.shape == (4, 3) and image.dtype == np.uint8 and label == 3
    images, labels = data[2:4]
    assert np.shares_memory(images, data.images) and labels.tolist() == [2, 3] and labels.dtype == np.uint8
    images, labels = data[np.array([5, 1])]
    np.testing.assert_array_equal(images, data.images[[5, 1]])
    assert labels.tolist() == [5, 1]
    assert [int(label) for _, label in data] == list(range(10))


@pytest.mark.parametrize("index", [slice(2, 5), [2, 3, 4], np.array([2, 3, 4]), np.isin(np.arange(10), [2, 3, 4])])
def test_batch_and_take_pick_the_same(index):
    data = make(scale=255, classes=12, name="some")
    part = data.take(index)
    np.testing.assert_array_equal(part.images, data.images[2:5])
    assert (part.scale, part.classes, part.name, part.labels.tolist()) == (255, 12, "some", [2, 3, 4])
    inputs, targets = data.batch(index)
    assert inputs.shape == (3, 1, 4, 3) and inputs.dtype == np.float32 and inputs.flags.c_contiguous
    assert targets.dtype == np.int64 and targets.tolist() == [2, 3, 4]
    inputs[:] = targets[:] = 0  # copies: the dataset is unchanged
    assert data.labels.tolist() == list(range(10)) and data.images.any()


def test_pixels_are_divided_as_pytorch_divides_them():
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
    inputs, _ = Dataset(pixels, np.zeros(256, int)).batch(slice(None))
    np.testing.assert_array_equal(inputs.ravel(), np.arange(256, dtype=np.float32) / np.float32(255))
    inputs, _ = Dataset(pixels[:17], np.zeros(17, int), scale=16).batch(slice(None))
    np.testing.assert_array_equal(inputs.ravel(), np.arange(17) / 16)


def test_split():
    first, rest = make().split(7)
    assert first.labels.tolist() == list(range(7)) and rest.labels.tolist() == [7, 8, 9]
    assert [len(part) for part in make().split(0)] == [0, 10]
    for n in (-1, 11):
        with pytest.raises(ValueError, match=rf"split\({n}\): expected 0 … 10"):
            make().split(n)


@pytest.mark.parametrize(
    "images, labels, options, error, message",
    [
        (
            np.zeros((2, 3, 3)),
            np.zeros(2, int),
            {},
            DTypeError,
            "expected uint8 images and integer labels, got float64",
        ),
        (np.zeros((2, 3, 3), "u1"), np.zeros(2), {}, DTypeError, "got uint8, float64"),
        (np.zeros((2, 9), "u1"), np.zeros(2, int), {}, ShapeError, r"expected images \(N, H, W\).* got \(2, 9\)"),
        (np.zeros((2, 3, 3), "u1"), np.zeros(3, int), {}, ShapeError, r"got \(2, 3, 3\) and \(3,\)"),
        (
            np.zeros((2, 3, 3), "u1"),
            np.array([0, 5]),
            {"classes": 5},
            ValueError,
            "labels go from 0 to 5, expected 0 to 4",
        ),
        (np.zeros((2, 3, 3), "u1"), np.array([-1, 0]), {}, ValueError, "labels go from -1 to 0"),
        (np.full((2, 3, 3), 17, "u1"), np.zeros(2, int), {"scale": 16}, ValueError, "scale=16"),
        (np.zeros((2, 3, 3), "u1"), np.zeros(2, int), {"scale": 0}, ValueError, "scale=0"),
    ],
)
def test_dataset_refuses(images, labels, options, error, message):
    with pytest.raises(error, match=f"Dataset 'bad': .*{message}"):
        Dataset(images, labels, name="bad", **options)


@given(st.integers(0, 30), st.integers(1, 12), st.booleans(), st.booleans())
def test_every_epoch_is_a_permutation(n, batch_size, shuffle, drop_last):
    loader = DataLoader((np.arange(n),), batch_size, shuffle, drop_last=drop_last, generator=np.random.default_rng(n))
    batches = [batch.tolist() for (batch,) in loader]
    assert len(batches) == len(loader) == (n // batch_size if drop_last else -(-n // batch_size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen) == (n // batch_size * batch_size if drop_last else n)
    if not shuffle:
        assert seen == list(range(len(seen)))


def test_batches_of_images():
    data = digits().train
    loader = DataLoader(data, batch_size=100)
    start = 0
    for inputs, targets in loader:
        stop = start + len(targets)
        assert inputs.shape == (stop - start, 1, 8, 8) and inputs.dtype == np.float32 and targets.dtype == np.int64
        np.testing.assert_array_equal(inputs[:, 0] * 16, data.images[start:stop])
        np.testing.assert_array_equal(targets, data.labels[start:stop])
        start = stop
    assert start == len(data)


def test_inputs_and_targets_stay_together_when_shuffled():
    data = make()
    for inputs, targets in DataLoader(data, 3, shuffle=True, generator=np.random.default_rng(1)):
        np.testing.assert_array_equal(inputs, data.batch(targets)[0])


def test_shuffling_is_seeded():
    first, second = (DataLoader(make(), 4, shuffle=True, generator=np.random.default_rng(7)) for _ in range(2))
    epochs = [order(first) for _ in range(3)]
    assert epochs == [order(second) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    expected = np.random.default_rng(7)
    assert [[i for batch in epoch for i in batch] for epoch in epochs] == [
        expected.permutation(10).tolist() for _ in range(3)
    ]


def test_the_default_generator_serves():
    state = default_generator().bit_generator.state
    try:
        loader = DataLoader(make(), 4, shuffle=True)
        manual_seed(3)
        epoch = order(loader)
        manual_seed(3)
        assert order(loader) == epoch
        before = default_generator().bit_generator.state
        order(DataLoader(make(), 4))
        assert default_generator().bit_generator.state == before  # no shuffling, no draw
    finally:
        default_generator().bit_generator.state = state


def test_an_epoch_resumes_from_the_state_of_the_generator():
    generator = np.random.default_rng(5)
    loader = DataLoader(make(), 4, shuffle=True, generator=generator)
    order(loader)
    state = generator.bit_generator.state
    epoch = order(loader)
    generator.bit_generator.state = state
    assert order(loader) == epoch


def test_iterators_are_independent():
    alone = DataLoader(make(), 3, shuffle=True, generator=np.random.default_rng(2))
    expected = [order(alone), order(alone)]
    loader = DataLoader(make(), 3, shuffle=True, generator=np.random.default_rng(2))
    a, b = iter(loader), iter(loader)  # the orders are drawn here, in this order
    steps = [(y.tolist(), x.tolist()) for (_, x), (_, y) in zip(b, a, strict=True)]
    assert [[s for s, _ in steps], [t for _, t in steps]] == expected


def test_tuples_tensor_datasets_and_whatever_can_be_indexed():
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    for data in ((x, y), TensorDataset(x, y)):
        (first, targets), *_ = DataLoader(data, 4)
        np.testing.assert_array_equal(first, x[:4])
        assert first.dtype == np.float64 and targets.tolist() == [0, 1, 2, 3]
        first[:] = 0  # a copy
    assert x[0, 1] == 1
    assert [batch.tolist() for batch in DataLoader(y, 4)] == [[0, 1, 2, 3], [4, 5]]

    class Squares:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            assert isinstance(index, np.ndarray) and index.dtype == np.int64
            return {"x": index, "y": index**2}

    assert [batch["y"].tolist() for batch in DataLoader(Squares(), 3)] == [[0, 1, 4], [9, 16]]


def test_transform():
    (inputs, targets), *_ = DataLoader(make(), 4, transform=lambda x: x.reshape(len(x), -1) - 1)
    assert inputs.shape == (4, 12) and inputs.max() <= 0 and targets.tolist() == [0, 1, 2, 3]
    data = make()

    def in_place(x):
        x *= 0
        return x

    assert all(not x.any() for x, _ in DataLoader(data, 4, transform=in_place)) and data.images.any()
    assert [batch.tolist() for batch in DataLoader(np.arange(3), 2, transform=np.negative)] == [[0, -1], [-2]]


def test_tensor_dataset_refuses():
    for arrays in ((), (np.zeros(3), np.zeros(4)), (np.float32(1),)):
        with pytest.raises(ShapeError, match="expected one or more arrays of one length"):
            TensorDataset(*arrays)


@pytest.mark.parametrize(
    "dataset, options, error, message",
    [
        (make(), {"batch_size": 0}, ValueError, "batch_size=0, expected an integer of at least 1"),
        (make(), {"batch_size": True}, ValueError, "batch_size=True"),
        (make(), {"batch_size": 2.0}, TypeError, r"batch_size=2\.0"),
        (make(), {"batch_size": None}, TypeError, "batch_size=None"),
        (make(), {"transform": 3}, TypeError, "transform=3"),
        ([(1, 2)], {}, TypeError, "dataset is a list"),
        (iter([]), {}, TypeError, "dataset is a list_iterator"),
        (digits(), {}, TypeError, r"its \.train or its \.test"),
    ],
)
def test_loader_refuses(dataset, options, error, message):
    with pytest.raises(error, match=f"DataLoader: .*{message}"):
        DataLoader(dataset, **options)


def test_a_seed_is_no_generator():
    with pytest.raises(TypeError, match=r"generator is 0; expected a NumPy generator"):
        DataLoader((np.zeros(3),), generator=0)
