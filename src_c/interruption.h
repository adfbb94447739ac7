/* interruption.h: how a long step notices that a user wants it to end.
 *
 * Python's own handler of SIGINT or SIGTERM only makes a note, and what the user wants to happen is
 * run by the main thread once it is back in the interpreter. While the main thread makes a long
 * step, these signals therefore raise a flag as well, which its workers look at between pieces of
 * work. Reading a flag costs nothing and needs no GIL.
 *
 * Considered and rejected: asking Python (PyErr_CheckSignals) from within a step. It needs the GIL,
 * while other workers wait, and would run a user's handler in the middle of a step.
 */
#ifndef FASTNN_INTERRUPTION_H
#define FASTNN_INTERRUPTION_H

#include <stdatomic.h>
#include <stddef.h>

/* Where the workers of a team leave: each that sees the flag notes the barrier in front of it
 * before it arrives there, so that behind the barrier all of them read the same. */
typedef struct fastnn_leaving {
    atomic_ptrdiff_t place;
} fastnn_leaving;

static inline void fastnn_leave_at(fastnn_leaving *leaving, ptrdiff_t place)
{
    atomic_store_explicit(&leaving->place, place, memory_order_relaxed);
}

static inline int fastnn_leaves_at(fastnn_leaving *leaving, ptrdiff_t place)
{
    return atomic_load_explicit(&leaving->place, memory_order_relaxed) == place;
}

#if !defined(_WIN32)
#include <signal.h>

enum { FASTNN_SIGNALS = 2 };
static const int fastnn_signals[FASTNN_SIGNALS] = {SIGINT, SIGTERM};
static struct sigaction fastnn_former[FASTNN_SIGNALS];
static atomic_int fastnn_flag;

static void fastnn_on_signal(int number, siginfo_t *info, void *context)
{
    const struct sigaction *former = &fastnn_former[number == SIGTERM];
    atomic_store_explicit(&fastnn_flag, 1, memory_order_relaxed);
    if (former->sa_flags & SA_SIGINFO) former->sa_sigaction(number, info, context);
    else former->sa_handler(number);
}

/* Between these two calls, which the main thread alone makes, a signal that has a handler raises
 * the flag and then runs that handler. */
static void fastnn_listen_begin(void)
{
    atomic_store_explicit(&fastnn_flag, 0, memory_order_relaxed);
    for (int i = 0; i < FASTNN_SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(fastnn_signals[i], NULL, &now)) continue;
        int has_info = now.sa_flags & SA_SIGINFO;
        if (has_info && now.sa_sigaction == fastnn_on_signal) continue; /* forked while listening */
        if (!has_info && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)) continue;
        fastnn_former[i] = now;
        now.sa_sigaction = fastnn_on_signal;
        now.sa_flags |= SA_SIGINFO;
        (void)sigaction(fastnn_signals[i], &now, NULL);
    }
}

static void fastnn_listen_end(void)
{
    for (int i = 0; i < FASTNN_SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(fastnn_signals[i], NULL, &now)) continue;
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == fastnn_on_signal)
            (void)sigaction(fastnn_signals[i], &fastnn_former[i], NULL);
    }
}

static const atomic_int *fastnn_given_up(void) { return &fastnn_flag; }

static inline int fastnn_is_interrupted(void)
{
    return atomic_load_explicit(&fastnn_flag, memory_order_relaxed);
}
#else
static void fastnn_listen_begin(void) {}
static void fastnn_listen_end(void) {}
static const atomic_int *fastnn_given_up(void) { return NULL; }
static inline int fastnn_is_interrupted(void) { return 0; }
#endif

#endif
