"""The twins of /kernels/winograd.pyx: F(2×2, 3×3)."""

import numpy as np

from tinybn._typing import Array
from tinybn.kernels.reference.convolution import largest_of_four

# y = Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A
_B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]], float)
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], float)


def winograd_scratch(P: int, Q: int, C: int, K: int) -> int:
    """How many values of scratch memory a thread needs: here none."""
    return 0


def transform_weights(u: Array, weight: Array, turned: bool) -> None:
    """u (16, C, K) of weight (K, C, 3, 3); turned: (16, K, C), the taps the other way round."""
    axes, g = ("ia,kcab,jb->ijkc", weight[:, :, ::-1, ::-1]) if turned else ("ia,kcab,jb->ijck", weight)
    u[...] = np.einsum(axes, _G, g, _G).reshape(u.shape)


def winograd(
    y: Array,
    x: Array,
    u: Array,
    bias: Array | None,
    scratch: Array,
    top: int,
    left: int,
    threads: int,
    relu: bool = False,
    pool: bool = False,
) -> None:
    """y (N, P, Q, K) of x (N, H, W, C) with transformed weights u (16, C, K); relu: max(y, 0).

    With pool y is of half the size, with the largest values of 2×2 windows.
    """
    if pool:
        whole = np.empty((len(x), x.shape[1] + 2 * top - 2, x.shape[2] + 2 * left - 2, y.shape[3]), y.dtype)
        winograd(whole, x, u, bias, scratch, top, left, threads, relu)
        y[...] = largest_of_four(whole)
        return
    p, q = y.shape[1:3]
    products = _image_tiles(x, p, q, top, left) @ u  # (16, tiles, K)
    made = np.einsum("ia,ijnpqk,jb->npaqbk", _A, products.reshape(4, 4, len(x), -(-p // 2), -(-q // 2), -1), _A)
    y[...] = made.reshape(len(x), 2 * -(-p // 2), 2 * -(-q // 2), -1)[:, :p, :q]
    if bias is not None:
        y += bias
    if relu:
        np.maximum(y, 0, out=y)


def winograd_weights(sums: Array, x: Array, dy: Array, scratch: Array, top: int, left: int, threads: int) -> None:
    """sums (chunks, 16, C, K): over each chunk of the batch, of the transformed x times the transformed dy."""
    n, p, q, k = dy.shape
    down, across, chunks = -(-p // 2), -(-q // 2), len(sums)
    tiles = _image_tiles(x, p, q, top, left).reshape(16, n, down * across, -1)
    padded = np.zeros((n, 2 * down, 2 * across, k), dy.dtype)
    padded[:, :p, :q] = dy
    gradient = np.einsum("ia,npaqbk,jb->ijnpqk", _A, padded.reshape(n, down, 2, across, 2, k), _A)
    gradient = gradient.reshape(16, n, down * across, k)
    for chunk in range(chunks):
        part = slice(n * chunk // chunks, n * (chunk + 1) // chunks)
        sums[chunk] = np.einsum("intc,intk->ick", tiles[:, part], gradient[:, part])


def weights_of_sums(weight: Array, sums: Array, threads: int) -> None:
    """The weight's gradient (K, C, 3, 3) of sums (chunks, 16, C, K), which the compiled kernel overwrites."""
    total = sums.sum(axis=0)
    weight[...] = np.einsum("ia,ijck,jb->kcab", _G, total.reshape(4, 4, *total.shape[1:]), _G)


def _image_tiles(x: Array, p: int, q: int, top: int, left: int) -> Array:
    """(16, tiles, C): of all images, each tile of 4×4 places as Bᵀ·d·B."""
    n, h, w, c = x.shape
    down, across = -(-p // 2), -(-q // 2)
    image = np.zeros((n, 2 * down + 2, 2 * across + 2, c), x.dtype)
    image[:, top : top + h, left : left + w] = x[:, :, : 2 * across + 2 - left]
    tiles = np.lib.stride_tricks.sliding_window_view(image, (4, 4), axis=(1, 2))[:, ::2, ::2]  # (N, down, …, C, 4, 4)
    return np.einsum("ai,npqcab,bj->ijnpqc", _B, tiles, _B).reshape(16, n * down * across, c)
