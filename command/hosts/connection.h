/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connection: one connection to a process's control socket: sends one line, receives lines. Never
 * blocks; the caller polls and keeps the deadline. The bytes that come are untrusted: their length
 * is limited here, they are parsed elsewhere. */
#ifndef SAFESTART_COMMAND_CONNECTION_H
#define SAFESTART_COMMAND_CONNECTION_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* An answer with 100,000 nodes and their reasons takes a third of it. */
#define CONNECTION_LINE_MAX ((size_t)128 << 20)

struct connection {
	int fd;          /* -1: not open */
	const char *out; /* what is still to be sent */
	char *in;
	size_t in_used, in_room, in_seen; /* in_seen: no newline before it */
};

/* Connects to DIRECTORY/FILE and sends `line`, which must live as long as the connection. 0;
 * -EAGAIN: the queue of the socket is full, try again; -ECONNREFUSED: no process listens there any
 * more; any other -errno. */
int connection_open(struct connection *connection, const char *directory, const char *file,
		    const char *line);
void connection_close(struct connection *connection); /* may be called again */

short connection_events(const struct connection *connection); /* for poll() */

/* To be called when poll() reports an event. Calls `on_line` for each line received, without its
 * newline; it may modify the line, and returns false when it needs no more. 0: go on; 1: on_line
 * needs no more; -EPIPE: the other side closed it; -E2BIG: a line is too long; any other -errno. */
int connection_transfer(struct connection *connection,
			bool (*on_line)(char *line, size_t length, void *user_data),
			void *user_data);

#endif
