/* tile.h: the part of a product that stays in registers.
 *
 * A tile of C stays in registers while k runs; one element of A is broadcast against vectors of B.
 * Each element of C is one chain of vfma over k in ascending order, from zero, in any tile.
 *
 * The bias, relu and relu's derivative are applied in registers; any other activation or
 * derivative is applied to a tile just stored, while it is in L1 (gemm.c). Considered and rejected:
 * applying all of them in registers, which would compile every activation into every tile shape.
 */
#ifndef FASTNN_TILE_H
#define FASTNN_TILE_H

#include "activations.h"

/* Registers: 6 x 4 accumulators, 4 vectors of B and one of A fill the 32 of AVX-512 and
 * NEON; half as many columns fit the 16 of AVX2 and SSE. */
#if LANES > 1 && (VECTOR_BYTES == 64 || defined(__aarch64__))
#define PANEL_VECTORS 4
#else
#define PANEL_VECTORS 2
#endif
enum {
    PANEL = PANEL_VECTORS * LANES,         /* columns of a full tile */
    STEPS = VECTOR_BYTES == 32 ? 4 : PANEL_VECTORS == 4 ? 2 : 1, /* of k; SSE2 lacks registers */
    MASKED_LOADS = LANES > 1 && VECTOR_BYTES == 64,
};

/* What a tile applies before it is stored. */
typedef struct epilogue {
    const real *bias;                      /* of its first column, or NULL */
    const real *gate;                      /* relu's output, laid out like c; or NULL */
    int is_relu;
} epilogue;

/* One tile: c[0:ROWS, 0:columns] (+)= a[0:ROWS, 0:k] @ b[0:k, 0:columns], where columns is
 * (VECTORS - 1) * LANES + last. `resume` continues the sum that c holds. */
typedef void (*tile_kernel)(ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column,
                            const real *b, ptrdiff_t b_row, real *c, ptrdiff_t c_row,
                            ptrdiff_t last, int resume, const epilogue *end);

/* sum[0:ROWS, 0:columns] += a[row[0:ROWS]] (x) b[0:columns]: one step of k, or two if the elements
 * are PAIRS of bfloat16 numbers. */
ALWAYS_INLINE void tile_step(const int ROWS, const int VECTORS, const int IS_RAGGED, const int PAIRS,
                             const real *a, const ptrdiff_t row[8], const real *b, ptrdiff_t last,
                             vec sum[8][4])
{
    vec vector[4];
    UNROLL for (int j = 0; j < VECTORS - 1; j++) vector[j] = vload(b + j * LANES);
    vector[VECTORS - 1] = IS_RAGGED && MASKED_LOADS ? vload_first(b + (VECTORS - 1) * LANES, last)
                                                    : vload(b + (VECTORS - 1) * LANES);
    UNROLL for (int i = 0; i < ROWS; i++) {
        vec broadcast = vbroadcast(a[row[i]]);
        UNROLL for (int j = 0; j < VECTORS; j++) {
            if (PAIRS) VACCUMULATE_PAIRS(sum[i][j], broadcast, vector[j]);
            else VACCUMULATE(sum[i][j], broadcast, vector[j]);
        }
    }
    if (VECTORS == 1) /* otherwise each sum is moved back and forth */
        UNROLL for (int i = 0; i < ROWS; i++) VSETTLE(sum[i][0]);
}

/* ROWS, VECTORS and IS_RAGGED are constants at every call, and every loop over them is unrolled;
 * otherwise the accumulators would be in memory. A tile whose last vector is full uses unmasked
 * loads: masked ones also occupy a port that the multiply-adds need.
 *
 * While another thread shares the core, a tile is limited by instruction issue as much as by its
 * multiply-adds, so it has few instructions: several steps per iteration, and iterations that are
 * counted down; rows of A at offsets that addressing modes can express (one, two and four times a
 * register); rows of C reached one after another. FORGET keeps the compiler from computing all
 * addresses in advance, from computing the offsets at every step, and from holding parts of two
 * steps in registers. */
ALWAYS_INLINE void tile(const int ROWS, const int VECTORS, const int IS_RAGGED, const int PAIRS,
                        ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column, const real *b,
                        ptrdiff_t b_row, real *c, ptrdiff_t c_row, ptrdiff_t last, int resume,
                        const epilogue *end)
{
    vec sum[8][4];
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] = vbroadcast(0);
    if (resume) {
        const real *from = c;
        UNROLL for (int i = 0; i < ROWS; i++, from += c_row) {
            FORGET(from);
            UNROLL for (int j = 0; j < VECTORS - 1; j++) sum[i][j] = vload(from + j * LANES);
            sum[i][VECTORS - 1] = vload_part(from + (VECTORS - 1) * LANES, last);
        }
    }
    ptrdiff_t row[8];
    UNROLL for (int i = 0; i < ROWS; i++) {
        row[i] = i == 2 || i == 6 ? 2 * row[i / 2] : i * a_row;
        if (i > 2 && i != 6) FORGET(row[i]);
    }
    for (ptrdiff_t turns = k / STEPS; turns > 0; turns--) { /* counted down: one instruction less */
        UNROLL for (int step = 0; step < STEPS; step++) {
            tile_step(ROWS, VECTORS, IS_RAGGED, PAIRS, a, row, b, last, sum);
            a += a_column, b += b_row;
            FORGET(a);
            FORGET(b);
        }
    }
    for (ptrdiff_t left = k % STEPS; left > 0; left--) {
        tile_step(ROWS, VECTORS, IS_RAGGED, PAIRS, a, row, b, last, sum);
        a += a_column, b += b_row;
        FORGET(a);
    }
    if (end && end->bias) {
        UNROLL for (int j = 0; j < VECTORS; j++) {
            vec add = vload_part(end->bias + j * LANES, j < VECTORS - 1 ? LANES : last);
            UNROLL for (int i = 0; i < ROWS; i++) sum[i][j] = sum[i][j] + add;
        }
    }
    if (end && end->is_relu) {
        UNROLL for (int i = 0; i < ROWS; i++)
            UNROLL for (int j = 0; j < VECTORS; j++)
                sum[i][j] = relu_forward(sum[i][j], vbroadcast(0));
    }
    if (end && end->gate) {
        const real *gate = end->gate;
        UNROLL for (int i = 0; i < ROWS; i++, gate += c_row) {
            FORGET(gate);
            UNROLL for (int j = 0; j < VECTORS; j++) {
                vec saved = vload_part(gate + j * LANES, j < VECTORS - 1 ? LANES : last);
                sum[i][j] = relu_gradient(saved, sum[i][j], vbroadcast(0));
            }
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++, c += c_row) {
        FORGET(c);
        UNROLL for (int j = 0; j < VECTORS; j++)
            vstore_part(c + j * LANES, sum[i][j], j < VECTORS - 1 ? LANES : last);
    }
}

#define TILE_OF(NAME, ROWS, VECTORS, PAIRS)                                                       \
    static void NAME##_##ROWS##x##VECTORS(                                                         \
        ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column, const real *b,            \
        ptrdiff_t b_row, real *c, ptrdiff_t c_row, ptrdiff_t last, int resume,                     \
        const epilogue *end)                                                                       \
    {                                                                                              \
        if (PAIRS || last == LANES) /* pairs are packed, hence filled up */                        \
            tile(ROWS, VECTORS, 0, PAIRS, k, a, a_row, a_column, b, b_row, c, c_row,               \
                 PAIRS ? last : LANES, resume, end);                                               \
        else                                                                                       \
            tile(ROWS, VECTORS, 1, PAIRS, k, a, a_row, a_column, b, b_row, c, c_row, last, resume, \
                 end);                                                                             \
    }
#define TILES_OF(NAME, VECTORS, PAIRS) \
    TILE_OF(NAME, 1, VECTORS, PAIRS) TILE_OF(NAME, 2, VECTORS, PAIRS) TILE_OF(NAME, 4, VECTORS, PAIRS)
#if PANEL_VECTORS == 4
#define ALL_TILES(NAME, PAIRS)                                                         \
    TILES_OF(NAME, 1, PAIRS) TILES_OF(NAME, 2, PAIRS) TILES_OF(NAME, 3, PAIRS)         \
    TILES_OF(NAME, 4, PAIRS) TILE_OF(NAME, 8, 1, PAIRS) TILE_OF(NAME, 8, 2, PAIRS)     \
    TILE_OF(NAME, 8, 3, PAIRS) TILE_OF(NAME, 6, 4, PAIRS)
#define TILE_TABLE(NAME)                                                           \
    {                                                                              \
        {{8, NAME##_8x1}, {4, NAME##_4x1}, {2, NAME##_2x1}, {1, NAME##_1x1}},      \
        {{8, NAME##_8x2}, {4, NAME##_4x2}, {2, NAME##_2x2}, {1, NAME##_1x2}},      \
        {{8, NAME##_8x3}, {4, NAME##_4x3}, {2, NAME##_2x3}, {1, NAME##_1x3}},      \
        {{6, NAME##_6x4}, {4, NAME##_4x4}, {2, NAME##_2x4}, {1, NAME##_1x4}},      \
    }
#else
#define ALL_TILES(NAME, PAIRS) \
    TILES_OF(NAME, 1, PAIRS) TILES_OF(NAME, 2, PAIRS) TILE_OF(NAME, 8, 1, PAIRS) TILE_OF(NAME, 6, 2, PAIRS)
#define TILE_TABLE(NAME)                                                           \
    {                                                                              \
        {{8, NAME##_8x1}, {4, NAME##_4x1}, {2, NAME##_2x1}, {1, NAME##_1x1}},      \
        {{6, NAME##_6x2}, {4, NAME##_4x2}, {2, NAME##_2x2}, {1, NAME##_1x2}},      \
    }
#endif

/* Tile heights by the number of vectors, tallest first; remaining rows are covered by the smaller
 * ones. */
typedef struct tile_row {
    int rows;
    tile_kernel kernel;
} tile_row;
typedef tile_row tile_table[PANEL_VECTORS][4];

ALL_TILES(tile, 0)
static const tile_table tiles = TILE_TABLE(tile);
#if NATIVE_BFLOAT16
ALL_TILES(tile_of_pairs, 1)
static const tile_table tiles_of_pairs = TILE_TABLE(tile_of_pairs);
#endif

#endif
