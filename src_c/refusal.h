/* refusal.h: what the workers of a team have to say of a kernel that refused its call.
 *
 * Several of them may say it at once, about different rows, and one answer is enough.
 */
#ifndef FASTNN_REFUSAL_H
#define FASTNN_REFUSAL_H

#include <stdatomic.h>

typedef struct fastnn_refusal {
    atomic_int status; /* FASTNN_OK unless a worker has said otherwise */
} fastnn_refusal;

static inline void fastnn_refusal_set(fastnn_refusal *refusal, int status)
{
    atomic_store_explicit(&refusal->status, status, memory_order_relaxed);
}

static inline int fastnn_refusal_get(fastnn_refusal *refusal)
{
    return atomic_load_explicit(&refusal->status, memory_order_relaxed);
}

#endif
