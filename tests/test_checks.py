"""gradcheck and gradgradcheck: what they find and how they say it; ops that users write, and what check_op finds."""

import re
import weakref
from typing import Any

import numpy as np
import pytest

import tinybn as tb
from tinybn.errors import ContractError, DTypeError, GradcheckError


def leaf(*values: float) -> tb.Tensor:
    return tb.tensor(values, dtype=np.float64, requires_grad=True)


@tb.custom_op
def half_square(x):
    return x * x, lambda dy, x: (dy * x,), (x,)  # without the 2


def test_message_has_output_input_indices_values_and_op():
    message = (
        "gradcheck: half_square: the derivative of output 0[(2,)] for input 0[(2,)] = 6.0 is 6.0 by backward and 12.0"
    )
    with pytest.raises(GradcheckError, match=re.escape(message)):
        tb.gradcheck(half_square, leaf(0.0, 0.0, 6.0))


def test_message_has_the_ops_of_a_composition():
    def wrong(x: Any, y: Any) -> Any:
        return x * 2, tb.exp(half_square(y))

    message = r"wrong \(.*exp, half_square.*\): .* output 1\[\(0,\)\] for input 1\[\(0,\)\]"
    with pytest.raises(GradcheckError, match=message):
        tb.gradcheck(wrong, (leaf(1.0), leaf(0.5)))


def test_raising_can_be_switched_off():
    assert tb.gradcheck(half_square, leaf(3.0), raise_exception=False) is False


def test_a_constant_that_is_not_one_is_found_when_differentiated_twice():
    @tb.custom_op
    def square(x):
        return x * x, lambda dy: (dy * (2 * x),), ()  # x captured: right once, lost when differentiated again

    assert tb.gradcheck(square, leaf(1.0, 2.0))
    with pytest.raises(GradcheckError, match="gradgradcheck: square"):
        tb.gradgradcheck(square, leaf(1.0, 2.0))


@pytest.mark.parametrize(
    ("function", "point"),
    [
        (tb.relu, 0.0),
        (tb.abs, 0.0),
        (tb.floor, 2.0),
        (lambda x: tb.maximum(x, 1.0), 1.0),
        (lambda x: x.clamp(-1, 1), -1.0),
        (tb.sqrt, 1e-9),
        (tb.relu, 1e-7),
    ],
    ids=["relu", "abs", "floor", "maximum", "clamp", "sqrt", "near a kink"],
)
def test_points_without_a_derivative_are_noticed(function, point):
    with pytest.raises(GradcheckError, match=r"(not differentiable here: along input 0\[\(1,\)\]|not finite)"):
        tb.gradcheck(function, leaf(0.7, point))


@pytest.mark.parametrize(
    "function", [tb.exp, lambda x: x**4, lambda x: (x * 1000).sin()], ids=["exp", "power", "steep"]
)
def test_curved_functions_are_no_kinks(function):
    assert tb.gradcheck(function, leaf(0.0, 1.0, -3.0, 7.0))


def test_float32_and_constants_are_refused():
    with pytest.raises(DTypeError, match="input 0 is float32"):
        tb.gradcheck(tb.exp, tb.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="no input requires grad"):
        tb.gradcheck(tb.exp, tb.ones(2))


def test_a_function_that_is_not_one():
    with pytest.raises(GradcheckError, match="other values when it was called again"):
        tb.gradcheck(lambda x: tb.functional.dropout(x, 0.5), leaf(*[1.0] * 30))


def test_values_that_are_not_finite():
    with pytest.raises(GradcheckError, match=r"output 0 of .* is not finite"):
        tb.gradcheck(lambda x: 1 / x, leaf(0.0))


def test_a_detached_part_is_found():
    with pytest.raises(GradcheckError, match=r"0\.0 by backward and 1"):
        tb.gradcheck(lambda x: x.detach(), leaf(1.0))


@pytest.mark.parametrize("check", [tb.gradcheck, tb.gradgradcheck])
@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (lambda x: None, "a NoneType"),
        (lambda x: {"y": x * 2}, "a dict"),
        (lambda x: x.data * 2, "a ndarray"),
        (lambda x: (3, x > 0), r"a tuple \(int, Tensor\)"),
        (lambda x: x > 0, "a tensor of bool"),
    ],
)
def test_a_function_that_returns_no_floating_tensor(check, returned, what):
    with pytest.raises(GradcheckError, match=f"{check.__name__}: .* returned {what}; expected a floating tensor"):
        check(returned, leaf(1.0))
    assert check(returned, leaf(1.0), raise_exception=False) is False


def test_a_small_output_does_not_hide_behind_a_large_one():
    with pytest.raises(GradcheckError, match=r"output 1\[\(0,\)\] for input 0"):
        tb.gradcheck(lambda x: (x * 1e6, half_square(x)), leaf(3.0))
    with pytest.raises(GradcheckError, match=r"output 1\[\(0,\)\]"):
        tb.gradcheck(lambda x: [x * 1e6, (half_square(x), 1)], leaf(3.0))


def test_a_tensor_that_is_given_twice_is_moved_in_both_places():
    x, calls = leaf(3.0), []

    def product(a, b):
        calls.append(a is b)
        return a * b

    assert tb.gradcheck(product, (x, x)) and calls == [True] * 4  # two to start with, and two for the one element
    assert tb.gradgradcheck(product, (x, x))
    with pytest.raises(GradcheckError, match=r"is 15\.0 by backward and 18"):
        tb.gradcheck(lambda a, b: half_square(a) + a * 2 * b, (x, x))


def test_outputs_without_grad_are_left_out_where_others_require_it():
    assert tb.gradcheck(lambda x: (x * 2, x.detach() * 3), leaf(1.0))
    with pytest.raises(GradcheckError, match=r"output 1.* 0\.0 by backward and 3"):
        tb.gradcheck(lambda x: (x.detach().floor(), x.detach() * 3), leaf(0.5))


def test_a_gradient_without_grad_is_not_left_out():
    @tb.custom_op
    def product(x, y):
        return x * y, lambda dy, x, y: (dy * y, tb.as_tensor(dy).detach() * tb.as_tensor(x).detach()), (x, y)

    with pytest.raises(GradcheckError, match=r"gradgradcheck: product.* output 1"):
        tb.gradgradcheck(product, (leaf(2.0), leaf(3.0)))


def test_a_surrounding_no_grad_changes_nothing():
    with tb.no_grad():
        assert tb.gradcheck(tb.exp, leaf(1.0)) and tb.gradgradcheck(tb.exp, leaf(1.0))
        assert not tb.is_grad_enabled()


def test_a_kink_does_not_hide_behind_a_large_element():
    with pytest.raises(GradcheckError, match=r"not differentiable here: .* output 0\[\(0,\)\]"):
        tb.gradcheck(lambda x: tb.cat([tb.relu(x), x * 0 + 1e9]), leaf(0.0))


def test_a_custom_op_takes_numbers_arrays_and_options():
    @tb.custom_op
    def scaled(x, factor, *, sign=1):
        return x * factor * sign, lambda dy, x, factor: (dy * factor * sign, dy * x * sign), (x, factor)

    x = leaf(1.0, 2.0)
    y = scaled(x, np.array([3.0, 4.0]), sign=-1)
    assert y.tolist() == [-3, -8]
    y.sum().backward()
    assert x.grad.tolist() == [-3, -4]
    assert scaled(x, 2.0).tolist() == [2, 4]
    assert tb.gradcheck(scaled, (leaf(1.0, 2.0), leaf(3.0))) and tb.gradgradcheck(scaled, (leaf(1.0, 2.0), leaf(3.0)))


@pytest.mark.parametrize(
    "returned", [lambda x: x, lambda x: (x, x), lambda x: (x, None, ()), lambda x: (x, lambda dy: (dy,), [x])]
)
def test_a_custom_op_that_returns_something_else(returned):
    def cube(x):
        return returned(x)

    with pytest.raises(ContractError, match=r"cube: returned .* not \(output, backward, saved\)"):
        tb.custom_op(cube)(leaf(1.0))


@pytest.mark.parametrize("gradients", [lambda dy: dy, lambda dy: (), lambda dy: [dy]])
def test_a_backward_that_returns_something_else(gradients):
    @tb.custom_op
    def identity(x):
        return x * 1, gradients, ()

    with pytest.raises(ContractError, match="identity: its backward returned"):
        identity(leaf(1.0)).backward()


@pytest.mark.parametrize("gradient", [2.0, [1.0], "dy"])
def test_gradients_that_are_none(gradient):
    @tb.custom_op
    def double(x, y, *, lazy=False):
        return x * 2, lambda dy: (None, (lambda: gradient) if lazy else gradient), ()

    message = f"double: gradient 1 is a {type(gradient).__name__}; expected an array, None, or a function"
    with pytest.raises(ContractError, match=message):
        double(leaf(1.0), leaf(1.0)).backward()
    for lazy in (False, True):
        with pytest.raises(ContractError, match=message):
            tb.check_op(double, np.ones(1), np.ones(1), lazy=lazy)


@pytest.mark.parametrize("returned", [lambda x: x, lambda x: (x, x.sum())])
def test_an_argument_is_not_an_output(returned):
    @tb.custom_op
    def same(x):
        return returned(x), lambda dy: (dy,), ()

    for run in (lambda: same(leaf(1.0)), lambda: tb.check_op(same, np.ones(2))):
        with pytest.raises(ContractError, match="same: returned its argument itself; return a copy or a view"):
            run()


def test_a_view_of_an_argument_can_be_an_output():
    assert tb.check_op(lambda x: (x[...], lambda dy: (dy,), ()), np.ones(2))


def test_a_custom_op_keeps_no_argument_alive():
    @tb.custom_op
    def double(x):
        return x * 2, lambda dy: (dy * 2,), ()

    x = leaf(1.0) * 1
    argument = weakref.ref(x.data)
    y = double(x)
    del x
    assert argument() is None and y.requires_grad


def saves_a_copy(x):
    return x * x, lambda dy, x: (2 * dy * x,), (x.copy(),)


def changes_its_input(x):
    x += 1
    return x * 1, lambda dy: (dy,), ()


def changes_dy(x):
    def backward(dy):
        dy *= 2
        return (dy,)

    return x * 2, backward, ()


def has_another_shape(x):
    return x.sum(), lambda dy: (np.ones(3) * dy,), ()


def keeps_a_gradient(x):
    two = np.full(x.shape, 2.0)
    return x * 2, lambda dy: (two,), ()


@tb.needs((0,), (1,))
def needs_something_else(x, y):
    return x * y, lambda dy, x, y: (lambda: dy * y, lambda: dy * x), (x, y)


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (saves_a_copy, r"saved\[0\] is an array of shape \(2,\) that is neither"),
        (changes_its_input, "changed its arguments in place"),
        (changes_dy, "changed dy or its output in place"),
        (keeps_a_gradient, "gradient 0 is an array that the op keeps"),
        (has_another_shape, r"gradient 0 has shape \(3,\); the argument has \(2,\)"),
    ],
)
def test_check_op_names_the_rule(op, rule):
    with pytest.raises(ContractError, match=f"{op.__name__}: {rule}"):
        tb.check_op(op, np.array([1.0, 2.0]))


def test_check_op_tries_each_argument_alone():
    with pytest.raises(TypeError):
        tb.check_op(needs_something_else, np.array([1.0]), np.array([2.0]))


def makes_float64(x):
    return x * np.full(x.shape, 2.0), lambda dy: (dy + dy,), ()


def has_a_float64_gradient(x):
    return x + x, lambda dy: (lambda: dy * np.full(x.shape, 2.0),), ()


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (makes_float64, "its output is float64 for float32 arguments"),
        (has_a_float64_gradient, "gradient 0 is float64; the argument is float32"),
    ],
)
def test_check_op_runs_in_float32_too(op, rule):
    with pytest.raises(ContractError, match=f"{op.__name__}: {rule}"):
        tb.check_op(op, np.array([1.0, 2.0]))


def test_check_op_casts_options_and_leaves_constants():
    def scaled(x, y, labels, *, by):
        return x * y * by, lambda dy, x, y, by: (dy * y * by, dy * x * by, None), (x, y, by)

    by, labels = np.array([3.0, 4.0]), np.array([0, 1])
    assert tb.check_op(scaled, np.ones(2), np.ones(2), labels, by=by)
    assert tb.check_op(scaled, np.ones(2), np.ones(2, np.float32), labels, by=by)


@pytest.mark.parametrize("argument", [np.ones(2, np.float32), np.array([1, 2]), 1.0])
def test_check_op_wants_a_float64_array(argument):
    with pytest.raises(ValueError, match=r"check_op: no float64 array was given for half_square .* such as np\.array"):
        tb.check_op(half_square, argument)


def test_check_op_is_silent():
    assert tb.check_op(tb.ops.sigmoid, np.array([-1000.0, 0.5]))


def test_a_gradient_is_wanted_for_the_last_array():
    @tb.custom_op
    def product(x, scale, y):
        return x * y, lambda dy, x, y: (dy * y, dy * x), (x, y)

    with pytest.raises(ContractError, match=r"product: its backward .* a tuple of 3 gradients"):
        product(leaf(1.0), None, leaf(2.0)).backward()


def test_check_op_checks_derivatives():
    with pytest.raises(GradcheckError, match="half_square"):
        tb.check_op(half_square, np.array([1.0, 2.0]))
