"""The statistics of what BatchNorm layers get over a whole data set: measured, or set as their running statistics."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.kernels import batch_moments
from tinybn.modes import no_grad
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm, BatchRenorm1d, BatchRenorm2d, InstanceNorm1d, InstanceNorm2d
from tinybn.storage import mark_changed

Layers = dict[str, BatchNorm]


class Population(NamedTuple):
    """All that a layer gets, per channel.

    Fields:
        count: how many values each channel has.
        mean: float64 (C,).
        var: Σ(x − mean)²/count, float64 (C,).
    """

    count: int  # type: ignore[assignment]  # a tuple's own method
    mean: Array
    var: Array


# --- for users --------------------------------------------------------------------------------------------------------


def population_statistics(model: Module, loader: Iterable[Any], exact: bool = False) -> dict[str, Population]:
    """Mean and variance of the input of each layer with running statistics, over all batches. The model stays as it is.

    Batches are merged as n = nₐ + n_b, δ = mean_b − meanₐ, mean = meanₐ + δ·n_b/n, M2 = M2ₐ + M2_b + δ²·nₐ·n_b/n, so
    that larger ones weigh more and the variance between batches counts.

    Args:
        model: with layers that are a `BatchNorm`. Those that keep no statistics have no entry, and neither has an
            `InstanceNorm2d`, whose running statistics are means over the examples' own.
        loader: an iterable of ``(inputs, targets)``, or of inputs alone. With ``exact`` it is gone through once for
            each layer, and should give the same data each time.
        exact: False: one pass in training mode, in which a layer gets what the batch statistics of those in front of
            it make, and dropout drops. True: evaluation mode, layer by layer in the order in which they first run, each
            behind layers that use their own population statistics: what the model will see once it has them all.

    A layer frozen by ``freeze(statistics=True)`` normalizes with its running statistics either way. All inputs of a
    layer that runs several times in one forward count; with ``exact``, those that come from itself have been normalized
    with the running statistics that it has.

    Returns:
        By the layers' names in `named_modules`, for those that ran: only frozen ones need not.

    Raises:
        ValueError: no batches; a layer that never ran, or got one value per channel in all; an input of a layer that
            is not finite; with ``exact`` and several layers, an iterator, which can be gone through only once.
        ShapeError: one value per channel in a batch, without ``exact``.

    Source: Chan, Golub & LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", §2;
    Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", §3.

    >>> import tinybn as tb
    >>> batches = [tb.tensor([[1.0], [3.0]]), tb.tensor([[3.0], [3.0], [7.0], [7.0]])]
    >>> population_statistics(tb.nn.Sequential(tb.nn.BatchNorm1d(1)), batches)
    {'0': Population(count=6, mean=array([4.]), var=array([5.]))}
    """
    layers = _layers_with_statistics("population_statistics", model)
    measured = _measured("population_statistics", model, loader, exact, layers)
    return {name: moments.population() for name, moments in measured.items()}


def update_bn(model: Module, loader: Iterable[Any], exact: bool = False) -> None:
    """Set the running statistics to `population_statistics`, and ``num_batches_tracked`` to how often a layer has run.

    The running variance is the unbiased one where a layer's convention says so. Layers that are frozen keep theirs.
    PyTorch's function gives each batch the same weight and leaves out the variance between batches; here a layer's
    statistics are those of all its inputs together. A `BatchRenorm2d` whose limits grow over ``total_steps`` keeps its
    ``num_batches_tracked``, which says how far its training is.

    Args:
        model, loader, exact: as for `population_statistics`. PyTorch has the loader first.

    Raises:
        ValueError, ShapeError: as `population_statistics`, and statistics that a layer's dtype cannot hold. Nothing has
            changed then.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", algorithm 2; Wu & Johnson 2021, "Rethinking 'Batch' in
    BatchNorm", §3.

    >>> import tinybn as tb
    >>> model = tb.nn.Sequential(tb.nn.BatchNorm1d(1))
    >>> update_bn(model, [(tb.tensor([[1.0], [3.0]]), [0, 1]), (tb.tensor([[3.0], [3.0], [7.0], [7.0]]), [0, 0, 1, 1])])
    >>> model[0].running_mean, model[0].running_var, model[0].num_batches_tracked.item()
    (tensor([4.]), tensor([6.]), 2)
    """
    layers = _layers_with_statistics("update_bn", model)
    layers = {name: layer for name, layer in layers.items() if not layer.frozen_statistics}
    measured = _measured("update_bn", model, loader, exact, layers)
    statistics = {name: _running_statistics(name, layer, measured[name]) for name, layer in layers.items()}
    for name, layer in layers.items():
        _set_running_statistics(layer, statistics[name])
        layer.skipped_batches = 0
        scheduled = isinstance(layer, BatchRenorm1d | BatchRenorm2d) and layer.total_steps is not None
        if layer.num_batches_tracked is not None and not scheduled:
            layer.num_batches_tracked.data.fill(measured[name].batches)


def _layers_with_statistics(caller: str, model: Module) -> Layers:
    if not isinstance(model, Module):
        raise TypeError(f"{caller}: expected a Module and then a loader, got a {type(model).__name__} first")
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm)
        and not isinstance(module, InstanceNorm1d | InstanceNorm2d)
        and not (module.running_mean is None and module.running_var is None)
    }


# --- one layer --------------------------------------------------------------------------------------------------------


class _Moments:
    """Count, mean and M2 = Σ(x − mean)² of what a layer has got so far, and in how many batches that were not empty."""

    def __init__(self, name: str, layer: BatchNorm) -> None:
        self.name = name
        self.count = self.batches = 0
        self.mean, self.m2 = np.zeros(layer.num_features), np.zeros(layer.num_features)

    def add(self, x: Array, batch: int) -> None:
        """Merge another input, which belongs to the batch of that number."""
        if not x.size:
            return
        mean, var = moments = batch_moments(x)
        with np.errstate(over="ignore"):
            finite = np.isfinite(moments.astype(x.dtype)).all(axis=0)
        if not finite.all():
            raise ValueError(
                f"layer {self.name!r}: the statistics of its input in batch {batch} (from 0 on), of shape {x.shape}, "
                f"are not finite in channel {int(finite.argmin())}; leave out such batches, or find with "
                "detect_anomaly() what made them"
            )
        new = x.size // x.shape[1]
        count, delta = self.count + new, mean - self.mean
        self.m2 += new * var + delta**2 * (self.count * new / count)
        self.mean += delta * (new / count)
        self.count = count
        self.batches += 1

    def population(self) -> Population:
        return Population(self.count, self.mean, self.m2 / self.count)


def _running_statistics(name: str, layer: BatchNorm, moments: _Moments) -> tuple[Array, Array]:
    """Mean and variance as the layer's running statistics, in its dtype."""
    kept = layer.running_mean if layer.running_mean is not None else layer.running_var
    dtype = kept.dtype  # type: ignore[union-attr]
    statistics = moments.mean, moments.m2 / (moments.count - 1 if layer._unbiased else moments.count)
    if max(np.abs(values).max(initial=0) for values in statistics) > np.finfo(dtype).max:
        raise ValueError(f"layer {name!r}: {dtype} cannot hold the statistics of its input; scale the input down")
    return statistics[0].astype(dtype), statistics[1].astype(dtype)


def _set_running_statistics(layer: BatchNorm, statistics: tuple[Array, Array]) -> None:
    for buffer, values in zip((layer.running_mean, layer.running_var), statistics, strict=True):
        if buffer is not None:
            buffer.data[...] = values
            mark_changed(buffer.data, "update_bn")


# --- passes over the data ---------------------------------------------------------------------------------------------


def _measured(caller: str, model: Module, loader: Iterable[Any], exact: bool, layers: Layers) -> dict[str, _Moments]:
    """The moments of each layer's input; the model is what it was when this returns or raises."""
    if not layers:
        return {}
    if exact and len(layers) > 1 and isinstance(loader, Iterator):
        raise ValueError(
            f"{caller}: exact=True goes through the loader once for each of {len(layers)} layers, but a "
            f"{type(loader).__name__} can be gone through only once; pass a DataLoader or a list of batches"
        )
    with no_grad(), _left_as_it_is(model):
        passes = _Passes(caller, model, loader, layers)
        (passes.layer_by_layer if exact else passes.all_at_once)()
    return {name: moments for name, moments in passes.moments.items() if moments.count}


@contextmanager
def _left_as_it_is(model: Module) -> Iterator[None]:
    """All attributes of the modules are in the end what they were; in the meantime, buffers are copies."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    copies = {id(buffer): Tensor(buffer.array.copy()) for buffer in model.buffers()}
    try:
        for module, _ in before:
            for name in module._buffer_names:
                if (buffer := getattr(module, name)) is not None:
                    setattr(module, name, copies[id(buffer)])
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


class _Enough(BaseException):
    """Ends a forward whose rest nobody needs. Not an Exception, which a model may catch."""


class _Passes:
    """Passes of a loader through a model whose layers say what they get."""

    def __init__(self, caller: str, model: Module, loader: Iterable[Any], layers: Layers) -> None:
        self.caller, self.model, self.loader, self.layers = caller, model, loader, layers
        self.moments = {name: _Moments(name, layer) for name, layer in layers.items()}
        self.batch = 0  # the number of those that are through
        self.see: Callable[[str, Array], None]  # called before each run of a layer with its name and its input
        for name, layer in layers.items():
            vars(layer)["forward"] = self._seen(name, layer, layer.forward)

    def _seen(self, name: str, layer: BatchNorm, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(input: Any, *args: Any, **options: Any) -> Any:
            x = as_tensor(input).array
            if x.ndim > 1 and x.shape[1] == layer.num_features:  # else the layer says what is wrong
                self.see(name, x)
            return forward(input, *args, **options)

        return run

    def all_at_once(self) -> None:
        """One pass in training mode."""
        self.model.train()
        self._go(self._measure)
        for name in self.layers:
            self._check_count(name)

    def layer_by_layer(self) -> None:
        """The first pass finds the order of the layers and measures the first; each one behind it gets another pass."""
        self.model.eval()
        last_batch: dict[str, int] = {}  # in which a layer ran, in the order of their first runs
        repeated = set()

        def find_order(name: str, x: Array) -> None:
            if last_batch.get(name) == self.batch:
                repeated.add(name)
            last_batch[name] = self.batch
            if name == next(iter(last_batch)):
                self._measure(name, x)

        def measure_one(wanted: str, name: str, x: Array) -> None:
            if name == wanted:
                self._measure(name, x)
                if name not in repeated:
                    raise _Enough

        self._go(find_order)
        for name in self.layers:
            if name not in last_batch:
                self._check_count(name)
        for position, name in enumerate(last_batch):
            if position > 0:
                self._go(partial(measure_one, name))
            self._check_count(name)
            layer = self.layers[name]
            if not layer.frozen_statistics:
                _set_running_statistics(layer, _running_statistics(name, layer, self.moments[name]))

    def _measure(self, name: str, x: Array) -> None:
        self.moments[name].add(x, self.batch)

    def _go(self, see: Callable[[str, Array], None]) -> None:
        """One pass."""
        self.see, self.batch = see, 0
        for batch in self.loader:
            with suppress(_Enough):
                self.model(batch[0] if isinstance(batch, tuple | list) else batch)
            self.batch += 1
        if not self.batch:
            raise ValueError(
                f"{self.caller}: got no batches; a loader with drop_last has none when the data are fewer than a batch"
            )

    def _check_count(self, name: str) -> None:
        count = self.moments[name].count
        if count < 2 and not self.layers[name].frozen_statistics:
            mode = "training" if self.model.training else "evaluation"
            raise ValueError(
                f"{self.caller}: layer {name!r} got {count} values per channel from {self.batch} batches in {mode} "
                "mode; its variance needs two. Pass more data, or freeze() a layer that is not to run"
            )
