"""``python -m tinybn bench`` and ``info``: options, tables, files, exit status."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import tinybn as tb
from tinybn import bench
from tinybn.__main__ import main
from tinybn.bench import machine, runner, timing
from tinybn.bench.compare import compare
from tinybn.bench.compare import text as compared_text
from tinybn.bench.summary import summary

QUICK = ["bench", "--quick", "--no-torch", "--shape", "8,16", "4,8,6,6"]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "_SAMPLE", 1e-6)
    monkeypatch.setattr(runner, "peak_flops", lambda dtype, threads: 1e11)


# --- bench ------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_a_table_a_file_and_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = [str(tmp_path / name) for name in ("run.json", "run.png")]
    arguments = [*QUICK, "--kernel", "normalize", "erf", "--version", "numpy", "--layout", "dense", "contiguous"]
    assert main([*arguments, "--json", files[0], "--plot", files[1]]) == 0
    out = capsys.readouterr().out
    assert "normalize   (8, 16) float32 dense   copy" in out
    assert "erf   (4, 8, 6, 6) float32 contiguous" in out
    content = json.loads((tmp_path / "run.json").read_text())
    assert {"commit", "compiler", "flags", "instruction set", "processor", "caches", "blas"} <= set(content["machine"])
    assert [(row["kernel"], row["shape"], row["status"]) for row in content["rows"]] == [
        (kernel, shape, "ok") for kernel in ("normalize", "erf") for shape in ([8, 16], [4, 8, 6, 6])
    ]
    assert all(row["roofline"] and row["gigabytes_per_second"] for row in content["rows"])
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_a_users_file_is_loaded_and_its_wrong_kernel_fails_the_run(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import tinybn as tb\n@tb.bench.register('erf', version='mine')\ndef mine(out, x, threads):\n    pass\n"
    )
    arguments = [*QUICK, "--kernel", "erf", "--version", "mine", "numpy", "--load", str(path)]
    try:
        assert main(arguments) == 1
    finally:
        bench.unregister("erf", "mine")
    out, err = capsys.readouterr()
    assert "WRONG, not timed" in out
    assert "wrong: erf mine (8, 16) float32 dense" in err


def test_a_loaded_file_does_not_see_the_labs_arguments(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("import sys\nprint('its arguments:', sys.argv[1:])\n")
    assert main(["bench", "--load", str(path), "--list"]) == 0
    assert "its arguments: []" in capsys.readouterr().out


def test_rounds_are_done_as_often_as_asked(tmp_path):
    path = tmp_path / "run.json"
    arguments = ["bench", "--quick", "--no-torch", "--kernel", "normalize", "--version", "numpy", "--shape", "8,16"]
    assert main([*arguments, "--rounds", "9", "--json", str(path)]) == 0
    assert [row["rounds"] for row in json.loads(path.read_text())["rows"]] == [9]


def test_list_shows_kernels_and_versions(capsys):
    assert main(["bench", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}   " in out for name in bench.KERNELS)
    assert "the NumPy twin" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--kernel", "no such"], "no row matches"),
        (["--shape", "64"], "expected N,C or N,C,H,W"),
        (["--load", "no such file.py"], "no such file.py"),
        (["--compare", "a.json", "b.json"], "a.json"),
        (["--json", "no such folder/run.json"], "no such folder"),
        (["--plot", "no such folder/run.png"], "no such folder"),
        (["--plot", "run.xyz"], ".png"),
    ],
)
def test_errors_are_told_in_a_line(arguments, message, capsys):
    assert main(["bench", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--threads", "x"], ["--rounds", "1"], ["--dtype", "float16"]]
)
def test_options_are_checked(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", *arguments])


def test_ctrl_c_keeps_what_is_done(monkeypatch, capsys, tmp_path):
    groups = []

    def interrupted(group, effort):
        groups.append(group)
        if len(groups) == 2:
            raise KeyboardInterrupt
        return done(group, effort)

    done = runner.run_group
    monkeypatch.setattr(runner, "run_group", interrupted)
    path = tmp_path / "run.json"
    assert main([*QUICK, "--kernel", "normalize", "--version", "numpy", "--json", str(path)]) == 130
    assert "interrupted: 1 rows are done" in capsys.readouterr().err
    assert len(bench.load(path).rows) == 1


def test_the_peers_run_is_what_users_call_on_the_standard_shapes(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(runner, "run_group", lambda group, effort: seen.append(group) or [made_row()])
    assert main(["bench", "--peers", "--no-torch", "--threads", "1", "2"]) == 0
    rows = {f"F.{name}{part}" for name in ("layer_norm", "rms_norm", "group_norm") for part in ("", " backward")}
    names = {group.kernel.name for group in seen}
    assert names == {"F.batch_norm", "F.batch_norm eval", "F.batch_norm backward", *rows}
    assert {group.case.shape for group in seen} == set(bench.inputs.STANDARD)
    assert len(seen) == 5 * (9 + 5) + 4 * 9  # five of the shapes channels-last too, but for rows
    assert {threads for group in seen for _, threads in group.entries} == {1, 2}


# --- compare ----------------------------------------------------------------------------------------------------------


def made_row(**changes):
    row = bench.Row("normalize", "v4", (64, 100), "float32", "dense", 0.0, 1, "ok", 1e-7, bytes=51_200, flops=19_200)
    timed = replace(row, rounds=21, minimum=1e-6, median=1e-6, quartiles=(1e-6, 1e-6), copy=1e-6, times_copy=1.0)
    return replace(replace(timed, times_copy_spread=0.02, bandwidth=5e10, peak_flops=1e11), **changes)


def report(*rows):
    return bench.Report({"processor": "some"}, {}, list(rows))


@pytest.mark.parametrize(
    "old, new, verdict",
    [(1.0, 1.2, "slower"), (1.2, 1.0, "faster"), (1.0, 1.05, "same"), (1.05, 1.0, "same"), (1.0, 1.0, "same")],
)
def test_changes_are_told_from_noise(old, new, verdict):
    comparison = compare(*(report(made_row(times_copy=ratio, median=ratio * 1e-6)) for ratio in (old, new)))
    assert [change.verdict for change in comparison.changes] == [verdict]
    assert comparison.worse == (verdict == "slower")


@pytest.mark.parametrize("changes", [{"median": 2e-6}, {"times_copy": 2.0}, {"median": 2e-6, "times_copy": 0.5}])
def test_time_and_copy_must_agree(changes):
    runs = report(made_row()), report(made_row(**changes))
    assert [compare(a, b).changes[0].verdict for a, b in (runs, runs[::-1])] == ["same", "same"]


def test_a_noisy_row_needs_a_larger_change():
    noisy = {"times_copy_spread": 0.5}
    [change] = compare(report(made_row(**noisy)), report(made_row(times_copy=1.2, median=1.2e-6, **noisy))).changes
    assert change.verdict == "same" and change.noise > 0.5


def test_a_row_that_broke_is_worse_than_a_slow_one():
    old, new = report(made_row()), report(made_row(status="wrong", error=1.0, times_copy=None))
    comparison = compare(old, new)
    assert comparison.worse and not comparison.changes
    assert "BROKEN  normalize v4 (64, 100) float32 dense, 1 thread: wrong" in compared_text(comparison, old, new)


def test_compare_reads_two_files(tmp_path, capsys):
    extra = made_row(kernel="erf")
    runs = [report(made_row(times_copy=1.0), extra), report(made_row(times_copy=1.5, median=1.5e-6))]
    runs[1].machine["processor"] = "another"
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for run, path in zip(runs, paths, strict=True):
        run.save(tmp_path / path)
    assert main(["bench", "--compare", *paths]) == 1
    out = capsys.readouterr().out
    assert "note: processor was 'some', is 'another'" in out
    assert "slower  normalize v4 (64, 100) float32 dense, 1 thread: by 50%" in out
    assert "1 rows compared: 1 slower, 0 faster, 0 same; only in the first: 1, only in the second: 0" in out
    assert main(["bench", "--compare", *reversed(paths)]) == 0
    assert main(["bench", "--compare", paths[0], paths[0]]) == 0


# --- summary ----------------------------------------------------------------------------------------------------------


def test_summary_of_ratios():
    users = {"kernel": "F.batch_norm", "version": "tinybn"}
    large = {**users, "shape": (64, 32, 28, 28), "layout": "contiguous"}
    rows = [
        made_row(**users, peer_median=2e-6),
        made_row(**users, peer_median=8e-6, shape=(128, 512)),
        made_row(**large, times_copy=2.5),
        made_row(**large, times_copy=1.5, threads=2, median=0.5e-6),
    ]
    lines = [line.split() for line in summary(rows).splitlines()]
    dense = next(line for line in lines if "dense" in line)
    assert dense[4:7] == ["1", "4.00", "2.00"] and "(64, 100)" in " ".join(dense)
    assert ["F.batch_norm", "tinybn", "float32", "contiguous", "1", "2.50", "2.50"] in [line[:7] for line in lines]
    assert ["F.batch_norm", "tinybn", "float32", "contiguous", "2", "2.00", "2.00"] in [line[:7] for line in lines]
    assert summary([]) == ""


# --- info and the rest ------------------------------------------------------------------------------------------------


def test_info_tells_what_serves(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    told = {name.strip(): value.strip() for name, value in lines.items()}
    assert told["tinybn"] == tb.__version__
    assert told["kernels"] == tb.kernels.BUILD
    assert told["threads"] == str(tb.get_num_threads())
    assert {"processor", "caches", "blas", "instruction set", "compiler", "flags", "memory pool", "commit"} <= set(told)


def test_description_is_fit_for_json():
    description = machine.describe("1")
    assert json.loads(json.dumps(description)) == description
    assert set(description["kernels available"]) >= {"numpy", tb.kernels.BUILD}


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "bench" in out and "info" in out
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"tinybn {tb.__version__}\n"


def test_the_lab_is_imported_when_it_is_first_used():
    program = "import sys, tinybn as tb; assert 'tinybn.bench' not in sys.modules; tb.bench.register; print('tb.bench')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout == "tb.bench\n"
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        _ = tb.no_such
