/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* socket: the listening socket in its directory: made so that nobody ever sees half of it, found to
 * be gone, removed. The control thread's; it may block on a file system that does. */
#ifndef SAFESTART_CONTROL_SOCKET_H
#define SAFESTART_CONTROL_SOCKET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SOCKET_NAME_SIZE \
	96 /* NAME.PID-N.sock; with /proc/self/fd/N/ before it, it fits into a socket's address */
#define SOCKET_GONE_KEPT 8 /* sockets of dead processes that stay to be seen, for each name */

struct control_socket {
	int fd; /* listening; -1: none. Changed under the lock that fork takes */
	char name[SOCKET_NAME_SIZE]; /* in the directory */
	dev_t dev;
	ino_t ino;
};

/* Listen in `directory`, which is made if only its last part is missing, as `handle_name` of this
 * process. 0; -errno and why, with the remedy, nothing left behind. */
int socket_make(struct control_socket *made, const char *directory, const char *handle_name,
		pthread_mutex_t *lock, char *why, size_t why_size);

/* Is it still there, under its name? True also if that can't be found out. */
bool socket_is_there(const struct control_socket *made, const char *directory);

/* Stop listening, and remove it if it is still there. */
void socket_remove(struct control_socket *made, const char *directory, pthread_mutex_t *lock);

#endif
