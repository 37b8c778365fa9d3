"""fit and evaluate, and whole training runs against PyTorch's."""

from itertools import pairwise

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn import nn, optim
from tinybn.data import DataLoader, digits
from tinybn.train import Evaluation, evaluate, fit


def mlp(library=nn):
    return library.Sequential(
        library.Flatten(),
        library.Linear(64, 32, bias=False),
        library.BatchNorm1d(32),
        library.ReLU(),
        library.Linear(32, 32),
        library.Tanh(),
        library.BatchNorm1d(32, momentum=None),
        library.Linear(32, 10),
    )


def cnn(library=nn):
    return library.Sequential(
        library.Conv2d(1, 6, 3, padding=1, bias=False),
        library.BatchNorm2d(6),
        library.ReLU(),
        library.MaxPool2d(2),
        library.Conv2d(6, 8, 3, padding="same"),
        library.Tanh(),
        library.AvgPool2d(2),
        library.Flatten(),
        library.Linear(32, 10),
    )


NETS = {"mlp": mlp, "cnn": cnn}
OPTIMIZERS = {
    "sgd": lambda library, params: library.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda library, params: library.Adam(params, lr=0.01),
    "adamw": lambda library, params: library.AdamW(params, lr=0.01, weight_decay=0.1),
}

every_net = pytest.mark.parametrize("net", NETS)


def batches(n, batch_size=32, dtype="float32"):
    """The first n batches of one shuffled order."""
    loader = DataLoader(digits().train, batch_size, shuffle=True, drop_last=True, generator=np.random.default_rng(0))
    return [(x.astype(dtype), y) for (x, y), _ in zip(loader, range(n), strict=False)]


# --- whole runs -------------------------------------------------------------------------------------------------------


@every_net
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_steps_have_the_losses_of_torch(net, optimizer):
    torch = load_torch()
    tb.manual_seed(0)
    ours, theirs = NETS[net](nn).double(), NETS[net](torch.nn).double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    data = batches(20, dtype="float64")

    losses = []
    fit(ours, data, OPTIMIZERS[optimizer](optim, ours.parameters()), after_step=losses.append)

    expected = []
    their_optimizer = OPTIMIZERS[optimizer](torch.optim, theirs.parameters())
    for x, y in data:
        their_optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        their_optimizer.step()
        expected.append(loss.item())

    np.testing.assert_allclose(losses, expected, rtol=1e-8)
    assert losses[-1] < 0.9 * losses[0]
    x = data[0][0]
    np.testing.assert_allclose(
        ours.eval()(x).data, theirs.eval()(torch.from_numpy(x)).detach().numpy(), rtol=1e-7, atol=1e-7
    )


def train(net, seed):
    """Losses and final state after a short run, with everything drawn from one seed."""
    tb.manual_seed(seed)
    model = NETS[net]()
    model.append(nn.Dropout(0.1))
    loader = DataLoader(digits().train, 64, shuffle=True)
    losses = []
    fit(model, loader, optim.Adam(model.parameters(), lr=0.01), after_step=losses.append)
    return losses, [value.tobytes() for value in model.state_dict().values()]


@every_net
def test_the_same_seed_gives_the_same_bits(net):
    first = train(net, seed=3)
    assert train(net, seed=3) == first
    assert train(net, seed=4) != first


# --- fit --------------------------------------------------------------------------------------------------------------


@every_net
def test_the_loss_falls_and_the_accuracy_rises(net):
    tb.manual_seed(0)
    train_part, test_part = digits()
    model = NETS[net]()
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    loader = DataLoader(train_part, 32, shuffle=True, drop_last=True)
    test = DataLoader(test_part, 100)
    before = evaluate(model.eval(), test)
    losses = [fit(model, loader, optimizer) for _ in range(4)]
    after = evaluate(model.eval(), test)
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert before.accuracy < 0.3
    assert after.accuracy > 0.8
    assert after.loss < 0.5 * before.loss


def test_fit_sets_training_mode_takes_one_step_per_batch_and_returns_the_mean_loss():
    model, data, losses = mlp().eval(), batches(5), []
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    rates = []

    def after_step(loss):
        losses.append(loss)
        rates.append(optimizer.param_groups[0]["lr"])

    mean = fit(model, data, optimizer, schedule=schedule, after_step=after_step)
    assert model.training
    assert model[2].num_batches_tracked.item() == 5
    assert len(losses) == 5 and all(type(loss) is float for loss in losses)
    assert mean == pytest.approx(np.mean(losses), rel=1e-12)
    np.testing.assert_allclose(rates, [0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-12)


def test_fit_takes_a_loss_of_ones_own():
    model = nn.Linear(1, 1, generator=np.random.default_rng(0))
    x = np.linspace(-1, 1, 16, dtype="float32")[:, None]
    data = [(x, 3 * x + 1)] * 200
    final = fit(model, data, optim.SGD(model.parameters(), lr=0.3), loss=lambda y, t: ((y - t) ** 2).mean())
    assert final < 0.1
    assert model.weight.item() == pytest.approx(3, abs=1e-3)
    assert model.bias.item() == pytest.approx(1, abs=1e-3)


def test_fit_without_batches_is_an_error():
    model = mlp()
    too_large = DataLoader(digits().test, 1000, drop_last=True)
    for data in ([], too_large, iter(())):
        with pytest.raises(ValueError, match=r"fit: got no batches.*drop_last"):
            fit(model, data, optim.SGD(model.parameters()))


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate_gives_mean_loss_and_accuracy_over_examples():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.5, 0.3, 0.2]], np.float32))
    labels = np.array([0, 1, 2, 1])
    identity = nn.Flatten()
    whole = evaluate(identity, [(logits, labels)])
    assert whole.accuracy == 0.75
    assert whole.loss == pytest.approx(-np.log([0.7, 0.8, 0.4, 0.3]).mean(), rel=1e-6)
    uneven = evaluate(identity, [(logits[:3], labels[:3]), (logits[3:], labels[3:])])
    assert uneven == pytest.approx(whole, rel=1e-6)
    as_tensors = evaluate(identity, [(tb.tensor(logits), tb.tensor(labels))])
    assert as_tensors == whole and isinstance(as_tensors, Evaluation)


@pytest.mark.parametrize("mode", [True, False])
def test_evaluate_leaves_gradients_and_mode_alone(mode):
    model, data = mlp(), batches(3)
    tb.functional.cross_entropy(model(data[0][0]), data[0][1]).backward()
    gradients = [p.grad.data.copy() for p in model.parameters()]
    model.train(mode)
    model[2].train(not mode)
    modes = [module.training for module in model.modules()]
    evaluate(model, data)
    assert [module.training for module in model.modules()] == modes
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad.data, gradient)
    assert tb.is_grad_enabled()


def test_evaluate_in_eval_mode_leaves_the_state_alone():
    model = mlp()
    fit(model, batches(2), optim.SGD(model.parameters(), lr=0.1))
    before = {name: value.copy() for name, value in model.state_dict().items()}
    evaluate(model.eval(), batches(3))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_evaluate_without_examples_is_an_error():
    too_large = DataLoader(digits().test, 1000, drop_last=True)
    for data in ([], too_large, [(np.zeros((0, 64), np.float32), np.zeros(0, np.int64))]):
        with pytest.raises(ValueError, match=r"evaluate: got no examples"):
            evaluate(nn.Linear(64, 10), data)
    assert tb.is_grad_enabled()


def test_evaluate_records_nothing():
    class Recorder(nn.Flatten):
        def forward(self, input):
            recorded.append(tb.is_grad_enabled())
            return super().forward(input)

    recorded = []
    evaluate(Recorder(), [(np.zeros((2, 3), np.float32), np.zeros(2, np.int64))])
    assert recorded == [False]
