"""One direction of one layer, or a cell: its parameters, a step, a sequence."""

import math
from typing import Any, NamedTuple

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import DTypeLike, Generator, Shape
from tinybn.nn import init
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter
from tinybn.nn.recurrent.gate_norms import GateNorm, StepBatchNorm
from tinybn.nn.recurrent.kinds import KINDS, Kind, State


class Recurrence(NamedTuple):
    """What a direction computes with: parameters under PyTorch's names, and the normalizations that there are."""

    kind: Kind
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None
    norm_ih: GateNorm | None
    norm_hh: GateNorm | None
    norm_cell: GateNorm | None

    def run(self, x: Tensor, state: State, backwards: bool = False) -> tuple[Tensor, State]:
        """The output h at all steps (T, N, H), and the last state. Backwards, step 0 is the sequence's last."""
        outputs = []
        for step, from_input in enumerate(self._from_inputs(x.flip(0) if backwards else x)):
            state = self._advance(from_input, state, step)
            outputs.append(state[0])
        return F.stack(outputs[::-1] if backwards else outputs), state

    def step(self, x: Tensor, state: State, step: int) -> State:
        """The next state from (N, C) and a state."""
        return self._advance(_term(x, self.weight_ih, self.bias_ih, self.norm_ih, step), state, step)

    def _from_inputs(self, x: Tensor) -> list[Tensor]:
        """The input's term of the gates at each step, from one product for all."""
        norm, bias = self.norm_ih, self.bias_ih
        if not isinstance(norm, StepBatchNorm):
            return _unbind(_term(x, self.weight_ih, bias, norm))
        products = _unbind(F.linear(x, self.weight_ih))
        terms = [norm(product, x.array[step], step) for step, product in enumerate(products)]
        return terms if bias is None else [term + bias for term in terms]

    def _advance(self, from_input: Tensor, state: State, step: int) -> State:
        from_hidden = _term(state[0], self.weight_hh, self.bias_hh, self.norm_hh, step)
        norm = self.norm_cell
        state = self.kind.advance(
            from_input, from_hidden, state, lambda c: c if norm is None else norm(c, c.array, step)
        )
        return state if self.weight_hr is None else (F.linear(state[0], self.weight_hr), *state[1:])


def _term(x: Tensor, weight: Tensor, bias: Tensor | None, norm: GateNorm | None, step: int = 0) -> Tensor:
    if norm is None:
        return F.linear(x, weight, bias)
    y: Tensor = norm(F.linear(x, weight), x.array, step)
    return y if bias is None else y + bias


def _unbind(x: Tensor) -> list[Tensor]:
    """The places along the first axis, by halves.

    A view's gradient has the size of what it is a view of. Views of the whole would have T times its size to add up;
    those of halves, of halves have 2·log₂ T times that.
    """
    half = len(x) // 2
    return [x[0]] if half == 0 else [*_unbind(x[:half]), *_unbind(x[half:])]


# --- its parameters in a module ---------------------------------------------------------------------------------------

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def add_parameters(
    module: Module,
    suffix: str,
    mode: str,
    input_size: int,
    hidden_size: int,
    bias: bool,
    proj_size: int,
    dtype: DTypeLike,
) -> None:
    """Give a module the parameters of a recurrence, named with a suffix."""
    size = KINDS[mode].gates * hidden_size
    shapes: list[Shape | None] = [(size, input_size), (size, proj_size or hidden_size)]
    shapes += [(size,) if bias else None] * 2
    shapes += [(proj_size, hidden_size) if proj_size else None]
    for name, shape in zip(PARAMETERS, shapes, strict=True):
        setattr(module, name + suffix, None if shape is None else Parameter(F.zeros(shape, dtype=dtype)))


def recurrence_of(module: Any, suffix: str) -> Recurrence:
    """The recurrence whose parameters a module has under names with a suffix."""
    return Recurrence(KINDS[module.mode], *(getattr(module, name + suffix) for name in Recurrence._fields[1:]))


def draw_parameters(module: Module, hidden_size: int, generator: Generator | None) -> None:
    """All own parameters uniform on ±1/√H, and the normalizations as they are at first."""
    bound = 1 / math.sqrt(hidden_size)
    for value in vars(module).values():
        if isinstance(value, Parameter):
            init.uniform_(value, -bound, bound, generator)
        elif isinstance(value, GateNorm):
            value.reset_parameters()
