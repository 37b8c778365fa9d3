"""Embedding."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.errors import ShapeError
from tinybn.nn import init
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


class Embedding(Module):
    """A trained vector for each number: the rows of a table.

    Args:
        num_embeddings, embedding_dim: rows and columns of the table.
        padding_idx: the row of this number is 0 at first and gets no gradient; a negative one counts from the end.
        max_norm, norm_type: max_norm must be None: a lookup does not rescale the table.
        scale_grad_by_freq: divide a row's gradient by how often its number stands in the input.
        sparse: means nothing here, gradients are dense.
        dtype: of the table, default float32.
        generator: draws the initial table; default: that of `tinybn.manual_seed`.

    Shapes: integers (...) → (..., embedding_dim); weight (num_embeddings, embedding_dim), which starts normal with
    mean 0 and variance 1.

    Raises:
        IndexError: a number outside 0 to num_embeddings − 1.

    >>> import tinybn as tb
    >>> tb.nn.Embedding(10, 3)([[1, 2], [4, 9]]).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        if max_norm is not None:
            raise ValueError(f"Embedding: max_norm is {max_norm}; a lookup does not change the weight")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise IndexError(f"Embedding: padding_idx {padding_idx} is out of range for {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is None:
            self.weight = Parameter(F.zeros(num_embeddings, embedding_dim, dtype=dtype), requires_grad=not _freeze)
            self.reset_parameters(generator)
        else:
            table = as_tensor(_weight)
            if table.shape != (num_embeddings, embedding_dim):
                raise ShapeError(
                    f"Embedding: expected a weight of shape {(num_embeddings, embedding_dim)}, got {table.shape}"
                )
            self.weight = Parameter(table, requires_grad=not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> "Embedding":
        """An Embedding of a given table, whose memory it shares.

        Args:
            embeddings: the table (num_embeddings, embedding_dim).
            freeze: do not train it.

        >>> import tinybn as tb
        >>> tb.nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1])
        tensor([[3., 4.]])
        """
        table = as_tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"from_pretrained: expected a table of two axes, got shape {table.shape}")
        rows, columns = table.shape
        return cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=table, _freeze=freeze
        )

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw a new initial table."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, input: Any) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        defaults = {"padding_idx": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(
            f", {name}={getattr(self, name)}" for name, d in defaults.items() if getattr(self, name) != d
        )
