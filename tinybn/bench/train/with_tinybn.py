"""tinybn's side of the race."""

from typing import Any

import numpy as np

import tinybn as tb


class Trainer:
    """The model of a list of layers, its optimizer, and steps with them."""

    version = tb.__version__

    def __init__(self, layers: Any, weights: list[Any], optimizer: str, lr: float, threads: int, variant: str) -> None:
        tb.set_num_threads(threads)
        self.model = tb.nn.Sequential(*(_MAKE[kind](*sizes) for kind, *sizes in layers))
        for parameter, weight in zip(self.model.parameters(), weights, strict=True):
            parameter.data[...] = weight
        parameters = self.model.parameters()
        self.optimizer: Any = (
            tb.optim.SGD(parameters, lr=lr, momentum=0.9) if optimizer == "sgd" else tb.optim.Adam(parameters, lr=lr)
        )

    def batch(self, images: Any, labels: Any) -> Any:
        """What a step takes, of float32 images (B, 1, 28, 28) and int64 labels. Not timed."""
        return tb.tensor(images), labels

    def step(self, batch: Any) -> Any:
        """Forward, loss, backward, update. Returns the loss when all is done."""
        x, labels = batch
        self.optimizer.zero_grad()
        loss = tb.functional.cross_entropy(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def predict(self, images: Any) -> Any:
        """The logits, in evaluation mode, as an array."""
        self.model.eval()
        with tb.no_grad():
            logits = self.model(tb.tensor(images)).numpy()
        self.model.train()
        return np.asarray(logits)


_MAKE: dict[str, Any] = {
    "conv": lambda inputs, outputs, kernel, padding: tb.nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False),
    "linear": tb.nn.Linear,
    "batchnorm1d": tb.nn.BatchNorm1d,
    "batchnorm2d": tb.nn.BatchNorm2d,
    "relu": tb.nn.ReLU,
    "sigmoid": tb.nn.Sigmoid,
    "pool": tb.nn.MaxPool2d,
    "flatten": tb.nn.Flatten,
}
