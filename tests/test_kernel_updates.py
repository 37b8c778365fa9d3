"""The optimizers' updates: the bits of their NumPy twins for every option, and what the raw kernels cannot take."""

import itertools

import numpy as np
import pytest
from guards import holding
from kernel_helpers import misaligned, read_only

from tinybn import kernels

# Tasks are of 8192 elements. Every other array is float32, the others are float64.
SHAPES = [(3, 5), (), (1,), (8192,), (0,), (8193,), (7, 1, 3), (100, 200), (2, 0, 3), (5,)]

SGD = [
    {
        "lr": 0.1,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
        "first": first,
    }
    for momentum, dampening, decay, nesterov, first in itertools.product(
        (0.0, 0.9), (0.0, 0.3), (0.0, 0.01), (False, True), (False, True)
    )
]
ADAM = [
    dict(
        zip(
            ("lr", "beta1", "beta2", "eps", "weight_decay", "decoupled", "mean_scale", "square_scale"), row, strict=True
        )
    )
    for row in itertools.product(
        (1e-3, 0.3), (0.9, 0.0), (0.999,), (1e-8, 0.1), (0.0, 0.01), (False, True), (1e-2, 0.37), (1.0, 31.6)
    )
]


COLUMNS = {"sgd": 3, "adam": 4}


def raw(kernel):
    compiled, _ = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled; their twins take anything")
    return compiled


def arrays(columns, shapes=SHAPES, special=()):
    """Lists of arrays: parameters, gradients, and states, the second of which is not negative."""
    rng, made = np.random.default_rng(0), []
    for column in range(columns):
        values = [
            np.asarray(rng.standard_normal(shape), ("float32", "float64")[i % 2]) for i, shape in enumerate(shapes)
        ]
        for array in values:
            array.reshape(-1)[: len(special)] = np.roll(special, column * 3)[: array.size]
        made.append([np.square(array) for array in values] if column == 3 else values)
    return [[np.asarray(array) for array in values] for values in made]


def updated(kernel, lists, options, threads=1):
    """What a call makes of copies of the lists, None among them, with guards around all that may be written."""
    guarded = [None if values is None else [holding(array) for array in values] for values in lists]
    views = [None if values is None else [array.view for array in values] for values in guarded]
    views[1] = [read_only(array) for array in lists[1]]
    assert kernel(*views, *options.values(), threads) is True
    for array in itertools.chain.from_iterable(values for values in guarded if values is not None):
        array.assert_clean_outside()
    for before, after in zip(lists[1], views[1], strict=True):
        assert before.tobytes() == after.tobytes(), "a gradient has changed"
    return [values for values in views if values is not None]


def as_bits(lists):
    return [[array.tobytes() for array in values] for values in lists]


@pytest.mark.parametrize("with_velocities", [True, False])
@pytest.mark.parametrize("options", SGD, ids=lambda options: ",".join(f"{value:g}" for value in options.values()))
def test_sgd_has_the_bits_of_its_twin_for_any_number_of_threads(options, with_velocities):
    kernel, twin = raw("sgd"), kernels.KERNELS["sgd"][1]
    parameters, gradients, velocities = arrays(3)
    lists = [parameters, gradients, velocities if with_velocities else None]
    expected = as_bits(updated(twin, lists, options))
    for threads in (1, 2, 3, 4):
        assert as_bits(updated(kernel, lists, options, threads)) == expected, f"{threads} threads"


@pytest.mark.parametrize("options", ADAM, ids=lambda options: ",".join(f"{value:g}" for value in options.values()))
def test_adam_has_the_bits_of_its_twin_for_any_number_of_threads(options):
    kernel, twin, lists = raw("adam"), kernels.KERNELS["adam"][1], arrays(4)
    expected = as_bits(updated(twin, lists, options))
    for threads in (1, 2, 3, 4):
        assert as_bits(updated(kernel, lists, options, threads)) == expected, f"{threads} threads"


@pytest.mark.parametrize("which", ["compiled", "twin"])
def test_three_steps_by_the_formulas(which):
    """In float64, one number after the other."""
    sgd, adam = (raw(name) if which == "compiled" else kernels.KERNELS[name][1] for name in ("sgd", "adam"))
    (p, g, v), (q, _, m, s) = arrays(3, [(), (4,)]), arrays(4, [(), (4,)])
    p, g, v, q, m, s = (values[1:] for values in (p, g, v, q, m, s))
    value, velocity, other, mean, square = (array[0].copy() for array in (p, v, q, m, s))
    for step in range(3):
        assert sgd(p, g, v, 0.1, 0.9, 0.2, 0.01, True, step == 0, 1)
        decayed = g[0] + 0.01 * value
        velocity = decayed if step == 0 else 0.9 * velocity + 0.8 * decayed
        value = value - 0.1 * (decayed + 0.9 * velocity)

        assert adam(q, g, m, s, 0.1, 0.9, 0.99, 1e-3, 0.02, True, 0.3, 2.0, 1)
        other = other * (1 - 0.1 * 0.02)
        mean, square = 0.9 * mean + 0.1 * g[0], 0.99 * square + 0.01 * g[0] ** 2
        other = other - mean / (2 * np.sqrt(square) + 1e-3) * 0.3
    for got, wanted in ((p, value), (v, velocity), (q, other), (m, mean), (s, square)):
        np.testing.assert_allclose(got[0], wanted, rtol=1e-13)


FINITE = [0.0, -0.0, 1e-45, -1e-310, 3e38, -3e38]
ALL = [*FINITE, np.nan, np.inf, -np.inf]


@np.errstate(all="ignore")
@pytest.mark.parametrize(
    "kernel, special",
    [("sgd", ALL), ("adam", FINITE), ("adam", ALL)],
    ids=["sgd", "adam, finite", "adam"],
)
def test_special_values_are_those_of_the_twin(kernel, special):
    compiled, twin = raw(kernel), kernels.KERNELS[kernel][1]
    lists = arrays(COLUMNS[kernel], [(9,), (12,), (40,), (41,)], special)
    for options in SGD if kernel == "sgd" else ADAM:
        got, expected = updated(compiled, lists, options), updated(twin, lists, options)
        for one, other in zip(itertools.chain(*got), itertools.chain(*expected), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=str(options))


# --- what the raw kernels cannot take ---------------------------------------------------------------------------------

OPTIONS = {"sgd": SGD[-1], "adam": ADAM[-1]}
LAID = {
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1],
    "Fortran order": lambda x: x.copy("F"),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": read_only,
    "misaligned": misaligned,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "another float": lambda x: x.astype("float32" if x.dtype == "float64" else "float64"),
    "half": lambda x: x.astype("float16"),
    "integers": lambda x: x.astype("int64"),
    "a row less": lambda x: x[:-1].copy(),
}


@pytest.mark.parametrize("how", LAID)
@pytest.mark.parametrize("kernel", OPTIONS)
def test_it_returns_false_and_changes_nothing_where_it_cannot_take_one_of_them(kernel, how):
    for column, position in itertools.product(range(COLUMNS[kernel]), (0, 1, 2)):
        if how == "read-only" and column == 1:
            continue  # of gradients it does not matter
        lists = arrays(COLUMNS[kernel], [(4, 5), (9, 2), (3, 7)])
        lists[column][position] = LAID[how](lists[column][position])
        before = as_bits(lists)
        assert raw(kernel)(*lists, *OPTIONS[kernel].values(), 1) is False, (column, position)
        assert before == as_bits(lists), (column, position)


@pytest.mark.parametrize("kernel", OPTIONS)
def test_arrays_of_another_dtype_altogether_are_left_to_the_twin(kernel):
    for dtype in ("float16", "longdouble", "complex64"):
        lists = [[array.astype(dtype) for array in values] for values in arrays(COLUMNS[kernel], [(4, 5)])]
        before = as_bits(lists)
        assert raw(kernel)(*lists, *OPTIONS[kernel].values(), 1) is False
        assert before == as_bits(lists)


@pytest.mark.parametrize("kernel", OPTIONS)
def test_a_gradient_of_another_shape_and_the_same_size_is_not_taken(kernel):
    lists = arrays(COLUMNS[kernel], [(4, 5)])
    lists[1][0] = lists[1][0].reshape(5, 4)
    try:
        taken = raw(kernel)(*lists, *OPTIONS[kernel].values(), 1)
    except ValueError:
        taken = False
    assert not taken


@pytest.mark.parametrize("kernel", OPTIONS)
def test_lists_of_different_lengths_are_refused_and_empty_ones_are_not(kernel):
    for column in range(COLUMNS[kernel]):
        lists = arrays(COLUMNS[kernel], [(4, 5), (3,)])
        lists[column].pop()
        before = as_bits(lists)
        with pytest.raises(ValueError, match="different lengths"):
            raw(kernel)(*lists, *OPTIONS[kernel].values(), 1)
        assert before == as_bits(lists)
    assert raw(kernel)(*([] for _ in range(COLUMNS[kernel])), *OPTIONS[kernel].values(), 4) is True


@pytest.mark.parametrize("kernel", OPTIONS)
def test_what_is_no_list_is_refused(kernel):
    for column, wrong in itertools.product(range(COLUMNS[kernel]), (None, (), "")):
        lists = arrays(COLUMNS[kernel], [(4, 5)])
        if (kernel, column, wrong) != ("sgd", 2, None):  # no velocities
            lists[column] = wrong
            with pytest.raises(TypeError):
                raw(kernel)(*lists, *OPTIONS[kernel].values(), 1)
