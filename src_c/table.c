/* table.c: the kernel table of one ISA and one dtype.
 *
 * Meson compiles this file once per ISA and dtype, with FASTNN_TABLE as the table's
 * symbol. It includes the kernel sources, so that everything but the table is static:
 * the same function exists in up to eight builds, and the linker must not confuse
 * them.
 */
#include "fastnn.h"

#include "simd.h"
#include "vmath.h"

#include "elementwise.c"
#include "parametric.c"
#include "update.c"
#include "gemm.c"
#include "dense.c"
#include "sparse.c"
#include "softmax.c"
#include "normalization.c"
#include "embedding.c"
#include "number_embedding.c"
#include "loss.c"
#include "gather.c"
#include "random.c"
#include "limits.c"

#define ROW_END {NULL, NULL, NULL, 0}

static const fastnn_variant activation_rows[] = {
#define X(name, saves, parameter, default_value) {#name, saves, parameter, default_value},
    FASTNN_ACTIVATIONS(X)
#undef X
    ROW_END,
};
static const fastnn_variant loss_rows[] = {
#define X(name, parameter, default_value) {#name, "", parameter, default_value},
    FASTNN_LOSSES(X)
#undef X
    ROW_END,
};
static const fastnn_variant optimizer_rows[] = {
#define X(name, count, slots, hyper_parameters) {#name, slots, hyper_parameters, count},
    FASTNN_OPTIMIZERS(X)
#undef X
    ROW_END,
};
static const fastnn_variant math_rows[] = {
#define X(name) {#name, "", "", 0},
    FASTNN_MATH(X)
#undef X
    ROW_END,
};

extern const fastnn_table FASTNN_TABLE;
const fastnn_table FASTNN_TABLE = {
    .kernel = {
#define X(name) [FASTNN_KERNEL_##name] = kernel_##name,
        FASTNN_KERNELS(X)
#undef X
    },
    .variants = {
        [FASTNN_ACTIVATION_ROWS] = activation_rows,
        [FASTNN_LOSS_ROWS] = loss_rows,
        [FASTNN_OPTIMIZER_ROWS] = optimizer_rows,
        [FASTNN_MATH_ROWS] = math_rows,
    },
    .lanes = LANES,
};
