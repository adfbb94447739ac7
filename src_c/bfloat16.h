/* bfloat16.h: operands of products in bfloat16, whose products are summed in float32.
 *
 * bfloat16 is the upper half of a float32, rounded to nearest even. Two steps of k are a pair, and a
 * sum takes the second of a pair first:
 *
 *     sum = fma(a[k], b[k], fma(a[k + 1], b[k + 1], sum))
 *
 * That is what VDPBF16PS of AVX512-BF16 computes (Intel's manual leaves the order open; a test
 * compares the bits), with denormals taken for zero. Operands are always packed, in one of two forms:
 *
 *   native    one unit of 32 bits holds a pair, the first in its lower half. Tiles are those of
 *             tile.h with VDPBF16PS in place of the multiply-add;
 *   emulated  a pair is two float32 numbers that have been rounded, the second first. Tiles are
 *             those of float32, and their chain of vfma is the sum above.
 *
 * A product of two bfloat16 numbers is exact in float32 unless it overflows, so the bits are the same
 * in every build, also in those without a fused multiply-add. An odd k is filled up with zeros.
 */
#ifndef FASTNN_BFLOAT16_H
#define FASTNN_BFLOAT16_H

#include "fastnn.h"
#include "tile.h"
#include "transpose.h"

/* Elements as units, `depth` of them along k. */
static ptrdiff_t bfloat16_length(int form, ptrdiff_t depth)
{
    ptrdiff_t pairs = (depth + 1) / 2;
    return form == FASTNN_BFLOAT16_NATIVE ? pairs : 2 * pairs;
}

#if LANES == 1
#define EXCHANGED(v) (v)
#elif LANES == 4
#define EXCHANGED(v) __builtin_shufflevector(v, v, 1, 0, 3, 2)
#elif LANES == 8
#define EXCHANGED(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define EXCHANGED(v) \
    __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#endif

/* Rounds to bfloat16 as VCVTNE2PS2BF16 does: NaN becomes quiet, denormals become zero. */
ALWAYS_INLINE vec vround_bfloat16(vec a)
{
    const ivec upper = (ivec){0} | (sint)0xFFFF0000, quiet = (ivec){0} | 0x00400000;
    const ivec sign = (ivec){0} | SIGN_BIT;
    uvec bits = (uvec)vbits(a);
    vec rounded = vfrom_bits((ivec)(bits + 0x7FFF + ((bits >> 16) & 1)) & upper);
    rounded = vselect(vis_nan(a), vfrom_bits((vbits(a) | quiet) & upper), rounded);
    return vselect(vless(vabs(a), vbroadcast(0x1p-126f)), vfrom_bits(vbits(a) & sign), rounded);
}

/* Packs one row of an operand whose k is contiguous: from[0:depth] as units. */
static void pack_bfloat16_row(int form, const real *from, ptrdiff_t depth, real *to)
{
    ptrdiff_t k = 0;
#if NATIVE_BFLOAT16
    if (form == FASTNN_BFLOAT16_NATIVE) {
        for (; k + 2 * LANES <= depth; k += 2 * LANES, to += LANES)
            vstore(to, (vec)vround_both(vload(from + k), vload(from + k + LANES)));
        if (k < depth) {
            ptrdiff_t left = depth - k, high = left > LANES ? left - LANES : 0;
            vec units = (vec)vround_both(vload_first(from + k, left - high),
                                         vload_first(from + k + LANES, high));
            vstore_first(to, units, (left + 1) / 2);
        }
        return;
    }
#endif
    (void)form;
#if LANES == 1
    for (; k < depth; k += 2, to += 2) {
        to[0] = k + 1 < depth ? vround_bfloat16(from[k + 1]) : 0;
        to[1] = vround_bfloat16(from[k]);
    }
#else
    for (; k + LANES <= depth; k += LANES) vstore(to + k, EXCHANGED(vround_bfloat16(vload(from + k))));
    if (k < depth) {
        vec last = vround_bfloat16(vload_first(from + k, depth - k));
        vstore_first(to + k, EXCHANGED(last), (depth - k + 1) / 2 * 2);
    }
#endif
}

/* Packs rows of an operand whose k is contiguous, `length` units apart. */
static void pack_bfloat16_rows(int form, const real *from, ptrdiff_t from_row, ptrdiff_t rows,
                               ptrdiff_t depth, real *to, ptrdiff_t length)
{
    enum { AHEAD = 4, LINE = 64 / (int)sizeof(real) };
    for (ptrdiff_t row = 0; row < rows; row++, from += from_row, to += length) {
        for (ptrdiff_t k = 0; row + AHEAD < rows && k < depth; k += LINE)
            __builtin_prefetch(from + AHEAD * from_row + k, 0, 2);
        pack_bfloat16_row(form, from, depth, to);
    }
}

/* Packs one pair of rows of an operand whose columns are contiguous: from[0:2, 0:columns], or its
 * first row alone, as one or two rows of `width` units, filled up with zeros. */
ALWAYS_INLINE void pack_bfloat16_pair(const int IS_NATIVE, const real *first, const real *second,
                                      ptrdiff_t columns, real *to, ptrdiff_t width)
{
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        ptrdiff_t count = columns - j < LANES ? columns - j : LANES;
        ptrdiff_t stored = width - j < LANES ? width - j : LANES;
        if (count < 0) count = 0;
        vec a = vload_part(first + j, count), b = second ? vload_part(second + j, count) : vbroadcast(0);
        (void)IS_NATIVE;
#if NATIVE_BFLOAT16
        if (IS_NATIVE) {
            vstore_part(to + j, vpairs(a, b), stored);
            continue;
        }
#endif
        vstore_part(to + j, vround_bfloat16(b), stored);
        vstore_part(to + width + j, vround_bfloat16(a), stored);
    }
}

/* Packs from[0:depth, 0:columns]: a panel of B, or a slab of A. */
static void pack_bfloat16_pairs(int form, const real *from, ptrdiff_t from_row, ptrdiff_t depth,
                                ptrdiff_t columns, real *to, ptrdiff_t width)
{
    for (ptrdiff_t k = 0; k < depth; k += 2, from += 2 * from_row) {
        const real *second = k + 1 < depth ? from + from_row : NULL;
#if NATIVE_BFLOAT16
        if (form == FASTNN_BFLOAT16_NATIVE) {
            if (columns == PANEL && width == PANEL && second)
                UNROLL for (int v = 0; v < PANEL_VECTORS; v++) {
                    /* As in float32, the rows are pages apart. */
                    __builtin_prefetch(from + PACK_AHEAD * from_row + v * LANES, 0, 2);
                    __builtin_prefetch(second + PACK_AHEAD * from_row + v * LANES, 0, 2);
                    vstore(to + v * LANES, vpairs(vload(from + v * LANES), vload(second + v * LANES)));
                }
            else pack_bfloat16_pair(1, from, second, columns, to, width);
            to += width;
            continue;
        }
#endif
        pack_bfloat16_pair(0, from, second, columns, to, width);
        to += 2 * width;
    }
    (void)form;
}

/* Packs a panel of B whose k is contiguous: from[0:depth, 0:columns] with from_column between its
 * columns, transposed by way of `TURNED` units of each column at a time. */
static void pack_bfloat16_turned(int form, const real *from, ptrdiff_t from_column, ptrdiff_t depth,
                                 ptrdiff_t columns, real *to, ptrdiff_t width)
{
    enum { TURNED = 64 };
    real rows[PANEL * TURNED];
    ptrdiff_t step = form == FASTNN_BFLOAT16_NATIVE ? 2 * TURNED : TURNED;
    for (ptrdiff_t k = 0; k < depth; k += step) {
        ptrdiff_t left = depth - k < step ? depth - k : step, units = bfloat16_length(form, left);
        pack_bfloat16_rows(form, from + k, from_column, columns, left, rows, TURNED);
        transpose(rows, TURNED, units, columns, to, width);
        if (columns < width)
            for (ptrdiff_t unit = 0; unit < units; unit++)
                memset(to + unit * width + columns, 0, (size_t)(width - columns) * sizeof(real));
        to += units * width;
    }
}

#endif
