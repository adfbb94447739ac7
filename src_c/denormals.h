/* denormals.h: treats denormal numbers as zero while the engine runs.
 *
 * The optimizer's moments of a dead unit shrink by a constant factor per step until they are
 * denormal; from then on every multiplication takes a hundred cycles more. The mode belongs to
 * the thread: each worker sets it when a slice begins and restores it at the end.
 */
#ifndef FASTNN_DENORMALS_H
#define FASTNN_DENORMALS_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
enum { FLUSH_DENORMALS = 0x8040 }; /* flush results to zero, treat denormal operands as zero */
static inline uint64_t fastnn_float_mode(void) { return _mm_getcsr(); }
static inline void fastnn_set_float_mode(uint64_t mode) { _mm_setcsr((unsigned)mode); }
#elif defined(__aarch64__)
enum { FLUSH_DENORMALS = 1 << 24 };
static inline uint64_t fastnn_float_mode(void)
{
    uint64_t mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void fastnn_set_float_mode(uint64_t mode)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(mode));
}
#else
enum { FLUSH_DENORMALS = 0 };
static inline uint64_t fastnn_float_mode(void) { return 0; }
static inline void fastnn_set_float_mode(uint64_t mode) { (void)mode; }
#endif

#endif
