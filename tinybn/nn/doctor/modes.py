"""Which statistics the layers of a copy use while it is examined."""

from collections.abc import Container

from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm
from tinybn.storage import mark_changed


def use_running(model: Module) -> None:
    """Batch normalization in evaluation mode, whatever the mode of the rest."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.training = False


class Switch:
    """The layers of a copy that use the batch's statistics in training and their running ones in evaluation.

    All else is in evaluation mode, so that dropout drops nothing. What training changes in these layers is undone at
    the next `use_batch`.
    """

    def __init__(self, model: Module) -> None:
        self.layers = {
            name: layer
            for name, layer in model.eval().named_modules()
            if isinstance(layer, BatchNorm) and layer.num_batches_tracked is not None and not layer.frozen_statistics
        }
        for layer in self.layers.values():
            layer.skipped_batches = 1  # so that a batch that is not finite causes no warning
        buffers = [buffer for layer in self.layers.values() for buffer in layer.buffers()]
        self.before = [(buffer, buffer.data.copy()) for buffer in buffers]

    def use_batch(self, names: Container[str]) -> None:
        """These layers use the batch's statistics, the others their running ones."""
        for buffer, array in self.before:
            buffer.data[...] = array
            mark_changed(buffer.data, "diagnose")
        for name, layer in self.layers.items():
            layer.training = name in names
