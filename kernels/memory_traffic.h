/* What Cython cannot say: stores that go past the caches, and reading ahead.

   Streamed stores: a line that is written in full this way is not read first, which
   saves a third of the traffic of a copy, and it pushes nothing out of the caches. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#define TINYBN_LINE 64

static inline void tinybn_stream_line(char *to, const char *values)
{
#if defined(__AVX512F__)
    _mm512_stream_si512((__m512i *)to, _mm512_loadu_si512(values));
#elif defined(__AVX__)
    _mm256_stream_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)values));
    _mm256_stream_si256((__m256i *)(to + 32), _mm256_loadu_si256((const __m256i *)(values + 32)));
#elif defined(__x86_64__) && defined(__GNUC__)
    for (int i = 0; i < TINYBN_LINE; i += 16)
        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(values + i)));
#else
    memcpy(to, values, TINYBN_LINE);
#endif
}

/* Copies `size` bytes, or, if not `all`, those up to the last whole line, and says how many. What is left of the first line
   and the last is stored as usual. */
static inline size_t tinybn_stream(void *to, const void *values, size_t size, int all)
{
    char *out = (char *)to;
    const char *in = (const char *)values;
    size_t head = (TINYBN_LINE - (uintptr_t)out % TINYBN_LINE) % TINYBN_LINE, rest;
    if (head > size)
        head = size;
    rest = (size - head) % TINYBN_LINE;
    memcpy(out, in, head);
    for (; head + rest < size; head += TINYBN_LINE)
        tinybn_stream_line(out + head, in + head);
    if (!all)
        return size - rest;
    memcpy(out + head, in + head, rest);
    return size;
}

/* Before another thread may read what was streamed. */
static inline void tinybn_stream_end(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    _mm_sfence();
#endif
}

/* Reads the lines of `size` bytes into the second-level cache, while the loop that asks for it does something else. */
static inline void tinybn_prefetch(const void *values, size_t size)
{
#if defined(__GNUC__)
    for (size_t i = 0; i < size; i += TINYBN_LINE)
        __builtin_prefetch((const char *)values + i, 0, 2);
#endif
}
