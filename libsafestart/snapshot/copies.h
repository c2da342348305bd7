/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* copies: a process may have the library more than once: a server links the shared library, and a
 * plugin of it the static one. Each copy has handles and variables of its own, but liburcu, its
 * locks and its fork handlers are there once. So all copies that use the same liburcu share one
 * `struct copies`: that of the copy that was loaded first. Any thread. */
#ifndef SAFESTART_SNAPSHOT_COPIES_H
#define SAFESTART_SNAPSHOT_COPIES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What one copy does at a fork, for the handles that it has. */
struct copy {
	void (*before_fork)(void);
	void (*after_fork_parent)(void);
	void (*after_fork_child)(void);
	struct copy *next; /* guarded by copies->lock */
};

/* Read by copies that were built from other sources: a change of its layout needs another number
 * in the note (copies.c). */
struct copies {
	const void *rcu; /* constant: which liburcu it is for */
	/* Held during every grace period of the library, so that a fork can wait for its end before
	 * it takes the locks that other threads need. */
	pthread_mutex_t grace_lock;
	/* liburcu registers a thread at its first read, under a lock that its own fork handlers do
	 * not take: a child forked at that moment would wait for it forever. So registration is
	 * done under this lock, which fork takes. (A thread that ends while another one forks takes
	 * liburcu's lock as well; only liburcu could change that.) */
	pthread_mutex_t registration;

	/* The fork handlers of all copies are those of one of them. */
	pthread_once_t once;
	pthread_mutex_t again; /* around the second try and later ones */
	_Atomic bool registered;

	pthread_mutex_t lock; /* fork holds it */
	struct copy *first;   /* guarded by lock */
};

/* The one that this copy uses. Set by copies_find(), before there is a handle. */
extern struct copies *copies;

/* Find it; from then on the objects that it and this copy are in stay loaded, whatever their owners
 * do: liburcu has a destructor for each thread that has read, and libc the fork handlers. Again and
 * again: nothing. */
void copies_find(void);

#endif
