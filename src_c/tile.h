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

/* What a tile reads: elements; pairs of bfloat16 numbers (bfloat16.h); or elements of B, two rows of
 * which become pairs in registers. */
enum { OF_ELEMENTS, OF_PAIRS, OF_PAIRED_ROWS };

/* sum[0:ROWS, 0:columns] += a[row[0:ROWS]] (x) b[0:columns]: one step of k, or a pair of steps if
 * the elements are pairs. */
ALWAYS_INLINE void tile_step(const int ROWS, const int VECTORS, const int IS_RAGGED, const int KIND,
                             const real *a, const ptrdiff_t row[8], const real *b, ptrdiff_t last,
                             vec sum[8][4])
{
    vec vector[4];
    UNROLL for (int j = 0; j < VECTORS - 1; j++) vector[j] = vload(b + j * LANES);
    vector[VECTORS - 1] = IS_RAGGED && MASKED_LOADS ? vload_first(b + (VECTORS - 1) * LANES, last)
                                                    : vload(b + (VECTORS - 1) * LANES);
    UNROLL for (int i = 0; i < ROWS; i++) {
        vec broadcast = vbroadcast(a[row[i]]);
        UNROLL for (int j = 0; j < VECTORS; j++)
            if (KIND == OF_PAIRS) VACCUMULATE_PAIRS(sum[i][j], broadcast, vector[j]);
            else VACCUMULATE(sum[i][j], broadcast, vector[j]);
    }
    if (VECTORS == 1) /* otherwise each sum is moved back and forth */
        UNROLL for (int i = 0; i < ROWS; i++) VSETTLE(sum[i][0]);
}

/* A pair of steps for two rows of B, which become pairs in registers; `second` may be NULL: zeros. */
ALWAYS_INLINE void paired_rows_step(const int ROWS, const int VECTORS, const real *a,
                                    const ptrdiff_t row[8], const real *b, const real *second,
                                    ptrdiff_t last, vec sum[8][4])
{
    vec pair[4];
    UNROLL for (int j = 0; j < VECTORS; j++) {
        int is_last = j == VECTORS - 1;
        vec above = is_last ? vload_first(b + j * LANES, last) : vload(b + j * LANES), below;
        if (!second) below = vbroadcast(0);
        else below = is_last ? vload_first(second + j * LANES, last) : vload(second + j * LANES);
        pair[j] = vpairs(above, below);
    }
    UNROLL for (int i = 0; i < ROWS; i++) {
        vec broadcast = vbroadcast(a[row[i]]);
        UNROLL for (int j = 0; j < VECTORS; j++) VACCUMULATE_PAIRS(sum[i][j], broadcast, pair[j]);
    }
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
ALWAYS_INLINE void tile(const int ROWS, const int VECTORS, const int IS_RAGGED, const int KIND,
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
    if (KIND == OF_PAIRED_ROWS) {
        for (ptrdiff_t pairs = k / 2; pairs > 0; pairs--) {
            paired_rows_step(ROWS, VECTORS, a, row, b, b + b_row, last, sum);
            a += a_column, b += 2 * b_row;
            FORGET(a);
            FORGET(b);
        }
        if (k % 2) paired_rows_step(ROWS, VECTORS, a, row, b, NULL, last, sum);
        k = 0;
    }
    for (ptrdiff_t turns = k / STEPS; turns > 0; turns--) { /* counted down: one instruction less */
        UNROLL for (int step = 0; step < STEPS; step++) {
            tile_step(ROWS, VECTORS, IS_RAGGED, KIND, a, row, b, last, sum);
            a += a_column, b += b_row;
            FORGET(a);
            FORGET(b);
        }
    }
    for (ptrdiff_t left = k % STEPS; left > 0; left--) {
        tile_step(ROWS, VECTORS, IS_RAGGED, KIND, a, row, b, last, sum);
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

#define TILE_OF(KIND, NAME, ROWS, VECTORS)                                                         \
    static void NAME##_##ROWS##x##VECTORS(                                                         \
        ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column, const real *b,            \
        ptrdiff_t b_row, real *c, ptrdiff_t c_row, ptrdiff_t last, int resume,                     \
        const epilogue *end)                                                                       \
    {                                                                                              \
        const int IS_RAGGED = KIND == OF_PAIRED_ROWS; /* pairs are packed, hence filled up */      \
        if (KIND == OF_ELEMENTS && last == LANES)                                                  \
            tile(ROWS, VECTORS, 0, KIND, k, a, a_row, a_column, b, b_row, c, c_row, LANES, resume, \
                 end);                                                                             \
        else                                                                                       \
            tile(ROWS, VECTORS, KIND == OF_ELEMENTS || IS_RAGGED, KIND, k, a, a_row, a_column, b,  \
                 b_row, c, c_row, last, resume, end);                                              \
    }
#define TILES_OF(KIND, NAME, VECTORS) \
    TILE_OF(KIND, NAME, 1, VECTORS) TILE_OF(KIND, NAME, 2, VECTORS) TILE_OF(KIND, NAME, 4, VECTORS)
#define FOUR(NAME, V, A, B, C, D) \
    {{A, NAME##_##A##x##V}, {B, NAME##_##B##x##V}, {C, NAME##_##C##x##V}, {D, NAME##_##D##x##V}}

/* Tile heights by the number of vectors, tallest first; remaining rows are covered by the smaller
 * ones. */
typedef struct tile_row {
    int rows;
    tile_kernel kernel;
} tile_row;
typedef tile_row tile_table[PANEL_VECTORS][4];

TILES_OF(OF_ELEMENTS, tile, 1) TILES_OF(OF_ELEMENTS, tile, 2)
TILE_OF(OF_ELEMENTS, tile, 8, 1)
#if PANEL_VECTORS == 4
TILES_OF(OF_ELEMENTS, tile, 3) TILES_OF(OF_ELEMENTS, tile, 4)
TILE_OF(OF_ELEMENTS, tile, 8, 2) TILE_OF(OF_ELEMENTS, tile, 8, 3) TILE_OF(OF_ELEMENTS, tile, 6, 4)
static const tile_table tiles = {
    FOUR(tile, 1, 8, 4, 2, 1), FOUR(tile, 2, 8, 4, 2, 1), FOUR(tile, 3, 8, 4, 2, 1), FOUR(tile, 4, 6, 4, 2, 1)};
#else
TILE_OF(OF_ELEMENTS, tile, 6, 2)
static const tile_table tiles = {FOUR(tile, 1, 8, 4, 2, 1), FOUR(tile, 2, 6, 4, 2, 1)};
#endif

#if NATIVE_BFLOAT16
/* Few layers have a ragged panel; it gets fewer heights. */
#define TILES_OF_PAIRS(KIND, NAME)                                                                   \
    TILE_OF(KIND, NAME, 4, 1) TILE_OF(KIND, NAME, 1, 1) TILE_OF(KIND, NAME, 4, 2)                    \
    TILE_OF(KIND, NAME, 1, 2) TILE_OF(KIND, NAME, 4, 3) TILE_OF(KIND, NAME, 1, 3)                    \
    TILES_OF(KIND, NAME, 4) TILE_OF(KIND, NAME, 6, 4)                                                \
    static const tile_table NAME##s = {FOUR(NAME, 1, 4, 4, 1, 1), FOUR(NAME, 2, 4, 4, 1, 1),         \
                                       FOUR(NAME, 3, 4, 4, 1, 1), FOUR(NAME, 4, 6, 4, 2, 1)};
TILES_OF_PAIRS(OF_PAIRS, pair_tile)
TILES_OF_PAIRS(OF_PAIRED_ROWS, paired_rows_tile)
#endif

#endif
