"""insert_normalization: the places of a model, what is put there, and what stays as it was."""

import copy
import itertools
from functools import partial

import numpy as np
import pytest

import tinybn as tb
from tinybn import nn
from tinybn.errors import ShapeError
from tinybn.nn import insert_normalization
from tinybn.study import arms


def cnn():
    """Convolutions in one Sequential, the rest in another, with names."""
    features = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    )
    head = nn.Sequential({"flat": nn.Flatten(), "fc1": nn.Linear(6, 5), "act": nn.Tanh(), "fc2": nn.Linear(5, 3)})
    return nn.Sequential({"features": features, "head": head, "probability": nn.Sigmoid()})


def mlp(*layers):
    return nn.Sequential(*(layers or (nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))))


def paths(model):
    """The names of the normalizations in a model, with the number of their channels."""
    return {name: m.num_features for name, m in model.named_modules() if isinstance(m, nn.normalization.BatchNorm)}


def image(dtype="float32"):
    return np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(dtype)


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", arms.NETS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    "placement",
    ["none", *("+".join(c) for n in range(1, 5) for c in itertools.combinations(arms.PLACES, n))],
)
@pytest.mark.parametrize("by_example", [True, False], ids=["example", "layers"])
def test_the_arms_of_the_study_are_insertions_into_the_plain_one(net, activation, placement, by_example):
    plain = arms.build(net, activation, "none", (8, 8), 10, seed=3)
    made = insert_normalization(plain, placement, example=image() if by_example else None)
    expected = arms.build(net, activation, placement, (8, 8), 10, seed=3)
    assert repr(made) == repr(expected)
    for (name, ours), (same, theirs) in zip(made.named_parameters(), expected.named_parameters(), strict=True):
        assert name == same
        if "weight" in name:
            np.testing.assert_array_equal(ours.data, theirs.data)


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ("input", {"features.0": 1}),
        ("before", {"features.1": 4, "features.5": 6, "head.before_act": 5}),
        ("after", {"features.2": 4, "features.6": 6, "head.after_act": 5}),
        ("before activation", {"features.1": 4, "features.5": 6, "head.before_act": 5}),
        ("after weight", {"features.1": 4, "features.5": 6, "head.after_fc1": 5, "head.after_fc2": 3}),
        ("logits", {"head.after_fc2": 3}),
        ("output", {"after_probability": 3}),
        ("logits+output", {"head.after_fc2": 3, "after_probability": 3}),
        ("before Conv2d", {"features.0": 1, "features.4": 4}),
        ("after MaxPool2d", {"features.3": 4}),
        ("before ReLU", {"features.1": 4, "features.5": 6}),
        ("before Sigmoid", {"before_probability": 3}),
        ("after features.3", {"features.4": 6}),
        ("before features.0", {"features.0": 1}),
        ("after features", {"after_features": 6}),
        ("before head", {"before_head": 6}),
        ("after head.flat", {"head.after_flat": 6}),
        (["after head.fc1", "before head.act"], {"head.after_fc1": 5}),
        (["before features", "input"], {"before_features": 1}),
        ("none", {}),
        ([], {}),
        ("", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("by_example", [True, False], ids=["example", "layers"])
def test_places_of_a_nested_model(places, found, by_example):
    model = cnn()
    made = insert_normalization(model, places, example=image() if by_example else None)
    assert paths(made) == found
    assert made(image()).shape == (2, 3)
    layers = [type(m).__name__ for m in made.modules() if type(m).__name__[:5] not in ("Batch",)]
    assert layers == [type(m).__name__ for m in model.modules()]


def test_the_normalization_is_that_of_what_stands_there():
    made = insert_normalization(cnn(), "before")
    kinds = {name: type(m).__name__ for name, m in made.named_modules() if name in paths(made)}
    assert kinds == {"features.1": "BatchNorm2d", "features.5": "BatchNorm2d", "head.before_act": "BatchNorm1d"}
    sequence = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3))
    assert type(insert_normalization(sequence, "before")[1]) is nn.BatchNorm1d
    assert type(insert_normalization(sequence, "before", "InstanceNorm")[1]) is nn.InstanceNorm1d


def test_make_is_a_name_or_a_function_and_takes_options():
    made = insert_normalization(mlp(), "before", "GhostBatchNorm", ghost_size=16, momentum=0.2)
    assert type(made[1]) is nn.GhostBatchNorm1d
    assert (made[1].ghost_size, made[1].momentum) == (16, 0.2)
    made = insert_normalization(mlp(), "before", partial(nn.GroupNorm, 2))
    assert repr(made[1]) == repr(nn.GroupNorm(2, 8))
    made = insert_normalization(mlp(), "input+before", nn.LayerNorm, eps=0.5)
    assert (made[0].normalized_shape, made[2].eps) == ((4,), 0.5)


def test_blocks_are_looked_into_and_other_modules_are_not():
    model = nn.Sequential(
        nn.ConvBlock(1, 4, 3, "weight act"),
        nn.ResidualBlock(4, 6, 2),
        nn.Flatten(),
        nn.LinearBlock(96, 3, "act weight"),
    )
    made = insert_normalization(model, "before+after ResidualBlock", example=image())
    assert paths(made)["0.before_act"] == 4
    assert paths(made)["2"] == 6  # behind the ResidualBlock
    assert paths(made)["4.before_act"] == 96
    assert type(made[0]) is nn.ConvBlock
    assert [type(m).__name__ for m in made[1].modules()] == [type(m).__name__ for m in model[1].modules()]
    from_layers = insert_normalization(model, "after ResidualBlock+input")
    assert from_layers[2].num_features == 6
    assert from_layers[0].before_weight.num_features == 1


def test_a_subclass_is_found_by_the_name_of_its_base_and_behind_a_parametrization():
    class Doubled(nn.ReLU):
        def compute(self, input):
            return 2 * super().compute(input)

    model = mlp(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), Doubled(), nn.Linear(8, 2))
    assert list(paths(insert_normalization(model, "before ReLU"))) == ["1"]
    assert list(paths(insert_normalization(model, "before Doubled"))) == ["1"]
    made = insert_normalization(model, "after Linear")
    assert list(paths(made)) == ["1", "4"]
    assert made[0].bias is None


def test_a_second_insertion_finds_other_names():
    model = nn.Sequential({"fc": nn.Linear(4, 3), "act": nn.ReLU(), "out": nn.Linear(3, 2)})
    once = insert_normalization(model, "before act")
    twice = insert_normalization(once, "before act", nn.LayerNorm)
    assert [name for name, _ in twice.named_children()] == ["fc", "before_act", "before_act_", "act", "out"]
    assert type(twice.before_act_) is nn.LayerNorm


def test_a_container_that_stands_twice_gets_one_normalization_in_both_places():
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    made = insert_normalization(nn.Sequential(shared, shared, nn.Linear(4, 2)), "before")
    assert made[0] is made[1]
    assert len(paths(made)) == 1


# --- what stays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_stays_as_it_is_and_the_copy_has_its_values(dtype):
    model = insert_normalization(cnn(), "input", keep_bias=True).to(dtype)  # with a normalization that could move
    before = {name: value.copy() for name, value in model.state_dict().items()}
    text = repr(model)
    made = insert_normalization(model, "before+logits", keep_bias=True, example=image(dtype))
    assert repr(model) == text
    assert model.training
    assert made.training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    ours = {id(p) for p in model.parameters()}
    assert not any(id(p) in ours for p in made.parameters())
    assert {str(p.dtype) for p in made.parameters()} == {dtype}
    assert made.features[0].num_batches_tracked.item() == 0
    old = [p.data for name, p in made.named_parameters() if p.ndim > 1]
    for array, parameter in zip(old, [p for p in model.parameters() if p.ndim > 1], strict=True):
        np.testing.assert_array_equal(array, parameter.data)


def test_new_normalizations_that_have_seen_nothing_change_little_in_evaluation():
    """They normalize with mean 0 and variance 1, up to eps."""
    model = cnn().eval()
    made = insert_normalization(model, "before+logits", keep_bias=True, eps=0.0)
    assert not made.training
    assert not made.features[1].training
    np.testing.assert_allclose(made(image()).data, model(image()).data, rtol=1e-6)


def test_hooks_and_requires_grad_go_with_the_copy():
    model = mlp()
    model[0].weight.requires_grad_(False)
    seen = []
    model[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    made = insert_normalization(model, "before", example=tb.zeros(5, 4))
    made(tb.zeros(3, 4))
    assert seen == [(3, 8)]
    assert not made[0].weight.requires_grad


@pytest.mark.parametrize(
    ("model", "places", "options", "biases"),
    [
        (mlp, "before", {}, [False, True]),
        (mlp, "before", {"keep_bias": True}, [True, True]),
        (mlp, "before+logits", {}, [False, False]),
        (mlp, "after", {}, [True, True]),
        (mlp, "before", {"make": nn.LayerNorm}, [True, True]),
        (mlp, "before", {"make": "VarianceOnlyBatchNorm"}, [True, True]),
        (mlp, "before", {"make": "MeanOnlyBatchNorm"}, [False, True]),
        (cnn, "after MaxPool2d", {}, [True, True, True, True]),  # behind a ReLU
        (lambda: mlp(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2)), "before 2", {}, [True, True]),
        (lambda: mlp(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 1, 1)), "before", {}, [False, True]),
        (
            lambda: mlp(nn.Conv2d(1, 4, 8), nn.Flatten(), nn.Linear(4, 1)),
            "after Flatten",
            {"example": image()},
            [False, True],
        ),
        (lambda: mlp(nn.Linear(4, 8), nn.Softmax(1), nn.Linear(8, 2)), "before 2", {}, [True, True]),
        (lambda: mlp(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), "before 2", {}, [True, True]),
    ],
)
def test_biases_that_are_taken_away_again_are_dropped(model, places, options, biases):
    made = insert_normalization(model(), places, **options)
    weighted = [m for m in made.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert [m.bias is not None for m in weighted] == biases


def test_a_dropped_bias_changes_nothing_in_training():
    model = cnn().double()
    kept, dropped = (insert_normalization(model, "before+logits", keep_bias=keep) for keep in (True, False))
    np.testing.assert_allclose(dropped(image("float64")).data, kept(image("float64")).data, rtol=1e-9)
    assert sum(p.numel() for p in kept.parameters()) - sum(p.numel() for p in dropped.parameters()) == 4 + 6 + 5 + 3


def test_a_layer_that_stands_twice_keeps_a_bias_that_one_place_needs():
    layer = nn.Linear(4, 4)
    made = insert_normalization(nn.Sequential(layer, nn.ReLU(), layer), "before")
    assert made[0] is made[3]
    assert made[0].bias is not None
    made = insert_normalization(nn.Sequential(layer, nn.ReLU(), layer), "after weight")
    assert made[0].bias is None


def test_features_behind_a_sequence_keep_their_bias():
    """BatchNorm1d of (N, L, F) normalizes over axis 1, and the bias is along axis 2."""
    made = insert_normalization(mlp(), "before", example=tb.rand(2, 5, 4))
    assert made[1].num_features == 5
    assert made[0].bias is not None
    assert made(tb.rand(2, 5, 4)).shape == (2, 5, 2)


def test_the_result_trains():
    made = insert_normalization(cnn(), "input+before", example=image())
    optimizer = tb.optim.SGD(made.parameters(), lr=0.1)
    made(image()).sum().backward()
    optimizer.step()
    assert all(p.grad is not None for p in made.parameters())
    assert made.features[0].num_batches_tracked.item() == 1
    assert copy.deepcopy(made).state_dict().keys() == made.state_dict().keys()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ("hidden", "unknown place 'hidden'; expected 'input', 'logits', 'output', or 'before' or 'after' with nothing"),
        ("behind ReLU", "unknown place 'behind ReLU'"),
        ("before Conv2d", r"no place 'before Conv2d' in this model; .*a class \(Linear, ReLU\) or .*\(0, 1, 2\)"),
        ("after 3", "no place 'after 3'"),
        ("before+before", r"places are 'before\+before'; expected names with '\+' between, each once"),
        ("before+none", "unknown place 'none'"),
        ("before++after", "expected names with"),
    ],
)
def test_wrong_places_are_refused(places, message):
    with pytest.raises(ValueError, match=message):
        insert_normalization(mlp(), places)


def test_places_that_the_model_does_not_have_are_refused():
    with pytest.raises(ValueError, match="there is no place 'before' in this model"):
        insert_normalization(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), "before")  # the output's, not a hidden one
    with pytest.raises(ValueError, match="there is no place 'input'"):
        insert_normalization(nn.Sequential(nn.ReLU()), "input")
    with pytest.raises(ValueError, match="there is no place 'output'"):
        insert_normalization(nn.Sequential(), "output")


def test_other_models_are_refused():
    class Backwards(nn.Sequential):
        def forward(self, input):
            return input

    for model in (nn.Linear(3, 2), Backwards(nn.Linear(3, 2))):
        with pytest.raises(TypeError, match=f"expected a Sequential, got {type(model).__name__}"):
            insert_normalization(model, "input")


def test_an_unknown_number_of_channels_asks_for_an_example():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(
        ShapeError, match="how many channels there are in front of '2'; give example=, a batch of inputs"
    ):
        insert_normalization(model, "before")
    assert insert_normalization(model, "before", example=image())[2].num_features == 144
    with pytest.raises(
        ShapeError, match=r"expected \(N, C, ...\) behind 1 layers, got shape \(8,\) there, from an example"
    ):
        insert_normalization(mlp(), "before", example=tb.zeros(4))


def test_wrong_normalizations_are_refused():
    with pytest.raises(ValueError, match=r"no 'Batch' for an input of 2 axes, which would be Batch1d; .*BatchNorm1d"):
        insert_normalization(mlp(), "before", "Batch")
    with pytest.raises(ValueError, match="no 'LayerNorm' for an input of 2 axes"):
        insert_normalization(mlp(), "before", "LayerNorm")
    with pytest.raises(TypeError, match=r"make\(8\) gave a int; expected a Module"):
        insert_normalization(mlp(), "before", lambda channels: channels)
