/* few_rows.h: products of few rows with a B that leaves the caches, or is transposed.
 *
 * Such a product takes as long as reading B. Tiles read a panel of B from top to bottom, each row of
 * it pages away from the last, which is slower than memory is. Here B is read once and in order:
 * FEW_STEPS rows of B at a time, from left to right, while the rows of C stay in L1. Workers have
 * columns of their own.
 *
 * In bfloat16 packing B would take longer than the sums of few rows, whatever its size. So pairs of
 * its rows are rounded in registers: in tiles, or where B is read in order.
 *
 * Bits. An element of C is one chain of vfma over k in ascending order, from zero, as in tiles;
 * in bfloat16 by pairs.
 */
#ifndef FASTNN_FEW_ROWS_H
#define FASTNN_FEW_ROWS_H

enum {
    FEW_ROWS = VECTOR_BYTES == 64 ? 2 : 8, /* of A and C, at most; more fit the tiles of AVX-512 */
    FEW_STEPS = VECTOR_BYTES == 64 ? 8 : 4, /* rows of B that are read side by side */
    PAIRED_ROWS = 12,                      /* of A and C, at most, if tiles round B to bfloat16 ... */
    PAIRED_ROWS_IN_ORDER = 4,              /* ... or if B is read in order, since it is ... */
    PAIRED_B_BYTES = 12 << 20,             /* ... as large as this, or rows are as few as FEW_ROWS */
    FEW_AHEAD = VECTOR_BYTES != 64,        /* whether the next ones are prefetched */
    FEW_B_BYTES = VECTOR_BYTES == 64 ? 4 << 20 : 1 << 16, /* size of B from which on this pays */
    FEW_C_BYTES = 24 << 10,                /* of C, which stay in L1 */
    DOT_ROWS = 8,                          /* of A and C, at most, if B is transposed ... */
    DOT_K = 32,                            /* ... and their length, for each row, that pays */
};

static int is_large_b(const product *p)
{
    return p->k * p->n >= (ptrdiff_t)(FEW_B_BYTES / sizeof(real));
}

/* Whether C has few rows and B is large. A row has the same bits in any batch, either way. */
static int is_few_rows(const product *p)
{
    return LANES > 1 && p->m <= FEW_ROWS && p->n >= PANEL && p->a_column == 1
        && p->b_column == 1 && !p->updater && is_large_b(p);
}

/* One vector of columns: c[0:ROWS] += a[0:ROWS, 0:STEPS] @ b[0:STEPS], the first `width` of them. */
ALWAYS_INLINE void add_vector(const int ROWS, const int STEPS, const int IS_RAGGED,
                              vec factor[4][FEW_STEPS], const real *b, ptrdiff_t b_row, real *c,
                              ptrdiff_t c_row, ptrdiff_t width, int is_first)
{
    vec row[FEW_STEPS];
    UNROLL for (int k = 0; k < STEPS; k++) {
        const real *at = b + k * b_row;
        if (FEW_AHEAD) __builtin_prefetch(at + STEPS * b_row, 0, 2); /* maybe behind B: no fault */
        row[k] = IS_RAGGED ? vload_first(at, width) : vload(at);
    }
    UNROLL for (int i = 0; i < ROWS; i++, c += c_row) {
        vec sum = is_first ? vbroadcast(0) : IS_RAGGED ? vload_first(c, width) : vload(c);
        UNROLL for (int k = 0; k < STEPS; k++) sum = vfma(factor[i][k], row[k], sum);
        if (IS_RAGGED) vstore_first(c, sum, width);
        else vstore(c, sum);
    }
}

/* c[0:ROWS, 0:columns] += a[0:ROWS, 0:STEPS] @ b[0:STEPS, 0:columns]; c counts as zero if `is_first`. */
ALWAYS_INLINE void add_few_rows(const int ROWS, const int STEPS, const product *p, const real *a,
                                const real *b, real *c, ptrdiff_t columns, int is_first)
{
    vec factor[4][FEW_STEPS];
    ptrdiff_t j = 0;
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int k = 0; k < STEPS; k++)
            factor[i][k] = vbroadcast(a[i * p->a_row + k * p->a_column]);
    for (; j + LANES <= columns; j += LANES)
        add_vector(ROWS, STEPS, 0, factor, b + j, p->b_row, c + j, p->c_row, LANES, is_first);
    if (j < columns)
        add_vector(ROWS, STEPS, 1, factor, b + j, p->b_row, c + j, p->c_row, columns - j, is_first);
}

/* The same for all rows of C and `steps` rows of B, from row `k` on. */
static void add_rows_of_b(const product *p, ptrdiff_t k, ptrdiff_t steps, ptrdiff_t column,
                          ptrdiff_t columns)
{
    const real *a = p->a + k * p->a_column, *b = p->b + k * p->b_row + column;
    real *c = p->c + column;
    for (ptrdiff_t left = p->m, rows; left > 0; left -= rows, a += rows * p->a_row, c += rows * p->c_row) {
        rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define ADD(ROWS)                                                                  \
    if (steps == FEW_STEPS) add_few_rows(ROWS, FEW_STEPS, p, a, b, c, columns, k == 0); \
    else add_few_rows(ROWS, 1, p, a, b, c, columns, k == 0)
        if (rows == 4) { ADD(4); }
        else if (rows == 2) { ADD(2); }
        else { ADD(1); }
#undef ADD
    }
}

#if NATIVE_BFLOAT16
/* Whether A and B are rounded and B is read in order; otherwise tiles read it. */
static int is_paired_in_order(const product *p)
{
    return is_large_b(p)
        && (p->m <= FEW_ROWS || p->k * p->n >= (ptrdiff_t)(PAIRED_B_BYTES / sizeof(real)));
}

/* Whether C has few rows and A and B are rounded: packing B would take longer than the sums. */
static int is_few_pairs(const product *p)
{
    return p->precision == FASTNN_BFLOAT16_NATIVE && p->k > 0
        && p->m <= (is_paired_in_order(p) ? PAIRED_ROWS_IN_ORDER : PAIRED_ROWS) && p->a_column == 1
        && p->b_column == 1 && !p->updater
        && p->m * packed_length(p, p->k) <= FASTNN_SCRATCH_BYTES / (ptrdiff_t)sizeof(real);
}

/* The product of a packed A with a B that is in the caches: tiles round its rows. */
static void multiply_paired_rows(const product *p, const real *packed_a, int worker, int workers)
{
    ptrdiff_t begin, end, a_row = packed_length(p, p->k);
    int is_relu = p->activation == ACTIVATION_relu, is_done = is_done_in_registers(p);
    share(p->n, PANEL, worker, workers, &begin, &end);
    for (ptrdiff_t n = begin; n < end; n += PANEL) {
        ptrdiff_t columns = end - n < PANEL ? end - n : PANEL, vectors = (columns + LANES - 1) / LANES;
        epilogue last = {.bias = p->bias ? p->bias + n : NULL, .is_relu = is_relu && p->y == p->c};
        const tile_row *choice = paired_rows_tiles[vectors - 1];
        for (ptrdiff_t i = 0; i < p->m; i += choice->rows) {
            while (choice->rows > p->m - i) choice++;
            last.gate = is_relu && p->saved ? p->saved + i * p->n + n : NULL;
            choice->kernel(p->k, packed_a + i * a_row, a_row, 1, p->b + n, p->b_row,
                           p->c + i * p->c_row + n, p->c_row, columns - (vectors - 1) * LANES, 0, &last);
            if (!is_done) finish_tile(p, i, n, choice->rows, columns);
        }
    }
}

/* As add_vector, in bfloat16: each factor is a pair, and so are two rows of B. A single step is a
 * pair with zeros. */
ALWAYS_INLINE void add_vector_of_pairs(const int ROWS, const int STEPS, const int IS_RAGGED,
                                       vec factor[4][FEW_STEPS / 2], const real *b, ptrdiff_t b_row,
                                       real *c, ptrdiff_t c_row, ptrdiff_t width, int is_first)
{
    vec row[FEW_STEPS], pair[FEW_STEPS / 2];
    UNROLL for (int k = 0; k < STEPS; k++)
        row[k] = IS_RAGGED ? vload_first(b + k * b_row, width) : vload(b + k * b_row);
    UNROLL for (int k = 0; k < STEPS; k += 2)
        pair[k / 2] = vpairs(row[k], k + 1 < STEPS ? row[k + 1] : vbroadcast(0));
    UNROLL for (int i = 0; i < ROWS; i++, c += c_row) {
        vec sum = is_first ? vbroadcast(0) : IS_RAGGED ? vload_first(c, width) : vload(c);
        UNROLL for (int k = 0; k < STEPS; k += 2) VACCUMULATE_PAIRS(sum, factor[i][k / 2], pair[k / 2]);
        if (IS_RAGGED) vstore_first(c, sum, width);
        else vstore(c, sum);
    }
}

/* As add_few_rows; `a` is packed and has `a_row` units in a row. */
ALWAYS_INLINE void add_few_pairs(const int ROWS, const int STEPS, const product *p, const real *a,
                                 ptrdiff_t a_row, const real *b, real *c, ptrdiff_t columns, int is_first)
{
    vec factor[4][FEW_STEPS / 2];
    ptrdiff_t j = 0;
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int k = 0; k < STEPS; k += 2) factor[i][k / 2] = vbroadcast(a[i * a_row + k / 2]);
    for (; j + LANES <= columns; j += LANES)
        add_vector_of_pairs(ROWS, STEPS, 0, factor, b + j, p->b_row, c + j, p->c_row, LANES, is_first);
    if (j < columns)
        add_vector_of_pairs(ROWS, STEPS, 1, factor, b + j, p->b_row, c + j, p->c_row, columns - j,
                            is_first);
}

/* As add_rows_of_b. */
static void add_pairs_of_b(const product *p, const real *packed_a, ptrdiff_t k, ptrdiff_t steps,
                           ptrdiff_t column, ptrdiff_t columns)
{
    const real *a = packed_a + k / 2, *b = p->b + k * p->b_row + column;
    ptrdiff_t a_row = packed_length(p, p->k);
    real *c = p->c + column;
    for (ptrdiff_t left = p->m, rows; left > 0; left -= rows, a += rows * a_row, c += rows * p->c_row) {
        rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define ADD(ROWS)                                                                             \
    if (steps == FEW_STEPS) add_few_pairs(ROWS, FEW_STEPS, p, a, a_row, b, c, columns, k == 0); \
    else if (steps == 2) add_few_pairs(ROWS, 2, p, a, a_row, b, c, columns, k == 0);            \
    else add_few_pairs(ROWS, 1, p, a, a_row, b, c, columns, k == 0)
        if (rows == 4) { ADD(4); }
        else if (rows == 2) { ADD(2); }
        else { ADD(1); }
#undef ADD
    }
}
#endif

/* Adds the rows of B in order: in bfloat16 if there is a packed A. */
static void multiply_few_rows(const product *p, const real *packed_a, int worker, int workers)
{
    ptrdiff_t begin, end, most = FEW_C_BYTES / (ptrdiff_t)sizeof(real) / p->m / PANEL * PANEL;
    share(p->n, PANEL, worker, workers, &begin, &end);
    for (ptrdiff_t column = begin; column < end; column += most) {
        ptrdiff_t columns = end - column < most ? end - column : most;
        for (ptrdiff_t k = 0, steps; k < p->k; k += steps) {
            ptrdiff_t left = p->k - k;
            steps = left >= FEW_STEPS ? FEW_STEPS : packed_a && left >= 2 ? 2 : 1;
#if NATIVE_BFLOAT16
            if (packed_a) {
                add_pairs_of_b(p, packed_a, k, steps, column, columns);
                continue;
            }
#endif
            add_rows_of_b(p, k, steps, column, columns);
        }
        for (ptrdiff_t i = 0; p->bias && i < p->m; i++)
            for (ptrdiff_t j = 0; j < columns; j += LANES) {
                ptrdiff_t width = columns - j < LANES ? columns - j : LANES;
                real *to = p->c + i * p->c_row + column + j;
                vstore_part(to, vload_part(to, width) + vload_part(p->bias + column + j, width), width);
            }
        if (p->y || p->saved) finish_tile(p, 0, column, p->m, columns);
    }
}

#if NATIVE_BFLOAT16
static void multiply_few_pairs(const product *p, void *scratch, int worker, int workers)
{
    pack_bfloat16_rows(p->precision, p->a, p->a_row, p->m, p->k, scratch, packed_length(p, p->k));
    if (is_paired_in_order(p)) multiply_few_rows(p, scratch, worker, workers);
    else multiply_paired_rows(p, scratch, worker, workers);
}
#endif

/* Whether C has few rows, and B's columns are contiguous, as in an input's gradient: dot products
 * then read B once and in order, where tiles would need its transpose. Each has a chain per lane, so
 * a row has other bits than in a larger batch, which nobody promises of gradients. */
static int is_few_dots(const product *p)
{
    return LANES > 1 && p->m <= DOT_ROWS && p->b_row == 1 && p->b_column > 1 && p->a_column == 1
        && !p->updater && p->k % LANES == 0 && p->k >= DOT_K * p->m;
}

static void multiply_few_dots(const product *p, int worker, int workers)
{
    ptrdiff_t begin, end;
    share(p->n, ROW_GRAIN, worker, workers, &begin, &end);
    for (ptrdiff_t j = begin, columns; j < end; j += columns) {
        columns = end - j >= 4 ? 4 : 1;
        const real *a = p->a, *b = p->b + j * p->b_column;
        real *c = p->c + j;
        for (ptrdiff_t left = p->m, rows; left > 0;
             left -= rows, a += rows * p->a_row, c += rows * p->c_row) {
            rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define DOTS(ROWS)                                                                          \
    if (columns == 4) dot_products(ROWS, 4, p->k, a, p->a_row, b, p->b_column, NULL, c, p->c_row); \
    else dot_products(ROWS, 1, p->k, a, p->a_row, b, p->b_column, NULL, c, p->c_row)
            if (rows == 4) { DOTS(4); }
            else if (rows == 2) { DOTS(2); }
            else { DOTS(1); }
#undef DOTS
        }
    }
    for (ptrdiff_t i = 0; p->bias && i < p->m; i++)
        for (ptrdiff_t j = begin; j < end; j++) p->c[i * p->c_row + j] += p->bias[j];
    if (begin < end && (p->y || p->saved)) finish_tile(p, 0, begin, p->m, end - begin);
}

#endif
