/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connection: one connection to a process' control socket: a line goes out, lines come back. Never
 * blocks; whoever polls it holds the deadline. What comes is anybody's bytes: it is bounded here,
 * and parsed elsewhere. */
#ifndef SAFESTART_COMMAND_CONNECTION_H
#define SAFESTART_COMMAND_CONNECTION_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* 100,000 nodes with their reasons take a third of it. */
#define CONNECTION_LINE_MAX ((size_t)128 << 20)

struct connection {
	int fd;          /* -1: not open */
	const char *out; /* what is still to be sent */
	char *in;
	size_t in_used, in_room, in_seen; /* `in_seen`: so far there is no newline */
};

/* Connect to DIRECTORY/FILE and send `line`, which has to live as long as the link. 0; -EAGAIN: too
 * many are connecting, try again; -ECONNREFUSED: nobody listens any more; any other -errno. */
int connection_open(struct connection *connection, const char *directory, const char *file,
		    const char *line);
void connection_close(struct connection *connection); /* again is fine */

short connection_events(const struct connection *connection); /* for poll() */

/* poll() says there is something to do. `tell` gets each line that came, without its newline; it
 * may change it, and returns false when it needs no more. 0: go on; 1: it needs no more; -EPIPE:
 * the other side has hung up; -E2BIG: a line that is too long; any other -errno. */
int connection_transfer(struct connection *connection,
			bool (*on_line)(char *line, size_t length, void *user_data),
			void *user_data);

#endif
