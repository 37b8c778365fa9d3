"""What batch normalization promises for every batch, on a thousand drawn ones for each promise."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinybn as tb

thoroughly = settings(max_examples=1000, deadline=None)

# Relative to the terms that a result is the sum of, which take some five roundings, of 6e-8 and of 1e-16. Statistics
# are double numbers: in float64 the mean's own rounding is seen where it is large beside the deviations.
TOLERANCE = {"float32": 2e-6, "float64": 2e-14}
MEAN_ROUNDING = {"float32": 0.0, "float64": 1e-15}

LAYOUTS = ("contiguous", "channels last", "strided", "reversed")


class Drawn:
    """A batch in one of the layouts, a layer with options for it, and all that they give."""

    def __init__(self, seed, shape, dtype, layout, eps, affine, bias, kappa, constant):
        rng = np.random.default_rng(seed)
        deviations = rng.standard_normal(shape)
        if constant:
            deviations[:, 0] = 0
        scale = 10.0 ** rng.uniform(-2, 2)
        x = (deviations + kappa * rng.choice([-1, 1], shape[1])[:, None].reshape(-1, *[1] * (len(shape) - 2))) * scale
        self.x = laid_out(x.astype(dtype), layout)
        self.dy = laid_out(rng.standard_normal(shape).astype(dtype), layout)
        kind = {2: tb.nn.BatchNorm1d, 3: tb.nn.BatchNorm1d, 4: tb.nn.BatchNorm2d, 5: tb.nn.BatchNorm3d}[len(shape)]
        self.layer = kind(shape[1], eps=eps, affine=affine, bias=bias, dtype=dtype)
        for parameter in self.layer.parameters():
            parameter.data[...] = rng.standard_normal(shape[1])
        self.eps = eps
        leaf = tb.from_numpy(self.x).requires_grad_()
        y = self.layer(leaf)
        y.backward(self.dy)
        self.y, self.dx, self.dy = (rows(a).astype(np.float64) for a in (y.data, leaf.grad.data, self.dy))

        ones, zeros = np.ones(shape[1]), np.zeros(shape[1])
        self.gradients = {name: p.grad.data for name, p in self.layer.named_parameters()}
        self.weight = ones if self.layer.weight is None else self.layer.weight.data.astype(np.float64)
        self.bias = zeros if self.layer.bias is None else self.layer.bias.data.astype(np.float64)
        wide = rows(self.x).astype(np.longdouble)
        centered = wide - wide.mean(0)
        self.var = (centered**2).mean(0).astype(np.float64)
        self.m = len(wide)
        with np.errstate(divide="ignore", invalid="ignore"):  # without eps, where two values are the same
            self.rstd = 1 / np.sqrt(self.var + eps)
            self.x_hat = centered.astype(np.float64) * self.rstd
            kappa = np.abs(wide.mean(0)).astype(np.float64) * self.rstd
            self.tolerance = TOLERANCE[dtype] + MEAN_ROUNDING[dtype] * kappa

    @property
    def gradient_terms(self):
        """The size of what the sums over dx consist of, per channel."""
        means = np.abs(self.dy).mean(0) + np.abs(self.x_hat) * np.abs(self.dy * self.x_hat).mean(0)
        return np.abs(self.weight) * self.rstd * (np.abs(self.dy) + means).sum(0)


def laid_out(x, layout):
    if layout == "channels last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x[::-1].copy()[::-1] if layout == "reversed" else x


def rows(x):
    """Any layout as (M, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


@st.composite
def batches(draw, values=None, constant=False):
    """With M values per channel, or with at least 2; a mean of up to 1e5 standard deviations."""
    space = draw(st.lists(st.integers(1, 4), max_size=3))
    if values is not None:
        space = [1] * len(space)
    least = 2 if math.prod(space) == 1 else 1
    n = values or draw(st.integers(least, 9))
    return Drawn(
        seed=draw(st.integers(0, 2**32 - 1)),
        shape=(n, draw(st.integers(1, 5)), *space),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        layout=draw(st.sampled_from(LAYOUTS)),
        eps=0.0 if values is not None else draw(st.sampled_from([1e-5, 1e-3, 1.0])),
        affine=draw(st.booleans()),
        bias=draw(st.booleans()),
        kappa=draw(st.sampled_from([0.0, 1.0, 10.0, 1e3, 1e5])),
        constant=constant,
    )


@thoroughly
@given(batches())
def test_no_value_is_further_away_than_the_others_let_it(b):
    """|x̂| ≤ √(M − 1), which one value among equal ones reaches."""
    limit = math.sqrt(b.m - 1)
    size = np.abs(b.weight) * limit + np.abs(b.bias)
    assert (np.abs(b.y - b.bias) <= np.abs(b.weight) * limit + b.tolerance * size).all()
    assert (np.abs(b.y - (b.x_hat * b.weight + b.bias)) <= b.tolerance * size).all()


@thoroughly
@given(batches())
def test_the_gradient_moves_no_mean(b):
    """Σdx = 0."""
    assert (np.abs(b.dx.sum(0)) <= b.tolerance * b.gradient_terms).all()


@thoroughly
@given(batches())
def test_the_gradient_moves_the_scale_by_what_eps_leaves(b):
    """Σdx·x̂ = w·rstd·Σ(dy·x̂)·eps/(var + eps)."""
    expected = b.weight * b.rstd * (b.dy * b.x_hat).sum(0) * b.eps / (b.var + b.eps)
    size = b.gradient_terms * np.abs(b.x_hat).max(0)
    assert (np.abs((b.dx * b.x_hat).sum(0) - expected) <= b.tolerance * size).all()


@thoroughly
@given(batches())
def test_weight_and_bias_get_sums_of_the_gradient(b):
    """Σdy·x̂ and Σdy."""
    expected = {"weight": b.dy * b.x_hat, "bias": b.dy}
    for name, gradient in b.gradients.items():
        size = (np.abs(b.dy) * (1 + np.abs(b.x_hat))).sum(0)
        assert (np.abs(gradient - expected[name].sum(0)) <= b.tolerance * size).all()


@thoroughly
@given(batches(constant=True))
def test_a_constant_channel_gives_the_bias(b):
    """Exactly, and its gradient is finite: w·rstd·(dy − mean(dy))."""
    assert (b.y[:, 0] == b.bias[0]).all()
    expected = b.weight[0] / math.sqrt(b.eps) * (b.dy[:, 0] - b.dy[:, 0].mean())
    assert np.isfinite(b.dx).all()
    assert (np.abs(b.dx[:, 0] - expected) <= b.tolerance[0] * b.gradient_terms[0]).all()


@thoroughly
@given(batches(values=2))
def test_two_values_give_plus_and_minus_one(b):
    """Times w, plus b; without eps, and where the dtype tells the two apart."""
    apart = b.var > 0
    signs = np.sign(b.x_hat)[:, apart]
    expected = signs * b.weight[apart] + b.bias[apart]
    size = np.abs(b.weight[apart]) + np.abs(b.bias[apart])
    assert (np.abs(b.y[:, apart] - expected) <= b.tolerance[apart] * size).all()
