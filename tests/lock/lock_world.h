/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the tests of the lock: guests, which are handles with a lock and a `restart` that
 * notices when it is not alone, in this process or in others; and a disk that is full. */
#ifndef LOCK_WORLD_H
#define LOCK_WORLD_H

#include "support/support.h"

struct guest {
	struct app app; /* its log */
	struct safestart *ss;
	_Atomic bool hold; /* `restart` stays inside */
	_Atomic int restarts;
	_Atomic bool overlapped;    /* another `restart` was in progress */
	_Atomic int result, status; /* of `restart` */
	bool later;                 /* it answers LATER */
	bool stamps;                /* its status is when it began, in ms */
	bool breeds;                /* it leaves children behind */
	bool failed;                /* said by what a process does */
	struct safestart_run *_Atomic run;
};

const char *world_path(const char *name); /* like scratch_path(), "lock" is the lock */
bool is_inside(void);                     /* some guest is in its `restart` */

/* A guest of this process; `more` are settings with blanks in between. Consumed by guest_leaves().
 */
struct guest *guest_here(const char *more);
void guest_leaves(struct guest *guest);
struct safestart_outcome guest_asks(struct guest *guest); /* no ck_assert: in any process */

/* In a forked child: what the parent's threads are inside of is not the child's. */
void guest_after_fork(void);

/* A process with a guest that does `what`; it exits with 0 if it has not failed and was never
 * inside with others. From a process without threads only. */
pid_t process(void (*what)(struct guest *guest), const char *one, const char *two);
pid_t process_of(uid_t uid, void (*what)(struct guest *guest), const char *one, const char *two);
int ends(pid_t pid); /* exit status, -signal */

bool status_says(struct safestart *ss, const char *words);
bool metrics_say(struct safestart *ss, const char *words);

/* A disk of a few pages, in a mount namespace of this test's own. False: not allowed. */
bool mount_small_disk(void);
const char *small_disk(void);
void fill_disk(void);
void empty_disk(void);
void unmount_small_disk(void);

#endif
