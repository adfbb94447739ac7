/* dispatch.c: which ISA this machine runs, and the kernel table of each.
 *
 * Compiled for the baseline only, without ISA flags: it is the one piece of C that
 * runs before anything is known about the processor. isas.h is written by Meson and
 * lists the ISAs that were compiled in, best first; "plain" is always the last.
 */
#include "fastnn.h"
#include "isas.h"

#include <string.h>

#define X(isa) extern const fastnn_table fastnn_table_##isa##_float32, fastnn_table_##isa##_float64;
FASTNN_ISAS(X)
#undef X

static const char *const names[] = {
#define X(isa) #isa,
    FASTNN_ISAS(X)
#undef X
    NULL,
};

const char *const *fastnn_isa_names(void) { return names; }

int fastnn_isa_supported(const char *isa)
{
#if defined(__x86_64__)
    if (!strcmp(isa, "v4")) return __builtin_cpu_supports("x86-64-v4") != 0;
    if (!strcmp(isa, "v3")) return __builtin_cpu_supports("x86-64-v3") != 0;
    if (!strcmp(isa, "v2")) return __builtin_cpu_supports("x86-64-v2") != 0;
#elif defined(__aarch64__)
    if (!strcmp(isa, "neon")) return 1; /* part of the architecture */
#endif
    return !strcmp(isa, "plain");
}

const fastnn_table *fastnn_isa_table(const char *isa, int is_double)
{
#define X(row)                                                                      \
    if (!strcmp(isa, #row))                                                         \
        return is_double ? &fastnn_table_##row##_float64 : &fastnn_table_##row##_float32;
    FASTNN_ISAS(X)
#undef X
    return NULL;
}

const char *fastnn_kernel_name(int index)
{
    static const char *const kernels[] = {
#define X(kernel) #kernel,
        FASTNN_KERNELS(X)
#undef X
    };
    return kernels[index];
}

int fastnn_kernel_find(const char *name)
{
    for (int i = 0; i < FASTNN_KERNEL_COUNT; i++)
        if (!strcmp(name, fastnn_kernel_name(i))) return i;
    return -1;
}
