/* affinity.h: keeps the workers of a team off the processor of the thread that opens it.
 *
 * The thread that opens a team wakes its sleeping workers. Where the system considers no other
 * processor idle, a worker wakes on the same one; this happens in virtual machines, whose halted
 * processors appear to be in use. Both threads then share that processor while they meet at
 * barriers, which take milliseconds each, until the system moves one of them. Therefore workers
 * that sleep are woken on any processor but that one, and may run there until the team ends. Then
 * each of them may use every processor again, since other libraries share OpenMP's threads.
 *
 * Only on Linux, and not if OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY place the threads.
 */
#ifndef FASTNN_SPREAD_H
#define FASTNN_SPREAD_H

#if defined(__linux__)
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FASTNN_SPREAD_MOST = 64 };

/* A team while it is open. */
typedef struct fastnn_spread {
    cpu_set_t allowed;              /* the processors of the thread that opened it */
    int told;                       /* workers below this number have been kept off one of them */
    int thread[FASTNN_SPREAD_MOST]; /* numbers of the workers' threads */
} fastnn_spread;

/* The workers of the last team that a thread opened, and when it ended. */
static _Thread_local struct {
    int workers;
    int thread[FASTNN_SPREAD_MOST];
    struct timespec ended;
} fastnn_spread_last;

/* Workers spin for longer than this before they sleep, in nanoseconds, so that a team that follows
 * at once wakes nobody; negative if threads are not to be placed here. */
static inline long fastnn_spread_awake(void)
{
    static long awake = -2;
    if (awake == -2) {
        if (getenv("OMP_PROC_BIND") || getenv("OMP_PLACES") || getenv("GOMP_CPU_AFFINITY")) awake = -1;
        else if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) awake = 0;
        else awake = 20000;
    }
    return awake;
}

/* Called before a team is opened: keeps its workers, if they sleep, off this thread's processor. */
static inline void fastnn_spread_begin(fastnn_spread *spread, int workers)
{
    long awake = fastnn_spread_awake();
    int known = fastnn_spread_last.workers < workers ? fastnn_spread_last.workers : workers;
    int here = sched_getcpu();
    struct timespec now;
    spread->told = 0;
    if (awake < 0 || known < 2 || here < 0 || here >= CPU_SETSIZE) return;
    if (awake && !clock_gettime(CLOCK_MONOTONIC, &now) && now.tv_sec == fastnn_spread_last.ended.tv_sec
        && now.tv_nsec - fastnn_spread_last.ended.tv_nsec < awake) return;
    if (sched_getaffinity(0, sizeof spread->allowed, &spread->allowed)) return;
    if (CPU_COUNT(&spread->allowed) < workers) return;
    cpu_set_t others = spread->allowed;
    CPU_CLR(here, &others);
    for (int worker = 1; worker < known; worker++) {
        int thread = fastnn_spread_last.thread[worker];
        if (thread && !syscall(SYS_tgkill, getpid(), thread, 0)) /* it is still one of ours */
            (void)sched_setaffinity(thread, sizeof others, &others);
    }
    spread->told = known;
}

/* Called by each worker at the beginning: tells the number of its thread. */
static inline void fastnn_spread_enter(fastnn_spread *spread, int worker)
{
    static _Thread_local int number;
    if (worker < 1 || worker >= FASTNN_SPREAD_MOST) return;
    if (!number) number = (int)syscall(SYS_gettid);
    spread->thread[worker] = number;
}

/* Called by each worker at the end: it may run anywhere again. */
static inline void fastnn_spread_leave(const fastnn_spread *spread, int worker)
{
    if (0 < worker && worker < spread->told)
        (void)sched_setaffinity(0, sizeof spread->allowed, &spread->allowed);
}

/* Called after a team of `workers`: records who they were. */
static inline void fastnn_spread_end(const fastnn_spread *spread, int workers)
{
    if (workers > FASTNN_SPREAD_MOST) workers = FASTNN_SPREAD_MOST;
    for (int worker = 1; worker < spread->told; worker++) /* who was told, but not woken */
        if (fastnn_spread_last.thread[worker] != spread->thread[worker])
            (void)sched_setaffinity(fastnn_spread_last.thread[worker], sizeof spread->allowed,
                &spread->allowed);
    for (int worker = 1; worker < workers; worker++)
        fastnn_spread_last.thread[worker] = spread->thread[worker];
    fastnn_spread_last.workers = workers;
    (void)clock_gettime(CLOCK_MONOTONIC, &fastnn_spread_last.ended);
}
#else
typedef struct fastnn_spread { int told; } fastnn_spread;
static inline void fastnn_spread_begin(fastnn_spread *spread, int workers) { (void)spread, (void)workers; }
static inline void fastnn_spread_enter(fastnn_spread *spread, int worker) { (void)spread, (void)worker; }
static inline void fastnn_spread_leave(const fastnn_spread *spread, int worker) { (void)spread, (void)worker; }
static inline void fastnn_spread_end(const fastnn_spread *spread, int workers) { (void)spread, (void)workers; }
#endif

#endif
