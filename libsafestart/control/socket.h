/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* socket: the listening socket of a control directory: created so that no client ever finds half of
 * it, checked whether it is still there, removed; stale ones are removed. Control thread, which it
 * may block on a slow file system; must not touch other processes' sockets that are in use. */
#ifndef SAFESTART_CONTROL_SOCKET_H
#define SAFESTART_CONTROL_SOCKET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* NAME.PID-N.sock: short enough for a socket's address together with /proc/self/fd/N/. */
#define SOCKET_NAME_SIZE 82
/* Stale sockets kept for each name, so that `safestart status` can report the dead processes. */
#define SOCKET_STALE_KEPT 8

struct control_socket {
	int fd; /* listening; -1: none. Changed under the lock that fork takes */
	char name[SOCKET_NAME_SIZE]; /* in the control directory */
	/* Which file it is: another process may have put its own under this name. */
	dev_t dev;
	ino_t ino;
};

/* Listen in `directory` (created if only its last part is missing), under the name of the handle
 * and of this process. 0; -errno, with the cause and the remedy in `why`, and nothing left behind.
 */
int socket_make(struct control_socket *listener, const char *directory, const char *handle_name,
		pthread_mutex_t *lock, char *why, size_t why_size);

/* Whether it is still in the directory, under its name. True also if that cannot be found out. */
bool socket_is_there(const struct control_socket *listener, const char *directory);

/* Stop listening, and remove it from the directory if it is still there. */
void socket_remove(struct control_socket *listener, const char *directory, pthread_mutex_t *lock);

#endif
