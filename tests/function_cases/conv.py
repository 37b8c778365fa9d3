"""Rows of ``tinybn/functional/conv.py``."""

import warnings

from function_cases.row import Refused, Row, normal, values


def row(function, name, inputs, torch=None, **options):
    return Row(function, name, inputs, options, torch=torch, method=False)


def same(function):
    """PyTorch warns that it has to pad an even kernel by itself."""

    def call(torch, *arguments, **options):
        with warnings.catch_warnings(action="ignore"):
            return getattr(torch, function)(*arguments, **options)

    return call


CONV = [
    row("conv2d", "plain", normal((2, 2, 4, 3), (3, 2, 2, 2))),
    row("conv2d", "bias", normal((2, 2, 4, 3), (3, 2, 2, 2), (3,))),
    row(
        "conv2d", "stride, padding, dilation", normal((1, 2, 5, 4), (2, 2, 2, 3)), stride=2, padding=(2, 1), dilation=2
    ),
    row("conv2d", "groups", normal((1, 4, 3, 3), (2, 2, 2, 2), (2,)), groups=2),
    row("conv2d", "same", normal((1, 1, 4, 5), (1, 1, 2, 3)), same("conv2d"), padding="same"),
    row("conv2d", "valid", normal((1, 1, 4, 5), (1, 1, 2, 3)), padding="valid"),
    row("conv2d", "one image", normal((2, 4, 3), (3, 2, 2, 2), (3,))),
    row("conv2d", "an empty batch", normal((0, 2, 4, 3), (3, 2, 2, 2))),
    row("conv1d", "plain", normal((2, 2, 5), (3, 2, 2))),
    row("conv1d", "bias", normal((2, 2, 5), (3, 2, 2), (3,))),
    row("conv1d", "stride, padding, dilation", normal((1, 2, 6), (2, 2, 3)), stride=2, padding=(2,), dilation=(2,)),
    row("conv1d", "groups", normal((1, 4, 3), (2, 2, 2), (2,)), groups=2),
    row("conv1d", "same", normal((1, 1, 5), (1, 1, 2)), same("conv1d"), padding="same"),
    row("conv1d", "valid", normal((1, 1, 5), (1, 1, 2)), padding="valid"),
    row("conv1d", "one line", normal((2, 5), (3, 2, 2), (3,))),
    row("conv1d", "an empty batch", normal((0, 2, 5), (3, 2, 2))),
    row("conv1d", "integers", values([[[1, 2, 3]]], [[[4, 5]]])),
]

TRANSPOSED = [
    row("conv_transpose2d", "plain", normal((2, 2, 2, 3), (2, 3, 2, 2))),
    row("conv_transpose2d", "bias", normal((2, 2, 2, 3), (2, 3, 2, 2), (3,))),
    row("conv_transpose2d", "stride", normal((1, 2, 2, 3), (2, 3, 2, 2)), stride=(3, 2)),
    row("conv_transpose2d", "padding", normal((1, 2, 3, 3), (2, 1, 3, 2), (1,)), padding=(2, 1)),
    row("conv_transpose2d", "dilation", normal((1, 1, 2, 2), (1, 2, 2, 3)), dilation=(3, 2)),
    row("conv_transpose2d", "output_padding", normal((1, 1, 2, 2), (1, 2, 2, 2), (2,)), stride=2, output_padding=1),
    row(
        "conv_transpose2d",
        "output_padding beside padding",
        normal((1, 1, 2, 2), (1, 2, 3, 3)),
        stride=2,
        padding=1,
        output_padding=(1, 0),
    ),
    row(
        "conv_transpose2d",
        "output_padding below the dilation",
        normal((1, 1, 2, 2), (1, 2, 2, 2), (2,)),
        output_padding=(1, 2),
        dilation=3,
        padding=1,
    ),
    row("conv_transpose2d", "groups", normal((1, 4, 2, 2), (4, 3, 2, 2), (6,)), groups=2),
    row("conv_transpose2d", "one image", normal((2, 2, 2), (2, 3, 2, 2), (3,))),
    row("conv_transpose2d", "an empty batch", normal((0, 2, 2, 2), (2, 3, 2, 2))),
    row("conv_transpose2d", "integers", values([[[[1, 2], [3, 4]]]], [[[[5, 6]]]])),
    row("conv_transpose1d", "plain", normal((2, 2, 3), (2, 3, 2))),
    row(
        "conv_transpose1d",
        "everything",
        normal((1, 4, 3), (4, 1, 3), (2,)),
        stride=(2,),
        padding=1,
        output_padding=1,
        groups=2,
        dilation=2,
    ),
    row("conv_transpose1d", "one line", normal((2, 3), (2, 3, 2), (3,))),
]

REFUSED = [
    *(
        Refused(function, name, normal(*shapes), options)
        for function in ("conv2d", "conv_transpose2d")
        for name, shapes, options in [
            ("channels that differ", ((1, 3, 4, 4), (2, 2, 2, 2)), {}),
            ("two axes", ((4, 4), (1, 1, 2, 2)), {}),
            ("a weight of three axes", ((1, 1, 4, 4), (1, 1, 2)), {}),
            ("no whole groups", ((1, 6, 4, 4), (3, 3, 2, 2)), {"groups": 2}),
            ("no groups", ((1, 1, 4, 4), (1, 1, 2, 2)), {"groups": 0}),
            ("a wrong bias", ((1, 1, 4, 4), (1, 1, 2, 2), (2,)), {}),
            ("a stride of 0", ((1, 1, 4, 4), (1, 1, 2, 2)), {"stride": 0}),
            ("negative padding", ((1, 1, 4, 4), (1, 1, 2, 2)), {"padding": -1}),
            ("three strides", ((1, 1, 4, 4), (1, 1, 2, 2)), {"stride": (1, 1, 1)}),
        ]
    ),
    *(
        Refused(function, name, normal(*shapes), options)
        for function in ("conv1d", "conv_transpose1d")
        for name, shapes, options in [
            ("channels that differ", ((1, 3, 4), (2, 2, 2)), {}),
            ("one axis", ((4,), (1, 1, 2)), {}),
            ("a weight of two axes", ((1, 1, 4), (1, 2)), {}),
            ("a wrong bias", ((1, 1, 4), (1, 1, 2), (2,)), {}),
            ("two strides", ((1, 1, 4), (1, 1, 2)), {"stride": (1, 1)}),
        ]
    ),
    Refused("conv2d", "a kernel larger than the input", normal((1, 1, 2, 2), (1, 1, 3, 3))),
    Refused("conv1d", "a kernel larger than the input", normal((1, 1, 2), (1, 1, 3))),
    Refused("conv2d", "same with a stride", normal((1, 1, 4, 4), (1, 1, 2, 2)), {"padding": "same", "stride": 2}),
    Refused("conv1d", "same with a stride", normal((1, 1, 4), (1, 1, 2)), {"padding": "same", "stride": 2}),
    Refused("conv1d", "an unknown word", normal((1, 1, 4), (1, 1, 2)), {"padding": "some"}),
    Refused("conv2d", "two dtypes", values([[[1.0]]], [[[[1]]]])),
    Refused("conv1d", "two dtypes", values([[1.0]], [[[1]]])),
    *(
        Refused("conv_transpose2d", name, normal((1, 1, 2, 2), (1, 1, 2, 2)), options)
        for name, options in [
            ("an output_padding as large as the stride", {"stride": 2, "output_padding": 2}),
            ("an output_padding without a stride", {"output_padding": 1}),
            ("a negative output_padding", {"stride": 2, "output_padding": -1}),
            ("padding that leaves nothing", {"padding": 2}),
            ("a word", {"padding": "same"}),
        ]
    ),
    Refused("conv_transpose2d", "an input without rows", normal((1, 1, 0, 2), (1, 1, 2, 2))),
    Refused("conv_transpose2d", "two dtypes", values([[[1.0]]], [[[[1]]]])),
]

ROWS = [*CONV, *TRANSPOSED, *REFUSED]
