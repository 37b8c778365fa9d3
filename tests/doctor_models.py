"""Models for the doctor's tests: healthy ones, and one with each fault, all trained on the digits."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinybn as tb
from tinybn import nn

EPOCHS = 3
DECAY = 5e-4


@dataclass
class Patient:
    """What `diagnose` is given, under the names that repairs use."""

    model: Any
    loader: Any
    optimizer: Any = None

    def train(self, epochs=EPOCHS):
        self.optimizer = self.optimizer or tb.optim.Adam(tb.optim.parameter_groups(self.model, DECAY), lr=0.003)
        for _ in range(epochs):
            tb.train.fit(self.model, self.loader, self.optimizer)
        return self

    def diagnose(self):
        return nn.diagnose(self.model, self.loader, self.optimizer)

    def repair(self, code):
        """Run a finding's line of code; it may give any of the three another value."""
        names = {
            "tb": tb,
            "np": np,
            "copy": copy,
            "model": self.model,
            "loader": self.loader,
            "optimizer": self.optimizer,
        }
        exec(code, names)
        self.model, self.loader, self.optimizer = names["model"], names["loader"], names["optimizer"]


def loader(batch_size=32, **options):
    return tb.data.DataLoader(tb.data.digits().train, batch_size, shuffle=True, **options)


def mlp(norm=nn.BatchNorm1d, width=32):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, width, bias=False),
        norm(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        norm(width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def cnn(norm=nn.BatchNorm2d, width=8):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        norm(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
        norm(2 * width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


# --- faults of the structure ------------------------------------------------------------------------------------------


def dropout_in_front():
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    return Patient(model, loader()).train()


def channel_dropout_in_front():
    model = cnn()
    model.insert(4, nn.Dropout2d(0.3))
    return Patient(model, loader()).train()


def linear_with_bias():
    model = mlp()
    model[4] = nn.Linear(32, 32)
    return Patient(model, loader()).train()


def conv_with_bias_behind_pooling():
    model = cnn()
    model[4] = nn.Conv2d(8, 16, 3, padding=1)
    model.insert(5, model.pop(7))  # the pooling, in front of the norm: the largest value moves with the bias
    return Patient(model, loader()).train()


def two_values_for_a_mean():
    model = mlp(nn.LayerNorm)
    model[2] = nn.GroupNorm(16, 32)
    return Patient(model, loader()).train()


# --- faults of the data -----------------------------------------------------------------------------------------------


def batches_of_four():
    data = tb.data.digits().train.take(slice(400))
    return Patient(mlp(), tb.data.DataLoader(data, 4, shuffle=True)).train()


def images_by_four():
    data = tb.data.digits().train.take(slice(400))
    return Patient(cnn(), list(tb.data.DataLoader(data, 4, shuffle=True))).train()


def small_ghosts():
    return Patient(mlp(lambda width: nn.GhostBatchNorm1d(width, ghost_size=4)), loader(64)).train(5)


def single_example_at_the_end():
    data = tb.data.digits().train.take(slice(32 * 40 + 1))
    patient = Patient(mlp(), tb.data.DataLoader(data, 32, shuffle=True, drop_last=True)).train()
    patient.loader = tb.data.DataLoader(data, 32, shuffle=True)
    return patient


def sorted_by_class():
    inputs, targets = tb.data.digits().train.batch(slice(None))
    order = np.argsort(targets, kind="stable")
    return Patient(mlp(), tb.data.DataLoader((inputs[order], targets[order]), 32)).train(1)


def sorted_images_in_a_list():
    inputs, targets = tb.data.digits().train.batch(slice(None))
    order = np.argsort(targets, kind="stable")
    patient = Patient(cnn(), loader()).train()
    patient.loader = list(tb.data.DataLoader((inputs[order], targets[order]), 32))
    return patient


class Twice(nn.Module):
    """One normalization in two places, whose inputs have nothing to do with each other."""

    def __init__(self):
        self.first = nn.Linear(64, 32, bias=False)
        self.second = nn.Linear(32, 32, bias=False)
        self.norm = nn.BatchNorm1d(32)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = self.norm(self.first(x.reshape(len(x), -1))).relu()
        return self.out(self.norm(4 * self.second(x)).relu())


def one_norm_in_two_places():
    return Patient(Twice(), loader()).train()


def nan_in_the_data():
    patient = Patient(mlp(), list(loader())).train()
    inputs, targets = patient.loader[3]
    inputs = inputs.copy()
    inputs[0, 0, 4, 4] = np.nan
    patient.loader[3] = inputs, targets
    return patient


def nan_in_the_past():
    patient = Patient(cnn(), loader()).train()
    for layer in (patient.model[1], patient.model[5]):
        layer.skipped_batches = 2
    return patient


def nan_weights():
    patient = Patient(mlp(), loader()).train()
    patient.model[1].weight.data[0, 0] = np.nan
    return patient


# --- faults of the running statistics ---------------------------------------------------------------------------------


def nan_in_the_statistics():
    patient = Patient(cnn(), loader()).train()
    patient.model[1].running_var.data[2] = np.nan
    return patient


def eval_before_training():
    return Patient(mlp(), loader())


def statistics_forgotten():
    patient = Patient(cnn(), loader()).train()
    patient.model[5].reset_running_stats()
    return patient


def momentum_of_keras():
    return Patient(mlp(lambda width: nn.BatchNorm1d(width, momentum=0.99)), loader()).train()


def momentum_of_torch_in_keras():
    return Patient(mlp(lambda width: nn.BatchNorm1d(width, momentum=0.1, convention="keras")), loader()).train()


def momentum_too_small():
    return Patient(mlp(lambda width: nn.BatchNorm1d(width, momentum=0.01)), loader(64)).train()


def statistics_of_other_weights():
    patient = Patient(cnn(), loader()).train()
    patient.model[4].weight.data *= 3
    return patient


def data_scaled_differently():
    patient = Patient(mlp(), loader()).train()
    patient.loader = loader(transform=lambda x: 16 * x)
    return patient


# --- faults of channels -----------------------------------------------------------------------------------------------


def norm_of_raw_pixels():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    return Patient(model, loader()).train()


def variances_below_eps():
    patient = Patient(mlp(), loader()).train()
    patient.model[1].weight.data *= 1e-4
    nn.update_bn(patient.model, patient.loader, exact=True)
    return patient


def dead_channels():
    patient = Patient(cnn(), loader()).train()
    patient.model[5].bias.data[[1, 4, 7]] = -20
    return patient


# --- faults of training -----------------------------------------------------------------------------------------------


def decayed():
    model = cnn()
    return Patient(model, loader(), tb.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)).train()


def forgotten_by_the_optimizer():
    model = mlp()
    weights = [p for p in model.parameters() if p.ndim > 1]
    return Patient(model, loader(), tb.optim.Adam(weights, lr=0.003)).train()


def frozen_affine():
    patient = Patient(mlp(), loader()).train()
    patient.model[5].requires_grad_(False)
    return patient


def frozen_features():
    patient = Patient(cnn(), loader()).train()
    patient.model[:9].requires_grad_(False)
    return patient


def features_left_out_of_the_optimizer():
    patient = Patient(cnn(), loader()).train()
    patient.optimizer = tb.optim.SGD(patient.model[9].parameters(), lr=0.1)
    return patient


def part_in_eval_mode():
    patient = Patient(mlp(), loader()).train()
    patient.model[2].eval()
    return patient


def part_in_training_mode():
    patient = Patient(mlp(), loader()).train()
    patient.model.eval()
    patient.model[5].train()
    return patient


# What each makes wrong, and where. A repair is followed by some training where the new part has to learn.
BROKEN: dict[Callable[[], Patient], tuple[str, list[str]]] = {
    dropout_in_front: ("dropout_before_norm", ["6"]),
    channel_dropout_in_front: ("dropout_before_norm", ["6"]),
    linear_with_bias: ("redundant_bias", ["5"]),
    conv_with_bias_behind_pooling: ("redundant_bias", ["6"]),
    two_values_for_a_mean: ("too_few_values", ["2"]),
    batches_of_four: ("small_batch", ["2", "5"]),
    images_by_four: ("small_batch", ["1", "5"]),
    small_ghosts: ("small_batch", ["2", "5"]),
    single_example_at_the_end: ("single_value_batch", ["2"]),
    sorted_by_class: ("unrepresentative_batches", ["2"]),
    sorted_images_in_a_list: ("unrepresentative_batches", ["1"]),
    one_norm_in_two_places: ("shared_statistics", ["norm"]),
    nan_in_the_data: ("nan_batches", ["2"]),
    nan_in_the_past: ("nan_batches", ["1"]),
    nan_weights: ("non_finite_parameters", ["2"]),
    nan_in_the_statistics: ("poisoned_statistics", ["1"]),
    eval_before_training: ("statistics_never_moved", ["2", "5"]),
    statistics_forgotten: ("statistics_never_moved", ["5"]),
    momentum_of_keras: ("momentum_of_last_batch", ["2", "5"]),
    momentum_of_torch_in_keras: ("momentum_of_last_batch", ["2", "5"]),
    momentum_too_small: ("statistics_unsettled", ["2", "5"]),
    statistics_of_other_weights: ("stale_statistics", ["5"]),
    data_scaled_differently: ("stale_statistics", ["2"]),
    norm_of_raw_pixels: ("flat_channels", ["1"]),
    variances_below_eps: ("eps_above_variance", ["2"]),
    dead_channels: ("dead_relu", ["5"]),
    decayed: ("weight_decay_on_norm", ["1", "5"]),
    forgotten_by_the_optimizer: ("not_optimized", ["2", "5"]),
    frozen_affine: ("frozen_affine_moving_statistics", ["5"]),
    frozen_features: ("moving_statistics_in_frozen_part", ["1", "5"]),
    features_left_out_of_the_optimizer: ("moving_statistics_in_frozen_part", ["1", "5"]),
    part_in_eval_mode: ("eval_undone_by_train", ["2"]),
    part_in_training_mode: ("training_mode_in_eval", ["5"]),
}
