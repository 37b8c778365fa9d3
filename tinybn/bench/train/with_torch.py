"""PyTorch's side of the race, as its documentation recommends for training on a CPU."""

from typing import Any

import torch
from torch import nn


class Trainer:
    """The model of a list of layers, its optimizer, and steps with them; see `with_tinybn`.

    A variant is "plain" or any of the words "channels_last" (memory format of images and weights) and "fused" (the
    optimizer's loop over all parameters in one call).
    """

    version = torch.__version__

    def __init__(self, layers: Any, weights: list[Any], optimizer: str, lr: float, threads: int, variant: str) -> None:
        torch.set_num_threads(threads)
        fused = "fused" in variant
        self.format = torch.channels_last if "channels_last" in variant else torch.contiguous_format
        self.model = nn.Sequential(*(_MAKE[kind](*sizes) for kind, *sizes in layers))
        with torch.no_grad():
            for parameter, weight in zip(self.model.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(weight))
        self.model = self.model.to(memory_format=self.format)
        parameters = self.model.parameters()
        self.optimizer: Any = (
            torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=fused)
            if optimizer == "sgd"
            else torch.optim.Adam(parameters, lr=lr, fused=fused)
        )
        self.loss = nn.CrossEntropyLoss()

    def batch(self, images: Any, labels: Any) -> Any:
        return torch.from_numpy(images).contiguous(memory_format=self.format), torch.from_numpy(labels)

    def step(self, batch: Any) -> Any:
        x, labels = batch
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def predict(self, images: Any) -> Any:
        self.model.eval()
        with torch.no_grad():
            logits = self.model(torch.from_numpy(images)).numpy()
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
