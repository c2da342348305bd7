/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clients: who is connected at the control socket: let in or refused, each in turn, and who makes
 * room for whom. The control thread's. */
#ifndef SAFESTART_CONTROL_CROWD_H
#define SAFESTART_CONTROL_CROWD_H

#include <pthread.h>

#include "control/client.h"

#define CLIENTS_MAX 32 /* epoll knows them by their index */

struct clients {
	struct safestart *ss;
	pthread_mutex_t *lock; /* held while a descriptor comes or goes */
	int epoll_fd;          /* the control's */
	/* The last is for who comes when all others are taken. */
	struct client clients[CLIENTS_MAX + 1];
};

void clients_init(struct clients *clients, struct safestart *ss, pthread_mutex_t *lock);

/* What epoll says of a client. */
void clients_event(struct clients *clients, uint32_t index, uint32_t events);

/* Each client's turn. Returns when to look again; 0: at once. */
int64_t clients_serve(struct clients *clients, int64_t now);

/* Let in who wants to, or refuse them: after everybody's turn, for who has left has made room. 0;
 * -errno: there are no descriptors for them. */
int clients_accept(struct clients *clients, int listen_fd, int64_t now);

/* Everybody goes. */
void clients_finish(struct clients *clients);

/* In a forked child: they are the parent's. `torn`: leave their memory where it is. The lock is
 * held. */
void clients_after_fork_child(struct clients *clients, bool torn);

#endif
