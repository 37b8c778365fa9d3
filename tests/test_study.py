"""The placement study: where BatchNorm goes, how a run is made and measured, and the report."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import made_run

import tinybn as tb
from tinybn import nn, study
from tinybn.data import digits
from tinybn.study import PLACEMENTS, Settings, build, load_runs, parse_placement, protocol, run_arm
from tinybn.study.statistics import mean_interval

ROOT = Path(__file__).parents[1]
# Ten steps on digits: enough to measure, and done in a tenth of a second.
SMALL = Settings(data="digits", epochs=1, seeds=1, batch_size=32, max_train=320, lr=0.1)


# --- arms -------------------------------------------------------------------------------------------------------------

LETTERS = {
    "F": "Flatten",
    "L": "Linear",
    "C": "Conv2d",
    "b": "BatchNorm1d",
    "B": "BatchNorm2d",
    "A": "ReLU",
    "P": "MaxPool2d",
}
# placement: the MLP's layers, the CNN's layers
ARMS = {
    "none": ("F LA LA LA L", "CAP CAP F LA L"),
    "before": ("F LbA LbA LbA L", "CBAP CBAP F LbA L"),
    "after": ("F LAb LAb LAb L", "CABP CABP F LAb L"),
    "input": ("F b LA LA LA L", "B CAP CAP F LA L"),
    "logits": ("F LA LA LA Lb", "CAP CAP F LA Lb"),
    "input+before": ("F b LbA LbA LbA L", "B CBAP CBAP F LbA L"),
    "input+after": ("F b LAb LAb LAb L", "B CABP CABP F LAb L"),
    "before+logits": ("F LbA LbA LbA Lb", "CBAP CBAP F LbA Lb"),
    "before+after": ("F LbAb LbAb LbAb L", "CBABP CBABP F LbAb L"),
    "input+before+after+logits": ("F b LbAb LbAb LbAb Lb", "B CBABP CBABP F LbAb Lb"),
}
arms = pytest.mark.parametrize(
    ("net", "placement", "layers"),
    [(net, placement, row[i]) for i, net in enumerate(("mlp", "cnn")) for placement, row in ARMS.items()],
)


def weighted(model):
    return [layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d)]


def test_the_study_compares_arms_of_the_table():
    assert set(PLACEMENTS) <= set(ARMS)
    assert len(set(PLACEMENTS)) == len(PLACEMENTS)


@arms
def test_batch_norm_stands_exactly_where_the_placement_says(net, placement, layers):
    model = build(net, "relu", placement, (8, 8), 10, seed=0)
    assert [type(layer).__name__ for layer in model] == [LETTERS[letter] for letter in layers.replace(" ", "")]
    assert model(tb.rand(4, 1, 8, 8)).shape == (4, 10)  # so that every width fits


@arms
def test_a_bias_is_left_out_in_front_of_batch_norm_and_nowhere_else(net, placement, layers):
    model = build(net, "relu", placement, (8, 8), 10, seed=0)
    following = [*list(model)[1:], None]
    for layer, after in zip(model, following, strict=True):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            assert (layer.bias is None) == isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d)


@arms
def test_all_arms_of_a_seed_start_from_the_same_weights(net, placement, layers):
    model, other = (build(net, "relu", name, (8, 8), 10, seed=3) for name in ("none", placement))
    for ours, theirs in zip(weighted(model), weighted(other), strict=True):
        np.testing.assert_array_equal(ours.weight.data, theirs.weight.data)
        if theirs.bias is not None:
            np.testing.assert_array_equal(ours.bias.data, theirs.bias.data)
    for layer in weighted(build(net, "relu", placement, (8, 8), 10, seed=4)):
        assert not any(np.array_equal(layer.weight.data, same.weight.data) for same in weighted(model))


def test_no_two_layers_share_a_stream_and_the_default_generator_is_not_used():
    tb.manual_seed(0)
    expected = tb.rand(2).tolist()
    tb.manual_seed(0)
    layers = weighted(build("mlp", "relu", "none", (10, 10), 100, seed=0))  # all weights are 100×100
    assert tb.rand(2).tolist() == expected
    assert len({layer.weight.data.tobytes() for layer in layers}) == len(layers) == 4


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_activations(activation):
    model = build("mlp", activation, "none", (8, 8), 10, seed=0)
    assert [type(layer).__name__.lower() for layer in model][2::2] == [activation] * 3


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("none", ""),
        ("before", "before"),
        ("after+input", "input after"),
        ("input+before+after+logits", "logits input before after"),
    ],
)
def test_parse_placement(name, places):
    assert parse_placement(name) == set(places.split())


@pytest.mark.parametrize("name", ["", "befor", "before+", "none+before", "before+before", "before after", "Before"])
def test_parse_placement_refuses_what_it_does_not_know(name):
    with pytest.raises(ValueError, match=r"placement .*expected 'none' or some of input, before, after, logits"):
        parse_placement(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("rnn", "relu", "none"), r"net 'rnn': expected"), (("mlp", "gelu", "none"), r"activation 'gelu': expected")],
)
def test_build_refuses_what_it_does_not_know(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments, (8, 8), 10, seed=0)


# --- a run ------------------------------------------------------------------------------------------------------------


def without_times(run):
    return replace(run, ms_per_step=0.0, seconds=0.0)


@pytest.mark.parametrize("net", ["mlp", "cnn"])
def test_run_arm(net):
    run = run_arm(digits(), replace(SMALL, net=net, epochs=6), "before", seed=1)
    steps = [step for step, _ in run.curve]
    assert (run.placement, run.seed, run.diverged) == ("before", 1, False)
    assert steps == sorted(set(steps)) and steps[0] == 10 and steps[-1] == 60
    assert all(0 <= accuracy <= 1 for _, accuracy in run.curve)
    assert run.curve[-1][1] > 0.7 and run.test_accuracy > 0.6
    assert 0 < run.test_loss < 2
    assert run.ms_per_step > 0 and run.seconds > 0.06 * run.ms_per_step / 2


def test_the_same_seed_gives_the_same_run():
    first, second = (run_arm(digits(), SMALL, "before", seed=1) for _ in range(2))
    assert without_times(first) == without_times(second)
    assert without_times(run_arm(digits(), SMALL, "before", seed=2)).curve != first.curve


def test_all_arms_of_a_seed_see_the_same_batches(monkeypatch):
    seen = []
    original = protocol.train_step

    def recording(model, inputs, targets, optimizer):
        seen.append(np.asarray(targets).tolist())
        return original(model, inputs, targets, optimizer)

    monkeypatch.setattr(protocol, "train_step", recording)

    def batches(placement, seed):
        seen.clear()
        run_arm(digits(), SMALL, placement, seed)
        return list(seen)

    first = batches("none", 0)
    assert len(first) == 10 and all(len(batch) == 32 for batch in first)
    assert batches("input+before", 0) == first
    assert batches("none", 1) != first


@pytest.mark.parametrize("accuracies", [[0.5, 0.96, 0.94, 0.98], [0.97, 0.1], [0.2, 0.95], [0.3]], ids=str)
def test_steps_to_an_accuracy_are_the_first_on_the_curve(monkeypatch, accuracies):
    scripted = iter(accuracies)
    monkeypatch.setattr(protocol, "_checkpoints", lambda steps: iter(range(1, len(accuracies) + 1)))
    monkeypatch.setattr(protocol, "_accuracy", lambda *_: next(scripted, 0.0))
    run = run_arm(digits(), SMALL, "none", seed=0)
    assert run.curve == list(zip(range(1, len(accuracies) + 1), accuracies, strict=True))
    for target in (0.95, 0.97):
        first = next((i + 1 for i, accuracy in enumerate(accuracies) if accuracy >= target), None)
        assert run.steps_to[f"{target:.0%}"] == first
    assert set(run.steps_to) == {"95%", "97%"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [1]),
        (10, [10]),
        (11, [10, 11]),
        (40, [10, 20, 30, 40]),
        (150, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 121, 133, 146, 150]),
    ],
)
def test_checkpoints_are_ten_steps_apart_at_first_then_ten_percent_and_end_with_the_last(steps, expected):
    assert list(protocol._checkpoints(steps)) == expected


def test_the_parts_of_the_data_do_not_overlap():
    images = digits()
    train, validation, test = protocol.split(images, replace(SMALL, max_train=None))
    assert (len(train), len(validation), len(test)) == (1197, 240, 360)
    np.testing.assert_array_equal(np.concatenate([train.images, validation.images]), images.train.images)
    assert test is images.test
    assert len(protocol.split(images, SMALL)[0]) == 320


def test_the_test_images_are_looked_at_once(monkeypatch):
    sizes = []
    original = protocol.evaluate
    monkeypatch.setattr(
        protocol, "evaluate", lambda model, loader: sizes.append(len(loader.dataset)) or original(model, loader)
    )
    run_arm(digits(), SMALL, "before", seed=0)
    assert sizes.count(360) == 1


def test_measuring_with_batch_statistics_leaves_the_running_ones_alone(monkeypatch):
    models = []
    monkeypatch.setattr(protocol, "build", lambda *args: models.append(build(*args)) or models[-1])
    run = run_arm(digits(), SMALL, "input+before", seed=0)
    (model,) = models
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]
    assert [layer.num_batches_tracked.item() for layer in norms] == [10] * 4
    _, validation, test = protocol.split(digits(), SMALL)
    again = tb.train.evaluate(model.eval(), tb.data.DataLoader(test, 500))
    assert again.accuracy == run.test_accuracy and again.loss == pytest.approx(run.test_loss, rel=1e-6)
    batches = tb.data.DataLoader(validation, 32, drop_last=True)
    assert tb.train.evaluate(model, batches).accuracy == run.accuracy_running
    assert tb.train.evaluate(model.train(), batches).accuracy == run.accuracy_batch


def test_without_batch_norm_there_is_no_difference_between_batch_and_running_statistics():
    run = run_arm(digits(), SMALL, "none", seed=0)
    assert run.accuracy_batch == run.accuracy_running


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy, of the overflow that is the point here
def test_a_diverged_run_says_so_and_goes_on():
    steps = []
    run = run_arm(digits(), replace(SMALL, lr=1e20), "none", seed=0, after_step=lambda: steps.append(1))
    assert run.diverged
    assert len(steps) == 10
    assert run.steps_to == {"95%": None, "97%": None}
    assert "none (1 of 1 diverged)" in study.table([run])


@pytest.mark.parametrize("batch_size", [321, 5000])
def test_a_batch_larger_than_the_training_images_is_refused(batch_size):
    with pytest.raises(ValueError, match=rf"batch_size is {batch_size}; there are only 320 images"):
        run_arm(digits(), replace(SMALL, batch_size=batch_size), "none", seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, r"seeds is 0; expected a whole number from 1 on"),
        ({"epochs": 0}, r"epochs is 0"),
        ({"batch_size": 0}, r"batch_size is 0"),
        ({"batch_size": 1}, r"batch_size is 1.*BatchNorm"),
        ({"lr": 0.0}, r"lr is 0.0; expected a number above 0"),
        ({"lr": math.nan}, r"lr is nan"),
        ({"optimizer": "lbfgs"}, r"optimizer 'lbfgs': expected one of sgd, adam"),
        ({"activation": "gelu"}, r"activation 'gelu'"),
        ({"net": "rnn"}, r"net 'rnn': expected"),
        ({"placements": ("none", "middle")}, r"placement 'middle'"),
        ({"placements": ("none", "before", "none")}, r"placement 'none'.*twice"),
        ({"placements": ("input+before", "before+input")}, r"placement 'before\+input'.*twice"),
    ],
)
def test_settings_refuse_what_cannot_be_run(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_a_batch_of_one_is_fine_without_batch_norm():
    assert replace(SMALL, batch_size=1, placements=("none",)).batch_size == 1


# --- the report -------------------------------------------------------------------------------------------------------


RUNS = [
    made_run("none", 0, 0.90, ms_per_step=1.25),
    made_run("before", 0, 0.970, steps_to={"95%": 10, "97%": 20}, accuracy_running=0.98, accuracy_batch=0.97),
    made_run("none", 1, 0.92, steps_to={"95%": 40, "97%": None}, ms_per_step=1.75),
    made_run("before", 1, 0.980, steps_to={"95%": 20, "97%": 50}, accuracy_running=0.98, accuracy_batch=0.97),
    made_run("none", 2, 0.10, diverged=True, test_loss=math.nan, ms_per_step=1.5, accuracy_batch=0.93),
    made_run("before", 2, 0.990, steps_to={"95%": 60, "97%": 90}, accuracy_running=0.98, accuracy_batch=0.97),
]


def test_table():
    # none: 90, 92, 10 have mean 64, s² = (26² + 28² + 54²)/2 = 2188, half width 4.303·√(2188/3) = 116.21
    # before: 97, 98, 99 have mean 98, s = 1, half width 4.303/√3 = 2.48
    assert (
        "\n" + study.table(RUNS) + "\n"
        == """
| placement              | test accuracy % |         steps to 95% | steps to 97% | batch / running, % | ms/step |
| ---------------------- | --------------: | -------------------: | -----------: | -----------------: | ------: |
| none (1 of 3 diverged) |  64.00 ± 116.21 | not reached (1 of 3) |  not reached |      91.00 / 90.00 |    1.50 |
| before                 |    98.00 ± 2.48 |                   20 |           50 |      97.00 / 98.00 |    1.00 |
"""
    )


def test_table_of_one_seed_has_no_interval():
    row = study.table([made_run(accuracy=0.98765)]).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")][:3] == ["none", "98.77", "not reached"]
    assert "±" not in row and "nan" not in row


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([1.0, 3.0], 2.0, 12.706),  # t₁ · √2/√2
        ([1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 2.776 * math.sqrt(2.5 / 5)),
        ([0.0, 1.0] * 5, 0.5, 2.262 * math.sqrt(2.5 / 9 / 10)),
        ([0.0, 1.0] * 50, 0.5, 2.0 * math.sqrt(25 / 99 / 100)),
        ([0.9] * 4, 0.9, 0.0),
    ],
)
def test_mean_interval(values, mean, half):
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(mean, rel=1e-12)
    assert interval.half == pytest.approx(half, rel=1e-9, abs=1e-12)


def test_mean_interval_of_one_value_has_no_width():
    assert mean_interval([0.5]).mean == 0.5 and math.isnan(mean_interval([0.5]).half)


def test_runs_are_saved_and_loaded_as_they_were(tmp_path):
    for run in RUNS[:4]:
        protocol.save_run(run, tmp_path)
    assert load_runs(tmp_path) == RUNS[:4]
    protocol.save_run(RUNS[4], tmp_path)
    assert math.isnan(load_runs(tmp_path)[-1].test_loss) and load_runs(tmp_path)[-1].diverged


@pytest.mark.parametrize(
    "runs",
    [RUNS, RUNS[:1], [made_run(accuracy=1.0, curve=[(10, 1.0), (20, 1.0)])], [made_run(curve=[(10, 0.0)])]],
    ids=["three seeds", "one run", "no errors", "one point, no hits"],
)
def test_plot_draws_what_there_is_without_a_warning(runs, tmp_path):
    study.plot(runs, SMALL, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_plot_needs_no_display(tmp_path):
    code = (
        "import sys; from test_study import *; study.plot(RUNS, SMALL, Path(sys.argv[1])); "
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot would open a window system'"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MPLBACKEND": "tkagg", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "curves.png")], env=environment, check=True)
    assert (tmp_path / "curves.png").stat().st_size > 1000
