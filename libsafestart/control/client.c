/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "control/protocol.h"

#define AT_A_TIME 4096

/* Returns whether nothing is left to be sent. */
static bool flush(struct client *client, int64_t now)
{
	while (client->sent < client->out.length && !client->hung_up) {
		ssize_t n = send(client->fd, client->out.text + client->sent,
				 client->out.length - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return false;
		if (n < 0 && errno != EINTR)
			client->hung_up = client->readable = true;
		if (n > 0) {
			client->sent += (size_t)n;
			client->moved_at = now;
		}
	}
	json_clear(&client->out);
	client->sent = 0;
	return true;
}

/* An answer is whole, or it is that there was no memory for it; who can't even be told that is hung
 * up on. */
static enum client_next answered(struct client *client, int64_t now)
{
	if (client->out.failed) {
		json_clear(&client->out);
		client->pending = (struct response_pending){0};
		response_error(&client->out, -ENOMEM, "out of memory in this process; ask again");
	}
	if (client->out.failed)
		return CLIENT_CLOSE;
	client->moved_at = now;
	return CLIENT_CONTINUE;
}

static enum client_next answer_line(struct safestart *ss, struct client *client, size_t length,
				    size_t taken, int64_t now)
{
	if (length > 0 && client->in[length - 1] == '\r')
		length--;
	if (length > 0)
		response_answer(ss, client->uid, !client->hung_up, client->in, length, &client->out,
				&client->pending);
	client->in_length -= taken;
	client->in_seen = 0;
	memmove(client->in, client->in + taken, client->in_length);
	if (client->in_length == 0) { /* idle connections keep no buffers */
		free(client->in);
		client->in = NULL;
		client->in_room = 0;
	}
	return answered(client, now);
}

static enum client_next receive(struct client *client, int64_t now)
{
	if (client->in_room - client->in_length < AT_A_TIME) {
		char *grown = realloc(client->in, client->in_room * 2 + AT_A_TIME);
		if (grown == NULL)
			return CLIENT_CLOSE;
		client->in = grown;
		client->in_room = client->in_room * 2 + AT_A_TIME;
	}
	ssize_t n = recv(client->fd, client->in + client->in_length, AT_A_TIME, MSG_DONTWAIT);
	if (n > 0) {
		client->in_length += (size_t)n;
		client->moved_at = now;
		return CLIENT_CONTINUE;
	}
	if (n < 0 && errno == EINTR)
		return CLIENT_CONTINUE;
	client->readable = false;
	client->ended = n == 0;
	/* Whoever hears no answer any more was hung up on as far as it had asked. */
	if (n < 0 && (client->hung_up || (errno != EAGAIN && errno != ENOMEM)))
		return CLIENT_CLOSE;
	return n == 0 ? CLIENT_CONTINUE : CLIENT_WAIT;
}

bool client_is_asking(const struct client *client)
{
	return client->out.length == 0 && client->pending.kind == RESPONSE_COMPLETE &&
	       client->in_length > 0 &&
	       (client->ended || memchr(client->in, '\n', client->in_length) != NULL);
}

static enum client_next read_line(struct safestart *ss, struct client *client, bool room,
				  int64_t now)
{
	char *end = client->in_length > client->in_seen
			    ? memchr(client->in + client->in_seen, '\n',
				     client->in_length - client->in_seen)
			    : NULL;
	size_t length = end != NULL ? (size_t)(end - client->in) : client->in_length;

	if (length > PROTOCOL_LINE_MAX) {
		response_error(&client->out, -E2BIG, "the line is longer than 65536 bytes; bye");
		client->last = true;
		return answered(client, now);
	}
	if (end != NULL || (client->ended && length > 0)) /* the last line may lack its end */
		return room || client->hung_up ? answer_line(ss, client, length,
							     end != NULL ? length + 1 : length, now)
					       : CLIENT_WAIT;
	client->in_seen = client->in_length;
	if (client->ended)
		return CLIENT_CLOSE;
	return client->readable ? receive(client, now) : CLIENT_WAIT;
}

enum client_next client_step(struct safestart *ss, struct client *client, bool room, int64_t now)
{
	if (client->out.length > 0 && !flush(client, now))
		return CLIENT_WAIT;
	if (client->last || (client->hung_up && client->pending.kind != RESPONSE_COMPLETE))
		return CLIENT_CLOSE;
	switch (client->pending.kind) {
	case RESPONSE_WAIT:
		if (!response_outcome(ss, &client->pending, &client->out))
			return CLIENT_WAIT;
		client->pending = (struct response_pending){0};
		return answered(client, now);
	case RESPONSE_STREAM:
		if (response_events(ss, &client->pending, &client->out))
			return answered(client, now);
		if (!response_stream_has_ended(&client->pending))
			return CLIENT_WAIT;
		response_end(ss, &client->out);
		client->last = true;
		return answered(client, now);
	default: return read_line(ss, client, room, now);
	}
}

void client_finish(struct safestart *ss, struct client *client)
{
	int64_t now = loop_now();
	enum client_next next;

	do {
		client->readable = false; /* nothing more is taken in: some never stop asking */
		next = client_step(ss, client, false, now);
	} while (next == CLIENT_CONTINUE);
	if (client->pending.kind != RESPONSE_STREAM || client->last || client->hung_up ||
	    client->out.length > 0)
		return;
	response_end(ss, &client->out);
	if (!client->out.failed)
		flush(client, now);
}

uint32_t client_interest(const struct client *client)
{
	if (client->out.length > 0)
		return EPOLLOUT;
	return client->pending.kind == RESPONSE_COMPLETE && !client->readable && !client->ended
		       ? EPOLLIN
		       : 0;
}

int64_t client_idle_since(const struct client *client)
{
	return client->out.length > 0 || client->pending.kind == RESPONSE_COMPLETE
		       ? client->moved_at
		       : INT64_MAX;
}

void client_clear(struct client *client)
{
	free(client->in);
	json_clear(&client->out);
	*client = (struct client){.fd = client->fd};
}
