"""Optimizers and learning-rate schedules, under the names and with the arguments of ``torch.optim``."""

from tinybn.optim import lr_scheduler
from tinybn.optim.adam import Adam, AdamW
from tinybn.optim.groups import parameter_groups
from tinybn.optim.optimizer import Optimizer
from tinybn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler", "parameter_groups"]
