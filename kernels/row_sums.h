/* Sums over a row of one channel, in sixteen columns that are added up at its end. Written with GNU C's vectors, for which
   any instruction set will do: where loops over sixteen values are left to gcc, it takes them apart into single numbers.

   A row is worked through in chunks of 32 vectors: trees of vectors are added to a column, the column to a double sum. So
   no value takes part in more than ten additions in its own precision. The file includes itself for float and double. */
#ifndef VALUE

#if !defined(__GNUC__)
#error "row_sums.h needs the vectors of GNU C; without a compiler that has them, tinybn's NumPy versions serve"
#endif
#include <stddef.h>
#include <string.h>

enum { TINYBN_LANES = 16, TINYBN_CHUNK = 32 * TINYBN_LANES };

#define NAMED_(name, type) name##_##type
#define NAMED(name, type) NAMED_(name, type)
#define VECTOR(type, count) __attribute__((vector_size(count * sizeof(type)), aligned(sizeof(type)), may_alias))
typedef double tinybn_doubles VECTOR(double, 8);

#define VALUE float
#include "row_sums.h"
#undef VALUE
#define VALUE double
#include "row_sums.h"
#undef VALUE

#undef NAMED_
#undef NAMED
#undef VECTOR

#else

#define LANES NAMED(tinybn_lanes, VALUE)
#define HALF NAMED(tinybn_half, VALUE)
#define LOAD(pointer) (*(const LANES *)(pointer))
#define MASK __typeof__((LANES){0} < (LANES){0})
typedef VALUE LANES VECTOR(VALUE, 16);
typedef VALUE HALF VECTOR(VALUE, 8);

static inline void NAMED(tinybn_add_lanes, VALUE)(tinybn_doubles *sum, const LANES *lanes)
{
    const HALF *half = (const HALF *)lanes;
    *sum += __builtin_convertvector(half[0], tinybn_doubles) + __builtin_convertvector(half[1], tinybn_doubles);
}

static inline double NAMED(tinybn_total, VALUE)(const tinybn_doubles *sum)
{
    const double *s = (const double *)sum;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* The values of a row of n from place i on, and where there are fewer than LANES `rest` for those that are missing. The end of
   a longer row is read together with what stands before it, which `rest` then replaces: bytes that are copied into a vector
   would have to be waited for. */
static inline void NAMED(tinybn_load, VALUE)(LANES *lanes, const VALUE *x, ptrdiff_t i, ptrdiff_t n, VALUE rest)
{
    static const VALUE places[TINYBN_LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    LANES value = (LANES){0} + rest;
    if (n - i >= TINYBN_LANES) {
        value = LOAD(x + i);
    } else if (n >= TINYBN_LANES) {
        MASK own = LOAD(places) >= (VALUE)(TINYBN_LANES - (n - i));
        value = (LANES)(((MASK)LOAD(x + n - TINYBN_LANES) & own) | ((MASK)value & ~own));
    } else {
        memcpy(&value, x + i, (n - i) * sizeof(VALUE));
    }
    *lanes = value;
}

/* With d = x - shift: Σd and Σd² are added to total and square. */
static inline void NAMED(tinybn_row_squares, VALUE)(double *total, double *square, const VALUE *x, VALUE shift, ptrdiff_t n)
{
    tinybn_doubles sum = {0}, sum_square = {0};
    LANES rest = {0}, rest_square = {0}, d;
    ptrdiff_t i = 0;
    while (i + 8 * TINYBN_LANES <= n) {
        LANES part = {0}, part_square = {0};
        ptrdiff_t end = n - i < TINYBN_CHUNK ? n : i + TINYBN_CHUNK;
        for (; i + 8 * TINYBN_LANES <= end; i += 8 * TINYBN_LANES) {
            LANES d0 = LOAD(x + i) - shift, d1 = LOAD(x + i + TINYBN_LANES) - shift;
            LANES d2 = LOAD(x + i + 2 * TINYBN_LANES) - shift, d3 = LOAD(x + i + 3 * TINYBN_LANES) - shift;
            LANES d4 = LOAD(x + i + 4 * TINYBN_LANES) - shift, d5 = LOAD(x + i + 5 * TINYBN_LANES) - shift;
            LANES d6 = LOAD(x + i + 6 * TINYBN_LANES) - shift, d7 = LOAD(x + i + 7 * TINYBN_LANES) - shift;
            part += ((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 + d7));
            part_square += ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7));
        }
        NAMED(tinybn_add_lanes, VALUE)(&sum, &part);
        NAMED(tinybn_add_lanes, VALUE)(&sum_square, &part_square);
    }
    if (i < n) {
        for (; i < n; i += TINYBN_LANES) {
            NAMED(tinybn_load, VALUE)(&d, x, i, n, shift);
            d -= shift;
            rest += d;
            rest_square += d * d;
        }
        NAMED(tinybn_add_lanes, VALUE)(&sum, &rest);
        NAMED(tinybn_add_lanes, VALUE)(&sum_square, &rest_square);
    }
    *total += NAMED(tinybn_total, VALUE)(&sum);
    *square += NAMED(tinybn_total, VALUE)(&sum_square);
}

/* With d = x - high: Σdy and Σdy·d are added to total and product; with relu, dy counts where d·scale + offset is not ≤ 0. */
static inline void NAMED(tinybn_row_products, VALUE)(
    double *total, double *product, const VALUE *dy, const VALUE *x, VALUE high, VALUE scale, VALUE offset, int relu,
    ptrdiff_t n)
{
#define GATE(g, d) if (relu) g *= __builtin_convertvector(d * scale + offset <= 0, LANES) + 1  /* a comparison gives -1 */
    tinybn_doubles sum = {0}, sum_product = {0};
    LANES rest = {0}, rest_product = {0}, d, g;
    ptrdiff_t i = 0;
    while (i + 4 * TINYBN_LANES <= n) {
        LANES part = {0}, part_product = {0};
        ptrdiff_t end = n - i < TINYBN_CHUNK ? n : i + TINYBN_CHUNK;
        for (; i + 4 * TINYBN_LANES <= end; i += 4 * TINYBN_LANES) {
            LANES d0 = LOAD(x + i) - high, d1 = LOAD(x + i + TINYBN_LANES) - high;
            LANES d2 = LOAD(x + i + 2 * TINYBN_LANES) - high, d3 = LOAD(x + i + 3 * TINYBN_LANES) - high;
            LANES g0 = LOAD(dy + i), g1 = LOAD(dy + i + TINYBN_LANES);
            LANES g2 = LOAD(dy + i + 2 * TINYBN_LANES), g3 = LOAD(dy + i + 3 * TINYBN_LANES);
            GATE(g0, d0);
            GATE(g1, d1);
            GATE(g2, d2);
            GATE(g3, d3);
            part += (g0 + g1) + (g2 + g3);
            part_product += (g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3);
        }
        NAMED(tinybn_add_lanes, VALUE)(&sum, &part);
        NAMED(tinybn_add_lanes, VALUE)(&sum_product, &part_product);
    }
    if (i < n) {
        for (; i < n; i += TINYBN_LANES) {
            NAMED(tinybn_load, VALUE)(&d, x, i, n, high);
            NAMED(tinybn_load, VALUE)(&g, dy, i, n, 0);
            d -= high;
            GATE(g, d);
            rest += g;
            rest_product += g * d;
        }
        NAMED(tinybn_add_lanes, VALUE)(&sum, &rest);
        NAMED(tinybn_add_lanes, VALUE)(&sum_product, &rest_product);
    }
    *total += NAMED(tinybn_total, VALUE)(&sum);
    *product += NAMED(tinybn_total, VALUE)(&sum_product);
#undef GATE
}

/* With d = x - high and g = dy·weight: Σg and Σg·d are added to total and product. weight may be NULL, for 1. */
static inline void NAMED(tinybn_row_weighted, VALUE)(
    double *total, double *product, const VALUE *dy, const VALUE *x, const VALUE *weight, VALUE high, ptrdiff_t n)
{
    tinybn_doubles sum = {0}, sum_product = {0};
    LANES w = (LANES){0} + 1;
    for (ptrdiff_t i = 0; i < n;) {
        LANES part = {0}, part_product = {0}, d, g;
        ptrdiff_t end = n - i < 8 * TINYBN_LANES ? n : i + 8 * TINYBN_LANES;
        for (; i + TINYBN_LANES <= end; i += TINYBN_LANES) {
            if (weight)
                w = LOAD(weight + i);
            g = LOAD(dy + i) * w;
            part += g;
            part_product += g * (LOAD(x + i) - high);
        }
        if (i < end) {
            NAMED(tinybn_load, VALUE)(&d, x, i, n, high);
            NAMED(tinybn_load, VALUE)(&g, dy, i, n, 0);
            if (weight)
                NAMED(tinybn_load, VALUE)(&w, weight, i, n, 0);
            g *= w;
            part += g;
            part_product += g * (d - high);
            i = end;
        }
        NAMED(tinybn_add_lanes, VALUE)(&sum, &part);
        NAMED(tinybn_add_lanes, VALUE)(&sum_product, &part_product);
    }
    *total += NAMED(tinybn_total, VALUE)(&sum);
    *product += NAMED(tinybn_total, VALUE)(&sum_product);
}

#undef LANES
#undef HALF
#undef LOAD
#undef MASK

#endif
