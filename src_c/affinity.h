/* affinity.h: keeps the workers of a team off the processor of the thread that opens it.
 *
 * The thread that opens a team wakes its sleeping workers. Where the system considers no other
 * processor idle, a worker wakes on the same one; this happens in virtual machines, whose halted
 * processors appear to be in use. Both threads then share that processor while they meet at
 * barriers, which take milliseconds each, until the system moves one of them. Therefore workers may
 * run on any processor but that one, until a call ends that may have opened many teams: other
 * libraries share OpenMP's threads.
 *
 * Only on Linux, and not if OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY place the threads.
 */
#ifndef FASTNN_SPREAD_H
#define FASTNN_SPREAD_H

#if defined(__linux__)
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FASTNN_SPREAD_MOST = 64 };

/* The workers of the last team that a thread opened, and the processor that it ran on when they
 * were last told to avoid it. */
static _Thread_local struct {
    int processor, workers;
    int are_kept_off; /* some of them have been told, and not been released since */
    int thread[FASTNN_SPREAD_MOST];
} fastnn_spread_team = {-1, 0, 0, {0}};

static inline int fastnn_spread_is_wanted(void)
{
    static atomic_int wanted = -1; /* several threads may open their first team at once */
    int known = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (known >= 0) return known;
    known = !getenv("OMP_PROC_BIND") && !getenv("OMP_PLACES") && !getenv("GOMP_CPU_AFFINITY");
    atomic_store_explicit(&wanted, known, memory_order_relaxed);
    return known;
}

/* Called before a team is opened: allows its workers every processor that this thread may use,
 * except the one it runs on. One system call per worker if that one has changed, otherwise none. */
static inline void fastnn_spread_begin(int workers)
{
    int here = sched_getcpu();
    cpu_set_t allowed;
    if (here < 0 || here == fastnn_spread_team.processor || !fastnn_spread_is_wanted()) return;
    fastnn_spread_team.processor = here;
    if (fastnn_spread_team.workers == 0 || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    if (CPU_COUNT(&allowed) < workers) return;
    CPU_CLR(here, &allowed);
    fastnn_spread_team.are_kept_off = 1;
    for (int worker = 1; worker < fastnn_spread_team.workers; worker++) {
        int thread = fastnn_spread_team.thread[worker];
        if (thread && !syscall(SYS_tgkill, getpid(), thread, 0)) /* it is still one of ours */
            (void)sched_setaffinity(thread, sizeof allowed, &allowed);
    }
}

/* The number of the calling thread, which a worker reports. */
static inline int fastnn_spread_thread(void)
{
    static _Thread_local int number;
    if (!number) number = (int)syscall(SYS_gettid);
    return number;
}

/* Called after a team: records who its workers were; new ones are told before the next team. */
static inline void fastnn_spread_end(const int *thread, int workers)
{
    if (workers > FASTNN_SPREAD_MOST) workers = FASTNN_SPREAD_MOST;
    for (int worker = 1; worker < workers; worker++)
        if (fastnn_spread_team.thread[worker] != thread[worker]) {
            fastnn_spread_team.thread[worker] = thread[worker];
            fastnn_spread_team.processor = -1;
        }
    fastnn_spread_team.workers = workers;
}

/* Lets the workers of the last team run wherever this thread may, until the next team. */
static inline void fastnn_spread_release(void)
{
    cpu_set_t allowed;
    if (!fastnn_spread_team.are_kept_off) return;
    fastnn_spread_team.processor = -1, fastnn_spread_team.are_kept_off = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
    for (int worker = 1; worker < fastnn_spread_team.workers; worker++) {
        int thread = fastnn_spread_team.thread[worker];
        if (thread && !syscall(SYS_tgkill, getpid(), thread, 0))
            (void)sched_setaffinity(thread, sizeof allowed, &allowed);
    }
}
#else
enum { FASTNN_SPREAD_MOST = 1 };
static inline void fastnn_spread_begin(int workers) { (void)workers; }
static inline int fastnn_spread_thread(void) { return 0; }
static inline void fastnn_spread_end(const int *thread, int workers) { (void)thread, (void)workers; }
static inline void fastnn_spread_release(void) {}
#endif

#endif
