"""Training and evaluation loops."""

from tinybn.train.loop import Evaluation, evaluate, fit

__all__ = ["Evaluation", "evaluate", "fit"]
