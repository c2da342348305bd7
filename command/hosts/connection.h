/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connection: one connection to a process's control socket: sends one line, receives lines. Never
 * blocks; the caller polls and keeps the deadline. The bytes that come are untrusted: their length
 * is limited here, they are parsed elsewhere. */
#ifndef SAFESTART_COMMAND_CONNECTION_H
#define SAFESTART_COMMAND_CONNECTION_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Of a process of root or of this user. An answer with 100,000 nodes and their reasons takes a
 * third of it. */
#define CONNECTION_LINE_MAX ((size_t)128 << 20)
/* Of a process of another user: 10,000 nodes. And of all of them together. [P23] */
#define CONNECTION_LINE_MAX_OTHER ((size_t)4 << 20)
#define CONNECTION_ROOM_MAX_OTHER ((size_t)64 << 20)

/* The process that listens is not the one that the file belongs to. */
#define CONNECTION_STRANGER (-EKEYREJECTED)

struct connection {
	int fd;          /* -1: not open */
	const char *out; /* what is still to be sent */
	char *in;
	size_t in_used, in_room, in_seen; /* in_seen: no newline before it */
	/* The process that listens, as the kernel says; kept when it is closed. pid 0: not known,
	 * or in another pid namespace. */
	uid_t uid;
	pid_t pid;
};

/* Connects to DIRECTORY/FILE and sends `line`, which must live as long as the connection. FILE is
 * of process `number` (of its pid namespace). A process of root or of this user is trusted; of
 * another one the file must belong to the user and the process that listens. 0;
 * CONNECTION_STRANGER; -EAGAIN: the queue of the socket is full, try again; -ECONNREFUSED: no
 * process listens there any more; any other -errno. */
int connection_open(struct connection *connection, const char *directory, const char *file,
		    long number, const char *line);
/* Where connection_open() has returned CONNECTION_STRANGER: which process that is. */
void connection_stranger(const struct connection *connection, char *words, size_t size);

/* Root and this user could do all that this program can anyway. Others may send it anything. */
bool connection_trusted(const struct connection *connection);

void connection_close(struct connection *connection); /* may be called again */

short connection_events(const struct connection *connection); /* for poll() */

/* To be called when poll() reports an event. Calls `on_line` for each line received, without its
 * newline; it may modify the line, and returns false when it needs no more. 0: go on; 1: on_line
 * needs no more; -EPIPE: the other side closed it; -E2BIG: a line is too long; any other -errno. */
int connection_transfer(struct connection *connection,
			bool (*on_line)(char *line, size_t length, void *user_data),
			void *user_data);

#endif
