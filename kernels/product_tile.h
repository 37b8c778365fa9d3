/* The innermost loop of all products: a tile of the result, kept in registers while it runs over what is summed.

       c[i][j] = start[i][j] + Σ_k a_i(k) · b(k)[j]        i: up to TINYBN_ROWS rows, j: up to two vectors of columns

   A value of a is spread over a vector and multiplied with two vectors of b: 24 sums for 14 loads, which keeps both of a
   core's multipliers at work. Where the values of a row of a lie is told in runs: `segments` runs of `length` values, each
   `step` behind the one before. So a convolution multiplies its windows where they lie in the image.

   Every sum runs in the order of k, whatever the instruction set; but where there are fused multiply-adds, which this
   file alone is allowed to use (setup.py), products are not rounded before they are added.
   Written with GNU C's vectors. The file includes itself for float and double. */
#ifndef VALUE

#if !defined(__GNUC__)
#error "product_tile.h needs the vectors of GNU C; without a compiler that has them, NumPy's products serve"
#endif
#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
enum { TINYBN_VECTOR = 64, TINYBN_ROWS = 12 };  /* 24 of 32 registers hold sums */
#elif defined(__AVX__)
enum { TINYBN_VECTOR = 32, TINYBN_ROWS = 6 };   /* 12 of 16 */
#else
enum { TINYBN_VECTOR = 16, TINYBN_ROWS = 6 };
#endif

enum { TINYBN_PANEL = 2 * TINYBN_VECTOR / sizeof(float) };

typedef struct {
    const ptrdiff_t *segment;       /* where each run begins */
    ptrdiff_t segments, length, step;
} tinybn_runs;

#define NAMED_(name, type) name##_##type
#define NAMED(name, type) NAMED_(name, type)

#define VALUE float
#include "product_tile.h"
#undef VALUE
#define VALUE double
#include "product_tile.h"
#undef VALUE

#undef NAMED_
#undef NAMED

#else

#define LANES NAMED(tinybn_vector, VALUE)
#define LOAD(pointer) (*(const LANES *)(pointer))
#define POSITIVE(v) ((LANES)((__typeof__((v) <= 0))(v) & ~((v) <= 0)))
#define COUNT ((ptrdiff_t)(TINYBN_VECTOR / sizeof(VALUE)))
typedef VALUE LANES __attribute__((vector_size(TINYBN_VECTOR), aligned(sizeof(VALUE)), may_alias));

/* With constant rows and vectors, so that all sums are registers. */
static inline __attribute__((always_inline)) void NAMED(tinybn_sums, VALUE)(
    VALUE *c, const ptrdiff_t *to, const VALUE *start, int add, const VALUE *a, const ptrdiff_t *row, tinybn_runs runs,
    const VALUE *b, ptrdiff_t b_row, const int rows, const int vectors, int relu)
{
    LANES sum[TINYBN_ROWS][2];
    const VALUE *from[TINYBN_ROWS];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            sum[i][j] = add ? LOAD(c + to[i] + j * COUNT) : start ? LOAD(start + j * COUNT) : (LANES){0};
    for (ptrdiff_t s = 0; s < runs.segments; s++) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
            from[i] = a + row[i] + runs.segment[s];
        for (ptrdiff_t k = 0; k < runs.length * runs.step; k += runs.step) {
            LANES b0 = LOAD(b), b1 = vectors == 2 ? LOAD(b + COUNT) : b0;
#pragma GCC unroll 12
            for (int i = 0; i < rows; i++) {
                VALUE x = from[i][k];
                sum[i][0] += x * b0;
                if (vectors == 2)
                    sum[i][1] += x * b1;
            }
            b += b_row;
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            *(LANES *)(c + to[i] + j * COUNT) = relu ? POSITIVE(sum[i][j]) : sum[i][j];
}

#define CASE(rows) \
    case 2 * rows: NAMED(tinybn_sums, VALUE)(c, to, start, add, a, row, runs, b, b_row, rows, 2, relu); break; \
    case 2 * rows - 1: NAMED(tinybn_sums, VALUE)(c, to, start, add, a, row, runs, b, b_row, rows, 1, relu); break;

static __attribute__((noinline)) void NAMED(tinybn_full_tile, VALUE)(
    VALUE *c, const ptrdiff_t *to, const VALUE *start, int add, const VALUE *a, const ptrdiff_t *row, tinybn_runs runs,
    const VALUE *b, ptrdiff_t b_row, int rows, int vectors, int relu)
{
    switch (2 * rows + vectors - 2) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if defined(__AVX512F__)
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
}
#undef CASE

/* A tile of the c that `to` gives the rows of, from the a that `row` gives the rows of. The sums start from c itself
   with `add`, else from `start`, a row that is the same for all, else from 0. b and start are read in whole vectors. With
   `relu`, what is not above 0 becomes 0, but for NaN. */
static void NAMED(tinybn_tile, VALUE)(
    VALUE *c, const ptrdiff_t *to, const VALUE *start, int add, const VALUE *a, const ptrdiff_t *row, tinybn_runs runs,
    const VALUE *b, ptrdiff_t b_row, int rows, ptrdiff_t columns, int relu)
{
    if (columns >= 2 * COUNT || columns == COUNT) {
        NAMED(tinybn_full_tile, VALUE)(c, to, start, add, a, row, runs, b, b_row, rows, columns == COUNT ? 1 : 2,
                                      relu);
        return;
    }
    VALUE whole[TINYBN_ROWS * TINYBN_PANEL];
    ptrdiff_t place[TINYBN_ROWS] = {0};
    for (int i = 0; i < rows; i++) {
        place[i] = i * 2 * COUNT;
        if (add)
            for (ptrdiff_t j = 0; j < columns; j++)
                whole[place[i] + j] = c[to[i] + j];
    }
    NAMED(tinybn_full_tile, VALUE)(whole, place, start, add, a, row, runs, b, b_row, rows, columns > COUNT ? 2 : 1, relu);
    for (int i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            c[to[i] + j] = whole[place[i] + j];
}

/* to (columns, rows) = from (rows, columns), whose rows are so far apart, in blocks of four by four. Rows of `to` are
   finished one after the other. */
static inline void NAMED(tinybn_transpose, VALUE)(
    VALUE *to, ptrdiff_t to_row, const VALUE *from, ptrdiff_t from_row, ptrdiff_t rows, ptrdiff_t columns)
{
    typedef VALUE four __attribute__((vector_size(4 * sizeof(VALUE)), aligned(sizeof(VALUE)), may_alias));
    ptrdiff_t j = 0;
    for (; j + 4 <= columns; j += 4) {
        ptrdiff_t i = 0;
        for (; i + 4 <= rows; i += 4) {
            const VALUE *f = from + i * from_row + j;
            VALUE *t = to + j * to_row + i;
            four a = *(const four *)f, b = *(const four *)(f + from_row);
            four c = *(const four *)(f + 2 * from_row), d = *(const four *)(f + 3 * from_row);
            four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(four *)t = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(four *)(t + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            *(four *)(t + 2 * to_row) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
            *(four *)(t + 3 * to_row) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
        }
        for (; i < rows; i++)
            for (int k = 0; k < 4; k++)
                to[(j + k) * to_row + i] = from[i * from_row + j + k];
    }
    for (; j < columns; j++)
        for (ptrdiff_t i = 0; i < rows; i++)
            to[j * to_row + i] = from[i * from_row + j];
}

#undef LANES
#undef LOAD
#undef POSITIVE
#undef COUNT

#endif
