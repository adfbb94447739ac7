/* affinity.h: keeps the workers of a team off the processor of the thread that opens it.
 *
 * A worker that sleeps between two teams is woken by that thread, and where the system takes no other
 * processor for idle it wakes on the same one: in virtual machines, whose halted processors look as if
 * they were taken away. Both then share it for as long as they meet at barriers, milliseconds each,
 * until the system moves one. So workers may run anywhere but there.
 *
 * Only on Linux, and not where OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY say where threads belong.
 */
#ifndef FASTNN_SPREAD_H
#define FASTNN_SPREAD_H

#if defined(__linux__)
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FASTNN_SPREAD_MOST = 64 };

/* The workers of the last team that a thread has opened, and the processor that it ran on when they
 * were told to keep off. */
static _Thread_local struct {
    int processor, workers;
    int thread[FASTNN_SPREAD_MOST];
} fastnn_spread_team = {-1, 0, {0}};

static inline int fastnn_spread_is_wanted(void)
{
    static int wanted = -1;
    if (wanted < 0)
        wanted = !getenv("OMP_PROC_BIND") && !getenv("OMP_PLACES") && !getenv("GOMP_CPU_AFFINITY");
    return wanted;
}

/* Before a team is opened: its workers may run on every processor that this thread may use, but for
 * the one where it runs. A system call for each when that one has changed, else nothing. */
static inline void fastnn_spread_begin(int workers)
{
    int here = sched_getcpu();
    cpu_set_t allowed;
    if (here < 0 || here == fastnn_spread_team.processor || !fastnn_spread_is_wanted()) return;
    fastnn_spread_team.processor = here;
    if (fastnn_spread_team.workers == 0 || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    if (CPU_COUNT(&allowed) < workers) return;
    CPU_CLR(here, &allowed);
    for (int worker = 1; worker < fastnn_spread_team.workers; worker++) {
        int thread = fastnn_spread_team.thread[worker];
        if (thread && !syscall(SYS_tgkill, getpid(), thread, 0)) /* it is still one of ours */
            (void)sched_setaffinity(thread, sizeof allowed, &allowed);
    }
}

/* The calling thread, for a worker to tell who it is. */
static inline int fastnn_spread_thread(void)
{
    static _Thread_local int number;
    if (!number) number = (int)syscall(SYS_gettid);
    return number;
}

/* After a team: takes down who its workers were; new ones are told before the next. */
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
#else
enum { FASTNN_SPREAD_MOST = 1 };
static inline void fastnn_spread_begin(int workers) { (void)workers; }
static inline int fastnn_spread_thread(void) { return 0; }
static inline void fastnn_spread_end(const int *thread, int workers) { (void)thread, (void)workers; }
#endif

#endif
