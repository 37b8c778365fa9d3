"""One table of layers: a row per layer, arguments and input. ``test_layers.py`` runs every check over all of it."""

from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """``layer`` is what a user would write after ``nn.``, here and in PyTorch alike.

    Layouts: "contiguous"; "channels last" (4-D only); "strided": every second element along the last axis.
    ``classes`` and ``target`` are for losses, whose second argument is an array of labels below ``classes``.
    """

    layer: str
    shape: tuple[int, ...]
    layout: str = "contiguous"
    target: tuple[int, ...] | None = None

    def __str__(self) -> str:
        layout = "" if self.layout == "contiguous" else f" {self.layout}"
        return f"{self.layer} {self.shape}{layout}".replace(" ", "")

    @property
    def random(self) -> bool:
        """In training this layer draws random numbers: there is nothing to compare."""
        return "Dropout(0." in self.layer

    def build(self, nn: Any) -> Any:
        """The layer, from `tinybn.nn` or `torch.nn`."""
        return eval(self.layer, dict(vars(nn)))

    def input(self, dtype: Any, seed: int = 0) -> np.ndarray:
        # float32 numbers in either dtype, so that both can be compared with the same float64 reference.
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(self.shape).astype(np.float32).astype(dtype)
        if self.layout == "channels last":
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        if self.layout == "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        return x

    def labels(self) -> tuple[np.ndarray, ...]:
        """The arguments behind the input: labels for a loss, nothing for other layers."""
        if self.target is None:
            return ()
        classes = self.shape[0] if len(self.shape) == 1 else self.shape[1]
        return (np.random.default_rng(1).integers(0, classes, self.target),)


CASES = [
    Case("Linear(5, 3)", (5,)),
    Case("Linear(5, 3)", (4, 5)),
    Case("Linear(5, 3)", (4, 5), "strided"),
    Case("Linear(5, 3)", (2, 4, 5)),
    Case("Linear(5, 3)", (2, 3, 4, 5)),
    Case("Linear(5, 1, bias=False)", (4, 5)),
    Case("Linear(1, 3)", (4, 1)),
    Case("Flatten()", (2, 3, 4)),
    Case("Flatten()", (2, 3, 4, 5), "channels last"),
    Case("Flatten(0, 1)", (2, 3, 4)),
    Case("Flatten(1, -2)", (2, 3, 4, 5)),
    Case("Conv2d(3, 4, 3)", (2, 3, 8, 7)),
    Case("Conv2d(3, 4, 3)", (2, 3, 8, 7), "channels last"),
    Case("Conv2d(3, 4, 3)", (2, 3, 8, 7), "strided"),
    Case("Conv2d(3, 4, 3)", (3, 8, 7)),
    Case("Conv2d(1, 4, 3, padding=1)", (3, 1, 8, 8)),
    Case("Conv2d(3, 4, 1)", (2, 3, 5, 5), "channels last"),
    Case("Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0))", (2, 3, 8, 7)),
    Case("Conv2d(3, 4, 3, stride=2, padding=1)", (2, 3, 8, 7), "channels last"),
    Case("Conv2d(3, 4, 3, padding='same')", (2, 3, 8, 7)),
    Case("Conv2d(3, 4, (2, 4), padding='same', dilation=(1, 3))", (2, 3, 8, 12)),
    Case("Conv2d(3, 4, 4, padding='same')", (2, 3, 8, 7), "channels last"),
    Case("Conv2d(3, 4, 3, padding='same')", (3, 8, 7)),
    Case("Conv2d(3, 4, 3, padding='valid')", (2, 3, 8, 7)),
    Case("Conv2d(3, 4, 3, dilation=2)", (2, 3, 8, 7)),
    Case("Conv2d(3, 4, 3, stride=2, padding=2, dilation=(2, 1))", (2, 3, 9, 8)),
    Case("Conv2d(4, 6, 3, groups=2)", (2, 4, 6, 6)),
    Case("Conv2d(4, 6, 3, padding=1, groups=2, bias=False)", (2, 4, 6, 6), "channels last"),
    Case("Conv2d(4, 4, 3, padding=1, groups=4)", (2, 4, 6, 6)),
    Case("Conv2d(4, 8, 3, stride=2, groups=4)", (2, 4, 7, 6), "channels last"),
    Case("Conv2d(3, 4, 3, bias=False)", (2, 3, 8, 7)),
    Case("BatchNorm1d(3)", (8, 3)),
    Case("BatchNorm1d(3)", (8, 3), "strided"),
    Case("BatchNorm1d(3)", (8, 3, 5)),
    Case("BatchNorm1d(3)", (8, 3, 5), "strided"),
    Case("BatchNorm1d(3, eps=0.1, momentum=0.3)", (8, 3)),
    Case("BatchNorm1d(3, momentum=None)", (8, 3)),
    Case("BatchNorm1d(3, affine=False)", (8, 3)),
    Case("BatchNorm1d(3, track_running_stats=False)", (8, 3)),
    Case("BatchNorm1d(3, affine=False, track_running_stats=False)", (8, 3)),
    Case("BatchNorm1d(1)", (8, 1)),
    Case("BatchNorm2d(3)", (4, 3, 5, 6)),
    Case("BatchNorm2d(3)", (4, 3, 5, 6), "channels last"),
    Case("BatchNorm2d(3)", (4, 3, 5, 6), "strided"),
    Case("BatchNorm2d(3)", (1, 3, 5, 6)),
    Case("BatchNorm2d(1)", (4, 1, 5, 6)),
    Case("BatchNorm2d(3, momentum=None)", (4, 3, 5, 6)),
    Case("BatchNorm2d(3, affine=False)", (4, 3, 5, 6), "channels last"),
    Case("BatchNorm2d(3, track_running_stats=False)", (4, 3, 5, 6)),
    Case("ReLU()", (4, 5)),
    Case("ReLU()", (2, 3, 4, 5), "channels last"),
    Case("Sigmoid()", (4, 5)),
    Case("Sigmoid()", (4, 5), "strided"),
    Case("Tanh()", (4, 5)),
    Case("Tanh()", (5,)),
    Case("Dropout(0.4)", (4, 5)),
    Case("Dropout(0)", (4, 5)),
    Case("Dropout(1)", (4, 5)),
    Case("MaxPool2d(2)", (2, 3, 8, 6)),
    Case("MaxPool2d(2)", (2, 3, 8, 6), "channels last"),
    Case("MaxPool2d(2)", (2, 3, 7, 5)),
    Case("MaxPool2d(2)", (3, 8, 6)),
    Case("MaxPool2d(3, stride=2, padding=1)", (2, 3, 8, 7)),
    Case("MaxPool2d((3, 2), (1, 2))", (2, 3, 8, 7), "strided"),
    Case("MaxPool2d(2, stride=1, dilation=(1, 2))", (2, 3, 6, 7)),
    Case("AvgPool2d(2)", (2, 3, 8, 6)),
    Case("AvgPool2d(2)", (2, 3, 8, 6), "channels last"),
    Case("AvgPool2d(2)", (3, 7, 5)),
    Case("AvgPool2d(3, stride=2, padding=1)", (2, 3, 8, 7)),
    Case("AvgPool2d(3, stride=2, padding=1, count_include_pad=False)", (2, 3, 8, 7)),
    Case("AvgPool2d((3, 2), 1, (1, 0), divisor_override=5)", (2, 3, 8, 7)),
    Case("Sequential(Linear(5, 8), ReLU(), Linear(8, 3))", (4, 5)),
    Case(
        "Sequential(Conv2d(1, 4, 3, padding=1, bias=False), BatchNorm2d(4), ReLU(), MaxPool2d(2), Flatten(), "
        "Linear(64, 6, bias=False), BatchNorm1d(6), Tanh(), Linear(6, 3))",
        (4, 1, 8, 8),
    ),
    Case("Sequential(Sequential(Linear(5, 4), Sigmoid()), Dropout(0.3), Linear(4, 2))", (3, 5)),
    Case("Sequential()", (3, 5)),
    Case("CrossEntropyLoss()", (6, 4), target=(6,)),
    Case("CrossEntropyLoss()", (6, 4), "strided", target=(6,)),
    Case("CrossEntropyLoss()", (4,), target=()),
    Case("CrossEntropyLoss()", (6, 4, 5), target=(6, 5)),
    Case("CrossEntropyLoss()", (2, 4, 5, 3), "channels last", target=(2, 5, 3)),
    Case("CrossEntropyLoss(reduction='sum')", (6, 4), target=(6,)),
    Case("CrossEntropyLoss(reduction='none')", (6, 4), target=(6,)),
    Case("CrossEntropyLoss(reduction='none')", (4,), target=()),
    Case("CrossEntropyLoss(reduction='none')", (6, 4, 5), target=(6, 5)),
    Case("CrossEntropyLoss(label_smoothing=0.1)", (6, 4), target=(6,)),
    Case("CrossEntropyLoss(reduction='sum', label_smoothing=1.0)", (6, 4), target=(6,)),
    Case("CrossEntropyLoss(reduction='none', label_smoothing=0.2)", (6, 4, 5), target=(6, 5)),
    Case("CrossEntropyLoss(label_smoothing=0.1)", (4,), target=()),
    Case("CrossEntropyLoss(ignore_index=1)", (9, 4), target=(9,)),
    Case("CrossEntropyLoss(ignore_index=1, reduction='none', label_smoothing=0.1)", (9, 4), target=(9,)),
]
