/* transpose.h: out(i, j) = in(j, i), in registers where the size allows.
 *
 * A block of LANES x LANES elements is gathered in pieces of 128 bits, which the load units
 * place at no extra cost, so that only the exchange within a piece is left to the one port that
 * shuffles: half the work of shuffling whole vectors.
 */
#ifndef FASTNN_TRANSPOSE_H
#define FASTNN_TRANSPOSE_H

#include "simd.h"

#if LANES > 1
enum { PIECE = 128 / REAL_BITS, PIECES = LANES / PIECE };

/* The pieces at in, in + apart, in + 2 apart, ..., combined into one vector. */
ALWAYS_INLINE vec vload_pieces(const real *in, ptrdiff_t apart)
{
#if VECTOR_BYTES == 64 && REAL_BITS == 32
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(in));
    v = _mm512_mask_broadcast_f32x4(v, 0x00F0, _mm_loadu_ps(in + apart));
    v = _mm512_mask_broadcast_f32x4(v, 0x0F00, _mm_loadu_ps(in + 2 * apart));
    return (vec)_mm512_mask_broadcast_f32x4(v, 0xF000, _mm_loadu_ps(in + 3 * apart));
#elif VECTOR_BYTES == 64
    __m512d v = _mm512_castpd128_pd512(_mm_loadu_pd(in));
    v = _mm512_mask_broadcast_f64x2(v, 0x0C, _mm_loadu_pd(in + apart));
    v = _mm512_mask_broadcast_f64x2(v, 0x30, _mm_loadu_pd(in + 2 * apart));
    return (vec)_mm512_mask_broadcast_f64x2(v, 0xC0, _mm_loadu_pd(in + 3 * apart));
#elif VECTOR_BYTES == 32 && REAL_BITS == 32
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(in));
    return (vec)_mm256_insertf128_ps(v, _mm_loadu_ps(in + apart), 1);
#elif VECTOR_BYTES == 32
    __m256d v = _mm256_castpd128_pd256(_mm_loadu_pd(in));
    return (vec)_mm256_insertf128_pd(v, _mm_loadu_pd(in + apart), 1);
#else
    vec v;
    UNROLL for (int piece = 0; piece < PIECES; piece++)
        memcpy((char *)&v + 16 * piece, in + piece * apart, 16);
    return v;
#endif
}

/* Lanes (a0 b0 a1 b1 ...) of the lower and of the upper half of each piece; with four lanes per
 * piece, the same with pairs. */
#if REAL_BITS == 32 && LANES == 16
#define EACH_PIECE(a, b, c, d) a, b, c, d, a + 4, b + 4, c + 4, d + 4, \
    a + 8, b + 8, c + 8, d + 8, a + 12, b + 12, c + 12, d + 12
#elif REAL_BITS == 32 && LANES == 8
#define EACH_PIECE(a, b, c, d) a, b, c, d, a + 4, b + 4, c + 4, d + 4
#elif REAL_BITS == 32
#define EACH_PIECE(a, b, c, d) a, b, c, d
#elif LANES == 8
#define EACH_PIECE(a, b) a, b, a + 2, b + 2, a + 4, b + 4, a + 6, b + 6
#elif LANES == 4
#define EACH_PIECE(a, b) a, b, a + 2, b + 2
#else
#define EACH_PIECE(a, b) a, b
#endif

ALWAYS_INLINE void transpose_block(const real *in, ptrdiff_t in_row, real *out, ptrdiff_t out_row)
{
    UNROLL for (int group = 0; group < PIECES; group++) {
        vec x[PIECE];
        UNROLL for (int i = 0; i < PIECE; i++)
            x[i] = vload_pieces(in + i * in_row + group * PIECE, PIECE * in_row);
        real *to = out + group * PIECE * out_row;
#if REAL_BITS == 32
        vec low0 = __builtin_shufflevector(x[0], x[1], EACH_PIECE(0, LANES, 1, LANES + 1));
        vec high0 = __builtin_shufflevector(x[0], x[1], EACH_PIECE(2, LANES + 2, 3, LANES + 3));
        vec low1 = __builtin_shufflevector(x[2], x[3], EACH_PIECE(0, LANES, 1, LANES + 1));
        vec high1 = __builtin_shufflevector(x[2], x[3], EACH_PIECE(2, LANES + 2, 3, LANES + 3));
        vstore(to, __builtin_shufflevector(low0, low1, EACH_PIECE(0, 1, LANES, LANES + 1)));
        vstore(to + out_row,
               __builtin_shufflevector(low0, low1, EACH_PIECE(2, 3, LANES + 2, LANES + 3)));
        vstore(to + 2 * out_row,
               __builtin_shufflevector(high0, high1, EACH_PIECE(0, 1, LANES, LANES + 1)));
        vstore(to + 3 * out_row,
               __builtin_shufflevector(high0, high1, EACH_PIECE(2, 3, LANES + 2, LANES + 3)));
#else
        vstore(to, __builtin_shufflevector(x[0], x[1], EACH_PIECE(0, LANES)));
        vstore(to + out_row, __builtin_shufflevector(x[0], x[1], EACH_PIECE(1, LANES + 1)));
#endif
    }
}
#endif

/* out(i, j) = in(j, i) for i < rows, j < columns, of any size; a ragged block is copied through
 * the stack, or element by element if it is narrow. */
static void transpose(const real *in, ptrdiff_t in_row, ptrdiff_t rows, ptrdiff_t columns,
                      real *out, ptrdiff_t out_row)
{
#if LANES > 1
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t j = 0; j < columns; j += LANES) {
            const real *from = in + j * in_row + i;
            real *to = out + i * out_row + j, whole[LANES * LANES], turned[LANES * LANES];
            ptrdiff_t down = rows - i, across = columns - j;
            if (down >= LANES && across >= LANES) {
                transpose_block(from, in_row, to, out_row);
                continue;
            }
            down = down < LANES ? down : LANES, across = across < LANES ? across : LANES;
            if (4 * across <= LANES || 4 * down <= LANES) {
                for (ptrdiff_t row = 0; row < down; row++)
                    for (ptrdiff_t column = 0; column < across; column++)
                        to[row * out_row + column] = from[column * in_row + row];
                continue;
            }
            for (ptrdiff_t row = 0; row < LANES; row++)
                vstore(whole + row * LANES, row < across ? vload_first(from + row * in_row, down)
                                                         : vbroadcast(0));
            transpose_block(whole, LANES, turned, LANES);
            for (ptrdiff_t row = 0; row < down; row++)
                vstore_first(to + row * out_row, vload(turned + row * LANES), across);
        }
#else
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) out[i * out_row + j] = in[j * in_row + i];
#endif
}

#endif
