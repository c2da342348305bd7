/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* client: one connection at the control socket: its lines one after another, each answer built when
 * the one before was sent, nothing waited for. The control thread's. */
#ifndef SAFESTART_CONTROL_CLIENT_H
#define SAFESTART_CONTROL_CLIENT_H

#include "control/response.h"
#include "handle.h"

struct client {
	int fd;    /* -1: nobody. Changed under the lock that fork takes */
	uid_t uid; /* who connected */
	char *in;  /* what was received and not answered yet */
	size_t in_length, in_room;
	size_t in_seen;         /* so far there is no newline in it */
	struct json_buffer out; /* an answer, and how much of it was sent */
	size_t sent;
	struct response_pending pending;
	bool readable;    /* there may be more to receive */
	bool ended;       /* nothing more will be */
	bool hung_up;     /* nobody reads answers any more; what was asked is done all the same */
	bool last;        /* close it when the answer was sent */
	int64_t moved_at; /* when something was received or sent last */
	uint32_t interested; /* what epoll was told */
};

enum client_next {
	CLIENT_WAIT, /* for the other side, or for an event, see client_interest() */
	CLIENT_CONTINUE,
	CLIENT_CLOSE
};

/* Do one thing. `room`: another answer may be built. */
enum client_next client_step(struct safestart *ss, struct client *client, bool room, int64_t now);

/* For a last time, whatever can be sent without waiting. */
void client_finish(struct safestart *ss, struct client *client);

uint32_t client_interest(const struct client *client); /* for epoll */
bool client_is_asking(const struct client *client);    /* there is a line to be answered next */

/* Since when has nothing moved that could; INT64_MAX: it is waiting for something to happen, as it
 * may. */
int64_t client_idle_since(const struct client *client);

void client_clear(struct client *client); /* but for the descriptor */

#endif
