/* barrier.h: where the engine's team of workers meets between two ops.
 *
 * A step of a small network is a dozen ops of a microsecond each, so the cost of the barrier
 * matters: this one takes a quarter of OpenMP's time, because a worker spins on one cache line. If
 * there are more workers than processors, spinning would starve the worker being waited for;
 * after a while a worker therefore yields its time slice each time it checks.
 */
#ifndef FASTNN_BARRIER_H
#define FASTNN_BARRIER_H

#include <stdatomic.h>

#if defined(_WIN32)
#include <windows.h>
#define YIELD() SwitchToThread()
#else
#include <sched.h>
#define YIELD() sched_yield()
#endif

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ __volatile__("yield")
#else
#define PAUSE() ((void)0)
#endif

/* About 15 microseconds: longer than the ops of a small network, far shorter than a scheduler's
 * time slice, during which the worker being waited for would otherwise stay off its processor. */
enum { BARRIER_SPINS = 256 };

typedef struct fastnn_barrier {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase;
} fastnn_barrier;

static inline void fastnn_barrier_init(fastnn_barrier *barrier)
{
    atomic_init(&barrier->arrived, 0);
    atomic_init(&barrier->phase, 0);
}

/* Returns when all `workers` have called it. All that they wrote before is then visible to all. */
static inline void fastnn_barrier_wait(fastnn_barrier *barrier, int workers)
{
    if (workers == 1) return;
    unsigned phase = atomic_load_explicit(&barrier->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == workers - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->phase, phase + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&barrier->phase, memory_order_acquire) == phase; spins++) {
        if (spins < BARRIER_SPINS) PAUSE();
        else YIELD();
    }
}

#endif
