"""The study as a command, and the examples."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from helpers import made_run

import tinybn as tb
from tinybn import study
from tinybn.data import digits
from tinybn.study import PLACEMENTS, Settings, command, load_runs, run_arm

ROOT = Path(__file__).parents[1]
# Ten steps on digits: enough to measure, and done in a tenth of a second.
SMALL = Settings(data="digits", epochs=1, seeds=1, batch_size=32, max_train=320, lr=0.1)


# --- the command ------------------------------------------------------------------------------------------------------

QUICK = ["--quick", "--data", "digits", "--placements", "none", "before"]


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """No folder named, an empty cache, and no mirrors."""
    monkeypatch.setitem(tb.data.mnist.__globals__, "MIRRORS", ())
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.delenv("TINYBN_DATA", raising=False)


def test_the_command_leaves_results_settings_table_and_picture(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert study.main([*QUICK, "--seeds", "2", "--out", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png",
        "results.jsonl",
        "settings.json",
        "table.md",
    ]
    runs = load_runs(folder)
    assert [(run.seed, run.placement) for run in runs] == [(0, "none"), (0, "before"), (1, "none"), (1, "before")]
    settings = json.loads((folder / "settings.json").read_text())
    assert Settings(**{**settings, "placements": tuple(settings["placements"])}) == Settings(
        data="digits", placements=("none", "before"), seeds=2, epochs=1, batch_size=32, max_train=2000
    )
    table = (folder / "table.md").read_text()
    assert table == study.table(runs) + "\n"
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert table in out and str(folder) in out


def test_options_reach_the_settings():
    def settings(*arguments, data="digits"):
        return command.make_settings(command.parse(arguments), data)

    assert settings() == Settings(data="digits", epochs=40, batch_size=32)
    assert settings(data="mnist") == Settings()
    assert settings("--optimizer", "adam").lr == 1e-3
    assert settings("--quick", "--seeds", "3", "--epochs", "2", "--batch-size", "64", "--lr", "0.5") == Settings(
        data="digits", seeds=3, epochs=2, batch_size=64, lr=0.5, max_train=2000
    )
    assert settings("--net", "cnn", "--activation", "tanh", "--placements", "after").placements == ("after",)


def test_without_out_the_folder_is_a_new_one_below_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert study.main([*QUICK[:-2], "none", "--seeds", "1"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("placement-digits-mlp-relu-")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_folder_that_has_something_in_it_is_refused_and_left_alone(what, tmp_path, capsys):
    out = tmp_path / "out"
    file = out / "results.jsonl" if what == "folder" else out
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    assert study.main([*QUICK, "--out", str(out)]) == 2
    assert f"--out {out}: exists already" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_an_empty_folder_is_taken(tmp_path):
    assert study.main([*QUICK[:-2], "none", "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "table.md").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--placements", "none", "middle"],
            "placement 'middle': expected 'none' or some of input, before, after, logits",
        ),
        (["--placements", "before", "before"], "placement 'before'"),
        (["--seeds", "0"], "seeds is 0"),
        (["--epochs", "-1"], "epochs is -1"),
        (["--lr", "0"], "lr is 0.0"),
        (["--lr", "nan"], "lr is nan"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--batch-size", "1"], "batch_size is 1"),
        (["--batch-size", "5000"], "batch_size is 5000; there are only 1197 images to train on"),
    ],
)
def test_bad_options_give_status_2_and_one_line_before_anything_is_written(options, message, tmp_path, capsys):
    assert study.main([*QUICK, *options, "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--net", "rnn"], ["--data", "cifar"], ["--seeds", "many"], ["--colour"]])
def test_options_that_argparse_refuses_give_status_2_too(options, capsys):
    with pytest.raises(SystemExit) as exit:
        study.main(options)
    assert exit.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_data_mnist_without_the_data_gives_status_2(no_data, tmp_path, capsys):
    assert study.main(["--data", "mnist", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: MNIST is not in the cache") and "TINYBN_DATA" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wanted", ["mnist", "auto"])
def test_a_named_folder_without_mnist_gives_status_2(wanted, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TINYBN_DATA", str(tmp_path / "nowhere"))
    assert study.main(["--data", wanted, "--out", str(tmp_path / "out")]) == 2
    assert f"TINYBN_DATA={tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_auto_without_mnist_says_that_it_uses_the_digits(no_data, tmp_path, capsys):
    assert study.main(["--quick", "--placements", "none", "--seeds", "1", "--out", str(tmp_path / "out")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "digits" in line]
    assert lines == ["MNIST is not here and cannot be downloaded: using the bundled 8×8 digits"]
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["data"] == "digits"


@pytest.mark.parametrize("finished", [0, 3])
def test_ctrl_c_leaves_the_finished_runs_and_says_where(finished, monkeypatch, tmp_path, capsys):
    calls = []

    def interrupted(*args):
        if len(calls) == finished:
            raise KeyboardInterrupt
        calls.append(args)
        return run_arm(*args)

    monkeypatch.setattr(command, "run_arm", interrupted)
    assert study.main([*QUICK, "--seeds", "2", "--out", str(tmp_path / "out")]) == 130
    error = capsys.readouterr().err
    assert "interrupted" in error and f"{finished} finished" in error
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    if finished:
        assert str(tmp_path / "out" / "results.jsonl") in error
        assert len(load_runs(tmp_path / "out")) == finished
        assert names == ["results.jsonl", "settings.json"]
    else:
        assert names == ["settings.json"] and "results.jsonl" not in error


def test_without_matplotlib_there_is_everything_but_the_picture(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert study.main([*QUICK[:-2], "none", "--seeds", "1", "--out", str(tmp_path / "out")]) == 0
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert not (tmp_path / "out" / "curves.png").exists() and (tmp_path / "out" / "table.md").exists()


def test_the_order_of_runs_is_seed_by_seed(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "run_arm", lambda images, settings, placement, seed, tick: made_run(placement, seed))
    runs = []
    settings = replace(SMALL, placements=("none", "after"), seeds=2)
    command.run_all(digits(), settings, tmp_path, runs)
    assert [(run.seed, run.placement) for run in runs] == [(0, "none"), (0, "after"), (1, "none"), (1, "after")]


def test_settings_can_be_read_back():
    assert json.loads(json.dumps(asdict(SMALL)))["placements"] == list(PLACEMENTS)


# --- the examples -----------------------------------------------------------------------------------------------------


def example(name, *arguments, cwd):
    # The build that is tested here, named: without compiled kernels that leaves out the warning that they are missing.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "TINYBN_KERNELS": tb.kernels.BUILD}
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["mnist_mlp.py", "mnist_cnn.py"])
def test_an_example_runs_quickly_without_mnist(name, tmp_path):
    result = example(name, "--quick", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("epoch 1: training loss ") and "test accuracy" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_placement_example_is_the_command(tmp_path):
    result = example("bn_placement.py", *QUICK, "--seeds", "1", "--out", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "| placement" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("curves.png", "results.jsonl", "settings.json", "table.md"),
    ]
    result = example("bn_placement.py", "--placements", "middle", "--data", "digits", cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("error: placement 'middle'")


def test_the_lab_times_a_kernel_of_ones_own(tmp_path):
    result = example("bench_own_kernel.py", "--quick", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "\n  folded " in result.stdout and "wrong" not in result.stdout


def test_the_doctor_names_faults_that_its_repairs_take_away(tmp_path):
    result = example("normalization_doctor.py", "--quick", "--html", "report.html", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    before, after = result.stdout.split("repaired, and trained again:")
    assert all(fault in before for fault in ("weight_decay_on_norm", "dropout_before_norm", "redundant_bias"))
    assert "Nothing found." in after
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_every_example_is_run_by_a_test():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        "mnist_mlp.py",
        "mnist_cnn.py",
        "bn_placement.py",
        "bench_own_kernel.py",
        "normalization_doctor.py",
    }
