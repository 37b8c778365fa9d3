/* Which x86-64 level the processor and the system under it support: 1 (baseline), 3 (AVX2) or 4 (AVX-512).
   0 where there is no such thing. Cython has no word for the compiler's built-in that knows. */
static int tinybn_cpu_level(void)
{
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma")))
        return 1;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 4;
    return 3;
#else
    return 0;
#endif
}

#define TINYBN_QUOTED(x) #x
#define TINYBN_TEXT(macro) TINYBN_QUOTED(macro)
#define TINYBN_VERSION(major, minor, patch) TINYBN_TEXT(major) "." TINYBN_TEXT(minor) "." TINYBN_TEXT(patch)
#if defined(__apple_build_version__)
#define TINYBN_COMPILER "Apple clang " TINYBN_VERSION(__clang_major__, __clang_minor__, __clang_patchlevel__)
#elif defined(__clang__)
#define TINYBN_COMPILER "clang " TINYBN_VERSION(__clang_major__, __clang_minor__, __clang_patchlevel__)
#elif defined(__GNUC__)
#define TINYBN_COMPILER "gcc " TINYBN_VERSION(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__)
#elif defined(_MSC_VER)
#define TINYBN_COMPILER "MSVC " TINYBN_TEXT(_MSC_VER)
#else
#define TINYBN_COMPILER "unknown"
#endif

#if defined(_OPENMP)
#define TINYBN_OPENMP 1
#else
#define TINYBN_OPENMP 0
#endif
