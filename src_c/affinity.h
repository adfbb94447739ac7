/* affinity.h: keeps the workers of a team off the processor of the thread that opens it.
 *
 * The thread that opens a team wakes its sleeping workers. Where the system considers no other
 * processor idle, a worker wakes on the same one; this happens in virtual machines, whose halted
 * processors appear to be in use. Both threads then share that processor while they meet at
 * barriers, which take milliseconds each, until the system moves one of them. Therefore workers may
 * run on any processor but that one, until no team has been opened for a while: other libraries share
 * OpenMP's threads.
 *
 * Nobody says which of many teams is the last one, and to release the workers after each costs more
 * than the smallest steps that are shared. So a thread of its own, which sleeps while no worker is
 * kept off, looks now and then whether teams are still opened.
 *
 * Only on Linux, and not if OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY place the threads.
 */
#ifndef FASTNN_SPREAD_H
#define FASTNN_SPREAD_H

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FASTNN_SPREAD_MOST = 64, FASTNN_SPREAD_PATIENCE = 50 /* milliseconds */ };
enum { NOT_WATCHED, WATCHED, CANNOT_BE_WATCHED };

/* The workers of the last team that a thread opened, and the processor that it ran on when they
 * were last told to avoid it. */
struct fastnn_spread {
    int processor, workers;
    int are_kept_off; /* some of them have been told, and not been released since */
    int is_open;
    unsigned opened, seen; /* how many teams it has opened, and how many the watcher has seen */
    int owner;
    cpu_set_t allowed; /* to the owner when the workers were told last */
    int thread[FASTNN_SPREAD_MOST];
    struct fastnn_spread *next; /* of those that are kept off */
};
static _Thread_local struct fastnn_spread fastnn_spread_team = {.processor = -1};

/* Held by who narrows or releases; the list and `are_kept_off` belong to it. */
static pthread_mutex_t fastnn_spread_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fastnn_spread_begun = PTHREAD_COND_INITIALIZER;
static struct fastnn_spread *fastnn_spread_list;
static pthread_key_t fastnn_spread_key; /* takes a thread that ends off the list */
static int fastnn_spread_has_key;       /* or -1 if there is none */
static int fastnn_spread_is_watched; /* NOT_WATCHED, WATCHED or CANNOT_BE_WATCHED */
static pid_t fastnn_spread_process; /* the lock of a forked child may have been held */

/* How many processors the calling thread may use; 0 if that is not known, or not so easily. */
static inline int fastnn_processors_allowed(void)
{
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) ? 0 : CPU_COUNT(&allowed);
}

static inline int fastnn_spread_is_wanted(void)
{
    static atomic_int wanted = -1; /* several threads may open their first team at once */
    int known = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (known >= 0) return known;
    known = !getenv("OMP_PROC_BIND") && !getenv("OMP_PLACES") && !getenv("GOMP_CPU_AFFINITY");
    atomic_store_explicit(&wanted, known, memory_order_relaxed);
    return known;
}

/* The number of the calling thread, which a worker reports. */
static inline int fastnn_spread_thread(void)
{
    static _Thread_local int number;
    if (!number) number = (int)syscall(SYS_gettid);
    return number;
}

static void fastnn_spread_allow(const struct fastnn_spread *team, const cpu_set_t *allowed)
{
    for (int worker = 1; worker < team->workers; worker++) {
        int thread = team->thread[worker];
        if (thread && !syscall(SYS_tgkill, getpid(), thread, 0)) /* it is still one of ours */
            (void)sched_setaffinity(thread, sizeof *allowed, allowed);
    }
}

/* Lets the workers of a team run wherever its thread may, until the next team. Needs the lock. */
static void fastnn_spread_free(struct fastnn_spread *team)
{
    struct fastnn_spread **place = &fastnn_spread_list;
    cpu_set_t allowed;
    if (!team->are_kept_off) return;
    while (*place != team) place = &(*place)->next;
    *place = team->next;
    __atomic_store_n(&team->processor, -1, __ATOMIC_RELAXED);
    team->are_kept_off = 0;
    /* What the owner may use by now, and what it might: it may have bound itself since then. */
    if (sched_getaffinity(team->owner, sizeof allowed, &allowed)) CPU_ZERO(&allowed);
    CPU_OR(&allowed, &allowed, &team->allowed);
    fastnn_spread_allow(team, &allowed);
}

/* Does so for a thread that ends, or whose teams cannot be watched. */
static void fastnn_spread_release(void *team)
{
    if (getpid() != fastnn_spread_process) return;
    pthread_mutex_lock(&fastnn_spread_lock);
    fastnn_spread_free(team);
    pthread_mutex_unlock(&fastnn_spread_lock);
}

/* Releases the workers of threads that have no team open, or, if they are spared at first, of those
 * that have opened none since the last time. */
static void fastnn_spread_free_idle(int are_spared)
{
    pthread_mutex_lock(&fastnn_spread_lock);
    for (struct fastnn_spread *team = fastnn_spread_list, *next; team; team = next) {
        unsigned opened = __atomic_load_n(&team->opened, __ATOMIC_RELAXED);
        int is_open = __atomic_load_n(&team->is_open, __ATOMIC_RELAXED);
        next = team->next;
        if ((!are_spared || opened == team->seen) && !is_open) fastnn_spread_free(team);
        team->seen = opened;
    }
    pthread_mutex_unlock(&fastnn_spread_lock);
}

/* Releases the workers of threads that have opened no team for a while. */
static void *fastnn_spread_watch(void *unused)
{
    const struct timespec patience = {0, FASTNN_SPREAD_PATIENCE * 1000000L};
    for (;;) {
        pthread_mutex_lock(&fastnn_spread_lock);
        while (!fastnn_spread_list) pthread_cond_wait(&fastnn_spread_begun, &fastnn_spread_lock);
        pthread_mutex_unlock(&fastnn_spread_lock);
        nanosleep(&patience, NULL);
        fastnn_spread_free_idle(1);
    }
    return unused;
}

/* Starts the thread that watches, unless it runs or another thread has begun to start it; returns
 * whether it can be had. Signals are for other threads. */
static int fastnn_spread_begin_watch(void)
{
    pthread_attr_t kind;
    pthread_t watcher;
    sigset_t all, before;
    int found = NOT_WATCHED;
    if (!__atomic_compare_exchange_n(&fastnn_spread_is_watched, &found, WATCHED, 0,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return found;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_attr_init(&kind);
    if (!status) {
        pthread_attr_setdetachstate(&kind, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&kind, 1 << 18);
        status = pthread_create(&watcher, &kind, fastnn_spread_watch, NULL);
        pthread_attr_destroy(&kind);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!status) return WATCHED;
    __atomic_store_n(&fastnn_spread_is_watched, CANNOT_BE_WATCHED, __ATOMIC_RELAXED);
    fastnn_spread_free_idle(0); /* those of threads that have relied on the watcher meanwhile */
    return CANNOT_BE_WATCHED;
}

/* Whether a thread that ends will be taken off the list, which must not outlive it. */
static int fastnn_spread_enlist(struct fastnn_spread *team)
{
    team->owner = fastnn_spread_thread();
    if (!fastnn_spread_has_key) {
        fastnn_spread_process = getpid();
        fastnn_spread_has_key =
            pthread_key_create(&fastnn_spread_key, fastnn_spread_release) ? -1 : 1;
    }
    return fastnn_spread_has_key > 0 && !pthread_setspecific(fastnn_spread_key, team);
}

/* Called before a team is opened: allows its workers every processor that this thread may use,
 * except the one it runs on. One system call per worker if that one has changed, otherwise none. */
static inline void fastnn_spread_begin(int workers)
{
    struct fastnn_spread *team = &fastnn_spread_team;
    int here = sched_getcpu();
    cpu_set_t allowed;
    __atomic_store_n(&team->is_open, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&team->opened, team->opened + 1, __ATOMIC_RELAXED);
    if (here < 0 || here == __atomic_load_n(&team->processor, __ATOMIC_RELAXED) ||
        !fastnn_spread_is_wanted())
        return;
    pthread_mutex_lock(&fastnn_spread_lock);
    __atomic_store_n(&team->processor, here, __ATOMIC_RELAXED);
    if (team->workers && !sched_getaffinity(0, sizeof allowed, &allowed) &&
        CPU_COUNT(&allowed) >= workers) {
        team->allowed = allowed;
        CPU_CLR(here, &allowed);
        if (!team->are_kept_off && fastnn_spread_enlist(team)) {
            team->next = fastnn_spread_list, fastnn_spread_list = team;
            team->are_kept_off = 1;
            pthread_cond_signal(&fastnn_spread_begun);
        }
        if (team->are_kept_off) fastnn_spread_allow(team, &allowed);
    }
    pthread_mutex_unlock(&fastnn_spread_lock);
}

/* Called after a team: records who its workers were; new ones are told before the next team. */
static inline void fastnn_spread_end(const int *thread, int workers)
{
    struct fastnn_spread *team = &fastnn_spread_team;
    if (workers > FASTNN_SPREAD_MOST) workers = FASTNN_SPREAD_MOST;
    for (int worker = 1; worker < workers; worker++)
        if (team->thread[worker] != thread[worker]) {
            team->thread[worker] = thread[worker];
            __atomic_store_n(&team->processor, -1, __ATOMIC_RELAXED);
        }
    team->workers = workers;
    __atomic_store_n(&team->is_open, 0, __ATOMIC_RELAXED);
    if (!team->are_kept_off) return;
    /* Not before: OpenMP may have needed the last thread that this process may start. */
    int watch = __atomic_load_n(&fastnn_spread_is_watched, __ATOMIC_RELAXED);
    if (watch == NOT_WATCHED) watch = fastnn_spread_begin_watch();
    if (watch == CANNOT_BE_WATCHED) fastnn_spread_release(team);
}
#else
enum { FASTNN_SPREAD_MOST = 1 };
static inline int fastnn_processors_allowed(void) { return 0; }
static inline void fastnn_spread_begin(int workers) { (void)workers; }
static inline int fastnn_spread_thread(void) { return 0; }
static inline void fastnn_spread_end(const int *thread, int workers) { (void)thread, (void)workers; }
#endif

#endif
