"""Population statistics of BatchNorm layers, measured and set as running statistics."""

import numpy as np
import pytest
from helpers import assert_state, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import ShapeError
from tinybn.nn import population_statistics, update_bn

both = pytest.mark.parametrize("exact", [False, True], ids=["one pass", "exact"])


def normal(*shape, seed=0, mean=0.0, dtype="float32"):
    return (np.random.default_rng(seed).standard_normal(shape) + mean).astype(dtype)


def cut(x, sizes):
    """Batches of these sizes, with targets."""
    parts = np.split(x, np.cumsum(sizes)[:-1])
    return [(part, np.zeros(len(part), int)) for part in parts]


def small_net(nn=tb.nn):
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3), nn.BatchNorm1d(3))


def deep_net(nn):
    """Seven BatchNorms, and Dropout, which must not count where the statistics are exact."""
    layers, channels = [], 3
    for k in (4, 8, 8, 6):
        layers += [nn.Conv2d(channels, k, 3, padding=1, bias=False), nn.BatchNorm2d(k), nn.ReLU()]
        channels = k
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 20), nn.Dropout(0.5)]
    for _ in range(3):
        layers += [nn.Linear(20, 20), nn.BatchNorm1d(20), nn.Tanh()]
    return nn.Sequential(*layers)


# --- right ------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("shape", [(60, 5), (60, 5, 3), (60, 5, 4, 3)], ids=str)
def test_the_first_layer_is_that_of_all_data(exact, mean, shape):
    x = normal(*shape, mean=mean)
    kind = tb.nn.BatchNorm2d if len(shape) == 4 else tb.nn.BatchNorm1d
    model = tb.nn.Sequential(kind(5))
    count, got_mean, got_var = population_statistics(model, cut(x, [7, 2, 30, 21]), exact)["0"]

    axes = (0, *range(2, x.ndim))
    assert count == x.size // 5
    assert got_mean.dtype == got_var.dtype == np.float64
    np.testing.assert_allclose(got_mean, x.mean(axes, dtype=np.float64), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got_var, x.var(axes, dtype=np.float64), rtol=1e-6)


def test_the_first_layer_after_one_pass():
    x = normal(50, 4, mean=3.0)
    model = tb.nn.Sequential(tb.nn.BatchNorm1d(4), tb.nn.Linear(4, 2), tb.nn.BatchNorm1d(2))
    update_bn(model, cut(x, [32, 13, 5]))
    np.testing.assert_allclose(model[0].running_mean.data, x.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(model[0].running_var.data, x.var(0, dtype=np.float64, ddof=1), rtol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 1), st.integers(0, 99))
def test_how_the_data_are_cut_does_not_matter(sizes, seed):
    x = normal(sum(sizes), 3, seed=seed, mean=100.0, dtype="float64")
    model = tb.nn.Sequential(tb.nn.BatchNorm1d(3, dtype="float64"))
    got = population_statistics(model, cut(x, sizes), exact=True)["0"]
    assert got.count == len(x)
    np.testing.assert_allclose(got.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.var, x.var(0), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[40], [1] * 40, [16, 16, 8], [3, 1, 29, 7]], ids=["40", "ones", "16+16+8", "uneven"])
def test_exact_statistics_of_a_deep_net_are_those_of_all_data_in_float64(sizes, dtype):
    torch = load_torch()
    torch.manual_seed(0)
    theirs = deep_net(torch.nn).double().eval()
    ours = deep_net(tb.nn).to(dtype)
    ours.load_state_dict(theirs.state_dict() if dtype == "float64" else theirs.float().state_dict())
    theirs.double()
    x = normal(40, 3, 6, 6, mean=1.0)

    update_bn(ours, cut(x.astype(dtype), sizes), exact=True)
    populations = population_statistics(ours, cut(x.astype(dtype), sizes), exact=True)

    norms = {n: m for n, m in theirs.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)}
    assert populations.keys() == norms.keys()
    for name, norm in norms.items():  # each behind those that have theirs
        seen = []
        handle = norm.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        theirs(torch.from_numpy(x.astype("f8")))
        handle.remove()
        values = seen[0].detach().numpy()
        axes = (0, *range(2, values.ndim))
        norm.running_mean = torch.from_numpy(values.mean(axes))
        norm.running_var = torch.from_numpy(values.var(axes, ddof=1))
        own = dict(ours.named_modules())[name]
        assert_close(own.running_mean.data, norm.running_mean, dtype, f"mean of {name}")
        assert_close(own.running_var.data, norm.running_var, dtype, f"variance of {name}")
        assert own.num_batches_tracked.item() == len(sizes)
        assert_close(populations[name].mean, values.mean(axes), dtype, name)
        assert_close(populations[name].var, values.var(axes), dtype, name)


def test_one_batch_gives_what_torch_gives():
    torch = load_torch()
    theirs, ours, x = small_net(torch.nn), small_net(), normal(20, 4)
    ours.load_state_dict(theirs.state_dict())
    torch.optim.swa_utils.update_bn([torch.from_numpy(x)], theirs)
    update_bn(ours, [x])
    for name, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], value, "float32", name)


def test_equal_batches_give_torchs_means():
    torch = load_torch()
    theirs, ours, x = small_net(torch.nn), small_net(), normal(40, 4)
    ours.load_state_dict(theirs.state_dict())
    torch.optim.swa_utils.update_bn(torch.from_numpy(x).split(10), theirs)
    update_bn(ours, cut(x, [10] * 4))
    assert_close(ours[4].running_mean.data, theirs[4].running_mean, "float32")
    assert ours[4].num_batches_tracked.item() == theirs[4].num_batches_tracked.item() == 4


@both
@pytest.mark.parametrize("convention", ["torch", "keras", "flax", "mlx", "onnx", "chainer"])
def test_the_running_variance_is_that_of_the_convention(convention, exact):
    model = tb.nn.Sequential(tb.nn.BatchNorm1d(1, convention=convention))
    update_bn(
        model, [tb.tensor([[0.0], [2.0]]), tb.tensor([[4.0]])] if exact else [tb.tensor([[0.0], [2.0], [4.0]])], exact
    )
    biased = convention in ("keras", "flax", "mlx", "onnx")
    assert model[0].running_var.item() == pytest.approx(8 / (3 if biased else 2), rel=1e-6)


@both
@pytest.mark.parametrize(
    "kind", ["MeanOnlyBatchNorm1d", "VarianceOnlyBatchNorm1d", "BatchRenorm1d", "GhostBatchNorm1d", "BatchNorm1d"]
)
def test_variants(kind, exact):
    options = {"ghost_size": 4} if "Ghost" in kind else {}
    norm = getattr(tb.nn, kind)(3, **options)
    model, x = tb.nn.Sequential(norm, tb.nn.Linear(3, 2)), normal(20, 3, mean=2.0)
    update_bn(model, cut(x, [12, 8]), exact)
    if norm.running_mean is not None:
        assert_close(norm.running_mean.data, x.mean(0), "float32")
    if norm.running_var is not None:
        assert_close(norm.running_var.data, x.var(0, ddof=1), "float32")
    assert norm.num_batches_tracked.item() == 2


@both
def test_the_limits_of_renormalization_do_not_begin_anew(exact):
    norm = tb.nn.BatchRenorm1d(3, total_steps=26)
    for seed in range(3):
        norm(normal(8, 3, seed=seed))
    limits = norm.limits()
    assert limits[0] > 1
    x = normal(20, 3, mean=2.0)
    update_bn(norm, cut(x, [12, 8]), exact)
    assert_close(norm.running_mean.data, x.mean(0), "float32")
    assert norm.limits() == limits and norm.num_batches_tracked.item() == 3
    norm.reset_running_stats()
    assert norm.limits() == (1, 0)


def test_exact_statistics_are_those_that_evaluation_sees_with_them():
    """Measured again behind layers that use them by now, they are the same."""
    model, batches = deep_net(tb.nn), cut(normal(30, 3, 6, 6), [11, 19])
    update_bn(model, batches, exact=True)
    before = snapshot(model)
    update_bn(model, batches, exact=True)
    assert_state(model, before)


def test_one_pass_sees_what_batch_statistics_make():
    model, x = small_net(), normal(12, 4)
    got = population_statistics(model, cut(x, [4, 8]))["4"]
    behind = np.concatenate([model[:4].train()(part).data for part, _ in cut(x, [4, 8])])
    assert_close(got.mean, behind.mean(0), "float32")
    assert_close(got.var, behind.var(0), "float32")


@both
def test_a_layer_that_runs_twice_counts_both(exact):
    class Twice(tb.nn.Module):
        def __init__(self):
            self.norm, self.behind = tb.nn.BatchNorm1d(2), tb.nn.BatchNorm1d(2)

        def forward(self, x):
            return self.behind(self.norm(x) + self.norm(x * 3))

    model, x = Twice(), normal(10, 2)
    got = population_statistics(model, [x], exact)
    both_inputs = np.concatenate([x, x * 3])
    assert got["norm"].count == 20 and got["behind"].count == 10
    assert_close(got["norm"].mean, both_inputs.mean(0), "float32")
    assert_close(got["norm"].var, both_inputs.var(0), "float32")


def test_exact_order_is_that_of_the_runs_not_of_the_names():
    class Backwards(tb.nn.Module):
        def __init__(self):
            self.last, self.first = tb.nn.BatchNorm1d(2), tb.nn.BatchNorm1d(2, eps=0.0)

        def forward(self, x):
            return self.last(self.first(x) * 2)

    model, x = Backwards(), normal(10, 2, mean=5.0)
    update_bn(model, cut(x, [6, 4]), exact=True)
    assert_close(model.last.running_mean.data, np.zeros(2), "float32", scale=1.0)
    assert_close(model.last.running_var.data, np.full(2, 4.0), "float32", scale=1.0)


def test_a_forward_ends_at_the_layer_that_is_measured():
    runs = []
    model = small_net()
    model[3].register_forward_pre_hook(lambda *_: runs.append("linear"))
    model.append(tb.nn.Identity())
    model[5].register_forward_pre_hook(lambda *_: runs.append("end"))
    update_bn(model, cut(normal(12, 4), [6, 6]), exact=True)
    assert runs == ["linear", "end", "linear", "end", "linear", "linear"]


def test_dropout_drops_in_one_pass_only():
    model = tb.nn.Sequential(tb.nn.Dropout(0.5), tb.nn.BatchNorm1d(1))
    x = np.ones((4000, 1), "float32")
    assert population_statistics(model, [x], exact=True)["1"].var[0] == 0
    assert population_statistics(model, [x])["1"].var[0] == pytest.approx(1, rel=0.05)


# --- what there is to measure -----------------------------------------------------------------------------------------


@both
def test_loaders(exact):
    x, y = normal(12, 4), np.zeros(12, int)
    model, expected = small_net(), None
    for loader in (
        [(x[:8], y[:8]), (x[8:], y[8:])],
        [[x[:8], y[:8]], [x[8:], y[8:]]],
        (x[:8], x[8:]),
        [tb.tensor(x[:8]), tb.tensor(x[8:])],
        tb.data.DataLoader((x, y), batch_size=8),
        [x[:8], x[:0], x[8:]],
    ):
        got = population_statistics(model, loader, exact)
        expected = expected or got
        for name in ("1", "4"):
            assert got[name].count == 12
            np.testing.assert_array_equal(got[name].mean, expected[name].mean)


def test_an_iterator_is_enough_for_one_pass():
    x = normal(12, 4)
    assert population_statistics(small_net(), iter([x]))["4"].count == 12
    assert population_statistics(tb.nn.Sequential(tb.nn.BatchNorm1d(4)), iter([x]), exact=True)["0"].count == 12


@both
def test_layouts(exact):
    x = normal(6, 4, 5, 3)
    model = tb.nn.Sequential(tb.nn.BatchNorm2d(4))
    x.flags.writeable = False
    for laid in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.repeat(x, 2, axis=3)[..., ::2]):
        got = population_statistics(model, [laid], exact)["0"]
        np.testing.assert_allclose(got.var, x.var((0, 2, 3), dtype=np.float64), rtol=1e-6)


def test_models_without_such_layers_need_no_batches():
    model = tb.nn.Sequential(tb.nn.Linear(4, 2), tb.nn.BatchNorm1d(2, track_running_stats=False), tb.nn.LayerNorm(2))
    assert population_statistics(model, iter(())) == {}
    update_bn(model, iter(()))


def test_instance_norm_is_left_out():
    model = tb.nn.Sequential(tb.nn.InstanceNorm1d(2, track_running_stats=True), tb.nn.BatchNorm1d(2))
    x = normal(5, 2, 7)
    assert list(population_statistics(model, [x])) == ["1"]
    update_bn(model, [x], exact=True)
    assert model[0].running_mean.tolist() == [0, 0] and model[0].num_batches_tracked.item() == 0


def test_a_model_that_is_a_layer():
    model = tb.nn.BatchNorm1d(2)
    update_bn(model, [np.array([[0.0, 1.0], [2.0, 5.0]], "float32")])
    assert model.running_mean.tolist() == [1, 3] and model.running_var.tolist() == [2, 8]


def test_a_keyword_for_the_input():
    class Named(tb.nn.Module):
        def __init__(self):
            self.norm = tb.nn.BatchNorm1d(2)

        def forward(self, x):
            return self.norm(input=x)

    assert population_statistics(Named(), [normal(6, 2)])["norm"].count == 6


# --- the model stays as it is -----------------------------------------------------------------------------------------


def mixed_model():
    """With modes, hooks and counters that are not the usual ones."""
    model = small_net()
    model(normal(6, 4, seed=9))
    model[4].eval()
    model[1].skipped_batches = 2
    model[0].register_forward_hook(lambda *_: None)
    return model


def everything_of(model):
    return {name: dict(vars(module)) for name, module in model.named_modules()}


def assert_same_objects(model, before):
    for name, attributes in everything_of(model).items():
        assert list(attributes) == list(before[name])
        for key, value in attributes.items():
            assert value is before[name][key], f"{name}.{key}"


@both
def test_measuring_changes_nothing(exact):
    model = mixed_model()
    objects, state = everything_of(model), snapshot(model)
    population_statistics(model, cut(normal(12, 4), [6, 6]), exact)
    assert_same_objects(model, objects)
    assert_state(model, state)
    assert model[1].fusing([model[2]]) == (1, {"relu": True})


@both
def test_an_update_changes_only_the_statistics(exact):
    model = mixed_model()
    objects, state = everything_of(model), snapshot(model)
    update_bn(model, cut(normal(12, 4), [6, 6]), exact)
    objects["1"]["skipped_batches"] = objects["4"]["skipped_batches"] = 0
    assert_same_objects(model, objects)
    for name, value in model.state_dict().items():
        changed = "running" in name or "tracked" in name
        assert np.array_equal(value, state[name]) != changed, name


class Fails(tb.nn.Module):
    """Raises in the batch of that number."""

    def __init__(self, batch):
        self.left = batch

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return x


@both
@pytest.mark.parametrize("after", [0, 1, 3])
def test_nothing_has_changed_when_something_raises(exact, after):
    model = mixed_model()
    model.insert(3, Fails(after))
    objects, state = everything_of(model), snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        update_bn(model, [normal(6, 4)] * 4, exact)
    assert_same_objects(model, objects)
    assert_state(model, state)


@both
def test_a_graph_from_before_can_still_be_walked(exact):
    model = small_net().eval()
    loss = model(normal(6, 4)).sum()
    population_statistics(model, [normal(6, 4)], exact)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@both
def test_frozen_statistics_are_measured_and_kept(exact):
    model, x = small_net(), normal(12, 4)
    model[1].running_mean.data.fill(0.5)
    model[1].freeze()
    before = snapshot(model)
    got = population_statistics(model, [x], exact)
    inside = model[0](x).data
    assert_close(got["1"].mean, inside.mean(0), "float32")
    behind = model[:4].eval()(x).data  # the frozen layer evaluates
    assert_close(got["4"].mean, behind.mean(0), "float32")

    update_bn(model.train(), [x], exact)
    assert_close(model[4].running_mean.data, behind.mean(0), "float32")
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        np.testing.assert_array_equal(model.state_dict()[name], before[name])


@both
def test_frozen_layers_need_not_run(exact):
    class Unused(tb.nn.Module):
        def __init__(self):
            self.used, self.unused = tb.nn.BatchNorm1d(2), tb.nn.BatchNorm1d(2)

        def forward(self, x):
            return self.used(x)

    model = Unused()
    with pytest.raises(ValueError, match=r"layer 'unused' got 0 values per channel from 1 batches in .* mode"):
        population_statistics(model, [normal(6, 2)], exact)
    model.unused.freeze()
    assert list(population_statistics(model, [normal(6, 2)], exact)) == ["used"]
    update_bn(model, [normal(6, 2)], exact)
    assert model.used.num_batches_tracked.item() == 1


def test_recurrent_nets_with_statistics_of_each_step():
    net = tb.nn.RNN(3, 4, normalization="step", max_length=5)
    batches = [normal(5, 8, 3, seed=seed) for seed in range(2)]  # (T, N, C)
    update_bn(net, batches, exact=True)
    weight = net.weight_ih_l0.data
    steps = dict(net.named_modules())
    for step in (0, 4):
        terms = np.concatenate([x[step] @ weight.T for x in batches])
        assert_close(steps[f"norm_ih_l0.steps.{step}"].running_mean.data, terms.mean(0), "float32")


# --- refused ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("caller", [population_statistics, update_bn])
def test_refusals_change_nothing(caller, exact):
    model = small_net()
    state, objects = snapshot(model), everything_of(model)
    bad = normal(6, 4)
    bad[2, 1] = np.nan
    refused = [
        ([], ValueError, "got no batches"),
        ([normal(6, 4), bad], ValueError, r"layer '1': the statistics .* in batch 1 .*shape \(6, 5\), are not"),
        ([normal(6, 3)], ShapeError, "Linear"),
    ]
    if exact:
        refused += [
            ((x for x in [bad]), ValueError, "exact=True goes through the loader once for each of 2 layers"),
            ([normal(1, 4)], ValueError, "layer '1' got 1 values per channel from 1 batches in evaluation mode"),
        ]
    else:
        refused.append(([normal(6, 4), normal(1, 4)], ShapeError, "one value per channel"))
    for loader, error, message in refused:
        with pytest.raises(error, match=message):
            caller(model, loader, exact)
        assert_state(model, state)
        assert_same_objects(model, objects)


@both
def test_the_first_layer_that_is_not_finite_is_named(exact):
    model = small_net()
    model[3].weight.data[1] = np.inf
    with pytest.raises(ValueError, match=r"layer '4': the .* batch 0 .*, are not finite in channel 1; leave out"):
        population_statistics(model, [normal(6, 4)], exact)


def test_exact_statistics_do_not_mind_old_ones_that_are_not_finite():
    model = small_net()
    model[1].running_var.data.fill(np.nan)
    update_bn(model, [normal(6, 4)], exact=True)
    assert np.isfinite(model[4].running_var.data).all()


@both
def test_statistics_that_the_dtype_cannot_hold(exact):
    model = tb.nn.Sequential(tb.nn.BatchNorm1d(1))
    state = snapshot(model)
    with pytest.raises(ValueError, match="layer '0': float32 cannot hold the statistics"):
        update_bn(model, [np.full((2, 1), -1e25, "float32"), np.full((2, 1), 1e25, "float32")], exact)
    with pytest.raises(ValueError, match=r"layer '0': the statistics .* not finite in channel 0"):
        update_bn(model, [np.array([[-1e25], [1e25]], "float32")], exact)
    assert_state(model, state)


@both
def test_a_misfit_is_the_layers_own_error(exact):
    with pytest.raises(ShapeError, match=r"BatchNorm1d\(3.*expected an input of shape \(N, 3\)"):
        population_statistics(tb.nn.Sequential(tb.nn.BatchNorm1d(3)), [normal(6, 4)], exact)


@pytest.mark.parametrize("caller", [population_statistics, update_bn])
def test_torchs_order_of_arguments_is_refused(caller):
    with pytest.raises(TypeError, match=f"{caller.__name__}: expected a Module and then a loader, got a list first"):
        caller([normal(6, 4)], small_net())
