/* The largest values of windows, for C neighbouring channels at a time: without branches, so that loops over channels become
   vector instructions. The file includes itself for float and double. */
#ifndef VALUE

#include <stddef.h>
#include <string.h>

enum {
    TINYBN_FEW = 16,                /* channels: fewer are worked on a row of windows at a time ... */
    TINYBN_ROW = 2048               /* ... if the rows of input and output have no more values */
};

#if defined(_MSC_VER)
#define RESTRICT __restrict
#else
#define RESTRICT restrict
#endif
#define NAMED_(name, type) name##_##type
#define NAMED(name, type) NAMED_(name, type)

#define VALUE float
#include "pooling_windows.h"
#undef VALUE
#define VALUE double
#include "pooling_windows.h"
#undef VALUE

#undef NAMED_
#undef NAMED
#undef RESTRICT

#else

/* The first value of a window. */
static inline void NAMED(tinybn_begin_window, VALUE)(
    VALUE *RESTRICT y, int *RESTRICT index, const VALUE *RESTRICT x, int position, ptrdiff_t C)
{
    for (ptrdiff_t c = 0; c < C; c++) {
        y[c] = x[c];
        index[c] = position;
    }
}

/* Another one: it takes the place of a smaller one, and NaN that of any. */
static inline void NAMED(tinybn_larger, VALUE)(
    VALUE *RESTRICT y, int *RESTRICT index, const VALUE *RESTRICT x, int position, ptrdiff_t C)
{
    for (ptrdiff_t c = 0; c < C; c++) {
        int better = (x[c] > y[c]) | (x[c] != x[c]);
        y[c] = better ? x[c] : y[c];
        index[c] = better ? position : index[c];
    }
}

/* Both at once for the usual window, 2×2, whose values stay in registers. */
static inline void NAMED(tinybn_largest_of_four, VALUE)(
    VALUE *RESTRICT y, int *RESTRICT index, const VALUE *RESTRICT x, int position, int W, ptrdiff_t C)
{
    const VALUE *below = x + W * C;
    for (ptrdiff_t c = 0; c < C; c++) {
        VALUE best = x[c], a = x[C + c], b = below[c], d = below[C + c];
        int place = position, better = (a > best) | (a != a);
        best = better ? a : best;
        place = better ? position + 1 : place;
        better = (b > best) | (b != b);
        best = better ? b : best;
        place = better ? position + W : place;
        better = (d > best) | (d != d);
        y[c] = better ? d : best;
        index[c] = better ? position + W + 1 : place;
    }
}

/* A row of Q windows of less than TINYBN_FEW channels: loops over channels would be too short. First down the columns of the
   image, whose W·C values are one loop, into best and row; then across, always TINYBN_FEW values at once, of which those
   that are not this window's are overwritten by the next one. Of equal values the first in the window's order wins, of NaN
   the last, as window by window. The rows are those from `top` on, so many as lie in the image. */
static inline void NAMED(tinybn_row_of_windows, VALUE)(
    VALUE *RESTRICT y, int *RESTRICT index, const VALUE *RESTRICT x, ptrdiff_t W, ptrdiff_t C, ptrdiff_t Q, ptrdiff_t top,
    ptrdiff_t rows, ptrdiff_t dilation_h, ptrdiff_t S, ptrdiff_t left, ptrdiff_t stride_w, ptrdiff_t dilation_w)
{
    VALUE best[TINYBN_ROW + TINYBN_FEW], largest[TINYBN_ROW + TINYBN_FEW];
    int row[TINYBN_ROW + TINYBN_FEW], place[TINYBN_ROW + TINYBN_FEW];
    NAMED(tinybn_begin_window, VALUE)(best, row, x + top * W * C, (int)top, W * C);
    for (int i = 0; i < TINYBN_FEW; i++)
        best[W * C + i] = row[W * C + i] = 0;
    for (ptrdiff_t r = 1; r < rows; r++)
        NAMED(tinybn_larger, VALUE)(best, row, x + (top + r * dilation_h) * W * C, (int)(top + r * dilation_h), W * C);
    for (ptrdiff_t q = 0; q < Q; q++, left += stride_w) {
        VALUE most[TINYBN_FEW];
        int line[TINYBN_FEW], column[TINYBN_FEW];
        for (int c = 0; c < TINYBN_FEW; c++) {
            most[c] = -(VALUE)__builtin_inf();
            line[c] = 1 << 30;      /* below any row: -inf itself, which is equal, takes the place of nothing */
            column[c] = -1;
        }
        for (ptrdiff_t s = 0, w = left; s < S; s++, w += dilation_w) {
            if (w < 0 || w >= W)
                continue;
            const VALUE *a = best + w * C;
            const int *h = row + w * C;
            for (int c = 0; c < TINYBN_FEW; c++) {
                int nan = (a[c] != a[c]) & ((most[c] == most[c]) | (h[c] >= line[c]));
                int better = (a[c] > most[c]) | ((a[c] == most[c]) & (h[c] < line[c])) | nan;
                most[c] = better ? a[c] : most[c];
                line[c] = better ? h[c] : line[c];
                column[c] = better ? (int)w : column[c];
            }
        }
        for (int c = 0; c < TINYBN_FEW; c++) {
            largest[q * C + c] = most[c];
            place[q * C + c] = column[c] < 0 ? -1 : line[c] * (int)W + column[c];
        }
    }
    memcpy(y, largest, Q * C * sizeof(VALUE));
    memcpy(index, place, Q * C * sizeof(int));
}

/* The gradient of one place in windows that do not overlap. */
static inline void NAMED(tinybn_where_index, VALUE)(
    VALUE *RESTRICT dx, const VALUE *RESTRICT dy, const int *RESTRICT index, int position, ptrdiff_t C)
{
    for (ptrdiff_t c = 0; c < C; c++)
        dx[c] = index[c] == position ? dy[c] : 0;
}

#endif
