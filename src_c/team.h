/* team.h: whether this process can open a team of workers, and what OpenMP has been told of teams.
 *
 * OpenMP opens the teams, and is not asked for one that it could not open: it hangs in a forked
 * child, whose threads are gone, and it ends the process where a thread cannot be started.
 */
#ifndef FASTNN_TEAM_H
#define FASTNN_TEAM_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(_OPENMP) && !defined(FASTNN_NO_OPENMP)
#include <omp.h>
#define FASTNN_OPENMP 1
static inline int fastnn_team_size(void) { return omp_get_num_threads(); }
static inline int fastnn_openmp_threads(void) { return omp_get_max_threads(); }
static inline int fastnn_openmp_processors(void) { return omp_get_num_procs(); }
static inline int fastnn_openmp_binds(void)
{
    return omp_get_proc_bind() != omp_proc_bind_false || omp_get_num_places() > 0;
}
#else
#define FASTNN_OPENMP 0
static inline int fastnn_team_size(void) { return 1; }
static inline int fastnn_openmp_threads(void) { return 1; }
static inline int fastnn_openmp_processors(void) { return 1; }
static inline int fastnn_openmp_binds(void) { return 0; }
#endif

/* How many forks led to this process, since fastnn was imported. */
static int64_t fastnn_forks;

/* What threads share; they may read and set it at once, since not every Python has a GIL. */
static atomic_int fastnn_threads_are_lacking; /* one could not be started */
static atomic_int fastnn_known_default;       /* fastnn_openmp_default; 0 until it was asked */

#if !defined(_WIN32)
#include <pthread.h>

static void fastnn_count_fork(void) { fastnn_forks++; }

/* Counts forks made in C too, such as those of an application server, which run no hook of Python. */
static inline void fastnn_watch_forks(void) { (void)pthread_atfork(NULL, NULL, fastnn_count_fork); }
#else
static inline void fastnn_watch_forks(void) {}
#endif

#if FASTNN_OPENMP && !defined(_WIN32)
#include <sched.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* The size of the last team that the calling thread opened: OpenMP keeps its threads. */
static _Thread_local int fastnn_opened = 1;

struct fastnn_probe {
    pthread_mutex_t gate; /* closed until all threads have been started */
    pthread_t thread;
    long number;
    int openmp_threads;
};

static void *fastnn_probe_thread(void *argument)
{
    struct fastnn_probe *probe = argument;
#if defined(__linux__)
    probe->number = syscall(SYS_gettid);
#endif
    probe->openmp_threads = fastnn_openmp_threads();
    pthread_mutex_lock(&probe->gate);
    pthread_mutex_unlock(&probe->gate);
    return NULL;
}

/* Whether `count` more threads can exist at once. They have ended when this returns, also for the
 * system, which counts a thread for a moment after it has been joined. */
static inline int fastnn_can_start(int count)
{
    struct fastnn_probe *probes = calloc((size_t)count, sizeof *probes);
    int started = 0;
    if (!probes) return 0;
    for (; started < count; started++) {
        struct fastnn_probe *probe = probes + started;
        pthread_mutex_init(&probe->gate, NULL);
        pthread_mutex_lock(&probe->gate);
        if (pthread_create(&probe->thread, NULL, fastnn_probe_thread, probe)) {
            pthread_mutex_unlock(&probe->gate);
            pthread_mutex_destroy(&probe->gate);
            break;
        }
    }
    for (int i = 0; i < started; i++) pthread_mutex_unlock(&probes[i].gate);
    for (int i = 0; i < started; i++) {
        pthread_join(probes[i].thread, NULL);
        pthread_mutex_destroy(&probes[i].gate);
#if defined(__linux__)
        for (int tries = 0; tries < 10000; tries++) {
            if (syscall(SYS_tgkill, getpid(), probes[i].number, 0)) break;
            sched_yield();
        }
#endif
    }
    free(probes);
    return started == count;
}

/* How many workers OpenMP gives to a thread that nobody has told another number. */
static inline int fastnn_openmp_default(void)
{
    struct fastnn_probe probe = {.gate = PTHREAD_MUTEX_INITIALIZER};
    if (pthread_create(&probe.thread, NULL, fastnn_probe_thread, &probe))
        return fastnn_openmp_threads();
    pthread_join(probe.thread, NULL);
    return probe.openmp_threads;
}
#else
static int fastnn_opened = 1;
static inline int fastnn_can_start(int count) { return (void)count, 1; }
static inline int fastnn_openmp_default(void) { return fastnn_openmp_threads(); }
#endif

#endif
