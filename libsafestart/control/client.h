/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* client: one connection of the control socket. Its request lines are answered one after another;
 * the next response is built when the previous one has been sent, so that a client that does not
 * read holds one response, not many. Control thread; never waits, must not touch other clients. */
#ifndef SAFESTART_CONTROL_CLIENT_H
#define SAFESTART_CONTROL_CLIENT_H

#include "control/response.h"
#include "handle.h"

/* Zeroed but for fd: a free slot of the clients table, without memory. */
struct client {
	int fd;    /* -1: not connected. Changed under the lock that fork takes */
	uid_t uid; /* of the process that connected; (uid_t)-1: unknown, may only read */
	char *in;  /* received and not yet answered; NULL with in_room 0 */
	size_t in_length, in_room;
	size_t in_seen;         /* bytes of it that are known to contain no newline */
	struct json_buffer out; /* the response to be sent; empty: none */
	size_t sent;            /* bytes of it */
	struct response_pending pending;
	bool readable;         /* there may be more to receive */
	bool ended;            /* the client has closed its sending side */
	bool hung_up;          /* it reads no more responses; its requests are carried out anyway */
	bool last;             /* close the connection when the response has been sent */
	int64_t moved_at;      /* when something was last received, sent or answered */
	uint32_t epoll_events; /* what epoll reports for it now */
};

enum client_next {
	CLIENT_WAIT, /* for the client, see client_interest(), for an event or for memory */
	CLIENT_CONTINUE,
	CLIENT_CLOSE
};

/* One step: send, build a response, or receive. With `room` false no new response is begun. */
enum client_next client_step(struct safestart *ss, struct client *client, bool room, int64_t now);

/* The handle is closed: send what can be sent without waiting; a stream of events gets its end. */
void client_finish(struct safestart *ss, struct client *client);

uint32_t client_interest(const struct client *client); /* events for epoll to report */
bool client_has_request(const struct client *client);  /* the next step would answer a line */

/* Since when the client could have sent or read something and has not; INT64_MAX: it waits for an
 * outcome or for events, which may take long. */
int64_t client_idle_since(const struct client *client);

void client_clear(struct client *client); /* free everything but the descriptor */

#endif
