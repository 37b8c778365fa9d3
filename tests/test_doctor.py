"""The doctor: each fault is named as the cause, healthy models have none, repairs repair, and nothing is touched."""

import copy
import json
from html.parser import HTMLParser

import doctor_models as models
import numpy as np
import pytest
from doctor_models import BROKEN, Patient, loader

import tinybn as tb
from tinybn import functional as F
from tinybn import nn
from tinybn.nn.doctor import examine
from tinybn.nn.doctor.trace import trace


@pytest.fixture(autouse=True)
def seed():
    tb.manual_seed(0)


def found(report):
    return [(finding.fault, finding.layer) for finding in report.findings]


# --- healthy ----------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda groups: tb.optim.SGD(groups, lr=0.1),
    "momentum": lambda groups: tb.optim.SGD(groups, lr=0.05, momentum=0.9),
    "adam": lambda groups: tb.optim.Adam(groups, lr=0.003),
}


def trained(build, optimizer, seed, batch_size=32, epochs=3):
    tb.manual_seed(seed)
    model = build()
    groups = tb.optim.parameter_groups(model, models.DECAY)
    return Patient(model, loader(batch_size), OPTIMIZERS[optimizer](groups)).train(epochs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [models.mlp, models.cnn])
def test_a_healthy_model_has_no_findings(build, optimizer):
    report = trained(build, optimizer, 0).diagnose()
    assert report.findings == [] and report.healthy
    assert [layer.kind for layer in report.layers] == ["BatchNorm1d" if build is models.mlp else "BatchNorm2d"] * 2
    assert report.running.accuracy > 0.9 and report.batch.accuracy > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_small_healthy_nets_of_any_seed_have_no_findings(seed):
    for optimizer in OPTIMIZERS:
        for batch_size, epochs in ((32, 3), (64, 3), (128, 6)):
            assert found(trained(models.mlp, optimizer, seed, batch_size, epochs).diagnose()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_healthy_nets_of_images_of_any_seed_have_no_findings(optimizer, seed):
    for batch_size, epochs in ((32, 3), (128, 8)):
        assert found(trained(models.cnn, optimizer, seed, batch_size, epochs).diagnose()) == []


@pytest.mark.parametrize(
    "norm",
    [
        nn.LayerNorm,
        nn.RMSNorm,
        lambda width: nn.GroupNorm(4, width),
        lambda width: nn.GhostBatchNorm1d(width, ghost_size=32),
        lambda width: nn.BatchRenorm1d(width, r_max=1.5, d_max=0.5),
        lambda width: nn.BatchNorm1d(width, convention="keras", momentum=0.9),
        lambda width: nn.BatchNorm1d(width, momentum=None),
        lambda width: nn.BatchNorm1d(width, track_running_stats=False),
        lambda width: nn.BatchNorm1d(width, affine=False),
        nn.MeanOnlyBatchNorm1d,
        nn.VarianceOnlyBatchNorm1d,
    ],
)
def test_every_kind_of_normalization_can_be_healthy(norm):
    report = Patient(models.mlp(norm), loader(64)).train(4).diagnose()
    assert found(report) == []
    assert len(report.layers) == 2 and all(layer.runs == 1 for layer in report.layers)


# --- faults -----------------------------------------------------------------------------------------------------------

# After these repairs a part of the model is new, or has to learn to do without what it had.
RETRAINED = {
    models.two_values_for_a_mean,
    models.batches_of_four,
    models.images_by_four,
    models.sorted_by_class,
    models.nan_weights,
    models.variances_below_eps,
}


@pytest.mark.parametrize("build", BROKEN, ids=lambda build: build.__name__)
def test_a_fault_is_named_as_the_cause_and_its_repair_repairs(build):
    patient = build()
    report = patient.diagnose()
    fault, layers = BROKEN[build]
    assert found(report) == [(fault, layer) for layer in layers]
    for finding in report.findings:
        assert finding.evidence and finding.reason and finding.source and finding.severity in ("error", "warning")
        patient.repair(finding.repair)
    if build is models.one_norm_in_two_places:
        return  # its forward has to be written anew
    if build in RETRAINED:
        patient.optimizer = None
        patient.train()
    assert found(patient.diagnose()) == []


def test_every_fault_has_a_broken_model():
    listed = nn.diagnose.__doc__.split("Faults:")[1].split(".")[0].replace(";", ",").split(",")
    assert {fault.strip() for fault in listed} == {fault for fault, _ in BROKEN.values()}


def test_what_follows_from_a_fault_stands_under_it():
    finding = models.statistics_of_other_weights().diagnose().findings[0]
    assert any("accuracy" in text for text in finding.consequences)
    assert "off by a factor of 9" in finding.evidence or "off by a factor of 8" in finding.evidence
    finding = models.dropout_in_front().diagnose().findings[0]
    assert any("variance is off" in text for text in finding.consequences)
    finding = models.nan_in_the_past().diagnose().findings[0]
    assert finding.consequences == ["5: 2 batches moved no statistics in training"]
    finding = models.variances_below_eps().diagnose().findings[0]
    assert any("ReLU" in text for text in finding.consequences)


def test_a_shift_behind_a_dropout_is_laid_to_the_dropout():
    """Not only the layer behind it is shifted, but those behind that layer."""
    model = models.mlp()
    model.insert(1, nn.Dropout(0.8))
    report = Patient(model, loader()).train().diagnose()
    assert found(report) == [("dropout_before_norm", "3")]
    assert report.findings[0].repair.startswith("model.insert(7, model.pop(1))")


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm, lambda width: nn.GroupNorm(4, width)])
def test_a_bias_that_silences_channels_is_found_behind_any_kind(norm):
    patient = Patient(models.mlp(norm), loader()).train()
    patient.model[2].bias.data[[3, 8]] = -10
    (finding,) = patient.diagnose().findings
    assert (finding.fault, finding.layer) == ("dead_relu", "2") and "2 of 32 channels (3, 8)" in finding.evidence


def test_a_negative_running_variance_is_found():
    patient = Patient(models.mlp(), loader()).train()
    patient.model[5].running_var.data[0] = -0.1
    assert found(patient.diagnose()) == [("poisoned_statistics", "5")]


def test_several_faults_are_all_found():
    patient = models.dropout_in_front()
    patient.model[1] = nn.Linear(64, 64)
    patient.model[6].bias.data[3] = -30
    faults = {fault for fault, _ in found(patient.diagnose())}
    assert {"dropout_before_norm", "redundant_bias", "dead_relu"} <= faults


# --- structure --------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, width, bias=False):
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    """Functions instead of modules, a part within a part, a layer that runs twice and one that never runs."""

    def __init__(self, rate=0.0, bias=False):
        self.rate = rate
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=bias)
        self.first = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList([Block(8), Block(8, bias)])
        self.spare = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8 * 16, 32, bias=bias)
        self.last = nn.BatchNorm1d(32)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.first(self.stem(x)))
        x = F.max_pool2d(x, 2)
        for block in self.blocks:
            x = block(block(x))
        x = F.dropout(F.flatten(x, 1), self.rate, self.training)
        return self.out(F.relu(self.last(self.hidden(x))))


def test_functions_in_a_forward_are_seen():
    places = {place.name: place for place in trace(Net(0.3, bias=True), next(iter(loader()))[0])}
    assert list(places) == ["first", "blocks.0.norm", "blocks.1.norm", "last", "spare"]
    assert [(drop.name, round(drop.p, 4)) for drop in places["last"].dropouts] == [(None, 0.3)]
    assert all(not places[name].dropouts for name in places if name != "last")
    assert places["first"].biases == ["stem.bias"] and places["last"].biases == ["hidden.bias"]
    assert places["first"].relu and places["last"].relu and not places["blocks.0.norm"].relu
    assert len(places["blocks.1.norm"].shapes) == 2 and not places["spare"].shapes
    assert "first.weight" in places["last"].above and "last.weight" not in places["last"].above


def test_faults_of_a_module_of_ones_own():
    patient = Patient(Net(0.3, bias=True), loader()).train(2)
    report = patient.diagnose()
    assert {(fault, layer) for fault, layer in found(report)} == {
        ("redundant_bias", "first"),
        ("redundant_bias", "blocks.1.norm"),
        ("dropout_before_norm", "last"),
        ("redundant_bias", "last"),
    }
    repairs = {finding.layer: finding.repair for finding in report.findings}
    assert repairs["blocks.1.norm"].startswith("model.blocks[1].conv.bias = None;")
    assert [layer.runs for layer in report.layers] == [1, 2, 2, 1, 0]
    assert "never ran" in str(report)


def test_names_are_code():
    inner = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8))
    model = nn.Sequential(
        {
            "flat": nn.Flatten(),
            "parts": nn.Sequential(nn.ModuleDict({"a": inner})["a"], nn.ReLU()),
            "out": nn.Linear(8, 10),
        }
    )
    report = Patient(model, loader()).train().diagnose()
    assert found(report) == [("redundant_bias", "parts.0.1")]
    assert report.findings[0].repair.startswith("model[1][0][0].bias = None; ")


@pytest.mark.parametrize("build", [models.mlp, models.cnn])
def test_ways_to_write_the_same_model(build):
    """In place, by name, fused by hand: the same is seen."""

    class Written(nn.Module):
        def __init__(self, way):
            self.way, self.layers = way, build()

        def forward(self, x):
            for layer in self.layers:
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    x = layer(input=x, relu=True) if self.way == "fused" else layer(input=x)
                elif isinstance(layer, nn.ReLU):
                    x = {"fused": lambda x: x, "in place": lambda x: x.relu_(), "function": F.relu}[self.way](x)
                else:
                    x = layer(x)
            return x

    inputs = next(iter(loader()))[0]
    seen = [(p.dropouts, p.biases, p.relu, p.shapes, len(p.above)) for p in trace(build(), inputs)]
    for way in ("fused", "in place", "function"):
        places = trace(Written(way), inputs)
        assert [(p.dropouts, p.biases, p.relu, p.shapes, len(p.above)) for p in places] == seen, way


def test_dropout_in_place_is_seen():
    model = models.mlp()
    model[3] = nn.ReLU(inplace=True)
    model.insert(4, nn.Dropout(0.25, inplace=True))
    first, second = trace(model, next(iter(loader()))[0])
    assert first.relu and not first.dropouts
    assert second.dropouts == [("4", 0.25)]


def test_inputs_may_be_a_tuple():
    class Two(nn.Module):
        def __init__(self):
            self.hidden, self.norm, self.out = nn.Linear(128, 32, bias=False), nn.BatchNorm1d(32), nn.Linear(32, 10)

        def forward(self, inputs):
            images, more = (F.flatten(x, 1) for x in inputs)
            return self.out(self.norm(self.hidden(F.cat([images, more], 1))).relu())

    data = [((x, 1 - x), y) for x, y in loader()]
    report = Patient(Two(), data).train().diagnose()
    assert found(report) == [] and report.examples == 1437 and report.layers[0].examples == 32


class Residual(nn.Module):
    """The bias goes round the normalization too, so that it is not redundant."""

    def __init__(self):
        self.flat, self.hidden, self.norm = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = self.hidden(self.flat(x))
        return self.out(F.relu(self.norm(x)) + x)


@pytest.mark.parametrize(
    "build",
    [
        Residual,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.BatchNorm1d(32), nn.Linear(32, 10)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10)),
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)),
    ],
)
def test_a_bias_that_does_something_is_not_redundant(build):
    assert found(Patient(build(), loader()).train().diagnose()) == []


def test_a_bias_before_instance_norm_is_redundant():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    patient = Patient(model, loader()).train()
    report = patient.diagnose()
    assert found(report) == [("redundant_bias", "1")]
    patient.repair(report.findings[0].repair)
    assert found(patient.diagnose()) == []


def test_dropout_behind_the_last_normalization_is_no_fault():
    model = models.mlp()
    model.insert(7, nn.Dropout(0.5))
    assert found(Patient(model, loader()).train().diagnose()) == []


def test_dropout_before_what_needs_no_running_statistics_is_no_fault():
    model = models.mlp(nn.LayerNorm)
    model.insert(4, nn.Dropout(0.5))
    assert found(Patient(model, loader()).train().diagnose()) == []


def test_products_with_masks_are_no_dropout():
    class Masked(nn.Module):
        def __init__(self):
            self.norm, self.out = nn.BatchNorm1d(64), nn.Linear(64, 10)

        def forward(self, x):
            x = F.flatten(x, 1) + 1
            half = tb.tensor((np.arange(64) % 2).astype("float32"))  # a fixed half of the features, times 2
            return self.out(self.norm(x * (2 * half) + 0.1 * x))

    (place,) = trace(Masked(), next(iter(loader()))[0])
    assert place.dropouts == [] or place.dropouts[0].p == 0.5  # half of the values, as a dropout of 0.5 would drop
    (place,) = trace(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.BatchNorm1d(64)), next(iter(loader()))[0])
    assert place.dropouts == []


def test_frozen_layers_have_no_faults_of_statistics():
    patient = Patient(models.mlp(), loader(4, drop_last=True)).train(1)
    for layer in (patient.model[2], patient.model[5]):
        layer.freeze()
    assert found(patient.diagnose()) == []


def test_a_model_that_is_not_trained_at_all_has_nothing_to_freeze():
    patient = models.frozen_affine()
    patient.model.requires_grad_(False)
    patient.optimizer = None
    assert found(patient.diagnose()) == []


# --- recurrent nets ---------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Rows of an image, one after the other."""

    def __init__(self, normalization):
        length = {"max_length": 8} if normalization == "step" else {}
        self.rnn = nn.RNN(8, 24, batch_first=True, normalization=normalization, **length)
        self.out = nn.Linear(24, 10)

    def forward(self, x):
        return self.out(self.rnn(F.flatten(tb.nn.functional.relu(x), 1, 2))[0][:, -1])


@pytest.mark.parametrize("normalization", ["sequence", "step", "layer"])
def test_recurrent_nets_can_be_healthy(normalization):
    assert found(Patient(Reader(normalization), loader()).train(4).diagnose()) == []


# --- the report -------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.text, self.seen = [], "", []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        assert not {"src", "href"} & dict(attributes).keys(), "the page needs another file"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("build", [models.dropout_in_front, models.nan_weights, models.norm_of_raw_pixels, models.mlp])
def test_the_report_is_text_a_dict_and_a_page(build):
    patient = build() if build is not models.mlp else Patient(models.mlp(nn.LayerNorm), loader()).train()
    report = patient.diagnose()
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["healthy"] is (not report.findings)
    assert [finding["fault"] for finding in plain["findings"]] == [finding.fault for finding in report.findings]
    assert [layer["name"] for layer in plain["layers"]] == [layer.name for layer in report.layers]
    page = Tags()
    page.feed(report.to_html())
    assert not page.open and "script" not in page.seen
    for finding in report.findings:
        for text in (finding.fault, finding.evidence, finding.repair, finding.reason):
            assert text in page.text
            assert "".join(text.split()) in "".join(str(report).split())
    assert report._repr_html_() == report.to_html()
    assert all(len(line) <= 120 for line in str(report).splitlines() if "repair" not in line)


def test_what_is_not_html_is_escaped():
    class Marked(nn.Module):
        def __init__(self):
            self.parts = nn.ModuleDict({"<b>&": nn.BatchNorm1d(64)})

        def forward(self, x):
            return self.parts["<b>&"](F.flatten(x, 1))

    report = nn.diagnose(Marked(), loader())
    assert report.findings[0].layer == "parts.<b>&"
    assert "<b>" not in report.to_html()


def test_the_layers_figures():
    patient = models.decayed()
    report = patient.diagnose()
    layer = report.layers[0]
    assert (layer.name, layer.kind, layer.runs, layer.examples, layer.values) == ("1", "BatchNorm2d", 1, 32, 32 * 64)
    assert layer.batches_seen == 45 * models.EPOCHS and layer.share == pytest.approx(0.1)
    assert layer.weight_decay == pytest.approx(1e-3)
    population = nn.population_statistics(patient.model, list(patient.loader), exact=True)["1"]
    norm = patient.model[1]
    shift = np.abs(norm.running_mean.data - population.mean) / np.sqrt(population.var + norm.eps)
    assert layer.mean_shift[1] == pytest.approx(shift.max(), rel=1e-3)
    assert layer.var_ratio[0] < 0.5


def test_scores_are_those_of_evaluation_and_of_training_statistics():
    data = list(loader())
    model = models.momentum_of_keras().model
    report = nn.diagnose(model, data)
    with tb.no_grad():
        scores = tb.train.evaluate(copy.deepcopy(model).eval(), data)
        assert report.running == pytest.approx(tuple(scores), rel=1e-5)
        scores = tb.train.evaluate(copy.deepcopy(model).train(), data)
        assert report.batch == pytest.approx(tuple(scores), rel=1e-5)
        alone = copy.deepcopy(model).eval()
        alone[5].train()
        scores = tb.train.evaluate(alone, data)
    assert report.layers[1].loss_batch == pytest.approx(scores.loss, rel=1e-5)


def test_targets_that_are_no_classes_have_no_accuracy():
    draw = np.random.default_rng(0)
    data = [
        (draw.normal(size=(32, 4)).astype("float32"), draw.normal(size=(32, 1)).astype("float32")) for _ in range(40)
    ]
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = tb.optim.Adam(tb.optim.parameter_groups(model, 0.0), lr=1e-3)
    for _ in range(2):
        tb.train.fit(model, data, optimizer, loss=F.mse_loss)
    report = nn.diagnose(model, data, optimizer, loss=F.mse_loss)
    assert found(report) == [] and report.running.accuracy is None and report.running.loss > 0


def test_a_model_without_normalization_has_nothing_to_find():
    report = nn.diagnose(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), loader())
    assert report.layers == [] and report.findings == [] and report.batch is None
    assert "no normalization layers" in str(report) and "no normalization layers" in report.to_html()


# --- nothing is touched -----------------------------------------------------------------------------------------------


def test_the_model_is_left_as_it_was():
    patient = models.dropout_in_front()
    patient.model[2].eval()
    patient.model[1].requires_grad_(False)
    F.cross_entropy(patient.model(next(iter(patient.loader))[0]), next(iter(patient.loader))[1]).backward()
    calls = []
    patient.model[6].register_forward_hook(lambda module, args, output: calls.append(module))
    generator = np.random.default_rng(5)
    patient.loader = loader(generator=generator)

    def state():
        model = patient.model
        return (
            {name: value.copy() for name, value in model.state_dict().items()},
            [(module.training, dict(vars(module)).keys()) for module in model.modules()],
            [(p.requires_grad, None if p.grad is None else p.grad.data.copy()) for p in model.parameters()],
            [id(p) for p in model.parameters()],
            generator.bit_generator.state,
            tb.random.default_generator().bit_generator.state,
        )

    before = state()
    report = patient.diagnose()
    after = state()
    np.testing.assert_equal(after, before)
    assert report.findings and patient.model[6] not in calls
    for module in patient.model.modules():
        assert module is patient.model[6] or module._hooks is None


def test_the_same_twice():
    patient = models.channel_dropout_in_front()
    assert patient.diagnose().to_dict() == patient.diagnose().to_dict()


def test_what_is_examined_may_be_in_eval_mode_and_under_no_grad():
    patient = models.linear_with_bias()
    patient.model.eval()
    with tb.no_grad():
        assert found(patient.diagnose()) == [("redundant_bias", "5")]


def test_float64():
    data = [(x.astype("float64"), y) for x, y in loader()]
    patient = Patient(models.mlp().double(), data).train()
    assert found(patient.diagnose()) == []


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (lambda m: (loader(), m), TypeError, "expected a Module"),
        (lambda m: (m, iter(loader())), TypeError, "only once"),
        (lambda m: (m, 3), TypeError, "iterable"),
        (lambda m: (m, []), ValueError, "no batch"),
        (lambda m: (m, [np.zeros((4, 64))]), TypeError, r"expected \(inputs, targets\)"),
        (lambda m: (m, [(np.full((32, 64), np.nan, "float32"), np.zeros(32, int))]), ValueError, "finite"),
        (lambda m: (m, loader(), tb.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)), ValueError, "optimizer"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        nn.diagnose(*arguments(models.mlp()))


def test_every_check_is_listed_once():
    assert len(set(examine.CHECKS)) == len(examine.CHECKS)
