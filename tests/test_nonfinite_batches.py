"""Batches that are not finite: statistics stay, one warning names the layer, `detect_anomaly` makes an error of it."""

import gc
import warnings
import weakref

import numpy as np
import pytest
from batchnorm_helpers import batches, statistics

import tinybn as tb
from tinybn import nn
from tinybn.errors import AnomalyError


class Net(nn.Module):
    def __init__(self):
        self.blocks = nn.Sequential(nn.Identity(), nn.BatchNorm2d(3, dtype="float64"))

    def forward(self, x):
        return self.blocks(x)


def poisoned(value=np.nan):
    x = batches()[0]
    x[2, 1, 0, 1] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_warning_names_the_layer_and_its_place(value):
    net, x = Net(), poisoned(value)
    net(batches()[0])
    before = statistics(net)
    with pytest.warns(RuntimeWarning) as caught:
        for _ in range(3):
            net(x)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("'blocks.1', BatchNorm2d(3, eps=1e-05") and "(8, 3, 2, 2)" in text and "not finite" in text
    assert statistics(net) == before
    assert net.blocks[1].skipped_batches == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_instance_norm_warns_too(value):
    net = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True))
    x = batches()[0].astype("float32")
    net(x)
    before = statistics(net)
    x[2, 1, 0, 1] = value
    with pytest.warns(RuntimeWarning, match=r"^'0', InstanceNorm2d\(3.*\(8, 3, 2, 2\) are not finite") as caught:
        net(x), net(x)
    assert len(caught) == 1 and net[0].skipped_batches == 2
    assert statistics(net) == before
    with tb.detect_anomaly(), pytest.raises(AnomalyError, match=r"'0', InstanceNorm2d"):
        net(x)
    nn.InstanceNorm2d(3)(x)  # without running statistics there is nothing to keep


def test_each_layer_warns_for_itself_and_again_after_a_reset():
    net, x = nn.Sequential(nn.BatchNorm2d(3, dtype="float64"), nn.BatchNorm2d(3, dtype="float64")), poisoned()
    with pytest.warns(RuntimeWarning) as caught:
        net(x), net(x)
    assert [str(w.message)[:3] for w in caught] == ["'0'", "'1'"]
    net[0].reset_running_stats()
    with pytest.warns(RuntimeWarning, match="'0'"):
        net(x)


def test_a_layer_that_stands_alone_is_named_by_its_text():
    with pytest.warns(RuntimeWarning, match=r"^BatchNorm2d\(3, eps=1e-05.*\): the statistics of a batch"):
        nn.BatchNorm2d(3, dtype="float64")(poisoned())


def test_detect_anomaly_makes_it_an_error_each_time():
    net, x = Net(), poisoned()
    before = statistics(net)
    for _ in range(2):
        with tb.detect_anomaly(), pytest.raises(AnomalyError, match=r"'blocks\.1', BatchNorm2d\(3.*not finite"):
            net(x)
    assert statistics(net) == before
    assert net.blocks[1].skipped_batches == 2


def test_evaluation_and_frozen_statistics_say_nothing_of_nan():
    net, x = Net(), poisoned()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.eval()(x)
        net.blocks[1].freeze()
        net.train()(x)
    assert net.blocks[1].skipped_batches == 0


def test_the_place_is_found_beside_weak_references_to_what_is_gone():
    class Gone(nn.Module):
        pass

    gone = Gone()
    dead = weakref.proxy(gone)
    del gone
    gc.collect()
    net = Net()
    with pytest.warns(RuntimeWarning, match=r"'blocks\.1'"):
        net(poisoned())
    with pytest.raises(ReferenceError):
        dead.training  # noqa: B018
