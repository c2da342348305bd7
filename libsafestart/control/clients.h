/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clients: the table of connections at the control socket: accepts or refuses them, gives each its
 * turn, and closes idle ones when others need their place or their memory. Control thread; must not
 * wait for a client. Descriptors come and go under the lock that fork takes. */
#ifndef SAFESTART_CONTROL_CLIENTS_H
#define SAFESTART_CONTROL_CLIENTS_H

#include <pthread.h>

#include "control/client.h"

#define CLIENTS_MAX 32 /* epoll knows a client by its index in the table */

struct clients {
	struct safestart *ss;
	pthread_mutex_t *lock; /* control->lock; held while a descriptor is opened or closed */
	int epoll_fd;          /* control's */
	/* The last slot is for a client that is refused because all others are in use. Between
	 * calls it is free. */
	struct client clients[CLIENTS_MAX + 1];
};

void clients_init(struct clients *clients, struct safestart *ss, pthread_mutex_t *lock);

/* epoll has reported `events` for the client with that index. */
void clients_event(struct clients *clients, uint32_t index, uint32_t events);

/* Give each client its turn. Returns when the next turn is due without an event; 0: at once. */
int64_t clients_serve(struct clients *clients, int64_t now);

/* Accept the clients that wait at `listen_fd`, or refuse them. To be called after clients_serve(),
 * which frees the slots of clients that have left. 0; -errno: no descriptors for them. */
int clients_accept(struct clients *clients, int listen_fd, int64_t now);

/* Close all connections; what can be sent without waiting is sent. */
void clients_finish(struct clients *clients);

/* In a forked child: close the inherited connections; the parent's stay open. `torn`: the parent's
 * thread may have been changing their memory at that moment; it is leaked. The lock is held. */
void clients_after_fork_child(struct clients *clients, bool torn);

#endif
