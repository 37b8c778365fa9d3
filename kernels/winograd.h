/* The transforms of Winograd's F(2×2, 3×3), for whole vectors of channels. Vectors are those of
   `product_tile.h`, which is included before. The file includes itself for float and double.

       y = Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A         d: 4×4 of the image, g: 3×3 of the weight, y: 2×2 of the output

       Bᵀ = 1  0 -1  0      G = 1    0    0      Aᵀ = 1  1  1  0
            0  1  1  0          1/2  1/2  1/2         0  1 -1 -1
            0 -1  1  0          1/2 -1/2  1/2
            0  1  0 -1          0    0    1 */
#ifndef VALUE

#define NAMED_(name, type) name##_##type
#define NAMED(name, type) NAMED_(name, type)

#define VALUE float
#include "winograd.h"
#undef VALUE
#define VALUE double
#include "winograd.h"
#undef VALUE

#undef NAMED_
#undef NAMED

#else

#define LANES NAMED(tinybn_vector, VALUE)
#define AT(pointer) (*(LANES *)(pointer))
#define GET(pointer) (*(const LANES *)(pointer))
#define POSITIVE(v) ((LANES)((__typeof__((v) <= 0))(v) & ~((v) <= 0)))
#define CHOICE(v) ((__typeof__((v) <= 0))(v))
#define LARGER(v, best) ((LANES)((CHOICE(v) & (((v) > (best)) | ((v) != (v)))) | (CHOICE(best) & ~(((v) > (best)) | ((v) != (v))))))
#define COUNT ((ptrdiff_t)(TINYBN_VECTOR / sizeof(VALUE)))

/* v[t] (C channels each, `step` apart) = Bᵀ·d·B of the 4×4 places from d on. */
static void NAMED(tinybn_winograd_image, VALUE)(VALUE *v, ptrdiff_t step, const VALUE *d, ptrdiff_t pitch, ptrdiff_t C)
{
    for (ptrdiff_t c = 0; c < C; c += COUNT) {
        LANES t[4][4];
        for (int j = 0; j < 4; j++) {
            LANES d0 = GET(d + j * C + c), d1 = GET(d + pitch + j * C + c);
            LANES d2 = GET(d + 2 * pitch + j * C + c), d3 = GET(d + 3 * pitch + j * C + c);
            t[0][j] = d0 - d2;
            t[1][j] = d1 + d2;
            t[2][j] = d2 - d1;
            t[3][j] = d1 - d3;
        }
        for (int i = 0; i < 4; i++) {
            VALUE *to = v + 4 * i * step + c;
            AT(to) = t[i][0] - t[i][2];
            AT(to + step) = t[i][1] + t[i][2];
            AT(to + 2 * step) = t[i][2] - t[i][1];
            AT(to + 3 * step) = t[i][1] - t[i][3];
        }
    }
}

/* y, of which `rows` by `columns` places exist, = Aᵀ·m·A + bias, for n channels; with relu, max(y, 0). With pool,
   of the four places only the largest value, NaN if there is one. */
static void NAMED(tinybn_winograd_output, VALUE)(
    VALUE *y, ptrdiff_t y_row, ptrdiff_t y_place, int rows, int columns, const VALUE *m, ptrdiff_t step, const VALUE *bias,
    int relu, int pool, ptrdiff_t n)
{
    for (ptrdiff_t c = 0; c < n; c += COUNT) {
        LANES s[2][4], start = bias ? GET(bias + c) : (LANES){0};
        for (int j = 0; j < 4; j++) {
            LANES m0 = GET(m + j * step + c), m1 = GET(m + (4 + j) * step + c);
            LANES m2 = GET(m + (8 + j) * step + c), m3 = GET(m + (12 + j) * step + c);
            s[0][j] = m0 + m1 + m2;
            s[1][j] = m1 - m2 - m3;
        }
        if (pool) {
            LANES best = {0};
            for (int i = 0; i < 2; i++) {
                LANES left = s[i][0] + s[i][1] + s[i][2] + start, right = s[i][1] - s[i][2] - s[i][3] + start;
                best = i == 0 ? left : LARGER(left, best);
                best = LARGER(right, best);
            }
            AT(y + c) = relu ? POSITIVE(best) : best;
            continue;
        }
        for (int i = 0; i < rows; i++) {
            LANES left = s[i][0] + s[i][1] + s[i][2] + start, right = s[i][1] - s[i][2] - s[i][3] + start;
            AT(y + i * y_row + c) = relu ? POSITIVE(left) : left;
            if (columns == 2)
                AT(y + i * y_row + y_place + c) = relu ? POSITIVE(right) : right;
        }
    }
}

/* v[t] = A·dy·Aᵀ, the transpose of the output's transform, of the places that exist. */
static void NAMED(tinybn_winograd_gradient, VALUE)(
    VALUE *v, ptrdiff_t step, const VALUE *dy, ptrdiff_t dy_row, ptrdiff_t dy_place, int rows, int columns, ptrdiff_t n)
{
    for (ptrdiff_t c = 0; c < n; c += COUNT) {
        LANES zero = {0}, t[4][2];
        for (int j = 0; j < 2; j++) {
            LANES d0 = j < columns ? GET(dy + j * dy_place + c) : zero;
            LANES d1 = j < columns && rows == 2 ? GET(dy + dy_row + j * dy_place + c) : zero;
            t[0][j] = d0;
            t[1][j] = d0 + d1;
            t[2][j] = d0 - d1;
            t[3][j] = -d1;
        }
        for (int i = 0; i < 4; i++) {
            VALUE *to = v + 4 * i * step + c;
            AT(to) = t[i][0];
            AT(to + step) = t[i][0] + t[i][1];
            AT(to + 2 * step) = t[i][0] - t[i][1];
            AT(to + 3 * step) = -t[i][1];
        }
    }
}

/* u[t], `step` apart, = G·g·Gᵀ of nine values; `turned`: of g turned around. */
static void NAMED(tinybn_winograd_weight, VALUE)(VALUE *u, ptrdiff_t step, const VALUE *g, int turned)
{
    VALUE t[4][3];
    for (int s = 0; s < 3; s++) {
        VALUE g0 = g[turned ? 8 - s : s], g1 = g[turned ? 5 - s : 3 + s], g2 = g[turned ? 2 - s : 6 + s];
        t[0][s] = g0;
        t[1][s] = (VALUE)0.5 * (g0 + g2 + g1);
        t[2][s] = (VALUE)0.5 * (g0 + g2 - g1);
        t[3][s] = g2;
    }
    for (int i = 0; i < 4; i++) {
        u[4 * i * step] = t[i][0];
        u[(4 * i + 1) * step] = (VALUE)0.5 * (t[i][0] + t[i][2] + t[i][1]);
        u[(4 * i + 2) * step] = (VALUE)0.5 * (t[i][0] + t[i][2] - t[i][1]);
        u[(4 * i + 3) * step] = t[i][2];
    }
}

/* Nine values g = Gᵀ·u·G of sixteen. */
static void NAMED(tinybn_winograd_weight_gradient, VALUE)(VALUE *g, const VALUE *u)
{
    VALUE t[3][4];
    for (int j = 0; j < 4; j++) {
        VALUE sum = (VALUE)0.5 * (u[4 + j] + u[8 + j]), difference = (VALUE)0.5 * (u[4 + j] - u[8 + j]);
        t[0][j] = u[j] + sum;
        t[1][j] = difference;
        t[2][j] = sum + u[12 + j];
    }
    for (int i = 0; i < 3; i++) {
        VALUE sum = (VALUE)0.5 * (t[i][1] + t[i][2]);
        g[3 * i] = t[i][0] + sum;
        g[3 * i + 1] = (VALUE)0.5 * (t[i][1] - t[i][2]);
        g[3 * i + 2] = sum + t[i][3];
    }
}

#undef LANES
#undef AT
#undef GET
#undef POSITIVE
#undef LARGER
#undef CHOICE
#undef COUNT

#endif
