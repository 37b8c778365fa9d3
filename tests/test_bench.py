"""The lab: what is verified, how contestants take turns, what is counted, what a run leaves behind."""

import gc
from dataclasses import replace

import numpy as np
import pytest

import tinybn as tb
from tinybn import bench
from tinybn.bench import inputs, limits, registry, runner, timing, verify
from tinybn.bench.timing import Contestant, Effort
from tinybn.errors import DataError

SHORT = Effort(rounds=3, seconds=0.0)
SMALL = [(16, 24), (4, 8, 6, 6)]


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    """What the clock shows is of no interest here."""
    monkeypatch.setattr(timing, "_SAMPLE", 1e-6)
    monkeypatch.setattr(timing, "_PEER_SETTLES", 0.0)
    monkeypatch.setattr(runner, "peak_flops", lambda dtype, threads: 1e11)


@pytest.fixture
def table():
    """What a test registers is gone afterwards."""
    before = dict(bench.KERNELS), {name: dict(kernel.versions) for name, kernel in bench.KERNELS.items()}
    yield bench.KERNELS
    bench.KERNELS.clear()
    bench.KERNELS.update(before[0])
    for name, versions in before[1].items():
        bench.KERNELS[name].versions = versions


def rows_of(kernel, version, **selection):
    chosen = {"shapes": SMALL, "dtypes": ["float32"], "threads": [1], "peers": False, **selection}
    groups = runner.plan(runner.Selection(kernels=[kernel], versions=[version], **chosen))
    return [row for group in groups for row in runner.run_group(group, SHORT)]


# --- verification -----------------------------------------------------------------------------------------------------


def test_every_version_of_every_kernel_is_right():
    runner.prepare(with_peers=False)
    rows = rows_of("*", "*", dtypes=inputs.DTYPES, threads=[1, 2])
    assert not [(row.key, row.status, row.error, row.message) for row in rows if row.status not in ("ok", "inexact")]
    assert {row.kernel for row in rows} == set(bench.KERNELS)
    assert {(row.layout, row.dtype, row.threads) for row in rows if row.kernel == "F.batch_norm"} == {
        (layout, dtype, threads) for layout in inputs.LAYOUTS for dtype in inputs.DTYPES for threads in (1, 2)
    }
    assert all(row.median and row.times_copy and row.copy for row in rows if row.status == "ok")


def test_every_build_that_runs_here_is_a_version():
    runner.prepare(with_peers=False)
    builds = {"numpy", tb.kernels.BUILD}
    # They only move weights about, or work on lists; `python -m tinybn bench train` times them in their steps.
    left_out = {"gather_weights", "sum_weights", "spread", "sgd", "adam"}
    left_out |= {"winograd_scratch", "winograd", "winograd_weights", "transform_weights", "weights_of_sums"}
    for name in tb.kernels.KERNELS.keys() - left_out:
        compiled, _ = tb.kernels.KERNELS[name]
        assert builds <= set(bench.KERNELS[name].versions) or compiled is None
    versions = bench.KERNELS["batch_norm"].versions
    assert {f"{name}+stream" for name in versions if name in ("baseline", "v3", "v4")} <= set(versions)


def test_a_wrong_version_is_not_timed(table):
    calls = []

    @bench.register("normalize", version="wrong")
    def wrong(y, *others):
        calls.append(1)
        y[...] = 0

    rows = rows_of("normalize", "wrong")
    assert [row.status for row in rows] == ["wrong"] * 3
    assert all(row.median is None and row.times_copy is None and row.error > 0.1 for row in rows)
    assert len(calls) == len(rows)


def test_what_is_left_unwritten_is_noticed(table):
    @bench.register("normalize", version="lazy")
    def lazy(y, x, mean, var, weight, bias, eps, relu, threads, stream):
        right = np.empty_like(y)
        bench.KERNELS["normalize"].twin(right, x, mean, var, weight, bias, eps, relu, threads, stream)
        y[:-1] = right[:-1]

    assert {(row.status, row.error) for row in rows_of("normalize", "lazy")} == {("wrong", np.inf)}


def test_outputs_of_the_version_before_are_cleared(table):
    """A kernel that writes nothing must not be taken for the one that was verified before it."""
    bench.register("normalize", version="nothing")(lambda *arguments: None)
    rows = rows_of("normalize", "n*")  # numpy, then nothing
    assert [row.status for row in rows if row.version == "numpy"] == ["ok"] * 3
    assert [row.status for row in rows if row.version == "nothing"] == ["wrong"] * 3


def test_a_version_that_raises_is_a_failed_row(table):
    @bench.register("erf", version="broken")
    def broken(*arguments):
        raise RuntimeError("out of luck")

    rows = rows_of("erf", "broken")
    assert {(row.status, row.message) for row in rows} == {("failed", "RuntimeError: out of luck")}


def test_inputs_are_read_only_to_a_version(table):
    @bench.register("normalize", version="clumsy")
    def clumsy(y, x, *others):
        x[...] = 0

    rows = rows_of("normalize", "clumsy")
    assert {(row.status, row.message) for row in rows} == {
        ("failed", "ValueError: assignment destination is read-only")
    }


def test_the_inexact_steps_of_the_ladder_are_shown_failing_far_from_0():
    rows = rows_of("ladder", "*")
    known = {version.name for version in bench.KERNELS["ladder"].versions.values() if version.inexact}
    far = {row.version: row for row in rows if row.mean}
    assert {name for name, row in far.items() if row.status == "inexact"} == known
    assert all(far[name].error > 1e-4 and far[name].median is None for name in known)
    assert all(row.status == "ok" for row in rows if not row.mean)
    assert not bench.Report({}, {}, rows).failures


def test_error_has_a_scale_for_each_row_of_an_array():
    moments = np.array([[1e4, 1e4], [1.0, 1.0]])
    off = moments + np.array([[0.0, 0.0], [0.01, 0.0]])
    assert verify.error({"moments": off}, {"moments": moments}) == pytest.approx(0.005)
    assert verify.error({"index": np.array([1, 2])}, {"index": np.array([1, 3])}) == np.inf
    assert verify.error({"y": np.array([np.nan, 1.0])}, {"y": np.array([np.nan, 1.0])}) == 0.0
    assert verify.error({"y": np.ones(2)}, {"y": np.ones(3)}) == np.inf
    assert verify.error({}, {}) == np.inf


def test_the_twin_runs_in_float64_and_leaves_the_arguments_alone():
    kernel, case = bench.KERNELS["batch_norm"], bench.Case((8, 4, 3, 3), "float32", "channels-last")
    arguments = kernel.arguments(case, np.random.default_rng(0))
    before = {name: value.copy() for name, value in arguments.items() if isinstance(value, np.ndarray)}
    wanted = verify.expected(kernel, arguments)
    assert set(wanted) == {"y", "moments", "running_mean", "running_var"}
    assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in wanted.values())
    for name, array in before.items():
        np.testing.assert_array_equal(arguments[name], array)


# --- what users register ----------------------------------------------------------------------------------------------


def double(y, x):
    y[...] = 2 * x


def double_arguments(case, generator):
    return {"y": case.empty(), "x": case.noise(generator)}


def register_double(**changes):
    given = {"twin": double, "arguments": double_arguments, "outputs": ["y"], "flops": lambda a: a["x"].size}
    return bench.register_kernel("double", **{**given, **changes})


def test_a_kernel_of_ones_own_is_verified_timed_and_counted(table):
    register_double(dtypes=["float32"])
    function = bench.register("double", version="in place")(lambda y, x: np.add(x, x, out=y))
    assert function(np.empty(2), np.ones(2)).tolist() == [2.0, 2.0]  # comes back unchanged
    rows = bench.run(["double"], shapes=[(8, 16)], threads=[1], quick=True)
    assert [(row.version, row.status, row.bytes, row.flops) for row in rows] == [
        (name, "ok", 2 * 8 * 16 * 4, 8 * 16) for name in ("numpy", "in place")
    ]
    assert not bench.run(["double"], dtypes=["float64"], quick=True)
    bench.unregister("double")
    assert "double" not in bench.KERNELS


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bench.register("no such", version="x"), "there is no kernel 'no such'; there are batch_moments"),
        (lambda: bench.register("erf", version="numpy")(print), "'erf' has a version 'numpy' already"),
        (lambda: register_double() and register_double(), "there is a kernel 'double' already"),
        (lambda: bench.unregister("erf", "x"), "'erf' has no version 'x'; it has numpy"),
    ],
)
def test_names_are_checked(table, make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"outputs": ["z"]}, "outputs of 'double' must be among"),
        ({"outputs": []}, "outputs of 'double' must be among"),
        ({"arguments": lambda case, generator: {"x": case.empty(), "y": case.empty()}}, "but its twin takes"),
    ],
)
def test_a_kernel_that_does_not_fit_its_twin_is_refused(table, changes, message):
    register_double(**changes)
    with pytest.raises(ValueError, match=message):
        rows_of("double", "*")


# --- inputs and counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_arrays_start_on_a_cache_line_in_their_layout(layout):
    case = bench.Case((3, 5, 4, 7), "float32", layout)
    array = case.normal(np.random.default_rng(0), 10.0)
    assert array.shape == case.shape and array.dtype == np.float32 and array.nbytes == case.nbytes
    assert array.ctypes.data % 64 == 0
    assert (array if layout == "contiguous" else array.transpose(0, 2, 3, 1)).flags.c_contiguous
    assert np.isnan(case.empty()).all()


@pytest.mark.parametrize("text", ["64", "a,b", "", "64,-1", "64,0"])
def test_shapes_that_are_none(text):
    with pytest.raises(ValueError, match="expected N,C or N,C,H,W"):
        inputs.parse_shape(text)


def test_bytes_are_each_array_once_and_updated_ones_twice():
    runner.prepare(with_peers=False)
    rows = rows_of("batch_norm", "numpy", shapes=[(16, 24)])
    tensors, moments, affine, running = 2 * 16 * 24 * 4, 2 * 24 * 8, 2 * 24 * 4, 2 * 2 * 24 * 4
    assert [(row.bytes, row.flops) for row in rows] == [(tensors + moments + affine + running, 7 * 16 * 24)]


def test_figures_of_a_row():
    row = bench.Row("k", "v", (4, 4), "float32", "dense", 0.0, 1, "ok", bytes=8_000, flops=4_000)
    row = replace(row, median=1e-6, bandwidth=1e10, peak_flops=1e11, peer_median=3e-6)
    assert row.gigabytes_per_second == pytest.approx(8.0)
    assert row.gigaflops == pytest.approx(4.0)
    assert row.attainable == pytest.approx(5e9)  # half an operation per byte, 10 GB/s
    assert row.roofline == pytest.approx(0.8)
    assert row.times_faster == pytest.approx(3.0)
    assert replace(row, peak_flops=4e9).roofline == pytest.approx(1.0)
    assert replace(row, median=None).roofline is None


# --- turns ------------------------------------------------------------------------------------------------------------


def test_contestants_take_turns_in_an_order_that_changes(monkeypatch):
    order = []
    monkeypatch.setattr(Contestant, "warm_up", lambda self: None)
    contestants = [Contestant(name, lambda name=name: order.append(name)) for name in "abc"]
    timing.take_turns(contestants, Effort(rounds=40, seconds=1.0, untimed=0.0))
    turns = order[::2]  # each sample is an untimed call and a timed one
    assert order[1::2] == turns
    rounds = {"".join(turns[i : i + 3]) for i in range(0, len(turns), 3)}
    assert rounds == {"abc", "acb", "bac", "bca", "cab", "cba"}
    assert all(list(contestant.times) == [*range(40)] for contestant in contestants)


def test_a_slow_contestant_leaves_after_its_share(monkeypatch):
    monkeypatch.setattr(Contestant, "warm_up", lambda self: None)
    quick, slow = Contestant("quick", lambda: None), Contestant("slow", lambda: None)
    slow.spent = 100.0
    timing.take_turns([quick, slow], Effort(rounds=8, seconds=50.0))
    assert len(quick.times) == 8 and len(slow.times) == timing.LEAST_ROUNDS


def test_the_collector_rests_and_the_threads_are_put_back(table):
    seen = []

    def bind(arguments):
        def call():
            seen.append((gc.isenabled(), tb.get_num_threads()))
            arguments["y"][...] = 2 * arguments["x"]

        return call

    register_double().add(registry.Version("watching", bind))
    before = tb.get_num_threads()
    rows = rows_of("double", "watching", threads=[1, 2], shapes=[(8, 8)])
    assert [row.threads for row in rows] == [1, 2]
    assert seen[:2] == [(True, 1), (True, 2)]  # verified
    assert set(seen[2:]) == {(False, 1), (False, 2)}
    assert gc.isenabled() and tb.get_num_threads() == before


def test_the_copy_by_several_threads_copies_everything():
    for threads in (2, 3, 40):
        x, y = np.arange(35.0), np.zeros(35)
        limits.shared_copy(y, x, threads)()
        np.testing.assert_array_equal(y, x)


def test_the_peak_is_that_of_a_matrix_product(monkeypatch):
    monkeypatch.setattr(limits, "_PRODUCT", 32)
    limits.peak_flops.cache_clear()
    try:
        assert limits.peak_flops("float32", 1) > 0
    finally:
        limits.peak_flops.cache_clear()


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def test_pytorch_is_timed_beside_each_kernel_that_it_has():
    pytest.importorskip("torch")
    runner.prepare()
    rows = rows_of("*", "numpy", peers=True) + rows_of("F.*", "tinybn", peers=True)
    with_peer = {row.kernel for row in rows if row.peer}
    parts = {"batch_moments", "scatter_plane", "ladder", "transpose_planes", "correlate_weights", "max_pool2d_backward"}
    parts |= {"sigmoid_backward", "tanh_backward", "relu_backward", "cross_entropy", "cross_entropy_backward"}
    assert with_peer == set(bench.KERNELS) - parts
    assert {row.status for row in rows if row.peer} == {"ok"}
    assert all((row.times_faster is not None) == (row.kernel in with_peer) for row in rows if not row.peer)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_report_comes_back_from_its_file(tmp_path):
    rows = rows_of("normalize", "numpy") + rows_of("ladder", "one_pass")
    report = bench.Report({"processor": "some"}, {"rounds": 3}, rows)
    report.save(tmp_path / "run.json")
    assert bench.load(tmp_path / "run.json") == report


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "machine": {}}', "\xff"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"run\.json"):
        bench.load(path)
