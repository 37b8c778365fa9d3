/* exp and its like for float, written so that a loop over them becomes vector instructions: no calls, no branches. The same
   bits for every instruction set. */
#include <stdint.h>
#include <string.h>

/* 2^k for k from -126 to 127. */
static inline float tinybn_power_of_two(int32_t k)
{
    uint32_t bits = (uint32_t)(k + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* exp(x) for x ≤ 88, within 1.1 units in the last place; NaN for NaN.

   x = k·ln 2 + r with |r| ≤ ln 2 / 2; exp(r) by its Taylor polynomial of degree 7, whose first omitted term is 5e-9; and 2^k in
   two factors, because k goes down to -150, where the result is subnormal. ln 2 is taken in two parts, of which k times
   the first is exact. */
static inline float tinybn_exp(float x)
{
    x = x < -104.0f ? -104.0f : x;
    float k = (x * 1.44269504f + 12582912.0f) - 12582912.0f;    /* rounded: 1.5·2^23 leaves no bits for a fraction */
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = (p * r) * r + r + 1.0f;
    int32_t n = k == k ? (int32_t)k : 0, half = n / 2;
    return p * tinybn_power_of_two(half) * tinybn_power_of_two(n - half);
}

/* 1 / (1 + exp(-x)): by an exponential that cannot overflow, and whose small values are not lost in 1 + small. */
static inline float tinybn_sigmoid(float x)
{
    float e = tinybn_exp(x < 0 ? x : -x);
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}
