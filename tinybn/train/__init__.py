"""Training and evaluation loops."""

from tinybn.train.loop import Evaluation, evaluate, fit, train_step

__all__ = ["Evaluation", "evaluate", "fit", "train_step"]
