/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork: the handles of the process, around fork, and a handle made a forked child's own. Any
 * thread. [P17] */
#ifndef SAFESTART_OPEN_FORK_H
#define SAFESTART_OPEN_FORK_H

struct safestart;

/* From here on fork handling knows it. 0 or -ENOMEM. */
int fork_register(struct safestart *ss);
void fork_unregister(struct safestart *ss);

/* Make it this process's own: its threads start. 0, at once if it is; -errno. */
int fork_start(struct safestart *ss);
/* safestart.revive: the same in a child that does not own it yet, unless start=after_fork: 1. */
int fork_revive(struct safestart *ss);

#endif
