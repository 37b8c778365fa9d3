"""What an RNN, an LSTM and a GRU do in one step, once both terms of their gates are known."""

from collections.abc import Callable
from typing import NamedTuple

from tinybn import functional as F
from tinybn._tensor import Tensor

State = tuple[Tensor, ...]  # h, of an LSTM also c; each (N, H)
Normalize = Callable[[Tensor], Tensor]


class Kind(NamedTuple):
    """A kind of recurrent net.

    Fields:
        blocks: how many gates `normalization="layer"` takes together, in PyTorch's order of the gates.
        state_names: what the state consists of.
        advance: (from_input, from_hidden, state, normalize_cell) → the next state, where the gates' two terms are
            W_ih·x + b_ih and W_hh·h + b_hh, both (N, gates·H).
    """

    blocks: tuple[int, ...]
    state_names: tuple[str, ...]
    advance: Callable[[Tensor, Tensor, State, Normalize], State]

    @property
    def gates(self) -> int:
        return sum(self.blocks)


def _advance_tanh(from_input: Tensor, from_hidden: Tensor, state: State, normalize_cell: Normalize) -> State:
    return (F.tanh(from_input + from_hidden),)


def _advance_relu(from_input: Tensor, from_hidden: Tensor, state: State, normalize_cell: Normalize) -> State:
    return (F.relu(from_input + from_hidden),)


def _advance_lstm(from_input: Tensor, from_hidden: Tensor, state: State, normalize_cell: Normalize) -> State:
    i, f, g, o = F.chunk(from_input + from_hidden, 4, -1)
    c = F.sigmoid(f) * state[1] + F.sigmoid(i) * F.tanh(g)
    return F.sigmoid(o) * F.tanh(normalize_cell(c)), c


def _advance_gru(from_input: Tensor, from_hidden: Tensor, state: State, normalize_cell: Normalize) -> State:
    r_x, z_x, n_x = F.chunk(from_input, 3, -1)
    r_h, z_h, n_h = F.chunk(from_hidden, 3, -1)
    n = F.tanh(n_x + F.sigmoid(r_x + r_h) * n_h)
    return (n + F.sigmoid(z_x + z_h) * (state[0] - n),)


KINDS = {
    "RNN_TANH": Kind((1,), ("h",), _advance_tanh),
    "RNN_RELU": Kind((1,), ("h",), _advance_relu),
    "LSTM": Kind((4,), ("h", "c"), _advance_lstm),
    "GRU": Kind((2, 1), ("h",), _advance_gru),
}


def rnn_mode(name: str, nonlinearity: str) -> str:
    """The kind of RNN with this nonlinearity."""
    mode = f"RNN_{nonlinearity.upper()}" if isinstance(nonlinearity, str) else ""
    if mode not in KINDS or nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity is {nonlinearity!r}; expected 'tanh' or 'relu'")
    return mode
