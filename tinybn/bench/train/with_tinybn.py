"""tinybn's side of the race."""

import importlib.metadata
from typing import Any

from tinybn import functional as F
from tinybn import nn, optim
from tinybn._tensor import tensor
from tinybn.modes import no_grad
from tinybn.threads import set_num_threads


class Trainer:
    """The model of a list of layers, its optimizer, and steps with them."""

    version = importlib.metadata.version("tinybn")

    def __init__(self, layers: Any, weights: list[Any], optimizer: str, lr: float, threads: int, variant: str) -> None:
        set_num_threads(threads)
        self.model = nn.Sequential(*(_MAKE[kind](*sizes) for kind, *sizes in layers))
        for parameter, weight in zip(self.model.parameters(), weights, strict=True):
            parameter.data[...] = weight
        parameters = self.model.parameters()
        self.optimizer: Any = (
            optim.SGD(parameters, lr=lr, momentum=0.9) if optimizer == "sgd" else optim.Adam(parameters, lr=lr)
        )

    def batch(self, images: Any, labels: Any) -> Any:
        """What a step takes, of float32 images (B, 1, 28, 28) and int64 labels. Not timed."""
        return tensor(images), labels

    def step(self, batch: Any) -> Any:
        """Forward, loss, backward, update. Returns the loss when all is done."""
        x, labels = batch
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def predict(self, images: Any) -> Any:
        """The logits, in evaluation mode, as an array."""
        self.model.eval()
        with no_grad():
            logits = self.model(tensor(images)).numpy()
        self.model.train()
        return logits


_MAKE: dict[str, Any] = {
    "conv": lambda inputs, outputs, kernel, padding: nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False),
    "linear": nn.Linear,
    "batchnorm1d": nn.BatchNorm1d,
    "batchnorm2d": nn.BatchNorm2d,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "pool": nn.MaxPool2d,
    "flatten": nn.Flatten,
}
