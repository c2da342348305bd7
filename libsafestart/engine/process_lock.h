/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process_lock: what its two halves share: process_lock.c, the lock, and shared_batch.c, outcomes
 * that are shared. */
#ifndef SAFESTART_ENGINE_PROCESS_LOCK_H
#define SAFESTART_ENGINE_PROCESS_LOCK_H

#include "engine/engine.h"

#define PROCESS_LOCK_PAUSE_MIN_NS INT64_C(2000000)
#define PROCESS_LOCK_PAUSE_MAX_NS INT64_C(200000000)

/* What can come of asking. */
/* LOCK_RUN is held. */
enum process_lock_verdict process_lock_begin(struct safestart *ss, int64_t now);
enum process_lock_verdict process_lock_busy(struct safestart *ss, int64_t now, int64_t timeout);
enum process_lock_verdict process_lock_fail(struct safestart *ss, int error, const char *why);
enum process_lock_verdict process_lock_come_again(struct safestart *ss, int64_t at);

/* For itself / for all. */
enum process_lock_verdict process_lock_ask_alone(struct safestart *ss, int64_t now);
enum process_lock_verdict process_lock_ask_shared(struct safestart *ss, int64_t now);

/* LOCK_RUN of the file that the path names: 0, -EAGAIN or -errno. A run of ours that is not over
 * yet has it already. */
int process_lock_take_run(struct process_lock *lock);

/* More requests out of the door, into what was taken out before. */
void process_lock_take_more(struct safestart *ss);

/* How long until the next look. */
int64_t process_lock_pause(struct safestart *ss, int64_t waited);

/* For status. */
void process_lock_show(struct safestart *ss, enum process_lock_state state, int64_t since,
		       const char *holder);

#endif
