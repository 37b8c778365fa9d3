"""RNN, LSTM and GRU: whole sequences, in one layer or several, in one direction or both."""

import warnings
from typing import Any

from tinybn import functional as F
from tinybn import random
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.errors import ShapeError
from tinybn.functional.arguments import whole
from tinybn.nn.module import Module
from tinybn.nn.recurrent.arguments import check_size, given_states
from tinybn.nn.recurrent.gate_norms import gate_norms
from tinybn.nn.recurrent.kinds import KINDS, State, rnn_mode
from tinybn.nn.recurrent.recurrence import add_parameters, draw_parameters, recurrence_of


class _Layers(Module):
    weight_ih_l0: Tensor

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: DTypeLike,
        generator: Generator | None,
        normalization: str | None,
        max_length: int | None,
    ) -> None:
        name = type(self).__name__
        self.mode = mode
        self.input_size = check_size(f"{name}: input_size", input_size)
        self.hidden_size = check_size(f"{name}: hidden_size", hidden_size)
        self.num_layers = check_size(f"{name}: num_layers", num_layers)
        for argument, value in (("bias", bias), ("batch_first", batch_first), ("bidirectional", bidirectional)):
            if not isinstance(value, bool):
                raise TypeError(f"{name}: {argument} is {value!r}; expected True or False")
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout!r}; expected a probability from 0 to 1")
        if not 0 <= whole(f"{name}: proj_size", proj_size) < hidden_size:
            raise ValueError(f"{name}: proj_size is {proj_size}; expected from 0, for none, to hidden_size - 1")
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self.normalization, self.max_length = normalization, max_length
        random.resolve(generator)  # refuses what is not a generator
        self.generator = generator
        self._endings = ("", "_reverse") if bidirectional else ("",)  # of the parameters' names, for each direction
        size = input_size
        for layer in range(num_layers):
            for ending in self._endings:
                suffix = f"_l{layer}{ending}"
                norms = gate_norms(name, KINDS[mode], hidden_size, normalization, max_length, dtype)
                add_parameters(self, suffix, mode, size, hidden_size, bias, proj_size, dtype)
                vars(self).update({part + suffix: norm for part, norm in norms.items()})
            size = (proj_size or hidden_size) * len(self._endings)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{name}: dropout={dropout} acts between layers and has no effect with num_layers=1", stacklevel=3
            )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new initial weights; normalizations are as at first, without statistics."""
        draw_parameters(self, self.hidden_size, generator)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Any]:
        x = as_tensor(input)
        states = self._checked(x, hx)
        batched = x.ndim == 3
        if not batched:
            x, states = x.unsqueeze(1), tuple(state.unsqueeze(1) for state in states)
        elif self.batch_first:
            x = x.transpose(0, 1)
        x, after = self._run(x, states)
        if not batched:
            x, after = x.squeeze(1), tuple(state.squeeze(1) for state in after)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, after if len(after) > 1 else after[0]

    def _checked(self, x: Tensor, hx: Any) -> State:
        """The initial states, once all that was given is known to fit."""
        n_axis, t_axis = (0, 1) if self.batch_first else (1, 0)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            batch = "N, T" if self.batch_first else "T, N"
            raise ShapeError(
                f"expected an input of shape ({batch}, {self.input_size}) or (T, {self.input_size}), got {x.shape}"
            )
        if not x.shape[t_axis if x.ndim == 3 else 0]:
            raise ShapeError(f"expected a sequence of at least one step, got an input of shape {x.shape}")
        batch_size = (x.shape[n_axis],) if x.ndim == 3 else ()
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        names = KINDS[self.mode].state_names
        shapes = [(self.num_layers * len(self._endings), *batch_size, size) for size in sizes[: len(names)]]
        return given_states(hx, names, shapes, x, self.weight_ih_l0)

    def _run(self, x: Tensor, states: State) -> tuple[Tensor, State]:
        """The last layer's output (T, N, ...), and the last states of all (layers·directions, N, ...)."""
        after: list[State] = []
        for layer in range(self.num_layers):
            x = F.dropout(x, self.dropout, self.training, self.generator) if layer else x
            outputs = []
            for ending in self._endings:
                state = tuple(s[len(after)] for s in states)
                output, state = recurrence_of(self, f"_l{layer}{ending}").run(x, state, backwards=ending == "_reverse")
                outputs.append(output)
                after.append(state)
            x = F.cat(outputs, -1) if self.bidirectional else outputs[0]
        return x, tuple(F.stack(parts) for parts in zip(*after, strict=True))

    def extra_repr(self) -> str:
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        return f"{self.input_size}, {self.hidden_size}" + "".join(
            f", {name}={getattr(self, name)}" for name, d in defaults.items() if getattr(self, name) != d
        )


class RNN(_Layers):
    """A recurrent net: h_t = tanh(W_ih·x_t + b_ih + W_hh·h_(t−1) + b_hh), for each step t of a sequence.

    With a normalization N, W_ih·x_t becomes N(W_ih·x_t)·w_ih, and but for "sequence" W_hh·h becomes N(W_hh·h)·w_hh; the
    biases stand behind them and the normalizations have none of their own.

    Args:
        input_size, hidden_size: C and H.
        num_layers: so many layers, each of which reads the output of the one before.
        nonlinearity: "tanh" or "relu".
        bias: have the two biases.
        batch_first: input and output are (N, T, ...) in place of (T, N, ...); states are not affected.
        dropout: drop elements between layers with this probability, in training.
        bidirectional: a second net in each layer reads the sequence from its end; outputs are joined.
        dtype: of the parameters, default float32.
        generator: draws the initial weights, uniform on ±1/√H, and what dropout drops; default: that of
            `tinybn.manual_seed`.
        normalization: None, or one of

            * "sequence": batch normalization of W_ih·x with statistics over all steps and examples; w is 1 at first.
            * "step": batch normalization of both with separate statistics for each step. w is 0.1 at first. A feature
              that does not vary within the batch gives 0 and no gradient. A net that reads backwards counts its steps
              from the end.
            * "layer": layer normalization of both; w is 1 at first.

            `freeze` of the BatchNorm1d layers inside keeps their statistics; w is not theirs, and is frozen by its own
            requires_grad.

        max_length: how many steps have statistics of their own, for "step"; longer sequences go on with the last's.

    Forward: ``rnn(input, hx=None)`` → (output, h_n), where hx are the initial states, zeros for None, and h_n the last
    ones.

    Shapes: input (T, N, C), or (T, C) for one example; output (T, N, D·H), where D is 2 if bidirectional, else 1; hx
    and h_n (num_layers·D, N, H); weight_ih_l0 (H, C), weight_hh_l0 (H, H), bias_ih_l0 and bias_hh_l0 (H,).

    Raises:
        ValueError, TypeError: options that do not exist or do not go together.
        ShapeError, DTypeError: an input or a state that does not fit; one value per feature in training for "step" and
            "sequence".

    Source: Elman 1990, "Finding Structure in Time". "sequence": Laurent et al. 2015, "Batch Normalized Recurrent Neural
    Networks"; Amodei et al. 2015, "Deep Speech 2", §3.2. "step": Cooijmans et al. 2016, "Recurrent Batch
    Normalization", §3 and §4. "layer": Ba, Kiros & Hinton 2016, "Layer Normalization", §3.1.

    >>> import tinybn as tb
    >>> output, h = tb.nn.RNN(3, 4, num_layers=2, normalization="step", max_length=5)(tb.rand(5, 8, 3))
    >>> output.shape, h.shape
    ((5, 8, 4), (2, 8, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        mode = rnn_mode("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            mode,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            generator,
            normalization,
            max_length,
        )


class LSTM(_Layers):
    """Long short-term memory, whose cell state c is added to where an RNN's h is replaced.

    i, f, g, o = W_ih·x_t + b_ih + W_hh·h_(t−1) + b_hh, in four parts; c_t = σ(f)·c_(t−1) + σ(i)·tanh(g);
    h_t = σ(o)·tanh(c_t).

    The normalizations "step" and "layer" also apply to the last line: tanh(N(c_t)·w + b), where b is 0 at first; what
    c_t passes on to the next step stays as it is.

    Args:
        proj_size: h_t is W_hr·(σ(o)·tanh(c_t)), with so many elements; 0: it is not projected.
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, generator,
            normalization, max_length: as `RNN`.

    Forward: ``lstm(input, hx=None)`` → (output, (h_n, c_n)), where hx is a tuple (h, c) too.

    Shapes: input (T, N, C) or (T, C); output (T, N, D·H); h (num_layers·D, N, H), c the same; with proj_size P, H is P
    in the output and in h. weight_ih_l0 (4H, C), weight_hh_l0 (4H, H), biases (4H,), weight_hr_l0 (P, H).

    Raises:
        TypeError: an hx that is not a tuple of two.
        ValueError, ShapeError, DTypeError: as `RNN`.

    Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; Gers et al. 2000, "Learning to Forget". proj_size:
    Sak et al. 2014, "Long Short-Term Memory Based Recurrent Neural Network Architectures".

    >>> import tinybn as tb
    >>> output, (h, c) = tb.nn.LSTM(3, 4, bidirectional=True)(tb.rand(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 8), (2, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
            generator,
            normalization,
            max_length,
        )


class GRU(_Layers):
    """A gated recurrent unit, which keeps a share z of its state and replaces the rest.

    r = σ(W_ir·x_t + b_ir + W_hr·h + b_hr), z = σ(W_iz·x_t + b_iz + W_hz·h + b_hz),
    n = tanh(W_in·x_t + b_in + r·(W_hn·h + b_hn)), h_t = (1 − z)·n + z·h, with h = h_(t−1).

    Layer normalization takes r and z together and n by itself.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, generator,
            normalization, max_length: as `RNN`.

    Forward: ``gru(input, hx=None)`` → (output, h_n), as `RNN`.

    Shapes: as `RNN`, but weight_ih_l0 (3H, C), weight_hh_l0 (3H, H) and biases (3H,), in the order r, z, n.

    Raises:
        ValueError, TypeError, ShapeError, DTypeError: as `RNN`.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", §2.3.

    >>> import tinybn as tb
    >>> output, h = tb.nn.GRU(3, 4, batch_first=True)(tb.rand(2, 5, 3))
    >>> output.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        *,
        normalization: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            generator,
            normalization,
            max_length,
        )
