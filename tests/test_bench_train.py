"""``python -m tinybn bench train``: models, races, peers that fail, tables, files, exit status."""

import importlib.util
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn.__main__ import main
from tinybn.bench.train import command, models, plot, race, report
from tinybn.data import Dataset, TrainTest

TRAIN = ["bench", "train", "--cores", "1"]
QUICK = [*TRAIN, "--quick", "--models", "A"]


def few_images():
    """240 and 120 images of ten kinds, which are learnt in an epoch."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 256, (10, 28, 28))

    def part(n):
        labels = generator.integers(0, 10, n)
        noise = generator.integers(-40, 40, (n, 28, 28))
        return Dataset((kinds[labels] + noise).clip(0, 255).astype(np.uint8), labels, classes=10)

    return TrainTest(part(240), part(120))


@pytest.fixture(autouse=True)
def images_of_the_test(monkeypatch):
    monkeypatch.setattr(command, "_images", lambda: (few_images(), "few images"))


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def processes(monkeypatch):
    """The workers that are started."""
    started, start = [], race.subprocess.Popen

    def noted(program, **options):
        process = start(program, **options)
        if program[0] == sys.executable:
            started.append(process)
        return process

    monkeypatch.setattr(race.subprocess, "Popen", noted)
    return started


@pytest.fixture
def fake_peer(monkeypatch, tmp_path):
    """A framework "fake" for --peers: call it with the body of its trainer's `step`, or with the text of the file."""
    monkeypatch.setitem(race.VARIANTS, "fake", ("plain",))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "fake.py").touch()

    def write(step="pass", file=FAKE):
        (tmp_path / "with_fake.py").write_text(file.replace("STEP", step))

    return write


FAKE = """
import os, sys
class Trainer:
    version = "7"
    def __init__(self, *arguments):
        self.count = 0
    def batch(self, images, labels):
        return labels
    def step(self, labels):
        self.count += 1
        STEP
        return 2.5
    def predict(self, images):
        STEP
        return images.reshape(len(images), -1)[:, :10]
"""


def run_json(path, arguments):
    """The status and the file."""
    status = main([*arguments, "--json", str(path)])
    return status, json.loads(path.read_text())


# --- models -----------------------------------------------------------------------------------------------------------


def shapes_of(model):
    return [weight.shape for weight in models.initial_weights(model.layers, seed=0)]


@pytest.mark.parametrize(
    "name, batch, kinds, parameters",
    [
        ("A", 60, {"linear": 4, "batchnorm1d": 3, "sigmoid": 3}, 100_010),
        ("B", 128, {"linear": 3, "batchnorm1d": 2, "relu": 2}, 269_834),
        ("C", 64, {"conv": 2, "batchnorm2d": 2, "pool": 2, "linear": 3, "batchnorm1d": 2, "relu": 4}, 61_932),
        ("D", 64, {"conv": 2, "batchnorm2d": 2, "pool": 2, "linear": 2, "batchnorm1d": 1, "relu": 3}, 421_866),
    ],
)
def test_models(name, batch, kinds, parameters):
    model = models.model(name)
    found = [layer[0] for layer in model.layers]
    assert {kind: found.count(kind) for kind in found} == {**kinds, "flatten": 1}
    assert sum(int(np.prod(shape)) for shape in shapes_of(model)) == parameters
    assert (model.name, model.batch, model.convolutional) == (name, batch, name in "CD")
    assert (model.width, model.depth) == (1, 1)


def test_layers_and_shapes_of_the_convolutional_model():
    model = models.model("C")
    assert model.layers[:4] == (("conv", 1, 6, 5, 2), ("batchnorm2d", 6), ("relu",), ("pool", 2))
    assert model.layers[-4:] == (("linear", 120, 84, False), ("batchnorm1d", 84), ("relu",), ("linear", 84, 10, True))
    assert shapes_of(model) == [
        (6, 1, 5, 5), (6,), (6,), (16, 6, 5, 5), (16,), (16,), (120, 400), (120,), (120,), (84, 120), (84,), (84,),
        (10, 84), (10,),
    ]  # fmt: skip


def test_width_depth_and_batch():
    wide, deep = models.model("A", width=2), models.model("C", batch=8, depth=2)
    assert shapes_of(wide)[0] == (200, 784) and shapes_of(wide)[-2:] == [(10, 200), (10,)]
    assert (wide.width, wide.depth, wide.batch) == (2, 1, 60)
    # Only the first convolution of a stage makes images smaller.
    convolutions = [layer[1:] for layer in deep.layers if layer[0] == "conv"]
    assert convolutions == [(1, 6, 5, 2), (6, 6, 5, 2), (6, 16, 5, 0), (16, 16, 5, 2)]
    assert ("linear", 400, 120, False) in deep.layers
    assert (deep.width, deep.depth, deep.batch) == (1, 2, 8)


def test_initial_weights_are_the_seeds():
    layers = models.model("C").layers
    first, again, other = (models.initial_weights(layers, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert all(weight.dtype == np.float32 for weight in first)
    assert np.array_equal(first[1], np.ones(6)) and not first[2].any() and not first[-1].any()
    assert first[6].std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)


# --- races ------------------------------------------------------------------------------------------------------------


def test_a_race_leaves_a_table_and_a_file(tmp_path, temporary, processes, capsys):
    status, content = run_json(tmp_path / "run.json", QUICK)
    assert status == 0
    out = capsys.readouterr().out
    assert out.startswith("few images; pinned to cores ")
    assert "A: MLP 784-100-100-100-10, BatchNorm, sigmoid; batch 60; sgd; 1 core\n" in out
    assert "ms/step" in out and "\n  tinybn    " in out
    assert (content["format"], content["kind"], content["accuracy"]) == (1, "train", [])
    assert content["settings"]["data"] == "few images" and content["machine"]["tinybn"] == tb.__version__
    [row] = content["rows"]
    assert (row["model"], row["batch"], row["optimizer"], row["cores"]) == ("A", 60, "sgd", 1)
    assert (row["framework"], row["variant"], row["version"], row["failed"]) == ("tinybn", "plain", tb.__version__, "")
    assert 0 < row["quartiles"][0] <= row["median"] <= row["quartiles"][1]
    assert row["ratio"] == 1 and row["loss_difference"] == 0
    assert 0 < row["loss"] < 5 and row["first_step"] > 0 and row["peak"] > 1e6
    assert all(process.poll() is not None for process in processes) and not list(temporary.iterdir())


def test_rounds_and_steps_are_those_that_are_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(
        race, "run", lambda entry, images, progress: seen.append(entry) or [race.Entry("tinybn", "plain")]
    )
    assert main([*QUICK, "--rounds", "4", "--steps", "7"]) == 0
    assert main(QUICK) == 0
    assert main([*TRAIN, "--models", "A"]) == 0
    assert [(entry.rounds, entry.steps) for entry in seen] == [(4, 7), (1, 3), (11, 300)]


def test_a_sweep_takes_batches_width_and_depth_in_turn(monkeypatch):
    seen = []
    monkeypatch.setattr(
        race, "run", lambda entry, images, progress: seen.append(entry) or [race.Entry("tinybn", "plain")]
    )
    monkeypatch.setattr(command, "_SWEPT_BATCHES", (16, 32))
    assert main([*TRAIN, "--models", "A", "B", "--sweep", "--optimizer", "sgd", "adam"]) == 0
    sizes = [(entry.model.batch, entry.model.width, entry.model.depth) for entry in seen]
    of_a = [(16, 1, 1), (32, 1, 1), (60, 2, 1), (60, 1, 2)]
    assert sizes[::2] == sizes[1::2] == [*of_a, *of_a[:2], (128, 2, 1), (128, 1, 2)]
    assert [entry.optimizer for entry in seen] == ["sgd", "adam"] * 8
    assert len({entry.steps for entry in seen}) > 1  # rounds take the same time


def test_a_wide_and_deep_model_of_images_trains_with_adam(tmp_path, capsys):
    arguments = [*TRAIN, "--quick", "--models", "C", "--width", "2", "--depth", "2", "--batch", "8"]
    status, content = run_json(tmp_path / "run.json", [*arguments, "--optimizer", "adam"])
    assert status == 0
    assert "C: LeNet-5 with BatchNorm and ReLU; batch 8, width ×2, depth ×2; adam; 1 core\n" in capsys.readouterr().out
    assert [(row["width"], row["depth"], row["batch"]) for row in content["rows"]] == [(2, 2, 8)]
    assert np.isfinite(content["rows"][0]["loss"])


def test_memory_is_the_workers_own(tmp_path):
    status = Path("/proc/self/status")
    if not (status.exists() and "VmHWM" in status.read_text()):
        pytest.skip("the peak of a process alone is not known here")
    ballast = np.ones(25_000_000)
    _, content = run_json(tmp_path / "run.json", QUICK)
    assert content["rows"][0]["peak"] < ballast.nbytes


def variants_compared(monkeypatch, tmp_path, peer, model, variants):
    """The rows of a peer, whose losses must be tinybn's."""
    monkeypatch.setitem(race.VARIANTS, peer, tuple(variants))
    status, content = run_json(tmp_path / "run.json", [*TRAIN, "--quick", "--models", model, "--peers", peer])
    assert status == 0, [row["failed"] for row in content["rows"]]
    own, *rows = content["rows"]
    assert own["framework"] == "tinybn" and [row["variant"] for row in rows] == variants
    for row in rows:
        assert row["version"] and row["ratio"] > 0
        assert row["loss_difference"] < 1e-3


@pytest.mark.parametrize("model, variants", [("A", ["plain"]), ("C", ["channels_last fused"])])
def test_pytorch_takes_the_same_steps(monkeypatch, tmp_path, model, variants, capsys):
    load_torch()
    variants_compared(monkeypatch, tmp_path, "torch", model, variants)
    out = capsys.readouterr().out
    kind = "PyTorch, default optimizer" if variants == ["plain"] else "PyTorch, fused optimizer"
    assert all(f"1 core: {what}" in out for what in ("the best peer takes", kind, "peak memory"))


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)  # not imported: it has threads
@pytest.mark.parametrize("model, variants", [("A", ["plain"]), ("C", ["channels_last"])])
def test_jax_takes_the_same_steps(monkeypatch, tmp_path, model, variants, capsys):
    variants_compared(monkeypatch, tmp_path, "jax", model, variants)
    assert "1 core: JAX takes" in capsys.readouterr().out


# --- peers that misbehave ---------------------------------------------------------------------------------------------


def test_what_a_peer_prints_neither_blocks_nor_disturbs(fake_peer, tmp_path, capsys):
    fake_peer("print('x' * 300_000); print('y' * 300_000, file=sys.stderr); os.write(1, b'{}\\n')")
    status, content = run_json(tmp_path / "run.json", [*QUICK, "--peers", "fake,fake"])
    assert status == 0
    own, peer = content["rows"]
    assert (peer["framework"], peer["version"], peer["loss"], peer["failed"]) == ("fake", "7", 2.5, "")
    assert peer["ratio"] == pytest.approx(peer["median"] / own["median"])
    assert "sgd, 1 core: the best peer takes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "step, message",
    [
        ("if self.count == 3: raise RuntimeError('no\\nmore')", "RuntimeError: no more"),
        ("if self.count == 3: raise RuntimeError('long ' * 100)", "long …"),
        ("if self.count == 3: print('last words'); sys.stdout.flush(); os._exit(3)", "ended with status 3: last words"),
        ("if self.count == 3: os.kill(os.getpid(), 9)", "the process ended with status -9"),
        ("no_such()", "NameError: name 'no_such' is not defined"),
    ],
)
def test_a_peer_that_fails_is_a_row_that_says_so(step, message, fake_peer, tmp_path, capsys):
    fake_peer(step)
    status, content = run_json(tmp_path / "run.json", [*QUICK, "--peers", "fake"])
    assert status == 1
    own, peer = content["rows"]
    assert not own["failed"] and own["median"] > 0
    assert peer["failed"].endswith(message) and len(peer["failed"]) <= 160
    assert peer["median"] is None and peer["ratio"] is None
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if line.startswith("  fake")]
    assert line == f"  {'fake':<26}failed: {peer['failed']}"
    assert "the best peer" not in out


def test_a_peer_that_cannot_be_imported_is_a_row_too(fake_peer, tmp_path):
    fake_peer(file="import no_such_module")
    status, content = run_json(tmp_path / "run.json", [*QUICK, "--peers", "fake"])
    assert status == 1
    assert content["rows"][1]["failed"] == "ModuleNotFoundError: No module named 'no_such_module'"


def test_where_tinybn_fails_the_peers_times_stand(fake_peer, monkeypatch, tmp_path, capsys):
    fake_peer()
    monkeypatch.setattr(race, "initial_weights", lambda layers, seed: [])
    status, content = run_json(tmp_path / "run.json", [*QUICK, "--peers", "fake"])
    assert status == 1
    own, peer = content["rows"]
    assert own["failed"].startswith("ValueError: ") and own["median"] is None
    assert peer["median"] > 0 and peer["ratio"] is None and peer["loss_difference"] is None
    assert "–" in capsys.readouterr().out


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_accuracy_after_an_epoch(fake_peer, monkeypatch, tmp_path, capsys):
    fake_peer()
    monkeypatch.setitem(race.VARIANTS, "fake", ("plain", "fused"))  # which trains to the same end
    arguments = [*TRAIN, "--models", "B", "--batch", "8", "--peers", "fake", "--accuracy", "1", "--seeds", "2"]
    status, content = run_json(tmp_path / "run.json", arguments)
    assert status == 0 and content["rows"] == []
    own, peer = content["accuracy"]
    assert (own["framework"], own["model"], own["batch"], own["epochs"], own["cores"]) == ("tinybn", "B", 8, 1, 1)
    assert len(own["percent"]) == 2 and min(own["percent"]) > 90
    assert len(peer["percent"]) == 2 and max(peer["percent"]) < 50
    out = capsys.readouterr().out
    assert f"  {'tinybn':<26}{np.mean(own['percent']):.2f} % on test images" in out and "seeds: 2" in out


def test_a_training_that_fails_is_told(fake_peer, tmp_path, capsys):
    fake_peer("if self.count == 3: raise RuntimeError('no more')")
    arguments = [*TRAIN, "--models", "A", "--peers", "fake", "--accuracy", "1", "--seeds", "1"]
    status, content = run_json(tmp_path / "run.json", arguments)
    assert status == 1
    assert [row["failed"] for row in content["accuracy"]] == ["", "RuntimeError: no more"]
    assert f"  {'fake':<26}failed: RuntimeError: no more\n" in capsys.readouterr().out


def test_an_epoch_of_one_batch(tmp_path):
    arguments = [*TRAIN, "--models", "A", "--batch", "240", "--accuracy", "1", "--seeds", "1"]
    status, content = run_json(tmp_path / "run.json", arguments)
    assert status == 0 and len(content["accuracy"][0]["percent"]) == 1


# --- errors and interruptions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--peers", "theano"], "there is no 'theano'; expected torch,jax"),
        (["--peers", "tinybn"], "there is no 'tinybn'"),
        (["--cores", "100000"], "--cores 100000: this process may run on "),
        (["--batch", "1"], "BatchNorm needs 2 or more"),
        (["--batch", "241"], "there are 240 images"),
        (["--json", "no such folder/run.json"], "no such folder"),
        (["--plot", "no such folder/run.png"], "no such folder"),
        (["--plot", "run.xyz"], ".png"),
    ],
)
def test_errors_are_told_in_a_line(arguments, message, processes, capsys):
    assert main([*QUICK, *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not processes


def test_a_peer_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main([*QUICK, "--peers", "jax"]) == 2
    assert capsys.readouterr().err == "error: --peers: jax is not installed; pip install 'tinybn[peers]'\n"


@pytest.mark.parametrize(
    "arguments, message",
    [(["--peers", ""], "expected torch among --peers"), (["--peers", "torch", "--accuracy", "1"], "--accuracy")],
)
def test_a_plot_needs_times_of_pytorch(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    assert main([*QUICK, "--plot", "run.png", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--models", "E"], ["--rounds", "0"], ["--cores", "x"], ["--optimizer", "lion"]])
def test_options_are_checked(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "train", *arguments])


def test_ctrl_c_keeps_what_is_done(monkeypatch, capsys, tmp_path):
    entries = []

    def interrupted(entry, images, progress):
        entries.append(entry)
        if len(entries) == 2:
            raise KeyboardInterrupt
        return [replace(race.Entry("tinybn", "plain"), seconds=[0.5], losses=[1.0])]

    monkeypatch.setattr(race, "run", interrupted)
    status, content = run_json(tmp_path / "run.json", [*QUICK, "--optimizer", "sgd", "adam"])
    assert status == 130
    assert "interrupted: 1 rows are done" in capsys.readouterr().err
    assert [row["optimizer"] for row in content["rows"]] == ["sgd"]


@pytest.mark.parametrize("place", ["take_first_step", "take_steps"])
def test_ctrl_c_leaves_nothing_behind(place, monkeypatch, temporary, processes):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(race._Worker, place, interrupted)
    assert main(QUICK) == 130
    assert len(processes) == 1 and processes[0].poll() is not None
    assert not list(temporary.iterdir())


def test_images_are_noise_where_there_is_no_mnist(monkeypatch, capsys):
    monkeypatch.undo()

    def unavailable():
        raise tb.data.DataUnavailableError("no files")

    monkeypatch.setattr(command, "mnist", unavailable)
    images, name = command._images()
    assert name == "noise in place of MNIST" and len(images.train) == 10_000 and images.test.image_shape == (28, 28)
    assert "note: no files" in capsys.readouterr().err


# --- reports and pictures ---------------------------------------------------------------------------------------------


def entries(**of_torch):
    own = race.Entry("tinybn", "plain", "1", 0.01, [1.0, 2.0, 4.0], [2.0, 1.5, 1.0], 0.0, 50_000_000)
    peer = race.Entry("torch", "plain", "2", 0.02, [2.0, 6.0, 4.0], [2.0, 1.6, 1.0], 0.0, 300_000_000)
    return [own, replace(peer, **of_torch)]


def rows(name="A", optimizer="sgd", cores=1, batch=None, width=1, depth=1, **of_torch):
    raced = race.Race(models.model(name, batch, width, depth), optimizer, (0,) * cores, ("tinybn", "torch"), 3, 2)
    return report.rows(raced, entries(**of_torch))


def test_ratios_are_of_the_same_rounds():
    own, peer = rows()
    assert (own.median, own.ratio, own.loss_difference) == (2.0, 1.0, 0.0)
    assert (peer.median, peer.ratio, peer.quartiles) == (4.0, 2.0, (3.0, 5.0))
    assert peer.loss_difference == pytest.approx(0.1) and peer.loss == pytest.approx(
        1.3
    )  # of the last round of two steps


def test_a_loss_that_is_not_a_number_shows_in_the_difference():
    assert np.isnan(rows(losses=[2.0, float("nan"), 1.0])[1].loss_difference)


def test_summary_takes_the_best_variant_of_each_race():
    made = [*rows(), *rows(seconds=[9.0, 9.0, 9.0])[1:], *rows("B", seconds=[8.0, 16.0, 32.0]), *rows("B", cores=2)]
    lines = report.summary(made).splitlines()
    assert "sgd, 1 core: the best peer takes 4.00 times as long (geometric mean; A/60 2.00, B/128 8.00)" in lines
    assert "sgd, 2 cores: the best peer takes 2.00 times as long (geometric mean; B/128 2.00)" in lines
    assert "sgd, 1 core: peak memory 50 MB, PyTorch's 300" in lines
    assert not any("JAX" in line or "fused" in line for line in lines)
    assert report.summary([]) == report.summary(rows()[:1]) == ""


def test_the_plot_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    made = [row for batch in (16, 64) for cores in (1, 2) for row in rows("C", "sgd", cores, batch)]
    made += [*rows("C", width=2), *rows("C", depth=2, optimizer="adam"), *rows("A", width=2)]
    path = tmp_path / "run.png"
    assert plot.draw(report.TrainReport({"processor": "some"}, {}, made), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_plot_shows_all_values(monkeypatch, tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    saved = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, path, dpi: saved.append(figure))
    made = [*rows("A"), *rows("B", seconds=[10.0, 20.0, 40.0])]
    plot.draw(report.TrainReport({}, {}, made), tmp_path / "run.png")
    assert [axis.get_ylim()[0] for axis in saved[0].axes] == [0, 0]
    assert all(axis.get_ylim()[1] > 10 for axis in saved[0].axes)


def test_without_times_of_pytorch_there_is_no_picture(fake_peer, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    fake_peer("raise RuntimeError('broken')")
    monkeypatch.setattr(race, "run", lambda entry, images, progress: entries(failed="RuntimeError: broken"))
    monkeypatch.setattr(command, "_peers", lambda text: ["torch"])
    path = tmp_path / "run.png"
    assert main([*QUICK, "--plot", str(path)]) == 1
    assert "note: --plot: no step of PyTorch was timed" in capsys.readouterr().err
    assert not path.exists()
