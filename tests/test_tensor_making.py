"""How tensors come about: data, random numbers, dtypes and their promotion."""

import itertools
import operator

import numpy as np
import pytest
from helpers import ARITHMETIC
from oracle import load_torch, torch_dtype

import tinybn as tb
from tinybn.errors import DTypeError

# --- making -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.5, 2], np.float32),
        (3, np.int64),
        ([1, 2], np.int64),
        (True, np.bool_),
        ([[True], [False]], np.bool_),
        ([], np.float32),
        (np.float64(1), np.float64),
        (np.float16(1), np.float16),
        (np.zeros(2), np.float64),
        (np.zeros(2, np.uint8), np.uint8),
        (range(3), np.int64),
    ],
)
def test_tensor_chooses_a_dtype(data, dtype):
    assert tb.tensor(data).dtype == dtype
    assert tb.tensor(data, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("data", ["text", [None], [1j], [object()]])
def test_tensor_takes_only_numbers(data):
    with pytest.raises(DTypeError, match="expected numbers or bools"):
        tb.tensor(data)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: tb.zeros(2, 3), np.zeros((2, 3), np.float32)),
        (lambda: tb.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (lambda: tb.zeros(()), np.zeros((), np.float32)),
        (lambda: tb.ones(2, dtype=np.float64), np.ones(2)),
        (lambda: tb.full((2,), 7), np.full(2, 7)),
        (lambda: tb.full(2, 0.5), np.full(2, 0.5, np.float32)),
        (lambda: tb.full((1,), True), np.array([True])),
        (lambda: tb.arange(3), np.arange(3)),
        (lambda: tb.arange(1, 7, 2), np.arange(1, 7, 2)),
        (lambda: tb.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (lambda: tb.arange(3.0), np.arange(3, dtype=np.float32)),
        (lambda: tb.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)),
        (lambda: tb.eye(2), np.eye(2, dtype=np.float32)),
        (lambda: tb.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
        (lambda: tb.zeros_like(tb.tensor([1, 2])), np.zeros(2, np.int64)),
        (lambda: tb.ones_like(np.zeros(2)), np.ones(2)),
        (lambda: tb.ones_like(tb.tensor([1, 2]), dtype=np.float32), np.ones(2, np.float32)),
        (lambda: tb.full_like(tb.zeros(2), 3), np.full(2, 3, np.float32)),
    ],
)
def test_creation(made, expected):
    got = made()
    assert isinstance(got, tb.Tensor) and got.dtype == expected.dtype and not got.requires_grad
    np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("make", [tb.zeros, tb.ones, tb.rand, tb.randn])
def test_creation_with_requires_grad(make):
    assert make(2, requires_grad=True).requires_grad


def test_tensor_copies_and_keeps_the_layout():
    channels_last = np.arange(24.0).reshape(1, 2, 3, 4).transpose(0, 3, 1, 2)
    for source in (channels_last, tb.from_numpy(channels_last)):
        x = tb.tensor(source)
        assert not np.shares_memory(x.data, channels_last) and x.data.strides == channels_last.strides


def test_from_numpy_shares():
    array = np.zeros((2, 3))[:, ::-1]
    x = tb.from_numpy(array)
    assert np.shares_memory(x.data, array)
    array[0, 0] = 5
    assert x.data[0, 0] == 5
    with pytest.raises(TypeError, match="expected a NumPy array, got list"):
        tb.from_numpy([1.0])


def test_as_tensor():
    x, array = tb.ones(2), np.ones(2)
    assert tb.as_tensor(x) is x
    assert np.shares_memory(tb.as_tensor(array).data, array)
    assert tb.as_tensor(array, np.float32).dtype == np.float32
    assert tb.as_tensor([1, 2]).dtype == np.int64


@pytest.mark.parametrize("make", [tb.tensor, tb.from_numpy, tb.as_tensor])
def test_byte_swapped_input_becomes_native(make):
    x = make(np.array([1.0, 2.0], dtype=np.dtype(np.float32).newbyteorder()))
    assert x.dtype == np.float32 and x.dtype.isnative and (x * 2).tolist() == [2.0, 4.0]


# --- random numbers ---------------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda **options: tb.rand(100, **options),
    "randn": lambda **options: tb.randn(100, **options),
    "randint": lambda **options: tb.randint(0, 9, (100,), **options),
    "dropout": lambda **options: tb.functional.dropout(tb.ones(100), **options),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_the_same_seed_gives_the_same_bits(draw):
    tb.manual_seed(3)
    first, second = draw().tolist(), draw().tolist()
    generator = tb.manual_seed(3)
    assert generator is tb.default_generator()
    assert draw().tolist() == first != second
    tb.manual_seed(4)
    assert draw().tolist() != first


@every_draw
def test_generator_is_used_and_the_default_one_left_alone(draw):
    tb.manual_seed(3)
    expected = tb.rand(1).item()
    tb.manual_seed(3)
    first, second = (draw(generator=np.random.default_rng(5)).tolist() for _ in range(2))
    assert first == second
    assert tb.rand(1).item() == expected


def test_ranges_of_random_numbers():
    generator = np.random.default_rng(0)
    uniform, whole = tb.rand(1000, generator=generator), tb.randint(2, 5, 1000, generator=generator)
    assert uniform.dtype == np.float32 and bool((uniform >= 0).all()) and bool((uniform < 1).all())
    assert whole.dtype == np.int64 and set(whole.tolist()) == {2, 3, 4}
    assert tb.randn(2, dtype=np.float64, generator=generator).dtype == np.float64


# --- dtypes -----------------------------------------------------------------------------------------------------------

SCALARS = [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.int8(2), np.bool_(True)]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
@pytest.mark.parametrize("symbol", ARITHMETIC)
def test_float32_stays_with_any_scalar(symbol, scalar):
    op = ARITHMETIC[symbol]
    for data in ([1.0, 2.0], 1.0):
        x = tb.tensor(data, requires_grad=True)
        for y in (op(x, scalar), op(scalar, x)):
            assert y.dtype == np.float32
            y.sum().backward()
            assert x.grad.dtype == np.float32
    assert tb.maximum(x, scalar).dtype == tb.where(x > 0, x, scalar).dtype == x.clamp(scalar).dtype == np.float32


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_, np.float16, np.float64], ids=lambda d: d.__name__)
def test_scalars_promote_as_in_pytorch(dtype, scalar):
    torch = load_torch()
    python = scalar.item() if isinstance(scalar, np.generic) else scalar
    for shape in ((2,), ()):
        expected = torch.result_type(torch.ones(shape, dtype=torch_dtype(dtype)), python)
        x = tb.tensor(np.ones(shape, dtype))
        assert torch_dtype((x * scalar).dtype) == torch_dtype((scalar * x).dtype) == expected


DTYPES = [np.bool_, np.uint8, np.int8, np.int32, np.int64, np.float16, np.float32, np.float64]
PAIRS = list(itertools.product(DTYPES, [(), (2,)], DTYPES, [(), (2,)]))


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/"])
def test_tensors_promote_as_in_pytorch(symbol):
    torch = load_torch()
    op = ARITHMETIC[symbol]
    wrong = []
    for a, shape_a, b, shape_b in PAIRS:
        if symbol == "-" and np.bool_ in (a, b):  # neither library subtracts bools
            continue
        theirs = op(torch.ones(shape_a, dtype=torch_dtype(a)), torch.ones(shape_b, dtype=torch_dtype(b)))
        x, y = np.ones(shape_a, a), np.ones(shape_b, b)
        for ours in (op(tb.tensor(x), tb.tensor(y)), op(tb.tensor(x), y), op(x, tb.tensor(y))):
            if torch_dtype(ours.dtype) != theirs.dtype:
                wrong.append(f"{a.__name__}{shape_a} {symbol} {b.__name__}{shape_b}: {ours.dtype}, not {theirs.dtype}")
    assert not wrong, "\n".join(wrong)


def test_division_of_large_integers_by_float64_is_exact():
    big = 2**24 + 1  # float32 has no such number
    assert (tb.tensor([big]) / np.ones(1)).tolist() == (np.array([big]) / tb.tensor(np.ones(1))).tolist() == [big]


def test_division_of_integers_gives_float32():
    for y in (tb.tensor([1, 2]) / 2, 2 / tb.tensor([1, 2]), tb.tensor([True]) / tb.tensor([2])):
        assert y.dtype == np.float32


def test_gradients_flow_through_promotion():
    x, y = tb.tensor([1.0, 2.0], requires_grad=True), tb.tensor(np.array([3.0, 4.0]), requires_grad=True)
    z = x * y
    assert z.dtype == np.float64
    z.sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [3.0, 4.0])
    assert (y.grad.dtype, y.grad.tolist()) == (np.float64, [1.0, 2.0])


@pytest.mark.parametrize("product", [operator.matmul, tb.matmul, lambda x, y: tb.functional.linear(x, y.T)])
def test_products_refuse_mixed_dtypes(product):
    with pytest.raises(DTypeError, match=r"float32.*float64"):
        product(tb.ones(2, 3), tb.ones(3, 2, dtype=np.float64))


def test_casts():
    x = tb.tensor([1.5, -2.5], requires_grad=True)
    assert x.to(np.float32) is x.float() is x
    assert x.double().dtype == np.float64 and x.detach().to(np.int64).tolist() == [1, -2]
    (x.double() * 3).sum().backward()
    assert x.grad.dtype == np.float32


def test_mean_refuses_integers():
    with pytest.raises(DTypeError, match=r"expected a floating tensor, got int64; use \.float\(\)"):
        tb.tensor([1, 2]).mean()


def test_numbers_that_do_not_fit_wrap_around_as_in_pytorch():
    torch = load_torch()
    x, theirs = tb.tensor([1, 200], dtype=np.uint8), torch.tensor([1, 200], dtype=torch.uint8)
    for number in (-1, 300, 2):
        for y, z in ((x + number, theirs + number), (x * number, theirs * number), (number - x, number - theirs)):
            assert y.dtype == np.uint8 and y.tolist() == z.tolist()
