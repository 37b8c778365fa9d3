"""One table of layers: a row per layer, arguments and input. ``test_layers.py`` runs every check over all of it."""

import re
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """``layer`` is what a user would write after ``nn.``, here and in PyTorch alike; ``tensor`` is known there too.

    Layouts: "contiguous"; "channels last" (4-D only); "strided": every second element along the last axis.
    Values: "normal"; "probabilities", from 0.05 to 0.95; "numbers", integers below 7.
    ``target`` is the shape of a loss's second argument, which holds "labels" below the number of classes, or one of the
    values, as ``goal`` says.
    """

    layer: str
    shape: tuple[int, ...]
    layout: str = "contiguous"
    target: tuple[int, ...] | None = None
    values: str = "normal"
    goal: str = "labels"

    def __str__(self) -> str:
        layout = "" if self.layout == "contiguous" else f" {self.layout}"
        return f"{self.layer} {self.shape}{layout}".replace(" ", "")

    @property
    def random(self) -> bool:
        """In training this layer draws random numbers: there is nothing to compare."""
        return re.search(r"Dropout\w*\(0\.", self.layer) is not None

    def build(self, nn: Any) -> Any:
        """The layer, from `tinybn.nn` or `torch.nn`."""
        library = import_module(nn.__name__.removesuffix(".nn"))
        return eval(self.layer, {**vars(nn), "tensor": library.tensor})

    def input(self, dtype: Any, seed: int = 0) -> np.ndarray:
        # float32 numbers in either dtype, so that both can be compared with the same float64 reference.
        x = _drawn(self.values, self.shape, dtype, seed)
        if self.layout == "channels last":
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        if self.layout == "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        return x

    def labels(self, dtype: Any = np.float32) -> tuple[np.ndarray, ...]:
        """The arguments behind the input: the target for a loss, nothing for other layers."""
        if self.target is None:
            return ()
        if self.goal != "labels":
            return (_drawn(self.goal, self.target, dtype, seed=1),)
        classes = self.shape[0] if len(self.shape) == 1 else self.shape[1]
        return (np.random.default_rng(1).integers(0, classes, self.target),)


def _drawn(values: str, shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if values == "numbers":
        return rng.integers(0, 7, shape)
    drawn = rng.standard_normal(shape) if values == "normal" else rng.uniform(0.05, 0.95, shape)
    return drawn.astype(np.float32).astype(dtype)


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
    Case("BatchNorm1d(3, bias=False)", (8, 3)),
    Case("BatchNorm1d(3, momentum=0)", (8, 3)),
    Case("BatchNorm1d(3, momentum=1, bias=False)", (8, 3, 5), "strided"),
    Case("BatchNorm1d(3, eps=0.1, track_running_stats=False, bias=False)", (8, 3)),
    Case("BatchNorm1d(3)", (2, 3)),
    Case("BatchNorm1d(1)", (8, 1)),
    Case("BatchNorm2d(3)", (4, 3, 5, 6)),
    Case("BatchNorm2d(3)", (4, 3, 5, 6), "channels last"),
    Case("BatchNorm2d(3)", (4, 3, 5, 6), "strided"),
    Case("BatchNorm2d(3)", (1, 3, 5, 6)),
    Case("BatchNorm2d(1)", (4, 1, 5, 6)),
    Case("BatchNorm2d(3, momentum=None)", (4, 3, 5, 6)),
    Case("BatchNorm2d(3, affine=False)", (4, 3, 5, 6), "channels last"),
    Case("BatchNorm2d(3, track_running_stats=False)", (4, 3, 5, 6)),
    Case("BatchNorm3d(3)", (4, 3, 2, 3, 2)),
    Case("BatchNorm3d(3, momentum=0.3)", (4, 3, 2, 3, 2), "strided"),
    Case("BatchNorm3d(3, eps=0.1, momentum=None, bias=False)", (4, 3, 2, 3, 2)),
    Case("BatchNorm3d(3, affine=False, track_running_stats=False)", (4, 3, 2, 3, 2)),
    Case("BatchNorm2d(3, eps=0.1, momentum=0.0, bias=False)", (4, 3, 5, 6), "channels last"),
    Case("BatchNorm2d(3, momentum=1.0)", (4, 3, 5, 6)),
    Case("LayerNorm(5)", (4, 5)),
    Case("LayerNorm(5)", (5,)),
    Case("LayerNorm(40, eps=0.1)", (30, 40), "strided"),
    Case("LayerNorm((3, 5))", (2, 4, 3, 5)),
    Case("LayerNorm([3, 6, 5], bias=False)", (2, 3, 6, 5), "channels last"),
    Case("LayerNorm(5, elementwise_affine=False)", (2, 3, 5)),
    Case("RMSNorm(5)", (4, 5)),
    Case("RMSNorm(40, eps=0.1)", (30, 40), "strided"),
    Case("RMSNorm((3, 5), elementwise_affine=False)", (2, 4, 3, 5)),
    Case("RMSNorm([3, 6, 5])", (2, 3, 6, 5), "channels last"),
    Case("GroupNorm(2, 6)", (4, 6)),
    Case("GroupNorm(1, 6)", (40, 6), "strided"),
    Case("GroupNorm(3, 6)", (4, 6, 5)),
    Case("GroupNorm(2, 6)", (2, 6, 4, 5)),
    Case("GroupNorm(2, 6, eps=0.1)", (2, 6, 4, 5), "channels last"),
    Case("GroupNorm(6, 6)", (2, 6, 4, 5), "strided"),
    Case("GroupNorm(2, 4, affine=False)", (3, 4, 2, 2, 2)),
    Case("GroupNorm(2, 6, bias=False)", (2, 6, 4, 5)),
    Case("InstanceNorm1d(3)", (4, 3, 5)),
    Case("InstanceNorm1d(3, affine=True)", (3, 5)),
    Case("InstanceNorm1d(3, track_running_stats=True)", (4, 3, 5), "strided"),
    Case("InstanceNorm1d(3, momentum=0.3, affine=True, track_running_stats=True)", (3, 5)),
    Case("InstanceNorm1d(3, momentum=0, track_running_stats=True)", (4, 3, 5)),
    Case("InstanceNorm1d(3, momentum=1.0, track_running_stats=True)", (4, 3, 5)),
    Case("InstanceNorm1d(3, momentum=None, track_running_stats=True)", (4, 3, 5)),
    Case("InstanceNorm1d(3, affine=True, bias=False)", (4, 3, 5)),
    Case("InstanceNorm2d(3)", (4, 3, 5, 4)),
    Case("InstanceNorm2d(3, affine=True)", (4, 3, 5, 4), "channels last"),
    Case("InstanceNorm2d(3, 0.1, 0.3, True, True)", (3, 5, 4)),
    Case("InstanceNorm2d(3, affine=True, track_running_stats=True, bias=False)", (4, 3, 5, 4), "channels last"),
    *(
        Case(layer, (2, 3, 5))
        for layer in [
            *(
                "ReLU6()",
                "LeakyReLU()",
                "LeakyReLU(0.3)",
                "PReLU()",
                "PReLU(3)",
                "PReLU(3, init=0.5)",
                "ELU()",
                "ELU(2.0)",
            ),
            *("SELU()", "CELU()", "CELU(0.5)", "GELU()", "GELU('tanh')", "SiLU()", "Mish()", "Softplus()"),
            *("Softplus(2.0, 1.0)", "LogSigmoid()", "Hardtanh()", "Hardtanh(-0.5, 0.25)", "Hardsigmoid()"),
            *("Hardswish()", "Softsign()", "Softmax(1)", "Softmax(dim=-1)", "LogSoftmax(0)", "LogSoftmax(dim=2)"),
            *("Identity()", "Identity(3, a=4)", "Dropout1d(0.4)", "Dropout1d(0)", "Dropout1d(1)"),
        ]
    ),
    Case("PReLU(3)", (2, 3, 4, 5), "channels last"),
    Case("PReLU()", (5,)),
    Case("GELU()", (2, 3, 4, 5), "channels last"),
    Case("ReLU6()", (4, 5), "strided"),
    Case("Dropout1d(0.4)", (3, 5)),
    Case("Dropout2d(0.4)", (2, 3, 4, 5)),
    Case("Dropout2d(0)", (2, 3, 4, 5), "channels last"),
    Case("Dropout2d(1)", (2, 3, 4, 5)),
    Case("Unflatten(1, (2, 3))", (4, 6)),
    Case("Unflatten(-1, [2, -1, 1])", (2, 3, 4)),
    Case("Embedding(7, 3)", (4,), values="numbers"),
    Case("Embedding(7, 3)", (), values="numbers"),
    Case("Embedding(7, 3, padding_idx=2)", (5, 4), values="numbers"),
    Case("Embedding(7, 3, padding_idx=-1, scale_grad_by_freq=True)", (5, 4), values="numbers"),
    Case("Conv1d(3, 4, 3)", (2, 3, 9)),
    Case("Conv1d(3, 4, 3)", (3, 9)),
    Case("Conv1d(3, 4, 3)", (2, 3, 9), "strided"),
    Case("Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)", (2, 4, 9)),
    Case("Conv1d(3, 4, (4,), padding='same', dilation=(2,))", (2, 3, 9)),
    Case("Conv1d(3, 4, 3, padding='valid')", (2, 3, 9)),
    Case("Conv1d(3, 4, 3, padding=2, padding_mode='reflect')", (2, 3, 9)),
    Case("Conv1d(3, 4, 4, padding='same', padding_mode='circular')", (3, 9)),
    Case("Conv1d(3, 4, 3, padding='valid', padding_mode='replicate')", (2, 3, 9)),
    Case("Conv2d(3, 4, 3, padding=(1, 2), padding_mode='reflect')", (2, 3, 6, 5)),
    Case("Conv2d(3, 4, 3, stride=2, padding=(1, 2), padding_mode='replicate')", (3, 6, 5)),
    Case("Conv2d(4, 4, (2, 4), padding='same', dilation=(1, 2), groups=2, padding_mode='circular')", (2, 4, 6, 8)),
    Case("ConvTranspose1d(3, 4, 3)", (2, 3, 5)),
    Case("ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2, groups=2, bias=False)", (4, 5)),
    Case("ConvTranspose1d(3, 4, (2,), dilation=(3,))", (2, 3, 5)),
    Case("ConvTranspose2d(3, 4, 3)", (2, 3, 5, 4)),
    Case("ConvTranspose2d(3, 4, (3, 2), stride=2, padding=(1, 0), output_padding=(1, 0))", (3, 5, 4)),
    Case("ConvTranspose2d(4, 6, 3, dilation=2, groups=2, bias=False)", (2, 4, 5, 4), "channels last"),
    *(
        Case(f"{kind}1d({arguments})", shape)
        for kind in ("ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad")
        for arguments, shape in [("2", (2, 3, 5)), ("(1, 3)", (3, 5)), ("(0, -1)", (2, 3, 5))]
    ),
    *(
        Case(f"{kind}2d({arguments})", shape)
        for kind in ("ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad")
        for arguments, shape in [("2", (2, 3, 5, 4)), ("(1, 2, 0, 3)", (3, 5, 4)), ("[0, -1, 1, -2]", (2, 3, 5, 4))]
    ),
    Case("ConstantPad1d(2, 3.5)", (2, 3, 5)),
    Case("ConstantPad1d((1, -2), 0.5)", (5,)),
    Case("ConstantPad2d(1, -1.5)", (2, 3, 5, 4)),
    Case("ConstantPad2d((1, 2, 0, 3), 0.5)", (5, 4)),
    Case("MaxPool1d(2)", (2, 3, 8)),
    Case("MaxPool1d(3, stride=2, padding=1, ceil_mode=True)", (3, 8)),
    Case("MaxPool1d((2,), (1,), dilation=(2,))", (2, 3, 8)),
    Case("MaxPool2d(3, stride=2, ceil_mode=True)", (2, 3, 8, 6)),
    Case("AvgPool1d(2)", (2, 3, 8)),
    Case("AvgPool1d(3, 2, 1, True, False)", (3, 8)),
    Case("AvgPool1d((3,), stride=(1,), padding=(1,))", (2, 3, 8)),
    Case("AvgPool2d(3, 2, 1, True, False)", (2, 3, 8, 6)),
    Case("AvgPool2d(3, stride=2, ceil_mode=True)", (2, 3, 8, 6)),
    *(
        Case(f"Adaptive{kind}Pool{arguments}", shape)
        for kind in ("Avg", "Max")
        for arguments, shape in [
            ("1d(3)", (2, 3, 8)),
            ("1d(4)", (3, 8)),
            ("2d(1)", (2, 3, 8, 6)),
            ("2d((3, None))", (2, 3, 8, 6)),
            ("2d((2, 5))", (3, 8, 6)),
        ]
    ),
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
    Case("CrossEntropyLoss()", (6, 4), target=(6, 4), goal="probabilities"),
    Case("CrossEntropyLoss(tensor([1.0, 3.0, 0.5, 2.0]), label_smoothing=0.2)", (6, 4), target=(6,)),
    Case("NLLLoss()", (6, 4), target=(6,)),
    Case("NLLLoss()", (4,), target=()),
    Case("NLLLoss(reduction='none')", (6, 4, 5), target=(6, 5)),
    Case("NLLLoss(tensor([1.0, 3.0, 0.5, 2.0]), ignore_index=1, reduction='sum')", (9, 4), target=(9,)),
    Case("NLLLoss(tensor([1.0, 3.0, 0.5, 2.0]))", (9, 4), target=(9,)),
    *(
        Case(layer, (4, 5), target=(4, 5), goal="normal")
        for layer in [
            *(
                "MSELoss()",
                "MSELoss(reduction='sum')",
                "MSELoss(reduction='none')",
                "L1Loss()",
                "L1Loss(reduction='sum')",
            ),
            *("SmoothL1Loss()", "SmoothL1Loss(reduction='none', beta=0.5)", "SmoothL1Loss(beta=0.0)"),
            *("HuberLoss()", "HuberLoss('sum', 0.5)", "HuberLoss(delta=2.0)"),
            *("KLDivLoss(log_target=True)", "KLDivLoss(reduction='batchmean', log_target=True)"),
        ]
    ),
    *(
        Case(layer, (4, 5), target=(4, 5), values=values, goal="probabilities")
        for values, layers in {
            "probabilities": ["BCELoss()", "BCELoss(reduction='sum')", "BCELoss(tensor([1.0, 2.0, 3.0, 4.0, 5.0]))"],
            "normal": [
                *("BCEWithLogitsLoss()", "BCEWithLogitsLoss(reduction='none')"),
                "BCEWithLogitsLoss(tensor([1.0, 2.0, 3.0, 4.0, 5.0]), pos_weight=tensor([2.0]))",
                *("KLDivLoss()", "KLDivLoss(reduction='sum')", "KLDivLoss(reduction='batchmean')"),
            ],
        }.items()
        for layer in layers
    ),
    Case("CrossEntropyLoss(ignore_index=1)", (9, 4), target=(9,)),
    Case("CrossEntropyLoss(ignore_index=1, reduction='none', label_smoothing=0.1)", (9, 4), target=(9,)),
]
