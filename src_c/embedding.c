/* embedding.c: whole numbers as rows of a table, or as zeros and ones. */
#include "fastnn.h"
#include "simd.h"

/* The category that a number stands for, or -1 if there is none. */
ALWAYS_INLINE ptrdiff_t category_of(real value, ptrdiff_t categories)
{
    if (!(value >= 0 && value < (real)categories)) return -1;
    ptrdiff_t category = (ptrdiff_t)value;
    return (real)category == value ? category : -1;
}

/* operand: 0 x (rows, width): categories, 1 table (categories, depth), 2 y (rows, columns * depth);
 * size: 0 width, 1 first column, 2 columns, 3 categories, 4 depth.
 * y = table[x[:, first:first + columns]]; NaN where there is no such row, so that a loss computed
 * from it is rejected. */
static int kernel_embedding(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *table = call->operand[1];
    real *y = call->operand[2];
    ptrdiff_t width = call->size[0], columns = call->size[2], categories = call->size[3];
    ptrdiff_t depth = call->size[4], begin, end;
    int status = FASTNN_OK;
    share(call->rows, 1 + GRAIN / (columns * depth + 1), worker, workers, &begin, &end);
    y += begin * columns * depth;
    for (ptrdiff_t row = begin; row < end; row++) {
        const real *chosen = x + row * width + call->size[1];
        for (ptrdiff_t column = 0; column < columns; column++, y += depth) {
            ptrdiff_t category = category_of(chosen[column], categories);
            if (category >= 0) {
                const real *from = table + category * depth;
                ptrdiff_t j = 0;
                for (; j + LANES <= depth; j += LANES) vstore(y + j, vload(from + j));
                for (; j < depth; j++) y[j] = from[j];
                continue;
            }
            for (ptrdiff_t j = 0; j < depth; j++) y[j] = (real)NAN;
            status = FASTNN_BAD_LABEL;
        }
    }
    return status;
}

/* operand: 0 x (rows, width): categories, 1 dy (rows, columns * depth), 2 dtable (categories,
 * depth); size: as above. dtable[c] is the sum of the dy of category c, in the order of the rows:
 * each worker takes a range of categories and scans all rows. */
static int kernel_embedding_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *grad = call->operand[1];
    real *out = call->operand[2];
    ptrdiff_t width = call->size[0], columns = call->size[2], categories = call->size[3];
    ptrdiff_t depth = call->size[4], begin, end;
    share(categories, 1 + GRAIN / (depth + 1), worker, workers, &begin, &end);
    if (begin == end || depth == 0) return FASTNN_OK;
    memset(out + begin * depth, 0, (size_t)((end - begin) * depth) * sizeof(real));
    for (ptrdiff_t row = 0; row < call->rows; row++) {
        const real *chosen = x + row * width + call->size[1];
        for (ptrdiff_t column = 0; column < columns; column++, grad += depth) {
            ptrdiff_t category = category_of(chosen[column], categories), j = 0;
            if (category < begin || category >= end) continue;
            real *sum = out + category * depth;
            for (; j + LANES <= depth; j += LANES) vstore(sum + j, vload(sum + j) + vload(grad + j));
            for (; j < depth; j++) sum[j] += grad[j];
        }
    }
    return FASTNN_OK;
}

/* operand: 0 x (rows, columns): categories, 1 y; size: 0 columns, 1 tokens, 2 categories, at least
 * as many as tokens: those from `tokens` on are left out.
 * variant 0: y (rows, columns, tokens) is 1 at the category of each column, and else 0; 1: y (rows,
 * tokens) is 1 for each category that the row has; 2: it counts them. NaN where x is no category,
 * so that a loss computed from it is rejected. */
static int kernel_encode_categories(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0];
    real *y = call->operand[1];
    ptrdiff_t columns = call->size[0], tokens = call->size[1], categories = call->size[2];
    ptrdiff_t step = call->variant == 0 ? tokens : 0, width = step ? columns * tokens : tokens;
    ptrdiff_t begin, end;
    int status = FASTNN_OK;
    if (call->variant == 0 && columns == 0) return FASTNN_OK;
    share(call->rows, 1 + GRAIN / (width + columns + 1), worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row++) {
        const real *from = x + row * columns;
        real *to = y + row * width;
        memset(to, 0, (size_t)width * sizeof(real));
        for (ptrdiff_t column = 0; column < columns; column++, to += step) {
            ptrdiff_t category = category_of(from[column], categories);
            if (category < 0) {
                for (ptrdiff_t j = 0; j < tokens; j++) to[j] = (real)NAN;
                status = FASTNN_BAD_LABEL;
            } else if (category < tokens) {
                real before = to[category]; /* may be NaN, and stays so */
                to[category] = (call->variant == 2 ? before : before * 0) + 1;
            }
        }
    }
    return status;
}

/* size: 0 members, 1 columns of each; operand: 1 member of each row (rows), a category.
 * variant 0: operand 0 x (rows, members, columns), 2 y (rows, columns): y = x[:, member];
 * variant 1: operand 0 x (rows, columns), 2 y (rows, members, columns): its gradient, zero for the
 * other members. NaN where there is no such member. */
static int kernel_select_member(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *codes = call->operand[1];
    real *y = call->operand[2];
    ptrdiff_t members = call->size[0], columns = call->size[1], width = members * columns, begin, end;
    int status = FASTNN_OK, is_gradient = call->variant == 1;
    share(call->rows, 1 + GRAIN / (width + 1), worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row++) {
        ptrdiff_t member = category_of(codes[row], members);
        real *to = y + row * (is_gradient ? width : columns);
        if (is_gradient) memset(to, 0, (size_t)width * sizeof(real));
        if (member < 0) {
            for (ptrdiff_t j = 0; j < (is_gradient ? width : columns); j++) to[j] = (real)NAN;
            status = FASTNN_BAD_LABEL;
        } else if (is_gradient) {
            memcpy(to + member * columns, x + row * columns, (size_t)columns * sizeof(real));
        } else {
            memcpy(to, x + row * width + member * columns, (size_t)columns * sizeof(real));
        }
    }
    return status;
}
