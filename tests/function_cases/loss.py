"""Rows of ``tinybn/functional/loss.py``."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from function_cases.row import Build, Refused, Row, followed_by, integers, normal, values

INF, NAN = np.inf, np.nan
REDUCTIONS = ("mean", "sum", "none")
WEIGHTS = np.array([1.0, 2.0, 0.5])


def probabilities(*shape: int) -> Any:
    """Numbers that add up to 1 over axis 1, or over the only one."""

    def draw(rng: np.random.Generator) -> Any:
        p = rng.uniform(0.1, 1, shape)
        return p / p.sum(axis=min(1, len(shape) - 1), keepdims=True)

    return draw


def between(*shape: int) -> Any:
    """Numbers from 0.1 to 0.9."""
    return lambda rng: rng.uniform(0.1, 0.9, shape)


def drawn(*makers: Any) -> Build:
    return lambda rng: tuple(make(rng) if callable(make) else make for make in makers)


def of_labels() -> Iterator[Row]:
    some_ignored = np.array([2, -100, 0, 1])
    for function in ("cross_entropy", "nll_loss"):
        for reduction in REDUCTIONS:
            chosen = {"reduction": reduction}
            yield Row(function, f"(N, C), {reduction}", followed_by(normal((4, 3)), integers(0, 3, (4,))), chosen)
            yield Row(function, f"(C,), {reduction}", followed_by(normal((3,)), integers(0, 3, ())), chosen)
            yield Row(function, f"(N, C, 2, 2), {reduction}", _images, chosen)
            yield Row(
                function, f"some ignored, {reduction}", followed_by(normal((4, 3)), lambda rng: some_ignored), chosen
            )
            empty = followed_by(normal((0, 3)), integers(0, 3, (0,)))
            yield Row(function, f"empty, {reduction}", empty, chosen, smooth=reduction != "mean")
            yield Row(
                function,
                f"all ignored, {reduction}",
                values([[1.0, 2.0], [0.0, 1.0]], [-100, -100]),
                chosen,
                smooth=reduction != "mean",
            )
            yield _weighted_row(function, f"weights, {reduction}", normal((4, 3)), np.array([2, 0, 0, 1]), chosen)
            yield _weighted_row(function, f"weights, some ignored, {reduction}", normal((4, 3)), some_ignored, chosen)
        yield Row(function, "ignored in range", values([[1.0, 2.0], [0.0, 1.0]], [0, 1]), {"ignore_index": 0})
        yield Row(function, "bytes", followed_by(normal((2, 3)), lambda rng: np.array([2, 0], np.uint8)))
        yield Row(function, "an ignored row with −∞", values([[-INF, 0.0], [0.0, 1.0]], [-100, 0]), smooth=False)
        yield Refused(function, "label too large", values([[1.0, 2.0]], [2]))
        yield Refused(function, "label below 0", values([[1.0, 2.0]], [-1]))
        yield Refused(function, "too few labels", values([[1.0, 2.0], [0.0, 1.0]], [0]))
        yield Refused(function, "labels of bools", values([[1.0, 2.0]], [True]))
        yield Refused(function, "labels of floats", values([[1.0, 2.0]], [1.0]))
        yield Refused(function, "0-d input", values(np.array(1.0), np.array(0)))
        yield Refused(function, "integer input", values([[1, 2]], [0]))
        yield Refused(function, "unknown reduction", values([[1.0, 2.0]], [0]), {"reduction": "batchmean"})
        yield Refused(function, "too few weights", values([[1.0, 2.0]], [0], [1.0]))


def _images(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.standard_normal((2, 3, 2, 2)), rng.integers(0, 3, (2, 2, 2))


def _weighted_row(function: str, name: str, input: Build, labels: Any, options: dict[str, Any]) -> Row:
    """With the weights as an option, since PyTorch refuses to differentiate for them."""
    return Row(
        function,
        name,
        followed_by(input, lambda rng: labels),
        {**options, "weight": WEIGHTS},
        torch=lambda torch, x, y, weight, **rest: getattr(torch.nn.functional, function)(
            x, y, weight.to(x.dtype), **rest
        ),
    )


def smoothed() -> Iterator[Row]:
    some_ignored = np.array([2, -100, 0, 1])
    for reduction in REDUCTIONS:
        chosen = {"reduction": reduction, "label_smoothing": 0.2}
        yield Row("cross_entropy", f"smoothed, {reduction}", followed_by(normal((4, 3)), integers(0, 3, (4,))), chosen)
        yield Row("cross_entropy", f"smoothed images, {reduction}", _images, chosen)
        for name, labels in {"": np.array([2, 0, 0, 1]), ", some ignored": some_ignored}.items():
            yield _weighted_row(
                "cross_entropy", f"smoothed, weights{name}, {reduction}", normal((4, 3)), labels, chosen
            )
        for name, shape in {"(N, C)": (4, 3), "(C,)": (3,), "(N, C, 2)": (2, 3, 2)}.items():
            given = drawn(lambda rng, shape=shape: rng.standard_normal(shape), probabilities(*shape))
            yield Row("cross_entropy", f"probabilities {name}, {reduction}", given, {"reduction": reduction})
            yield Row("cross_entropy", f"smoothed probabilities {name}, {reduction}", given, chosen)
            weighted = drawn(lambda rng, shape=shape: rng.standard_normal(shape), probabilities(*shape), WEIGHTS)
            yield Row("cross_entropy", f"weighted probabilities {name}, {reduction}", weighted, chosen)
    yield Row("cross_entropy", "no probabilities", values(np.zeros((0, 3)), np.zeros((0, 3))), smooth=False)
    yield Refused("cross_entropy", "ignored probabilities", normal((2, 3), (2, 3)), {"ignore_index": 1})
    yield Refused("cross_entropy", "probabilities of another shape", normal((2, 3), (2, 2)))
    yield Refused("cross_entropy", "too few weights for probabilities", normal((2, 3), (2, 3), (2,)))
    yield Refused("cross_entropy", "too much smoothing", values([[1.0, 2.0]], [0]), {"label_smoothing": 1.5})


def of_two_classes() -> Iterator[Row]:
    logits, both = "binary_cross_entropy_with_logits", ("binary_cross_entropy_with_logits", "binary_cross_entropy")
    for function in both:
        for reduction in REDUCTIONS:
            chosen = {"reduction": reduction}
            yield Row(function, reduction, drawn(between(2, 3), between(2, 3)), chosen)
            weighted = {**chosen, "weight": WEIGHTS}
            yield Row(function, f"weights, {reduction}", drawn(between(2, 3), between(2, 3)), weighted)
            column = {**chosen, "weight": np.array([[1.0], [3.0]])}
            yield Row(function, f"weights of rows, {reduction}", drawn(between(2, 3), between(2, 3)), column)
        yield Row(function, "0-d", drawn(between(), between()))
        yield Row(function, "empty", drawn(between(0, 3), between(0, 3)), smooth=False)
        yield Refused(function, "shapes", drawn(between(2, 3), between(3)))
        yield Refused(function, "shape of weight", drawn(between(2, 3), between(2, 3), np.ones(2)))
        yield Refused(function, "weight larger than input", drawn(between(3), between(3), np.ones((2, 3))))
        yield Refused(function, "integer input", values([0, 1], [0.5, 0.5]))
        yield Refused(function, "integer target", values([0.5, 0.5], [0, 1]))
        yield Refused(function, "unknown reduction", drawn(between(3), between(3)), {"reduction": "batchmean"})
    for reduction in REDUCTIONS:
        chosen = {"reduction": reduction, "pos_weight": np.array([2.0, 3.0, 0.5])}
        yield Row(logits, f"pos_weight, {reduction}", drawn(between(2, 3), between(2, 3)), chosen)
    both_weights = {"pos_weight": np.array(2.0), "weight": WEIGHTS}
    yield Row(logits, "both weights", drawn(between(2, 3), between(2, 3)), both_weights)
    far = values([-1e3, 1e3, 1e3, 0.0, INF, NAN], [1.0, 0.0, 1.0, 0.5, 0.0, 1.0])
    yield Row(logits, "far from 0", far, {"reduction": "none"}, smooth=False)
    yield Refused(logits, "shape of pos_weight", drawn(between(2, 3), between(2, 3)), {"pos_weight": np.ones(2)})
    ends = values([0.0, 1.0, 0.0, 1.0, 1e-13], [1.0, 0.0, 0.0, 1.0, 1.0])
    yield Row("binary_cross_entropy", "ends", ends, {"reduction": "none"}, torch=_finite_for_the_target, smooth=False)
    for name, p, y in [("input above 1", 1.1, 1.0), ("input below 0", -0.1, 1.0), ("target above 1", 0.5, 1.1)]:
        yield Refused("binary_cross_entropy", name, values([p], [y]))
    yield Refused("binary_cross_entropy", "NaN", values([NAN], [1.0]))


def _finite_for_the_target(torch: Any, p: Any, y: Any, **options: Any) -> Any:
    """At 0 and 1 PyTorch's gradient for the target is infinite; ours is that of the limited logarithms."""
    slope = (torch.log1p(-p).clamp(min=-100) - torch.log(p).clamp(min=-100)).detach()
    constant = torch.nn.functional.binary_cross_entropy(p, y.detach(), **options)
    return constant + slope * (y - y.detach())


def divergences() -> Iterator[Row]:
    for reduction in (*REDUCTIONS, "batchmean"):
        chosen = {"reduction": reduction}
        yield Row("kl_div", reduction, drawn(between(2, 3), probabilities(2, 3)), chosen)
        yield Row("kl_div", f"log target, {reduction}", normal((2, 3), (2, 3)), {**chosen, "log_target": True})
        yield Row("kl_div", f"broadcast, {reduction}", drawn(between(2, 3), probabilities(3)), chosen)
        yield Row("kl_div", f"0-d, {reduction}", drawn(between(), between()), chosen)
    yield Row("kl_div", "empty", normal((0, 3), (0, 3)), {"reduction": "batchmean"}, smooth=False)
    certain = {"target": np.array([0.0, 1.0])}  # an option, not differentiated: PyTorch's gradient at 0 is NaN
    yield Row("kl_div", "probability 0", values([-1.0, -2.0]), certain)
    yield Refused("kl_div", "shapes", normal((2, 3), (2,)))
    yield Refused("kl_div", "integer input", values([1, 2], [0.5, 0.5]))
    yield Refused("kl_div", "integer target", values([0.5, 0.5], [0, 1]))
    yield Refused("kl_div", "unknown reduction", normal((3,), (3,)), {"reduction": "max"})


def of_functional(row: Row) -> Row:
    """PyTorch's is the one in ``torch.nn.functional``: ``torch`` has others of the same names. It warns of "mean"."""

    def call(torch: Any, *arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(torch.nn.functional, row.function)(*arguments, **options)

    return replace(row, torch=row.torch or call, method=False)


ROWS = [of_functional(row) for row in (*of_labels(), *smoothed(), *of_two_classes(), *divergences())]
