"""Rows of ``tinybn/functional/pooling.py``."""

import numpy as np

from function_cases.row import Refused, Row, distinct, followed_by, integers, normal, values


def row(function, name, inputs, *, smooth=True, **options):
    empty = options.get("output_size") in (0, (0, 2))
    return Row(function, name, inputs, options, torch=_torch(function, detached=empty), smooth=smooth, method=False)


def refused(function, name, inputs, **options):
    return Refused(function, name, inputs, options, torch=_torch(function))


def _torch(function, detached=False):
    """The function of ``torch.nn.functional``: some have a namesake in ``torch`` with other arguments.

    Detached for outputs without elements, whose gradients PyTorch refuses to send back.
    """

    def call(torch, x, *arguments, **options):
        return getattr(torch.nn.functional, function)(x.detach() if detached else x, *arguments, **options)

    return call


PLANES, LINES = distinct((2, 2, 5, 4)), distinct((2, 2, 7))
TIES = values([[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 2.0]]])
NANS = values([[[1.0, np.nan, 3.0], [np.nan, 2.0, np.inf], [-np.inf, -np.inf, 0.0]]])
INTEGERS = followed_by(values(), integers(0, 9, (1, 4, 4)))

WINDOWS = [
    ("stride", {"kernel_size": 3, "stride": 2}),
    ("padding", {"kernel_size": (2, 3), "stride": 1, "padding": (1, 1)}),
    ("the last window left out", {"kernel_size": 2, "stride": 3}),
    ("ceil_mode", {"kernel_size": 2, "stride": 3, "ceil_mode": True}),
    ("ceil_mode with padding", {"kernel_size": 3, "stride": (2, 3), "padding": 1, "ceil_mode": True}),
    ("ceil_mode without a window more", {"kernel_size": 2, "stride": 4, "padding": 1, "ceil_mode": True}),
    ("ceil_mode, larger than the input", {"kernel_size": (6, 4), "stride": 2, "ceil_mode": True}),
]
WINDOWS_1D = [
    ("stride", {"kernel_size": 3, "stride": (2,)}),
    ("padding", {"kernel_size": 2, "stride": 1, "padding": 1}),
    ("ceil_mode", {"kernel_size": 2, "ceil_mode": True}),
    ("ceil_mode with padding", {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}),
]
REFUSED_2D = [
    ("more padding than half of the kernel", (1, 4, 4), {"kernel_size": 3, "padding": 2}),
    ("a kernel larger than the input", (1, 4, 4), {"kernel_size": 5}),
    ("a kernel of 0", (1, 4, 4), {"kernel_size": 0}),
    ("a stride of 0", (1, 4, 4), {"kernel_size": 2, "stride": 0}),
    ("two axes", (4, 4), {"kernel_size": 2}),
    ("an input without rows", (1, 1, 0, 4), {"kernel_size": 1}),
]
REFUSED_1D = [
    ("more padding than half of the kernel", (1, 4), {"kernel_size": 3, "padding": 2}),
    ("a kernel larger than the input", (1, 4), {"kernel_size": 5}),
    ("a kernel of two numbers", (1, 4), {"kernel_size": (2, 2)}),
    ("one axis", (4,), {"kernel_size": 2}),
]

MAX = [
    *(row("max_pool2d", name, PLANES, **options) for name, options in WINDOWS),
    *(row("max_pool2d", f"{name}, indices", PLANES, return_indices=True, **options) for name, options in WINDOWS),
    *(row("max_pool1d", name, LINES, **options) for name, options in WINDOWS_1D),
    *(row("max_pool1d", f"{name}, indices", LINES, return_indices=True, **options) for name, options in WINDOWS_1D),
    row("max_pool2d", "one image", distinct((2, 4, 4)), kernel_size=2, return_indices=True),
    row("max_pool2d", "an empty batch", distinct((0, 2, 4, 4)), kernel_size=2),
    row("max_pool2d", "dilation", PLANES, kernel_size=2, stride=1, dilation=(3, 2)),
    row("max_pool2d", "dilation and ceil_mode", PLANES, kernel_size=2, stride=3, dilation=2, ceil_mode=True),
    row("max_pool2d", "ties", TIES, kernel_size=2, stride=1, return_indices=True, smooth=False),
    row("max_pool2d", "NaN", NANS, kernel_size=2, stride=1, return_indices=True, smooth=False),
    row("max_pool2d", "−inf and ceil_mode", NANS, kernel_size=2, ceil_mode=True, return_indices=True, smooth=False),
    row("max_pool1d", "one line", distinct((2, 5)), kernel_size=2),
    row("max_pool1d", "dilation", LINES, kernel_size=2, stride=2, dilation=3),
    Row(
        "max_pool2d",
        "by position",
        followed_by(PLANES, 2, 3, 1, 1, True, True),
        torch=_torch("max_pool2d"),
        method=False,
    ),
    *(refused("max_pool2d", name, normal(shape), **options) for name, shape, options in REFUSED_2D),
    *(refused("max_pool1d", name, normal(shape), **options) for name, shape, options in REFUSED_1D),
    refused("max_pool1d", "integers", values([[1, 2, 3]]), kernel_size=2),
    *(
        Row("max_pool2d", name, INTEGERS, options, torch=_torch("max_pool2d"), method=False)
        for name, options in [
            ("integers", {"kernel_size": 2}),
            ("integers, padded", {"kernel_size": 3, "padding": 1, "ceil_mode": True, "return_indices": True}),
        ]
    ),
    refused("max_pool2d", "bools", values([[[True, False]]]), kernel_size=1),
]

AVG = [
    *(row("avg_pool2d", name, PLANES, **options) for name, options in WINDOWS),
    *(
        row("avg_pool2d", f"{name}, no padding", PLANES, count_include_pad=False, **options)
        for name, options in WINDOWS
    ),
    *(row("avg_pool2d", f"{name}, divisor", PLANES, divisor_override=-3, **options) for name, options in WINDOWS),
    *(row("avg_pool1d", name, LINES, **options) for name, options in WINDOWS_1D),
    *(
        row("avg_pool1d", f"{name}, no padding", LINES, count_include_pad=False, **options)
        for name, options in WINDOWS_1D
    ),
    row("avg_pool2d", "one image", normal((2, 4, 4)), kernel_size=2),
    row("avg_pool2d", "an empty batch", normal((0, 2, 4, 4)), kernel_size=2),
    row("avg_pool2d", "NaN and infinity", NANS, kernel_size=2, stride=1, smooth=False),
    row("avg_pool1d", "one line", normal((2, 5)), kernel_size=2),
    Row(
        "avg_pool2d",
        "by position",
        followed_by(PLANES, 3, 2, 1, True, False, None),
        torch=_torch("avg_pool2d"),
        method=False,
    ),
    *(refused("avg_pool2d", name, normal(shape), **options) for name, shape, options in REFUSED_2D),
    *(refused("avg_pool1d", name, normal(shape), **options) for name, shape, options in REFUSED_1D),
    refused("avg_pool2d", "a divisor of 0", normal((1, 4, 4)), kernel_size=2, divisor_override=0),
]

SIZES = [
    ("one", PLANES, 1),
    ("that divides", distinct((2, 1, 6, 4)), (3, 2)),
    ("that does not divide", PLANES, (3, 3)),
    ("that divides one axis", PLANES, (3, 2)),
    ("larger than the input", distinct((1, 2, 3, 2)), (5, 4)),
    ("the input's own", PLANES, (None, 3)),
    ("none", PLANES, (0, 2)),
    ("of one image", distinct((2, 4, 5)), 3),
    ("of an empty batch", distinct((0, 2, 4, 5)), 3),
]
SIZES_1D = [
    ("one", LINES, 1),
    ("that divides", distinct((2, 1, 6)), (3,)),
    ("that does not divide", LINES, 3),
    ("larger than the input", distinct((1, 2, 3)), 5),
    ("none", LINES, 0),
    ("of one line", distinct((2, 5)), 2),
]
REFUSED_SIZES = [
    ("negative", (1, 4, 4), -1),
    ("of three numbers", (1, 4, 4), (1, 2, 3)),
    ("of two axes", (4, 4), 2),
    ("of nothing", (1, 1, 0, 4), 2),
    ("a fraction", (1, 4, 4), 1.5),
]
REFUSED_SIZES_1D = [("negative", (1, 4), -1), ("of two numbers", (1, 4), (1, 2)), ("of one axis", (4,), 1)]

ADAPTIVE = [
    *(row("adaptive_avg_pool2d", f"a size {name}", inputs, output_size=size) for name, inputs, size in SIZES),
    *(row("adaptive_max_pool2d", f"a size {name}", inputs, output_size=size) for name, inputs, size in SIZES),
    *(
        row("adaptive_max_pool2d", f"a size {name}, indices", inputs, output_size=size, return_indices=True)
        for name, inputs, size in SIZES
    ),
    *(row("adaptive_avg_pool1d", f"a size {name}", inputs, output_size=size) for name, inputs, size in SIZES_1D),
    *(row("adaptive_max_pool1d", f"a size {name}", inputs, output_size=size) for name, inputs, size in SIZES_1D),
    *(
        row("adaptive_max_pool1d", f"a size {name}, indices", inputs, output_size=size, return_indices=True)
        for name, inputs, size in SIZES_1D
    ),
    *(
        row("adaptive_max_pool2d", f"{name}, {size}", inputs, output_size=size, return_indices=True, smooth=False)
        for name, inputs in [("ties", TIES), ("NaN", NANS)]
        for size in (1, 2)
    ),
    *(
        refused(f"adaptive_{kind}_pool2d", f"a size {name}", normal(shape), output_size=size)
        for kind in ("avg", "max")
        for name, shape, size in REFUSED_SIZES
    ),
    *(
        refused(f"adaptive_{kind}_pool1d", f"a size {name}", normal(shape), output_size=size)
        for kind in ("avg", "max")
        for name, shape, size in REFUSED_SIZES_1D
    ),
    Row("adaptive_avg_pool2d", "infinities", NANS, {"output_size": 2}, smooth=False, method=False),
    *(refused(f"adaptive_{kind}_pool2d", "integers", INTEGERS, output_size=2) for kind in ("avg", "max")),
]

ROWS = [*MAX, *AVG, *ADAPTIVE]
