/* gemm.c: C(m, n) = sum over k of A(m, k) B(k, n), with A and B read through strides.
 *
 * Tiles (tile.h) are combined into whole products, by panels of B: as many columns as a tile is
 * wide. Where C has few columns or B must be transposed, the transpose of C may be computed instead
 * (is_turned), or dot products (is_narrow); where k is too short for a tile, C is computed row by
 * row (is_shallow); where C has few rows and B is large or transposed, B is read in order
 * (few_rows.h). dense.c
 * holds the layers' products, which are built on it.
 *
 * Packing. At the sizes this library is for, operands fit the caches and packing costs
 * more than it saves, so a panel is copied only where it must be or where it pays:
 *   B  when its columns are not contiguous (input_gradient: transposed in registers on
 *      the way), when its last vector is ragged and the ISA has no masked loads, or when
 *      its rows are far apart and enough rows of A will use the copy. A packed panel
 *      may be as long as the scratch allows: tiles read it from L2 at full speed, and C
 *      need not be written and read again;
 *   A  when its columns are contiguous instead (kernel_gradient) and it exceeds the cache:
 *      every step of k would touch another page.
 *
 * Bits. Between blocks of k an element's chain is stored in C, which rounds nothing, so tile shape,
 * packing, and the number of workers do not change it. The bias is added at the end of the chain.
 * In bfloat16 a chain goes by pairs of steps (bfloat16.h), and both operands are always packed.
 * Only dot products have one chain per lane; the lanes are then summed as vsum does.
 */
#include "fastnn.h"
#include "tile.h"
#include "transpose.h"

enum {
    BLOCK_K = 256,                         /* of an operand that is read in place, in elements;
                                              of a packed one in units of bfloat16.h */
    BLOCK_M = REAL_BITS == 32 ? 384 : 192, /* a packed block of A: BLOCK_M x BLOCK_K */
    SLAB = 12,                             /* adjacent rows of A in a packed block */
    BLOCK_N = REAL_BITS == 32 ? 512 : 256, /* columns of B packed at once with it ... */
    L1_K = 128,                            /* ... if a panel is longer than this and leaves L1 */
    PACK_STEPS = 8,                        /* of k for all slabs or panels before the next: pages */
    PACK_AHEAD = 32,                       /* distance of prefetching, in rows of B to be copied */
    UPDATE_ELEMENTS = 1 << 15,             /* of a gradient that is applied while in cache ... */
    UPDATE_ROWS = 24,                      /* ... or this many rows of BLOCK_N, if B is packed */
    ROUNDED_PANELS = 2,                    /* of rows of C for which rows of B are rounded anew */
    STRIP = 48,                            /* columns of C that are transposed at once */
    NARROW_K = 1 << 14,                    /* longest row of a dot product */
    SHALLOW_K = 4,                         /* rows of B that stay in registers, a panel at a time */
    SHALLOW_ROWS = 32,                     /* of C that are computed before their activation */
    PANEL_K = FASTNN_SCRATCH_BYTES / (int)sizeof(real) / PANEL - STRIP, /* longest packed panel */
    PACK_B_ROWS = 48,                      /* of A, for which packing rows of B pays ... */
    PACK_B_STRIDE_BYTES = 4096,            /* ... this far apart; at half, four times as many */
    FAR_B_BYTES = 4 << 20,                 /* B is packed in blocks if it is as large as this ... */
    FAR_ROWS = 96,                         /* ... and A has no more rows; FAR_K x FAR_N at once */
    FAR_K = BLOCK_K / 2,
    FAR_N = 2 * BLOCK_N,
    PACK_A_BYTES = 256 << 10,              /* A is packed if it spans more than this */
};

_Static_assert(((BLOCK_M + BLOCK_N) * BLOCK_K + UPDATE_ROWS * BLOCK_N) * sizeof(real)
                   <= FASTNN_SCRATCH_BYTES,
               "the packed panels, and gradients, must fit the scratch");

typedef struct product {
    ptrdiff_t m, n, k;
    const real *a;
    ptrdiff_t a_row, a_column;             /* strides, in elements */
    const real *b;
    ptrdiff_t b_row, b_column;
    real *c;                               /* (m, n) */
    ptrdiff_t c_row;                       /* n wherever anything else is laid out like c */
    const real *bias;                      /* (n), or NULL */
    int activation;                        /* y = f(c), or c = c * f'(saved) */
    real *y;                               /* (m, n), may be c; NULL for no activation */
    const real *saved;                     /* (m, n); NULL for no derivative */
    real parameter;                        /* of the activation */
    const updater *updater;                /* of the parameters whose gradient is c, or NULL */
    real *parameters, *state;              /* (m, n), laid out like c */
    const atomic_int *given_up;            /* as in fastnn_call, where k may be a long batch */
    int precision;                         /* what a and b are rounded to (fastnn.h) */
} product;

/* Shares of rows are cut at multiples of this, so that few workers have a ragged tile. */
enum { ROW_GRAIN = 16 };

#if REAL_BITS == 32
#include "bfloat16.h"
#endif

/* The length of packed operands, for `depth` steps of k. */
static ptrdiff_t packed_length(const product *p, ptrdiff_t depth)
{
#if REAL_BITS == 32
    if (p->precision != FASTNN_AS_GIVEN) return bfloat16_length(p->precision, depth);
#endif
    (void)p;
    return depth;
}

static const tile_row (*tiles_of(const product *p))[4]
{
#if NATIVE_BFLOAT16
    if (p->precision == FASTNN_BFLOAT16_NATIVE) return pair_tiles;
#endif
    (void)p;
    return tiles;
}

/* Copies b[0:k, 0:columns] into rows of `width` elements, filled up with zeros. */
static void pack_panel(const real *b, ptrdiff_t b_row, ptrdiff_t b_column, ptrdiff_t k,
                       ptrdiff_t columns, real *packed, ptrdiff_t width)
{
    if (b_column == 1 && columns == PANEL) { /* calling memcpy for each row would double the cost */
        for (ptrdiff_t step = 0; step < k; step++, b += b_row, packed += PANEL)
            UNROLL for (int v = 0; v < PANEL_VECTORS; v++) {
                /* The rows are pages apart, so the hardware does not prefetch them. */
                __builtin_prefetch(b + PACK_AHEAD * b_row + v * LANES, 0, 2);
                vstore(packed + v * LANES, vload(b + v * LANES));
            }
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

/* Copies the rows of A, whose columns are contiguous, as slabs: SLAB rows next to each other for
 * each k, one slab after the other, `depth` long. */
static void pack_slabs(const real *a, ptrdiff_t a_column, ptrdiff_t rows, ptrdiff_t depth,
                       real *packed)
{
    for (ptrdiff_t step = 0; step < depth; step += PACK_STEPS) {
        ptrdiff_t end = step + PACK_STEPS < depth ? step + PACK_STEPS : depth;
        for (ptrdiff_t first = 0; first < rows; first += SLAB) {
            const real *from = a + first;
            real *to = packed + first * depth;
            size_t bytes = (size_t)(rows - first < SLAB ? rows - first : SLAB) * sizeof(real);
            if (bytes == SLAB * sizeof(real))
                for (ptrdiff_t k = step; k < end; k++) /* of constant size, hence no call */
                    memcpy(to + k * SLAB, from + k * a_column, SLAB * sizeof(real));
            else
                for (ptrdiff_t k = step; k < end; k++)
                    memcpy(to + k * SLAB, from + k * a_column, bytes);
        }
    }
}

/* Packs a block of A, `depth` long: as slabs if its columns are contiguous, otherwise, which only
 * bfloat16 needs, as rows one after another. */
static void pack_block_of_a(const product *p, const real *a, ptrdiff_t rows, ptrdiff_t depth,
                            real *packed)
{
#if REAL_BITS == 32
    ptrdiff_t length = packed_length(p, depth);
    if (p->precision != FASTNN_AS_GIVEN && p->a_column == 1) {
        pack_bfloat16_rows(p->precision, a, p->a_row, rows, depth, packed, length);
        return;
    }
    if (p->precision != FASTNN_AS_GIVEN) {
        for (ptrdiff_t step = 0; step < depth; step += PACK_STEPS) {
            ptrdiff_t steps = depth - step < PACK_STEPS ? depth - step : PACK_STEPS;
            for (ptrdiff_t first = 0; first < rows; first += SLAB)
                pack_bfloat16_pairs(p->precision, a + step * p->a_column + first, p->a_column, steps,
                                    rows - first < SLAB ? rows - first : SLAB,
                                    packed + first * length + packed_length(p, step) * SLAB, SLAB);
        }
        return;
    }
#endif
    pack_slabs(a, p->a_column, rows, depth, packed);
}

/* Packs a panel of B, or some steps of one. */
static void pack_panel_of_b(const product *p, const real *b, ptrdiff_t depth, ptrdiff_t columns,
                            real *packed, ptrdiff_t width)
{
#if REAL_BITS == 32
    if (p->precision != FASTNN_AS_GIVEN && p->b_column == 1)
        pack_bfloat16_pairs(p->precision, b, p->b_row, depth, columns, packed, width);
    else if (p->precision != FASTNN_AS_GIVEN)
        pack_bfloat16_turned(p->precision, b, p->b_column, depth, columns, packed, width);
    else
#endif
        pack_panel(b, p->b_row, p->b_column, depth, columns, packed, width);
}

/* Whether a tile is complete once it is stored. */
static int is_done_in_registers(const product *p)
{
    if (p->activation == ACTIVATION_relu) return !p->y || p->y == p->c;
    return p->activation == ACTIVATION_linear && !p->y;
}

/* Applies to a tile just stored the activation or derivative that was not applied in registers. */
static void finish_tile(const product *p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t rows, ptrdiff_t columns)
{
    if (columns == p->n) columns *= rows, rows = 1; /* its rows are contiguous */
    for (ptrdiff_t row = i; row < i + rows; row++) {
        ptrdiff_t at = row * p->n + j;
        if (p->y)
            activation_table[p->activation].forward(p->c + at, p->y + at, columns, p->parameter);
        if (p->saved)
            activation_table[p->activation].gradient(p->saved + at, p->c + at, p->c + at, columns,
                                                     p->parameter);
    }
}

/* Applies gradients just computed, `g_row` apart, to their parameters. */
static void update_block(const product *p, const real *g, ptrdiff_t g_row, ptrdiff_t i, ptrdiff_t j,
                         ptrdiff_t rows, ptrdiff_t columns)
{
    ptrdiff_t at = i * p->n + j;
    if (columns == p->n && g_row == p->n) columns *= rows, rows = 1;
    p->updater->run(p->updater, p->parameters + at, g, p->state ? p->state + at : NULL, rows, columns,
                    p->n, g_row);
}

/* Workers form a grid over (rows, columns) of C. The grid whose largest share is smallest is
 * best; among those close to it, the one that cuts the larger operand, so that less data
 * written by another core must travel. */
static void place_worker(const product *p, int worker, int workers, ptrdiff_t *row, ptrdiff_t *row_end,
                         ptrdiff_t *column, ptrdiff_t *column_end)
{
    int best = 1;
    double least = 0;
    for (int down = 1; down <= workers; down++) {
        if (workers % down) continue;
        ptrdiff_t rows, columns, begin;
        share(p->m, ROW_GRAIN, 0, down, &begin, &rows);
        share(p->n, PANEL, 0, workers / down, &begin, &columns);
        double cost = (double)rows * (double)columns * (double)p->k
            + 4.0 * (double)p->k * (double)(rows + columns);
        if (p->updater && down == 1) cost *= 1.2;
        /* A is packed in bfloat16, and a worker has its rows of A in its cache, if any. */
        int is_even = p->precision != FASTNN_AS_GIVEN && cost <= least;
        if (down == 1 || cost < least || is_even) least = cost, best = down;
    }
    share(p->m, ROW_GRAIN, worker % best, best, row, row_end);
    share(p->n, PANEL, worker / best, workers / best, column, column_end);
}

/* Whether copying B's panels, whose rows are contiguous but far apart, pays for `rows` of A. */
static int is_worth_packing(const product *p, ptrdiff_t rows)
{
    double pages = (double)p->b_row * (double)sizeof(real) / PACK_B_STRIDE_BYTES;
    return (double)rows >= PACK_B_ROWS && (double)rows * pages * pages >= PACK_B_ROWS;
}

/* Whether the product takes as long as reading B, which a core's caches do not hold. A panel lies on
 * as many pages as it has rows, and memory delivers it at a quarter of its speed; so wide blocks of
 * few rows of B are packed, however few rows of A there are. */
static int is_far_b(const product *p, ptrdiff_t rows)
{
    return p->b_column == 1 && p->n >= BLOCK_N && rows <= FAR_ROWS && !p->updater
        && p->k * p->n >= (ptrdiff_t)(FAR_B_BYTES / sizeof(real));
}

/* A computation between two packings: c[m:m_end, n:n_end] (+)= a[m:m_end, k:k + depth] @ b[...]. */
typedef struct block {
    ptrdiff_t m, m_end, n, n_end, k, depth;
    ptrdiff_t length;                      /* packed_length of depth */
    ptrdiff_t sweep;                       /* rows of C per pass over all panels of B */
    const real *packed_a;                  /* its rows or slabs, or NULL */
    real *packed_b;                        /* its panels one after another, each as wide as it is */
    int pack_b;
    real *gradients;                       /* scratch for a sweep's, applied at once; or NULL */
    ptrdiff_t gradients_row;
} block;

/* Whether a panel of this many columns is copied instead of read in place. */
static int is_packed(const block *at, ptrdiff_t columns)
{
    return at->pack_b || (!MASKED_LOADS && columns % LANES != 0);
}

/* The address of the copy: after the others, if they are packed too. */
static real *packed_panel(const block *at, ptrdiff_t n)
{
    return at->packed_b + (at->pack_b ? (n - at->n) * at->length : 0);
}

static void pack_panels(const product *p, const block *at)
{
    if (MASKED_LOADS && !at->pack_b) return;
    ptrdiff_t steps = p->b_column == 1 ? PACK_STEPS : at->depth;
    for (ptrdiff_t step = 0; step < at->depth; step += steps) {
        ptrdiff_t depth = at->depth - step < steps ? at->depth - step : steps;
        for (ptrdiff_t n = at->n; n < at->n_end; n += PANEL) {
            ptrdiff_t columns = at->n_end - n < PANEL ? at->n_end - n : PANEL;
            ptrdiff_t width = (columns + LANES - 1) / LANES * LANES;
            if (is_packed(at, columns))
                pack_panel_of_b(p, p->b + (at->k + step) * p->b_row + n * p->b_column, depth, columns,
                                packed_panel(at, n) + packed_length(p, step) * width, width);
        }
    }
}

static void multiply_block(const product *p, const block *at)
{
    pack_panels(p, at);
    int is_relu = p->activation == ACTIVATION_relu, is_done = is_done_in_registers(p);
    int is_last = at->k + at->depth >= p->k;
    const tile_row (*table)[4] = tiles_of(p);
    for (ptrdiff_t m = at->m; m < at->m_end; m += at->sweep) {
        ptrdiff_t m_end = m + at->sweep < at->m_end ? m + at->sweep : at->m_end;
        real *c = at->gradients ? at->gradients : p->c + m * p->c_row + at->n;
        ptrdiff_t c_row = at->gradients ? at->gradients_row : p->c_row;
        for (ptrdiff_t n = at->n; n < at->n_end; n += PANEL) {
            ptrdiff_t columns = at->n_end - n < PANEL ? at->n_end - n : PANEL;
            ptrdiff_t vectors = (columns + LANES - 1) / LANES;
            ptrdiff_t last = columns - (vectors - 1) * LANES;
            const real *b = p->b + at->k * p->b_row + n * p->b_column;
            ptrdiff_t b_row = p->b_row;
            if (is_packed(at, columns)) b = packed_panel(at, n), b_row = vectors * LANES;
            epilogue end = {.bias = p->bias ? p->bias + n : NULL, .is_relu = is_relu && p->y == p->c};
            const tile_row *choice;
            for (ptrdiff_t i = m; i < m_end; i += choice->rows) {
                const real *a = p->a + i * p->a_row + at->k * p->a_column;
                ptrdiff_t height = m_end - i, a_row = p->a_row, a_column = p->a_column;
                if (at->packed_a && a_column == 1) {
                    a = at->packed_a + (i - at->m) * at->length, a_row = at->length;
                } else if (at->packed_a) {
                    ptrdiff_t slab = (i - at->m) / SLAB, row = (i - at->m) % SLAB;
                    a = at->packed_a + slab * SLAB * at->length + row, a_column = SLAB;
                    if (height > SLAB - row) height = SLAB - row;
                }
                choice = table[vectors - 1]; /* reset, since the end of a slab takes a lower tile */
                while (choice->rows > height) choice++;
                end.gate = is_relu && p->saved ? p->saved + i * p->n + n : NULL;
                choice->kernel(at->length, a, a_row, a_column, b, b_row,
                               c + (i - m) * c_row + (n - at->n), c_row, last, at->k > 0,
                               is_last ? &end : NULL);
                if (is_last && !is_done) finish_tile(p, i, n, choice->rows, columns);
            }
        }
        if (at->gradients)
            update_block(p, c, c_row, m, at->n, m_end - m, at->n_end - at->n);
    }
}

static void multiply(const product *p, void *scratch, int worker, int workers)
{
    ptrdiff_t first_row, row_end, first_column, column_end;
    place_worker(p, worker, workers, &first_row, &row_end, &first_column, &column_end);

    int is_rounded = p->precision != FASTNN_AS_GIVEN;
    int is_far = !is_rounded && is_far_b(p, row_end - first_row);
    int pack_b = is_rounded || is_far || p->b_column != 1
        || is_worth_packing(p, row_end - first_row);
    int pack_a = is_rounded
        || (p->a_column != 1 && p->k * p->a_column * (ptrdiff_t)sizeof(real) > PACK_A_BYTES);
    ptrdiff_t length = packed_length(p, p->k);
    ptrdiff_t packed_k = p->precision == FASTNN_BFLOAT16_NATIVE ? 2 * BLOCK_K : BLOCK_K;
    ptrdiff_t block_k = pack_b && !pack_a ? PANEL_K : packed_k;
    ptrdiff_t block_m = pack_a ? BLOCK_M : row_end - first_row, block_n = PANEL, sweep = block_m;
    real *packed_a = scratch, *packed_b = packed_a + (pack_a ? BLOCK_M * BLOCK_K : 0), *gradients = NULL;
    if (is_far) block_k = FAR_K, block_n = FAR_N;
    if (pack_a && pack_b && length > L1_K) block_n = BLOCK_N, sweep = SLAB;
    if (p->updater && !pack_a && !pack_b)
        sweep = block_m = UPDATE_ELEMENTS / (p->n * 6) * 6 + UPDATE_ROWS;
    if (p->updater && length <= BLOCK_K) {
        if (pack_a || pack_b) block_k = packed_k, block_n = BLOCK_N, sweep = UPDATE_ROWS;
        else block_n = column_end - first_column;
        gradients = packed_b + (pack_b ? BLOCK_N : PANEL) * BLOCK_K;
        if (gradients + sweep * block_n > (real *)scratch + FASTNN_SCRATCH_BYTES / sizeof(real))
            gradients = NULL; /* too wide: they go where a batch of several blocks has its sums */
    }

    for (ptrdiff_t m = first_row; m < row_end; m += block_m) {
        ptrdiff_t m_end = m + block_m < row_end ? m + block_m : row_end, k = 0;
        do { /* once even if the sum is empty: C is then zero */
            if (p->given_up && atomic_load_explicit(p->given_up, memory_order_relaxed)) return;
            ptrdiff_t depth = p->k - k < block_k ? p->k - k : block_k;
            if (pack_a)
                pack_block_of_a(p, p->a + m * p->a_row + k * p->a_column, m_end - m, depth, packed_a);
            for (ptrdiff_t n = first_column; n < column_end; n += block_n)
                multiply_block(p, &(block){
                    .m = m, .m_end = m_end, .n = n,
                    .n_end = n + block_n < column_end ? n + block_n : column_end,
                    .k = k, .depth = depth, .length = packed_length(p, depth), .sweep = sweep,
                    .packed_a = pack_a ? packed_a : NULL,
                    .packed_b = packed_b, .pack_b = pack_b, .gradients = gradients,
                    .gradients_row = block_n,
                });
            k += depth;
        } while (k < p->k);
        if (p->updater && !gradients)
            update_block(p, p->c + m * p->c_row + first_column, p->c_row, m, first_column, m_end - m,
                         column_end - first_column);
    }
}

/* Whether C is better computed as (B^T A^T)^T: where that leaves less to transpose, or fills
 * vectors that the few columns of C would leave empty. */
static int is_turned(const product *p)
{
    if (LANES == 1 || p->m < LANES || p->k > PANEL_K) return 0;
    if (p->precision != FASTNN_AS_GIVEN) /* the rows of B are packed, once for each panel of A's */
        return p->b_row == 1 && p->m <= ROUNDED_PANELS * PANEL
            && (STRIP + PANEL) * (packed_length(p, p->k) + LANES)
                <= FASTNN_SCRATCH_BYTES / (ptrdiff_t)sizeof(real) - STRIP * PANEL;
    if (p->a_row == 1) return p->n < LANES;
    if (p->b_column == 1) return 4 * p->n <= LANES; /* for shapes that is_narrow leaves */
    return p->n >= LANES && p->m * (p->k + p->n) < p->n * p->k;
}

/* C as the transpose of B^T A^T, a strip of its columns and a panel of its rows at a time. The
 * chains are the same, and therefore the bits. */
static void multiply_turned(const product *p, void *scratch, int worker, int workers)
{
    ptrdiff_t first_row, row_end, first_column, column_end;
    real *strip = scratch, *packed = strip + STRIP * PANEL;
    ptrdiff_t length = packed_length(p, p->k), apart = length + LANES; /* not a multiple of a page */
    const tile_row (*table)[4] = tiles_of(p);
    product turned = {.m = p->n, .n = p->m, .k = p->k};
    place_worker(&turned, worker, workers, &first_column, &column_end, &first_row, &row_end);
    for (ptrdiff_t row = first_row; row < row_end; row += PANEL) {
        ptrdiff_t rows = row_end - row < PANEL ? row_end - row : PANEL;
        ptrdiff_t vectors = (rows + LANES - 1) / LANES, last = rows - (vectors - 1) * LANES;
        const real *panel = p->a + row * p->a_row;
        ptrdiff_t panel_row = p->a_column;
        int is_rounded = p->precision != FASTNN_AS_GIVEN;
        if (is_rounded || p->a_row != 1 || (!MASKED_LOADS && last < LANES)) {
            product transposed = {.b_row = p->a_column, .b_column = p->a_row, .precision = p->precision};
            pack_panel_of_b(&transposed, panel, p->k, rows, packed, vectors * LANES);
            panel = packed, panel_row = vectors * LANES;
        }
        for (ptrdiff_t column = first_column; column < column_end; column += STRIP) {
            ptrdiff_t columns = column_end - column < STRIP ? column_end - column : STRIP;
            const tile_row *choice = table[vectors - 1];
            const real *b = p->b + column * p->b_column;
            ptrdiff_t b_column = p->b_column;
#if REAL_BITS == 32
            if (p->precision != FASTNN_AS_GIVEN) {
                real *rounded = packed + PANEL * length;
                pack_bfloat16_rows(p->precision, b, b_column, columns, p->k, rounded, apart);
                b = rounded, b_column = apart;
            }
#endif
            for (ptrdiff_t j = 0; j < columns; j += choice->rows) {
                while (choice->rows > columns - j) choice++;
                choice->kernel(length, b + j * b_column, b_column, p->b_row, panel, panel_row,
                               strip + j * PANEL, PANEL, last, 0, NULL);
            }
            for (ptrdiff_t j = 0; p->bias && j < columns; j++)
                for (ptrdiff_t v = 0; v < vectors * LANES; v += LANES)
                    vstore(strip + j * PANEL + v,
                           vload(strip + j * PANEL + v) + vbroadcast(p->bias[column + j]));
            transpose(strip, PANEL, rows, columns, p->c + row * p->c_row + column, p->c_row);
            if (p->y || p->saved) finish_tile(p, row, column, rows, columns);
            if (p->updater)
                update_block(p, p->c + row * p->c_row + column, p->c_row, row, column, rows, columns);
        }
    }
}

/* Whether C has so few columns that vectors of them would be mostly empty, and dot products of the
 * rows of A with the columns of B are faster. It does not depend on m: a row has the same
 * bits in any batch. */
static int is_narrow(const product *p)
{
    return 4 * p->n <= LANES && p->a_column == 1 && p->b_column == 1 && p->k >= LANES
        && p->k <= NARROW_K && !p->updater;
}

/* c[0:ROWS, 0:COLUMNS] = a[0:ROWS, 0:k] @ b[0:COLUMNS, 0:k].T + bias, where the rows of b are
 * `width` apart and padded with zeros to whole vectors. */
ALWAYS_INLINE void dot_products(const int ROWS, const int COLUMNS, ptrdiff_t k, const real *a,
                                ptrdiff_t a_row, const real *b, ptrdiff_t width, const real *bias,
                                real *c, ptrdiff_t c_row)
{
    vec sum[8][4];
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < COLUMNS; j++) sum[i][j] = vbroadcast(0);
    for (ptrdiff_t at = 0; at < k; at += LANES) {
        vec column[4];
        UNROLL for (int j = 0; j < COLUMNS; j++) column[j] = vload(b + j * width + at);
        UNROLL for (int i = 0; i < ROWS; i++) {
            const real *from = a + i * a_row + at;
            vec row = k - at < LANES ? vload_first(from, k - at) : vload(from);
            UNROLL for (int j = 0; j < COLUMNS; j++) sum[i][j] = vfma(row, column[j], sum[i][j]);
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < COLUMNS; j++)
            c[i * c_row + j] = vsum(sum[i][j]) + (bias ? bias[j] : 0);
}

static void multiply_narrow(const product *p, void *scratch, int worker, int workers)
{
    real *columns = scratch;
    ptrdiff_t width = (p->k + LANES - 1) / LANES * LANES, i, end;
    for (ptrdiff_t j = 0; j < p->n; j++)
        for (ptrdiff_t k = 0; k < width; k++)
            columns[j * width + k] = k < p->k ? p->b[k * p->b_row + j] : 0;
    share(p->m, ROW_GRAIN, worker, workers, &i, &end);
    ptrdiff_t begin = i;
#define DOT_PRODUCTS(ROWS, COLUMNS)                                                            \
    for (; i + ROWS <= end; i += ROWS)                                                         \
        dot_products(ROWS, COLUMNS, p->k, p->a + i * p->a_row, p->a_row, columns, width, p->bias, \
                     p->c + i * p->c_row, p->c_row)
    switch (p->n) {
    case 1: DOT_PRODUCTS(8, 1); DOT_PRODUCTS(1, 1); break;
    case 2: DOT_PRODUCTS(4, 2); DOT_PRODUCTS(1, 2); break;
    case 3: DOT_PRODUCTS(4, 3); DOT_PRODUCTS(1, 3); break;
    case 4: DOT_PRODUCTS(4, 4); DOT_PRODUCTS(1, 4); break;
    }
    if (begin < end && (p->y || p->saved)) finish_tile(p, begin, 0, end - begin, p->n);
}

/* Whether B has so few rows, in whole panels, that a tile would be mostly prologue and epilogue. */
static int is_shallow(const product *p)
{
    return LANES > 1 && p->n > 0 && p->n % PANEL == 0 && p->k >= 1 && p->k <= SHALLOW_K && !p->updater;
}

/* c[0:rows, 0:PANEL] = a[0:rows, 0:K] @ b[0:K, 0:PANEL] with the epilogue of tiles. B stays in
 * registers while all rows of A are processed. */
ALWAYS_INLINE void shallow_rows(const int K, const product *p, const real *a, const real *b,
                                ptrdiff_t b_row, real *c, ptrdiff_t rows, const epilogue *end)
{
    vec row[SHALLOW_K][PANEL_VECTORS], add[PANEL_VECTORS];
    const real *gate = end->gate;
    ptrdiff_t a_row = p->a_row, a_column = p->a_column, c_row = p->c_row;
    UNROLL for (int j = 0; j < PANEL_VECTORS; j++) {
        UNROLL for (int k = 0; k < K; k++) row[k][j] = vload(b + k * b_row + j * LANES);
        add[j] = end->bias ? vload(end->bias + j * LANES) : vbroadcast(0);
    }
    for (; rows > 0; rows--, a += a_row, c += c_row, gate += gate ? c_row : 0) {
        vec element[SHALLOW_K]; /* read before any store, which might alias them */
        UNROLL for (int k = 0; k < K; k++) element[k] = vbroadcast(a[k * a_column]);
        UNROLL for (int j = 0; j < PANEL_VECTORS; j++) {
            vec sum = vbroadcast(0);
            UNROLL for (int k = 0; k < K; k++) sum = vfma(element[k], row[k][j], sum);
            if (end->bias) sum = sum + add[j];
            if (end->is_relu) sum = relu_forward(sum, vbroadcast(0));
            if (gate) sum = relu_gradient(vload(gate + j * LANES), sum, vbroadcast(0));
            vstore(c + j * LANES, sum);
        }
    }
}

static void multiply_shallow(const product *p, void *scratch, int worker, int workers)
{
    ptrdiff_t first_row, row_end, first_column, column_end;
    place_worker(p, worker, workers, &first_row, &row_end, &first_column, &column_end);
    int is_relu = p->activation == ACTIVATION_relu, is_done = is_done_in_registers(p);
    for (ptrdiff_t n = first_column; n < column_end; n += PANEL) {
        const real *b = p->b + n * p->b_column;
        ptrdiff_t b_row = p->b_row;
        if (p->b_column != 1) {
            pack_panel(b, p->b_row, p->b_column, p->k, PANEL, scratch, PANEL);
            b = scratch, b_row = PANEL;
        }
        for (ptrdiff_t m = first_row; m < row_end; m += SHALLOW_ROWS) {
            ptrdiff_t rows = row_end - m < SHALLOW_ROWS ? row_end - m : SHALLOW_ROWS;
            const real *a = p->a + m * p->a_row;
            real *c = p->c + m * p->c_row + n;
            epilogue end = {.bias = p->bias ? p->bias + n : NULL, .is_relu = is_relu && p->y == p->c,
                            .gate = is_relu && p->saved ? p->saved + m * p->n + n : NULL};
            switch (p->k) {
            case 1: shallow_rows(1, p, a, b, b_row, c, rows, &end); break;
            case 2: shallow_rows(2, p, a, b, b_row, c, rows, &end); break;
            case 3: shallow_rows(3, p, a, b, b_row, c, rows, &end); break;
            case 4: shallow_rows(4, p, a, b, b_row, c, rows, &end); break;
            }
            if (!is_done) finish_tile(p, m, n, rows, PANEL);
        }
    }
}

#include "few_rows.h"

/* C = A B, with the method that suits the sizes. Each is called in one place: GCC then makes one
 * function of all, which a product of a microsecond notices. */
static void product_of(const product *p, void *scratch, int worker, int workers)
{
    if (p->m == 0 || p->n == 0) return;
    int as_given = p->precision == FASTNN_AS_GIVEN;
    if (as_given && is_narrow(p)) multiply_narrow(p, scratch, worker, workers);
    else if (as_given && is_shallow(p)) multiply_shallow(p, scratch, worker, workers);
    else if (as_given && is_few_rows(p)) multiply_few_rows(p, NULL, worker, workers);
    else if (as_given && is_few_dots(p)) multiply_few_dots(p, worker, workers);
#if NATIVE_BFLOAT16
    else if (!as_given && is_few_pairs(p)) multiply_few_pairs(p, scratch, worker, workers);
#endif
    else if (is_turned(p)) multiply_turned(p, scratch, worker, workers);
    else multiply(p, scratch, worker, workers);
}
