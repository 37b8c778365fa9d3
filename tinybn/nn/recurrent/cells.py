"""RNNCell, LSTMCell and GRUCell: one step."""

from typing import Any

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.errors import ShapeError
from tinybn.functional.arguments import whole
from tinybn.nn.module import Module
from tinybn.nn.recurrent.arguments import check_size, given_states
from tinybn.nn.recurrent.gate_norms import gate_norms
from tinybn.nn.recurrent.kinds import KINDS, State, rnn_mode
from tinybn.nn.recurrent.recurrence import add_parameters, draw_parameters, recurrence_of


class _Cell(Module):
    weight_ih: Tensor

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        bias: bool,
        dtype: DTypeLike,
        generator: Generator | None,
        normalization: str | None,
        max_length: int | None,
    ) -> None:
        name = type(self).__name__
        if normalization == "sequence":
            raise ValueError(
                f"{name}: normalization is 'sequence'; expected None, 'step' or 'layer': a cell sees one step alone"
            )
        self.mode, self.bias, self.normalization = mode, bias, normalization
        self.input_size = check_size(f"{name}: input_size", input_size)
        self.hidden_size = check_size(f"{name}: hidden_size", hidden_size)
        norms = gate_norms(name, KINDS[mode], hidden_size, normalization, max_length, dtype)
        add_parameters(self, "", mode, input_size, hidden_size, bias, 0, dtype)
        vars(self).update(norms)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new initial weights; normalizations are as at first, without statistics."""
        draw_parameters(self, self.hidden_size, generator)

    def _next(self, input: Any, hx: Any, step: Any) -> State:
        x = as_tensor(input)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"expected an input of shape (N, {self.input_size}) or ({self.input_size},), got {x.shape}"
            )
        names = KINDS[self.mode].state_names
        shape = (*x.shape[:-1], self.hidden_size)
        state = given_states(hx, names, [shape] * len(names), x, self.weight_ih)
        step = self._checked_step(step)
        if x.ndim == 2:
            return recurrence_of(self, "").step(x, state, step)
        after = recurrence_of(self, "").step(x.unsqueeze(0), tuple(s.unsqueeze(0) for s in state), step)
        return tuple(s.squeeze(0) for s in after)

    def _checked_step(self, step: Any) -> int:
        """The number of the step; 0 where it is of no matter."""
        if self.normalization != "step":
            return 0
        if step is None or whole(f"{type(self).__name__}: step", step) < 0:
            raise ValueError(
                f"{type(self).__name__}: step is {step}; normalization='step' needs the number of the step, from 0 on"
            )
        return int(step)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")


class RNNCell(_Cell):
    """One step of a recurrent net: h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh).

    Args:
        input_size, hidden_size: C and H.
        bias: have the two biases.
        nonlinearity: "tanh" or "relu".
        dtype: of the parameters, default float32.
        generator: draws the initial weights, uniform on ±1/√H; default: that of `tinybn.manual_seed`.
        normalization: None; "step" for batch normalization of W_ih·x and of W_hh·h, each with statistics for each
            step; "layer" for layer normalization of both. `RNN` has more on them.
        max_length: how many steps have statistics of their own, for "step".

    Forward: ``cell(input, hx=None, step=None)``, where hx is the state before, zeros for None, and step is the number
    of the step, from 0 on, which "step" needs and the others ignore.

    Shapes: input (N, C) or (C,); state (N, H) or (H,), in and out; weight_ih (H, C), weight_hh (H, H), biases (H,).

    Raises:
        ValueError: options that do not exist, a step that is missing.
        ShapeError, DTypeError: an input or a state that does not fit.

    >>> import tinybn as tb
    >>> cell, h = tb.nn.RNNCell(3, 4), None
    >>> for x in tb.zeros(5, 2, 3):
    ...     h = cell(x, h)
    >>> h.shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        mode = rnn_mode("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(mode, input_size, hidden_size, bias, dtype, generator, normalization, max_length)

    def forward(self, input: Any, hx: Any = None, step: int | None = None) -> Tensor:
        return self._next(input, hx, step)[0]

    def extra_repr(self) -> str:
        shown = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + shown


class LSTMCell(_Cell):
    """One step of an LSTM; `LSTM` has the formula, `RNNCell` the arguments.

    Forward: ``cell(input, hx=None, step=None)`` → (h, c), where hx is a tuple (h, c) too.

    Shapes: input (N, C) or (C,); h and c (N, H) or (H,), in and out; weight_ih (4H, C), weight_hh (4H, H), biases
    (4H,).

    Raises:
        TypeError: an hx that is not a tuple of two.
        ValueError, ShapeError, DTypeError: as `RNNCell`.

    Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; Gers et al. 2000, "Learning to Forget".

    >>> import tinybn as tb
    >>> h, c = tb.nn.LSTMCell(3, 4)(tb.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__("LSTM", input_size, hidden_size, bias, dtype, generator, normalization, max_length)

    def forward(self, input: Any, hx: Any = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._next(input, hx, step)
        return h, c


class GRUCell(_Cell):
    """One step of a GRU; `GRU` has the formula, `RNNCell` the arguments.

    Shapes: input (N, C) or (C,); state (N, H) or (H,), in and out; weight_ih (3H, C), weight_hh (3H, H), biases (3H,).

    Raises:
        ValueError, ShapeError, DTypeError: as `RNNCell`.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", §2.3.

    >>> import tinybn as tb
    >>> tb.nn.GRUCell(3, 4)(tb.zeros(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__("GRU", input_size, hidden_size, bias, dtype, generator, normalization, max_length)

    def forward(self, input: Any, hx: Any = None, step: int | None = None) -> Tensor:
        return self._next(input, hx, step)[0]
