/* gemm.c: the product of a dense layer and its three backward products.
 *
 *   affine           y       = f(x @ kernel + bias)            (rows, units)
 *   input_gradient   dx      = (dy @ kernel.T) * f'(saved)     (rows, inputs)
 *   kernel_gradient  dkernel = x.T @ dy                        (inputs, units)
 *   bias_gradient    dbias   = dy.sum(axis=0)                  (units)
 *
 * The first three are one algorithm, C(m, n) = sum over k of A(m, k) B(k, n), with A and B
 * read through strides. A tile of C stays in registers while k runs; one element of A is
 * broadcast against vectors of B.
 *
 * Packing. At the sizes this library is for, operands fit the caches and packing costs
 * more than it saves, so a panel is copied only where it must be or where it pays:
 *   B  when its columns are not contiguous (input_gradient: transposed in registers on
 *      the way), when its last vector is ragged and the ISA has no masked loads, or when
 *      its rows lie a page apart and enough rows of A will use the copy;
 *   A  when its columns are contiguous instead (kernel_gradient) and it exceeds the cache.
 *
 * Bits. Each element of C is one chain of vfma over k in ascending order, from zero;
 * between blocks of k it waits in C, which rounds nothing. So tile shape, packing, and the
 * number of workers do not change it. The bias is added at the end of the chain.
 *
 * Epilogue. Activation or derivative is applied to a tile just stored, while it is in L1.
 * Considered and dropped: inside the registers. It would compile every activation into
 * every tile shape, for a gain that measured under 3 % at k = 64.
 */
#include "activations.h"
#include "fastnn.h"

/* Registers: 6 x 4 accumulators, 4 vectors of B and one of A fill the 32 of AVX-512 and
 * NEON; half as many columns fit the 16 of AVX2 and SSE. */
#if LANES > 1 && (VECTOR_BYTES == 64 || defined(__aarch64__))
#define PANEL_VECTORS 4
#else
#define PANEL_VECTORS 2
#endif
enum {
    PANEL = PANEL_VECTORS * LANES,         /* columns of a full tile */
    BLOCK_K = 256,                         /* a packed panel of B: 64 KiB or less */
    BLOCK_M = 384,                         /* a packed block of A: BLOCK_M x BLOCK_K */
    MASKED_LOADS = LANES > 1 && VECTOR_BYTES == 64,
    PACK_B_STRIDE_BYTES = 2048,            /* rows of B further apart than this ... */
    PACK_B_ROWS = 48,                      /* ... and used by this many rows of A */
    PACK_A_BYTES = 256 << 10,              /* A spread over more than this */
};

_Static_assert((BLOCK_M * BLOCK_K + BLOCK_K * PANEL) * sizeof(real) <= FASTNN_SCRATCH_BYTES,
               "the packed panels must fit the scratch");

typedef struct product {
    ptrdiff_t m, n, k;
    const real *a;
    ptrdiff_t a_row, a_column;             /* strides, in elements */
    const real *b;
    ptrdiff_t b_row, b_column;
    real *c;                               /* (m, n), contiguous */
    const real *bias;                      /* (n), or NULL */
    forward_span forward;                  /* y = forward(c), or NULL */
    real *y;                               /* (m, n); may be c */
    gradient_span gradient;                /* c = gradient(saved, c), or NULL */
    const real *saved;                     /* (m, n) */
    real parameter;                        /* of the activation */
} product;

/* One tile: c[0:ROWS, 0:columns] (+)= a[0:ROWS, 0:k] @ b[0:k, 0:columns], where columns is
 * (VECTORS - 1) * LANES + last. `resume` continues the sum that c holds. */
typedef void (*tile_kernel)(ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column,
                            const real *b, ptrdiff_t b_row, real *c, ptrdiff_t c_row,
                            ptrdiff_t last, int resume, const real *bias);

/* ROWS and VECTORS are constants at every call, and every loop over them unrolls, or the
 * accumulators live in memory. */
ALWAYS_INLINE void tile(const int ROWS, const int VECTORS, ptrdiff_t k, const real *a,
                        ptrdiff_t a_row, ptrdiff_t a_column, const real *b, ptrdiff_t b_row,
                        real *c, ptrdiff_t c_row, ptrdiff_t last, int resume, const real *bias)
{
    vec sum[8][4];
    if (resume) {
        UNROLL for (int i = 0; i < ROWS; i++) {
            UNROLL for (int j = 0; j < VECTORS - 1; j++)
                sum[i][j] = vload(c + i * c_row + j * LANES);
            sum[i][VECTORS - 1] = vload_first(c + i * c_row + (VECTORS - 1) * LANES, last);
        }
    } else {
        UNROLL for (int i = 0; i < ROWS; i++)
            UNROLL for (int j = 0; j < VECTORS; j++) sum[i][j] = vbroadcast(0);
    }
    for (ptrdiff_t step = 0; step < k; step++) {
        vec row[4];
        UNROLL for (int j = 0; j < VECTORS - 1; j++) row[j] = vload(b + j * LANES);
        row[VECTORS - 1] = MASKED_LOADS ? vload_first(b + (VECTORS - 1) * LANES, last)
                                        : vload(b + (VECTORS - 1) * LANES);
        UNROLL for (int i = 0; i < ROWS; i++) {
            vec broadcast = vbroadcast(a[i * a_row]);
            UNROLL for (int j = 0; j < VECTORS; j++)
                sum[i][j] = vfma(broadcast, row[j], sum[i][j]);
        }
        a += a_column;
        b += b_row;
    }
    if (bias) {
        UNROLL for (int j = 0; j < VECTORS; j++) {
            vec add = j < VECTORS - 1 ? vload(bias + j * LANES)
                                      : vload_first(bias + j * LANES, last);
            UNROLL for (int i = 0; i < ROWS; i++) sum[i][j] = sum[i][j] + add;
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++) {
        UNROLL for (int j = 0; j < VECTORS - 1; j++)
            vstore(c + i * c_row + j * LANES, sum[i][j]);
        if (last == LANES)
            vstore(c + i * c_row + (VECTORS - 1) * LANES, sum[i][VECTORS - 1]);
        else
            vstore_first(c + i * c_row + (VECTORS - 1) * LANES, sum[i][VECTORS - 1], last);
    }
}

#define TILE(ROWS, VECTORS)                                                              \
    static void tile_##ROWS##x##VECTORS(                                                 \
        ptrdiff_t k, const real *a, ptrdiff_t a_row, ptrdiff_t a_column, const real *b,  \
        ptrdiff_t b_row, real *c, ptrdiff_t c_row, ptrdiff_t last, int resume,           \
        const real *bias)                                                                \
    {                                                                                    \
        tile(ROWS, VECTORS, k, a, a_row, a_column, b, b_row, c, c_row, last, resume, bias); \
    }
#define TILES(VECTORS) TILE(1, VECTORS) TILE(2, VECTORS) TILE(4, VECTORS)
TILES(1) TILES(2)
TILE(8, 1)
#if PANEL_VECTORS == 4
TILES(3) TILES(4)
TILE(8, 2) TILE(8, 3) TILE(6, 4)
#else
TILE(6, 2)
#endif

/* Tile heights by the number of vectors, tallest first; a remainder of rows is made up of
 * the smaller ones. */
typedef struct tile_row {
    int rows;
    tile_kernel kernel;
} tile_row;
static const tile_row tiles[PANEL_VECTORS][4] = {
    {{8, tile_8x1}, {4, tile_4x1}, {2, tile_2x1}, {1, tile_1x1}},
#if PANEL_VECTORS == 4
    {{8, tile_8x2}, {4, tile_4x2}, {2, tile_2x2}, {1, tile_1x2}},
    {{8, tile_8x3}, {4, tile_4x3}, {2, tile_2x3}, {1, tile_1x3}},
    {{6, tile_6x4}, {4, tile_4x4}, {2, tile_2x4}, {1, tile_1x4}},
#else
    {{6, tile_6x2}, {4, tile_4x2}, {2, tile_2x2}, {1, tile_1x2}},
#endif
};
/* Shares of rows are cut here, so that few workers get a ragged tile. */
enum { ROW_GRAIN = 24 };

#if LANES > 1
/* Lanes (a0 b0 a1 b1 ...) of the lower and of the upper halves. */
#if LANES == 2
#define ZIP_LOW 0, 2
#define ZIP_HIGH 1, 3
#elif LANES == 4
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#elif LANES == 8
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* out(i, j) = in(j, i) for LANES x LANES elements. Zipping the two halves of the rows
 * rotates the bits of (row, lane) by one; log2(LANES) times swaps row with lane. */
ALWAYS_INLINE void transpose_block(const real *in, ptrdiff_t in_row, real *out, ptrdiff_t out_row)
{
    vec x[LANES], y[LANES];
    UNROLL for (int i = 0; i < LANES; i++) x[i] = vload(in + i * in_row);
    UNROLL for (int stage = 1; stage < LANES; stage *= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            y[2 * i] = __builtin_shufflevector(x[i], x[i + LANES / 2], ZIP_LOW);
            y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + LANES / 2], ZIP_HIGH);
        }
        UNROLL for (int i = 0; i < LANES; i++) x[i] = y[i];
    }
    UNROLL for (int i = 0; i < LANES; i++) vstore(out + i * out_row, x[i]);
}
#endif

/* out(i, j) = in(j, i) for i < rows, j < columns, of any size. */
static void transpose(const real *in, ptrdiff_t in_row, ptrdiff_t rows, ptrdiff_t columns,
                      real *out, ptrdiff_t out_row)
{
    ptrdiff_t i = 0;
#if LANES > 1
    for (; i + LANES <= rows; i += LANES) {
        ptrdiff_t j = 0;
        for (; j + LANES <= columns; j += LANES)
            transpose_block(in + j * in_row + i, in_row, out + i * out_row + j, out_row);
        for (; j < columns; j++)
            for (ptrdiff_t lane = 0; lane < LANES; lane++)
                out[(i + lane) * out_row + j] = in[j * in_row + i + lane];
    }
#endif
    for (; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) out[i * out_row + j] = in[j * in_row + i];
}

/* Copies b[0:k, 0:columns] into rows of `width` elements, filled up with zeros. */
static void pack_panel(const real *b, ptrdiff_t b_row, ptrdiff_t b_column, ptrdiff_t k,
                       ptrdiff_t columns, real *packed, ptrdiff_t width)
{
    if (b_column == 1 && columns == PANEL) { /* a call of memcpy a row would cost as much again */
        for (ptrdiff_t step = 0; step < k; step++, b += b_row, packed += PANEL)
            UNROLL for (int v = 0; v < PANEL_VECTORS; v++)
                vstore(packed + v * LANES, vload(b + v * LANES));
    } else if (b_column == 1) {
        for (ptrdiff_t step = 0; step < k; step++)
            memcpy(packed + step * width, b + step * b_row, (size_t)columns * sizeof(real));
    } else { /* b_row == 1 */
        transpose(b, b_column, k, columns, packed, width);
    }
    if (columns < width)
        for (ptrdiff_t step = 0; step < k; step++)
            memset(packed + step * width + columns, 0, (size_t)(width - columns) * sizeof(real));
}

/* The tile just finished gets its activation or its derivative. */
static void finish_tile(const product *p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t rows, ptrdiff_t columns)
{
    for (ptrdiff_t row = i; row < i + rows; row++) {
        ptrdiff_t at = row * p->n + j;
        if (p->forward) p->forward(p->c + at, p->y + at, columns, p->parameter);
        if (p->gradient) p->gradient(p->saved + at, p->c + at, p->c + at, columns, p->parameter);
    }
}

/* Workers stand in a grid over (rows, columns) of C; takes the one with the smallest
 * largest share, preferring columns, whose panels are then packed once. */
static void place_worker(const product *p, int worker, int workers, ptrdiff_t *row, ptrdiff_t *row_end,
                         ptrdiff_t *column, ptrdiff_t *column_end)
{
    int best = 1;
    ptrdiff_t least = PTRDIFF_MAX;
    for (int down = 1; down <= workers; down++) {
        if (workers % down) continue;
        ptrdiff_t rows, columns, begin;
        share(p->m, ROW_GRAIN, 0, down, &begin, &rows);
        share(p->n, PANEL, 0, workers / down, &begin, &columns);
        if (rows * columns < least) least = rows * columns, best = down;
    }
    share(p->m, ROW_GRAIN, worker % best, best, row, row_end);
    share(p->n, PANEL, worker / best, workers / best, column, column_end);
}

static void multiply(const product *p, void *scratch, int worker, int workers)
{
    ptrdiff_t first_row, row_end, first_column, column_end;
    real *packed_a = scratch, *packed_b = packed_a + BLOCK_M * BLOCK_K;
    place_worker(p, worker, workers, &first_row, &row_end, &first_column, &column_end);

    int pack_b = p->b_column != 1
        || (p->b_row * (ptrdiff_t)sizeof(real) >= PACK_B_STRIDE_BYTES
            && row_end - first_row >= PACK_B_ROWS);
    int pack_a = p->a_column != 1 && p->k * p->a_column * (ptrdiff_t)sizeof(real) > PACK_A_BYTES
        && column_end - first_column > PANEL;
    ptrdiff_t block_m = pack_a ? BLOCK_M : row_end - first_row;

    for (ptrdiff_t m = first_row; m < row_end; m += block_m) {
        ptrdiff_t m_end = m + block_m < row_end ? m + block_m : row_end;
        ptrdiff_t k = 0;
        do { /* once even when the sum is empty: C is then zero */
            ptrdiff_t depth = p->k - k < BLOCK_K ? p->k - k : BLOCK_K;
            int is_last = k + depth >= p->k;
            const real *a = p->a + m * p->a_row + k * p->a_column;
            ptrdiff_t a_row = p->a_row, a_column = p->a_column;
            if (pack_a) { /* to rows of A, depth long */
                transpose(a, a_column, m_end - m, depth, packed_a, BLOCK_K);
                a = packed_a, a_row = BLOCK_K, a_column = 1;
            }
            for (ptrdiff_t n = first_column; n < column_end; n += PANEL) {
                ptrdiff_t columns = column_end - n < PANEL ? column_end - n : PANEL;
                ptrdiff_t vectors = (columns + LANES - 1) / LANES;
                ptrdiff_t last = columns - (vectors - 1) * LANES;
                const real *b = p->b + k * p->b_row + n * p->b_column;
                ptrdiff_t b_row = p->b_row;
                if (pack_b || (!MASKED_LOADS && last < LANES)) {
                    pack_panel(b, p->b_row, p->b_column, depth, columns, packed_b, vectors * LANES);
                    b = packed_b, b_row = vectors * LANES;
                }
                const real *bias = is_last && p->bias ? p->bias + n : NULL;
                const tile_row *choice = tiles[vectors - 1];
                for (ptrdiff_t i = m; i < m_end; i += choice->rows) {
                    while (choice->rows > m_end - i) choice++;
                    choice->kernel(depth, a + (i - m) * a_row, a_row, a_column, b, b_row,
                                   p->c + i * p->n + n, p->n, last, k > 0, bias);
                    if (is_last && (p->forward || p->gradient))
                        finish_tile(p, i, n, choice->rows, columns);
                }
            }
            k += depth;
        } while (k < p->k);
    }
}

/* operand: 0 x (rows, inputs), 1 kernel (inputs, units), 2 bias (units) or NULL,
 * 3 y (rows, units), 4 pre-activation (rows, units) or NULL; size: 0 inputs, 1 units;
 * scalar: 0 parameter; variant: row of activations.h. */
static int kernel_affine(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    real *y = call->operand[3], *preactivation = call->operand[4];
    product p = {
        .m = call->rows, .n = units, .k = inputs,
        .a = call->operand[0], .a_row = inputs, .a_column = 1,
        .b = call->operand[1], .b_row = units, .b_column = 1,
        .c = preactivation ? preactivation : y, .bias = call->operand[2],
        .forward = call->variant == ACTIVATION_linear && !preactivation
            ? NULL : activation_table[call->variant].forward,
        .y = y, .parameter = (real)call->scalar[0],
    };
    multiply(&p, call->scratch, worker, workers);
    return FASTNN_OK;
}

/* operand: 0 dy (rows, units), 1 kernel (inputs, units), 2 saved (rows, inputs) or NULL,
 * 3 dx (rows, inputs); size: 0 inputs, 1 units; scalar: 0 parameter; variant: row of
 * activations.h whose derivative at `saved` multiplies the product. */
static int kernel_input_gradient(const fastnn_call *call, int worker, int workers)
{
    if (call->variant < 0 || call->variant >= ACTIVATION_COUNT) return FASTNN_BAD_VARIANT;
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    product p = {
        .m = call->rows, .n = inputs, .k = units,
        .a = call->operand[0], .a_row = units, .a_column = 1,
        .b = call->operand[1], .b_row = 1, .b_column = units,
        .c = call->operand[3],
        .gradient = call->operand[2] ? activation_table[call->variant].gradient : NULL,
        .saved = call->operand[2], .parameter = (real)call->scalar[0],
    };
    multiply(&p, call->scratch, worker, workers);
    return FASTNN_OK;
}

/* operand: 0 x (rows, inputs), 1 dy (rows, units), 2 dkernel (inputs, units);
 * size: 0 inputs, 1 units. */
static int kernel_kernel_gradient(const fastnn_call *call, int worker, int workers)
{
    ptrdiff_t inputs = call->size[0], units = call->size[1];
    product p = {
        .m = inputs, .n = units, .k = call->rows,
        .a = call->operand[0], .a_row = 1, .a_column = inputs,
        .b = call->operand[1], .b_row = units, .b_column = 1,
        .c = call->operand[2],
    };
    multiply(&p, call->scratch, worker, workers);
    return FASTNN_OK;
}

/* operand: 0 dy (rows, units), 1 dbias (units); size: 0 units. Each column is one chain of
 * additions over the rows. Sixteen rows at a time, so that memory is read in long streams and
 * dbias, in L1, a sixteenth as often. */
static int kernel_bias_gradient(const fastnn_call *call, int worker, int workers)
{
    enum { ROWS_AT_ONCE = 16 };
    const real *dy = call->operand[0];
    real *dbias = call->operand[1];
    ptrdiff_t units = call->size[0], begin, end;
    share(units, 4 * LANES, worker, workers, &begin, &end);
    for (ptrdiff_t j = begin; j < end; j++) dbias[j] = 0;
    for (ptrdiff_t row = 0; row < call->rows; row += ROWS_AT_ONCE) {
        const real *first = dy + row * units;
        if (row + ROWS_AT_ONCE > call->rows) {
            for (ptrdiff_t i = row; i < call->rows; i++)
                for (ptrdiff_t j = begin; j < end; j++) dbias[j] += dy[i * units + j];
            break;
        }
        ptrdiff_t j = begin;
        for (; j + LANES <= end; j += LANES) {
            vec sum = vload(dbias + j);
            UNROLL for (int i = 0; i < ROWS_AT_ONCE; i++) sum = sum + vload(first + i * units + j);
            vstore(dbias + j, sum);
        }
        if (j < end) {
            vec sum = vload_first(dbias + j, end - j);
            UNROLL for (int i = 0; i < ROWS_AT_ONCE; i++)
                sum = sum + vload_first(first + i * units + j, end - j);
            vstore_first(dbias + j, sum, end - j);
        }
    }
    return FASTNN_OK;
}
