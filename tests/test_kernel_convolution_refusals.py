"""What the raw kernels of convolution cannot take is refused before anything is written; and what little they take."""

import inspect

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import misaligned, read_only

from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError

COPIED = (1, 2, 1, 1, 4, 6, 2)  # stride_h, stride_w, top, left; of a band's copy height and width; rows of windows
IN_PLACE = (1, 2, 0, 0, 4, 6, 2)


def valid(kernel, in_place=False):
    """The arguments of a call that is right: float32, two groups where there are any, 3·3 windows on (2, 4, 5, 3·2)."""
    rng = np.random.default_rng(0)

    def new(*shape):
        return rng.integers(-4, 5, shape).astype("float32")

    def filled(*shape, columns):
        return np.concatenate([new(*shape), np.zeros((*shape[:-1], columns - shape[-1]), "float32")], axis=-1)

    window, scratch = IN_PLACE if in_place else COPIED, new(3, 400)
    taps = np.array([0, 6, 36, 39], np.intp)
    given = {
        "correlate": (new(2, 3, 2, 4), new(2, 4, 5, 6), new(2, 12, 16), new(2, 16), taps, 3, scratch, window, 2),
        "correlate_weights": (new(2, 2, 4, 3), new(2, 4, 5, 6), new(2, 3, 2, 6), taps, scratch, window, 2, in_place, 2),
        "spread": (
            new(2, 4, 5, 3),
            new(2, 3, 2, 5),
            filled(5, 2, 6, columns=16),
            taps[1:3],
            6,
            scratch,
            (1, 2, 1, 1, 5, 6),
            2,
        ),
        "gather_weights": (new(2, 9, 16), new(8, 3, 2, 2), np.array([3, 0, 1], np.intp), False),
        "sum_weights": (new(8, 3, 2, 2), new(5, 2, 12, 4)),
        "transpose_planes": (new(2, 5, 3), new(2, 3, 5), 2),
    }[kernel]
    names = list(inspect.signature(kernels.KERNELS[kernel][1]).parameters)[: len(given)]  # the rest has defaults
    given = dict(zip(names, given, strict=True))
    if in_place and kernel == "correlate":
        given["scratch"] = None
    return given


KERNELS = ["correlate", "correlate_weights", "spread", "gather_weights", "sum_weights", "transpose_planes"]
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def raw(kernel):
    compiled, _ = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled; their twins take anything")
    return compiled


def call_refused(kernel, error, in_place=False, **changed):
    """Call a kernel with some arguments replaced: it must raise, and write nothing, to its scratch memory neither."""
    given = valid(kernel, in_place) | changed
    before = {name: value.tobytes() for name, value in given.items() if isinstance(value, np.ndarray)}
    with pytest.raises(error):
        raw(kernel)(*given.values())
    for name, value in before.items():
        assert value == given[name].tobytes(), f"{name} was written"


def arrays_of(kernel):
    return [name for name, value in valid(kernel).items() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
@every_kernel
def test_the_call_that_the_others_are_changed_from_is_right(kernel, in_place):
    given = valid(kernel, in_place)
    name, wanted = next(iter(given.items()))
    kernels.KERNELS[kernel][1](*given.values())
    written = {name: Guarded(wanted.shape, wanted.dtype)}
    if given.get("scratch") is not None:
        written["scratch"] = Guarded(given["scratch"].shape, wanted.dtype)
    raw(kernel)(*(given | {key: guarded.view for key, guarded in written.items()}).values())
    np.testing.assert_array_equal(written[name].view, wanted)
    for guarded in written.values():
        guarded.assert_clean_outside()


# --- one argument is wrong --------------------------------------------------------------------------------------------


@every_kernel
def test_another_number_of_axes_is_refused(kernel):
    for name in arrays_of(kernel):
        array = valid(kernel)[name]
        if name != "bias":  # its size alone counts
            fewer = array.ravel() if array.ndim > 1 else array.reshape(-1, 1)
            for wrong in (array[None], fewer, np.asarray(array[(0,) * array.ndim])):
                call_refused(kernel, (ShapeError, DTypeError), **{name: wrong})


WRONG_SIZES = {
    "correlate": {
        "y": [(1, 3, 2, 4), (2, 3, 8, 4), (2, 3, 2, 34)],
        "x": [(1, 4, 5, 6), (2, 4, 5, 2)],
        "matrix": [(2, 11, 16), (2, 13, 16), (2, 12, 24), (3, 12, 16), (2, 12, 0)],
        "bias": [(2, 15), (1, 16), (0,)],
        "scratch": [(1, 400), (3, 143), (0, 400)],
    },
    "correlate_weights": {
        "sums": [(2, 2, 5, 3), (2, 2, 3, 3), (2, 2, 4, 4), (2, 1, 4, 3), (0, 2, 4, 3)],
        "x": [(1, 4, 5, 6), (2, 4, 5, 2)],
        "dy": [(1, 3, 2, 6), (2, 3, 2, 5), (2, 3, 8, 6)],
        "scratch": [(1, 400), (3, 144), (0, 400)],
    },
    "spread": {
        "dx": [(1, 4, 5, 3), (2, 5, 5, 3), (2, 4, 6, 3), (2, 4, 5, 2)],
        "dy": [(1, 3, 2, 5), (2, 3, 2, 4), (2, 6, 2, 5), (2, 3, 4, 5)],
        "matrix": [(4, 2, 16), (5, 3, 16), (5, 1, 16), (5, 2, 24), (5, 2, 0)],
        "scratch": [(1, 400), (3, 105), (0, 400)],
    },
    "gather_weights": {
        "matrix": [(2, 8, 16), (2, 10, 16), (2, 9, 3), (1, 8, 16), (0, 9, 16)],
        "weight": [(8, 4, 2, 2), (8, 3, 1, 2), (40, 3, 2, 2)],
    },
    "sum_weights": {
        "weight": [(7, 3, 2, 2), (8, 2, 2, 2), (8, 3, 2, 3)],
        "sums": [(5, 2, 11, 4), (5, 2, 12, 3), (5, 1, 12, 4), (5, 0, 12, 4)],
    },
    "transpose_planes": {"out": [(1, 5, 3), (2, 4, 3), (2, 5, 4), (2, 3, 5)], "x": [(3, 3, 5), (2, 5, 3)]},
}


@every_kernel
def test_another_size_is_refused(kernel):
    for name, shapes in WRONG_SIZES[kernel].items():
        for shape in shapes:
            call_refused(kernel, ShapeError, **{name: np.zeros(shape, "float32")})


@every_kernel
def test_another_dtype_and_other_memory_are_refused(kernel):
    for name in arrays_of(kernel):
        array = valid(kernel)[name]
        changes = [array.astype(dtype) for dtype in ("float64", "float16", "int32", "complex64")]
        changes += [misaligned(array), array.astype(array.dtype.newbyteorder())]
        if (kernel, name) == ("gather_weights", "taps"):
            changes = changes[:4]
        elif (kernel, name) != ("correlate", "y"):
            changes += [np.repeat(array, 2, axis=-1)[..., ::2], array[::-1], np.broadcast_to(array[:1], array.shape)]
        else:  # its pixels may lie anywhere, but not its channels
            changes += [np.repeat(array, 2, axis=-1)[..., ::2], array[..., ::-1]]
        for changed in changes:
            call_refused(kernel, (ShapeError, DTypeError, ValueError), **{name: changed})


@pytest.mark.parametrize("name", ["x", "matrix", "bias", "scratch", "taps", "y"])
def test_one_argument_that_is_double_is_refused_as_such(name):
    call_refused("correlate", DTypeError, **{name: np.zeros_like(valid("correlate")[name], "float64")})


@pytest.mark.parametrize(
    "kernel, name",
    [
        ("correlate", "y"),
        ("correlate", "scratch"),
        ("correlate_weights", "sums"),
        ("correlate_weights", "scratch"),
        ("spread", "dx"),
        ("spread", "scratch"),
        ("gather_weights", "matrix"),
        ("sum_weights", "weight"),
        ("transpose_planes", "out"),
    ],
)
def test_a_read_only_output_is_refused(kernel, name):
    call_refused(kernel, (ValueError, TypeError), **{name: read_only(valid(kernel)[name])})


@pytest.mark.parametrize("memory", ["every other", "misaligned"])
def test_gather_weights_refuses_places_in_other_memory(memory):
    taps = np.array([3, 0, 0, 0, 1, 0], np.intp)[::2]
    call_refused("gather_weights", (ShapeError, DTypeError), taps=misaligned(taps) if memory == "misaligned" else taps)


@every_kernel
def test_what_is_no_array_is_refused(kernel):
    for name, value in valid(kernel).items():
        if isinstance(value, np.ndarray):
            call_refused(kernel, TypeError, **{name: [1.0, 2.0]})
            if name not in ("bias", "scratch"):
                call_refused(kernel, TypeError, **{name: None})
    if "window" in valid(kernel):
        call_refused(kernel, TypeError, window=list(valid(kernel)["window"]))
        for window in ((), valid(kernel)["window"][:-1], (*valid(kernel)["window"], 1)):
            call_refused(kernel, ValueError, window=window)


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
@pytest.mark.parametrize("kernel", ["correlate", "correlate_weights", "spread"])
def test_taps_that_reach_outside_are_refused(kernel, in_place):
    """The last value that the last window reads may be the last of its band, or of the image."""
    given = valid(kernel, in_place)
    taps, c = given["taps"], given["dx" if kernel == "spread" else "x"].shape[3]
    groups = {"correlate": 2, "correlate_weights": 2, "spread": 1}[kernel]
    _, q = given["y" if kernel == "correlate" else "dy"].shape[1:3]
    pitch, rows, values = {
        "correlate": (6 * c, 2, 4 * 6 * c),
        "correlate_weights": (6 * c, 2, 4 * 6 * c),
        "spread": (6 * c, 3, 5 * 6 * c),
    }[kernel]
    if in_place and kernel != "spread":
        pitch, rows, values = 5 * c, 3, 4 * 5 * c
    length = given.get("length", 1)
    most = values - (rows - 1) * pitch - (q - 1) * 2 * c - (groups - 1) * (c // groups) - length
    for changed, right in ((most, True), (most + 1, False), (-1, False), (2**40, False), (-(2**40), False)):
        moved = taps.copy()
        moved[1] = changed
        if right:
            raw(kernel)(*(valid(kernel, in_place) | {"taps": moved}).values())
        else:
            call_refused(kernel, ShapeError, in_place, taps=moved)


@pytest.mark.parametrize("kernel", ["correlate", "correlate_weights", "spread"])
def test_windows_that_reach_outside_are_refused(kernel):
    """Larger or no steps, a smaller copy, or no rows of windows in it, which spread does not have."""
    wrong = [(0, 3), (0, 0), (0, -1), (1, 12), (1, 0), (4, 2), (4, -1), (5, 3), (5, -1), (6, 0), (6, -2)]
    for position, value in wrong if kernel != "spread" else wrong[:-2]:
        window = list(valid(kernel)["window"])
        window[position] = value
        call_refused(kernel, ShapeError, window=tuple(window))


@pytest.mark.parametrize("kernel", ["correlate", "correlate_weights"])
@pytest.mark.parametrize("edge", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_windows_over_the_edge_need_a_copy(kernel, edge):
    call_refused(kernel, ShapeError, in_place=True, window=(1, 2, *edge, 4, 6, 2))


@pytest.mark.parametrize("edge", [(2, 1), (1, 2), (-1, 1), (1, -1)])
def test_spread_refuses_an_image_that_does_not_hold_the_output_and_its_edges(edge):
    call_refused("spread", ShapeError, window=(1, 2, *edge, 5, 6), scratch=Guarded((3, 400), "float32").view)


@pytest.mark.parametrize("place", [-1, 4, 2**40])
def test_gather_weights_refuses_a_place_that_the_weight_does_not_have(place):
    call_refused("gather_weights", ShapeError, taps=np.array([3, place, 1], np.intp))


def test_correlate_refuses_a_band_of_more_rows_than_there_are_windows():
    call_refused("correlate", ShapeError, window=(*COPIED[:6], 4))


# --- what they take ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_no_taps_leave_the_bias(bias):
    given = valid("correlate") | {"matrix": np.zeros((2, 0, 16), "float32"), "taps": np.zeros(0, np.intp)}
    given["bias"] = given["bias"] if bias else None
    kernels.KERNELS["correlate"][0 if kernels.COMPILED else 1](*given.values())
    expected = given["bias"][:, :2].ravel() if bias else np.zeros(4)
    np.testing.assert_array_equal(given["y"], np.broadcast_to(expected, given["y"].shape))


@pytest.mark.parametrize("kernel", ["correlate", "correlate_weights", "spread"])
def test_nothing_is_done_for_no_images(kernel):
    scratch = Guarded((2, 400), "float32")
    given = valid(kernel) | {"scratch": scratch.view}
    for name in {"y", "x", "dx", "dy"} & given.keys():
        given[name] = given[name][:0]
    raw(kernel)(*given.values())
    scratch.assert_untouched()
    if kernel == "correlate_weights":
        assert not given["sums"].any()
