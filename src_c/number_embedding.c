/* number_embedding.c: each number of a row as several, by functions that a column learns.
 *
 * Periodic: cosines of several waves, and a linear layer of the column's own behind them (PBLD,
 * Holzmueller et al. 2024; Gorishniy et al. 2022). Piecewise: a function that is linear between the
 * edges of bins (PLE, Gorishniy et al. 2022).
 *
 * Forward and input gradients share the rows among the workers, gradients of parameters the columns,
 * so that every sum over rows is made by one worker. A vector of the periodic kernels holds the same
 * column of successive rows, because units and waves are few; in the piecewise ones it holds units.
 */
#include "fastnn.h"
#include "simd.h"
#include "vmath.h"

/* Up to LANES numbers, `stride` apart; zeros behind them. */
ALWAYS_INLINE vec vgather_column(const real *x, ptrdiff_t count, ptrdiff_t stride)
{
    real lanes[LANES];
    for (ptrdiff_t i = 0; i < LANES; i++) lanes[i] = i < count ? x[i * stride] : 0;
    return vload(lanes);
}
ALWAYS_INLINE void vscatter_column(real *x, vec value, ptrdiff_t count, ptrdiff_t stride)
{
    real lanes[LANES];
    vstore(lanes, value);
    for (ptrdiff_t i = 0; i < count; i++) x[i * stride] = lanes[i];
}

/* The first `count` numbers; zeros behind them. */
ALWAYS_INLINE vec vonly(vec value, ptrdiff_t count)
{
    real lanes[LANES];
    vstore(lanes, value);
    return vload_first(lanes, count);
}

/* The parameters of one column. */
typedef struct waves {
    const real *frequency, *phase, *kernel; /* (waves), (waves), (waves, units) */
    ptrdiff_t count, units;
} waves;
ALWAYS_INLINE waves waves_of(const fastnn_call *call, ptrdiff_t column)
{
    ptrdiff_t count = call->size[1], units = call->size[2];
    return (waves){
        .frequency = (const real *)call->operand[1] + column * count,
        .phase = (const real *)call->operand[2] + column * count,
        .kernel = (const real *)call->operand[3] + column * count * units,
        .count = count, .units = units,
    };
}
/* frequency x + phase, in turns */
ALWAYS_INLINE vec turns(const waves *of, ptrdiff_t wave, vec x)
{
    return vfma(vbroadcast(of->frequency[wave]), x, vbroadcast(of->phase[wave]));
}

/* operand: 0 x (rows, columns), 1 frequency (columns, waves), 2 phase (columns, waves), 3 kernel
 * (columns, waves, units), 4 bias (columns, units), 5 y (rows, columns, units);
 * size: 0 columns, 1 waves, 2 units.
 * y = sum over waves of cos(2 pi (frequency x + phase)) kernel, + bias. Scratch holds the cosines of
 * a vector of rows: waves vectors. */
static int kernel_periodic_embedding(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *bias = call->operand[4];
    real *y = call->operand[5], *cosines = call->scratch;
    ptrdiff_t columns = call->size[0], width = columns * call->size[2], begin, end;
    share(call->rows, LANES, worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row += LANES) {
        ptrdiff_t rows = end - row < LANES ? end - row : LANES;
        for (ptrdiff_t column = 0; column < columns; column++) {
            waves of = waves_of(call, column);
            vec value = vgather_column(x + row * columns + column, rows, columns);
            for (ptrdiff_t wave = 0; wave < of.count; wave++)
                vstore(cosines + wave * LANES, vcos_turns(turns(&of, wave, value)));
            for (ptrdiff_t unit = 0; unit < of.units; unit++) {
                vec sum = vbroadcast(bias[column * of.units + unit]);
                for (ptrdiff_t wave = 0; wave < of.count; wave++)
                    sum = vfma(vload(cosines + wave * LANES),
                               vbroadcast(of.kernel[wave * of.units + unit]), sum);
                vscatter_column(y + row * width + column * of.units + unit, sum, rows, width);
            }
        }
    }
    return FASTNN_OK;
}

/* The derivative by the turns of one wave: -2 pi sin(2 pi turns) times the gradients of the units,
 * vectors that lie behind one another, summed with the kernel. */
ALWAYS_INLINE vec turns_gradient(const waves *of, ptrdiff_t wave, vec at, const real *grads)
{
    vec sum = vbroadcast(0);
    for (ptrdiff_t unit = 0; unit < of->units; unit++)
        sum = vfma(vload(grads + unit * LANES), vbroadcast(of->kernel[wave * of->units + unit]), sum);
    return vbroadcast((real)-6.283185307179586476925) * vsin_turns(at) * sum;
}
/* The gradients of a column's units for up to LANES rows, as vectors behind one another. */
ALWAYS_INLINE void gather_units(const real *grad, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t units,
                                real *out)
{
    for (ptrdiff_t unit = 0; unit < units; unit++)
        vstore(out + unit * LANES, vgather_column(grad + unit, rows, width));
}

/* operand: 0 to 3 as above, 4 dy (rows, columns, units), 5 dfrequency, 6 dphase, 7 dkernel; size: as
 * above. Scratch holds units vectors, and units + 2 vectors of sums for each wave. */
static int kernel_periodic_embedding_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *dy = call->operand[4];
    ptrdiff_t columns = call->size[0], width = columns * call->size[2], begin, end;
    share(columns, 1, worker, workers, &begin, &end);
    for (ptrdiff_t column = begin; column < end; column++) {
        waves of = waves_of(call, column);
        real *grads = call->scratch, *sums = grads + of.units * LANES;
        ptrdiff_t each = (of.units + 2) * LANES;
        memset(sums, 0, (size_t)(of.count * each) * sizeof(real));
        for (ptrdiff_t row = 0; row < call->rows; row += LANES) {
            ptrdiff_t rows = call->rows - row < LANES ? call->rows - row : LANES;
            vec value = vgather_column(x + row * columns + column, rows, columns);
            gather_units(dy + row * width + column * of.units, rows, width, of.units, grads);
            for (ptrdiff_t wave = 0; wave < of.count; wave++) {
                real *sum = sums + wave * each;
                vec at = turns(&of, wave, value), cosine = vcos_turns(at);
                vec by_turns = turns_gradient(&of, wave, at, grads);
                if (rows < LANES) by_turns = vonly(by_turns, rows); /* an infinite kernel times 0 */
                vstore(sum, vfma(by_turns, value, vload(sum)));
                vstore(sum + LANES, vload(sum + LANES) + by_turns);
                for (ptrdiff_t unit = 0; unit < of.units; unit++) {
                    real *at_unit = sum + (2 + unit) * LANES;
                    vstore(at_unit, vfma(cosine, vload(grads + unit * LANES), vload(at_unit)));
                }
            }
        }
        for (ptrdiff_t wave = 0; wave < of.count; wave++) {
            const real *sum = sums + wave * each;
            ptrdiff_t place = column * of.count + wave;
            ((real *)call->operand[5])[place] = vsum(vload(sum));
            ((real *)call->operand[6])[place] = vsum(vload(sum + LANES));
            for (ptrdiff_t unit = 0; unit < of.units; unit++)
                ((real *)call->operand[7])[place * of.units + unit] =
                    vsum(vload(sum + (2 + unit) * LANES));
        }
    }
    return FASTNN_OK;
}

/* operand: 0 to 4 as above, 5 dx (rows, columns); size: as above. Scratch holds units vectors. */
static int kernel_periodic_embedding_input_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *dy = call->operand[4];
    real *dx = call->operand[5], *grads = call->scratch;
    ptrdiff_t columns = call->size[0], width = columns * call->size[2], begin, end;
    share(call->rows, LANES, worker, workers, &begin, &end);
    for (ptrdiff_t row = begin; row < end; row += LANES) {
        ptrdiff_t rows = end - row < LANES ? end - row : LANES;
        for (ptrdiff_t column = 0; column < columns; column++) {
            waves of = waves_of(call, column);
            vec value = vgather_column(x + row * columns + column, rows, columns);
            vec sum = vbroadcast(0);
            gather_units(dy + row * width + column * of.units, rows, width, of.units, grads);
            for (ptrdiff_t wave = 0; wave < of.count; wave++) {
                vec by_turns = turns_gradient(&of, wave, turns(&of, wave, value), grads);
                sum = vfma(by_turns, vbroadcast(of.frequency[wave]), sum);
            }
            vscatter_column(dx + row * columns + column, sum, rows, columns);
        }
    }
    return FASTNN_OK;
}

/* The share of a bin that x has passed: 0 before it, 1 behind it, but the first bin goes on below its
 * edge and the last above it. A bin without width is passed at once. NaN remains. The edges ascend, so
 * behind a bin of which nothing is passed there is none of which something is. */
ALWAYS_INLINE real bin_share(real x, const real *edge, ptrdiff_t bin, ptrdiff_t bins)
{
    real width = edge[bin + 1] - edge[bin];
    real part = width > 0 ? (x - edge[bin]) / width : x < edge[bin] ? 0 : x >= edge[bin] ? 1 : x;
    if (bin > 0 && part < 0) part = 0;
    if (bin < bins - 1 && part > 1) part = 1;
    return part;
}

/* operand: 0 x (rows, columns), 1 edges (columns, bins + 1), ascending, 2 kernel (columns, bins,
 * units), 3 bias (columns, units), 4 y (rows, columns, units); size: 0 columns, 1 bins, 2 units.
 * y = sum over bins of bin_share(x) kernel, + bias. */
static int kernel_piecewise_embedding(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *edges = call->operand[1], *kernel = call->operand[2];
    const real *bias = call->operand[3];
    ptrdiff_t columns = call->size[0], bins = call->size[1], units = call->size[2], begin, end;
    share(call->rows, 1 + GRAIN / (columns * units + 1), worker, workers, &begin, &end);
    for (ptrdiff_t i = begin * columns; i < end * columns; i++) {
        ptrdiff_t column = i % columns;
        const real *edge = edges + column * (bins + 1);
        real *y = (real *)call->operand[4] + i * units;
        if (units) memcpy(y, bias + column * units, (size_t)units * sizeof(real));
        for (ptrdiff_t bin = 0; bin < bins; bin++) {
            real part = bin_share(x[i], edge, bin, bins);
            if (part == 0) break;
            add_multiple(part, kernel + (column * bins + bin) * units, y, units);
        }
    }
    return FASTNN_OK;
}

/* operand: 0 x and 1 edges as above, 2 dy (rows, columns, units), 3 dkernel; size: as above. */
static int kernel_piecewise_embedding_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *edges = call->operand[1], *dy = call->operand[2];
    ptrdiff_t columns = call->size[0], bins = call->size[1], units = call->size[2], begin, end;
    share(columns, 1, worker, workers, &begin, &end);
    for (ptrdiff_t column = begin; column < end; column++) {
        real *dkernel = (real *)call->operand[3] + column * bins * units;
        if (units) memset(dkernel, 0, (size_t)(bins * units) * sizeof(real));
        for (ptrdiff_t row = 0; row < call->rows; row++) {
            ptrdiff_t i = row * columns + column;
            for (ptrdiff_t bin = 0; bin < bins; bin++) {
                real part = bin_share(x[i], edges + column * (bins + 1), bin, bins);
                if (part == 0) break;
                add_multiple(part, dy + i * units, dkernel + bin * units, units);
            }
        }
    }
    return FASTNN_OK;
}

/* operand: 0 x and 1 edges as above, 2 kernel, 3 dy, 4 dx (rows, columns); size: as above. The slope
 * at an edge is that of the bin above it. */
static int kernel_piecewise_embedding_input_gradient(const fastnn_call *call, int worker, int workers)
{
    const real *x = call->operand[0], *edges = call->operand[1], *kernel = call->operand[2];
    const real *dy = call->operand[3];
    real *dx = call->operand[4];
    ptrdiff_t columns = call->size[0], bins = call->size[1], units = call->size[2], begin, end;
    share(call->rows, 1 + GRAIN / (columns * units + 1), worker, workers, &begin, &end);
    for (ptrdiff_t i = begin * columns; i < end * columns; i++) {
        ptrdiff_t column = i % columns;
        const real *edge = edges + column * (bins + 1);
        dx[i] = x[i] == x[i] ? 0 : x[i]; /* NaN remains */
        for (ptrdiff_t bin = 0; bin < bins; bin++) {
            real width = edge[bin + 1] - edge[bin];
            int is_above = bin == 0 || x[i] >= edge[bin];
            int is_below = bin == bins - 1 || x[i] < edge[bin + 1];
            if (!(width > 0 && is_above && is_below)) continue;
            const real *of_bin = kernel + (column * bins + bin) * units;
            real sum = 0;
            for (ptrdiff_t unit = 0; unit < units; unit++) sum += dy[i * units + unit] * of_bin[unit];
            dx[i] += sum / width;
        }
    }
    return FASTNN_OK;
}
