/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* epoch: counts the forks from the first process to this one, so that what another process made or
 * said can be recognised. Read on any thread and in signal handlers; only a forked child, which
 * has one thread then, changes it. */
#ifndef SAFESTART_EPOCH_H
#define SAFESTART_EPOCH_H

#include <stdatomic.h>
#include <stdint.h>

/* Of no process: none is forked that deep. */
#define EPOCH_NONE UINT32_MAX

/* Global, because what another process made or said must count no more for every handle at once.
 * [P17] [P22] */
extern _Atomic uint32_t epoch_forks;

/* Inline, for safestart_node_report() is on the hot path. Relaxed: it never changes while another
 * thread exists. */
static inline uint32_t epoch_now(void)
{
	return atomic_load_explicit(&epoch_forks, memory_order_relaxed);
}

/* In the child, once per fork. */
void epoch_begin(void);

#endif
