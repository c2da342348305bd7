/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* exclusive: what its two halves share: exclusive.c, the lock, and together.c, outcomes that are shared. */
#ifndef SAFESTART_EXCLUSIVE_H
#define SAFESTART_EXCLUSIVE_H

#include "handle.h"

#define EXCLUSIVE_PAUSE_MIN_NS INT64_C(2000000)
#define EXCLUSIVE_PAUSE_MAX_NS INT64_C(200000000)

/* What can come of asking. */
enum exclusive_verdict exclusive_begin(struct safestart *ss, int64_t now); /* LOCK_RUN is held */
enum exclusive_verdict exclusive_busy(struct safestart *ss, int64_t now, int64_t timeout);
enum exclusive_verdict exclusive_fail(struct safestart *ss, int error, const char *why);
enum exclusive_verdict exclusive_come_again(struct safestart *ss, int64_t at);

/* For itself / for all. */
enum exclusive_verdict exclusive_ask_alone(struct safestart *ss, int64_t now);
enum exclusive_verdict exclusive_ask_shared(struct safestart *ss, int64_t now);

/* LOCK_RUN of the file that the path names: 0, -EAGAIN or -errno. A run of ours that is not over yet has it already. */
int exclusive_take_run(struct exclusive *ex);

/* More requests out of the door, into what was taken out before. */
void exclusive_take_more(struct safestart *ss);

/* How long until the next look. */
int64_t exclusive_pause(struct safestart *ss, int64_t waited);

/* For status. */
void exclusive_show(struct safestart *ss, enum exclusive_state state, int64_t since, const char *holder);

#endif
