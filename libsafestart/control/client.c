/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* client: the state machine of one connection: receive a line, build its response, send it, again.
 * Control thread. Everything a client sends or fails to read is an error for this client only: it
 * delays no other client and no run. [P16] */
#include "control/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/invariant.h"
#include "control/protocol.h"

#define RECEIVE_SIZE 4096 /* bytes to receive in one step */

/* What holds between two steps, whatever the client has sent. */
static bool is_consistent(const struct client *client)
{
	const struct response_pending *pending = &client->pending;

	return client->fd >= 0 && (client->in == NULL) == (client->in_room == 0) &&
	       client->in_seen <= client->in_length && client->in_length <= client->in_room &&
	       client->in_length <= PROTOCOL_LINE_MAX + RECEIVE_SIZE &&
	       (client->in_seen == 0 || memchr(client->in, '\n', client->in_seen) == NULL) &&
	       !client->out.failed && client->sent <= client->out.length &&
	       client->out.length <= client->out.room &&
	       (pending->kind != RESPONSE_WAIT || pending->ticket != 0) &&
	       (pending->kind != RESPONSE_STREAM || pending->next > 0);
}

/* Waiting means that something will end it: epoll, the outcome, an event, or other clients' memory.
 * Else the connection would be stuck for ever. */
static bool will_be_woken(const struct client *client)
{
	return client_interest(client) != 0 || client->pending.kind != RESPONSE_COMPLETE ||
	       client_has_request(client);
}

/* Returns whether everything has been sent. If the client has disconnected, the response is
 * discarded. */
static bool flush(struct client *client, int64_t now)
{
	while (client->sent < client->out.length && !client->hung_up) {
		ssize_t n = send(client->fd, client->out.text + client->sent,
				 client->out.length - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return false;
		/* Requests it sent before it disconnected are still received and carried out. */
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

/* A response is complete, or it is replaced by an error that there was no memory for it. Without
 * memory even for that the connection is closed: the client sees that as a failure, too. */
static enum client_next finish_response(struct client *client, int64_t now)
{
	if (client->out.failed) {
		json_clear(&client->out);
		client->pending = (struct response_pending){0};
		response_error(&client->out, -ENOMEM, "out of memory in this process; try again");
	}
	if (client->out.failed)
		return CLIENT_CLOSE;
	invariant(client->sent == 0);
	client->moved_at = now;
	return CLIENT_CONTINUE;
}

/* Answer the line of `length` bytes and remove `taken` bytes, its end included, from the input. */
static enum client_next answer_line(struct safestart *ss, struct client *client, size_t length,
				    size_t taken, int64_t now)
{
	invariant(length <= taken && taken <= client->in_length);
	if (length > 0 && client->in[length - 1] == '\r') /* as telnet and the like send it */
		length--;
	if (length > 0) /* an empty line gets no response */
		response_answer(ss, client->uid, !client->hung_up, client->in, length, &client->out,
				&client->pending);
	client->in_length -= taken;
	client->in_seen = 0;
	memmove(client->in, client->in + taken, client->in_length);
	if (client->in_length == 0) { /* idle connections hold no memory [P19] */
		free(client->in);
		client->in = NULL;
		client->in_room = 0;
	}
	return finish_response(client, now);
}

static enum client_next receive(struct client *client, int64_t now)
{
	invariant(!client->ended && client->in_length <= PROTOCOL_LINE_MAX);
	/* Without memory this client is disconnected; no other is affected. */
	if (client->in_room - client->in_length < RECEIVE_SIZE) {
		char *grown = realloc(client->in, client->in_room * 2 + RECEIVE_SIZE);
		if (grown == NULL)
			return CLIENT_CLOSE;
		client->in = grown;
		client->in_room = client->in_room * 2 + RECEIVE_SIZE;
	}
	ssize_t n = recv(client->fd, client->in + client->in_length, RECEIVE_SIZE, MSG_DONTWAIT);
	if (n > 0) {
		client->in_length += (size_t)n;
		client->moved_at = now;
		return CLIENT_CONTINUE;
	}
	if (n < 0 && errno == EINTR)
		return CLIENT_CONTINUE;
	client->readable = false;
	client->ended = n == 0;
	/* A client that has disconnected sends nothing more: what it had sent has been carried
	 * out. */
	if (n < 0 && (client->hung_up || (errno != EAGAIN && errno != ENOMEM)))
		return CLIENT_CLOSE;
	return n == 0 ? CLIENT_CONTINUE : CLIENT_WAIT;
}

bool client_has_request(const struct client *client)
{
	return client->out.length == 0 && client->pending.kind == RESPONSE_COMPLETE &&
	       client->in_length > 0 &&
	       (client->ended || memchr(client->in, '\n', client->in_length) != NULL);
}

/* Answer the next line, or receive more of it. */
static enum client_next read_line(struct safestart *ss, struct client *client, bool room,
				  int64_t now)
{
	char *end = client->in_length > client->in_seen
			    ? memchr(client->in + client->in_seen, '\n',
				     client->in_length - client->in_seen)
			    : NULL;
	size_t length = end != NULL ? (size_t)(end - client->in) : client->in_length;

	/* Its end may never come: nothing after it is read. */
	if (length > PROTOCOL_LINE_MAX) {
		response_error(&client->out, -E2BIG,
			       "the line is longer than 65536 bytes; connection closed");
		client->last = true;
		return finish_response(client, now);
	}
	if (end != NULL || (client->ended && length > 0)) /* the last line may lack its newline */
		return room || client->hung_up ? answer_line(ss, client, length,
							     end != NULL ? length + 1 : length, now)
					       : CLIENT_WAIT;
	client->in_seen = client->in_length;
	if (client->ended)
		return CLIENT_CLOSE;
	/* Not readable: epoll reports when it is, see client_interest(). */
	return client->readable ? receive(client, now) : CLIENT_WAIT;
}

/* The events that are there; when the last one has been sent, the line "end". */
static enum client_next stream_events(struct safestart *ss, struct client *client, int64_t now)
{
	if (response_events(ss, &client->pending, &client->out))
		return finish_response(client, now);
	if (!response_stream_has_ended(&client->pending))
		return CLIENT_WAIT;
	response_end(ss, &client->out);
	client->last = true;
	return finish_response(client, now);
}

/* In this order: what is to be sent, what is pending, the next line. So responses keep the order of
 * the requests, and only one is in memory. */
static enum client_next step(struct safestart *ss, struct client *client, bool room, int64_t now)
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
		return finish_response(client, now);
	case RESPONSE_STREAM: return stream_events(ss, client, now);
	default: return read_line(ss, client, room, now);
	}
}

enum client_next client_step(struct safestart *ss, struct client *client, bool room, int64_t now)
{
	invariant(is_consistent(client));
	enum client_next next = step(ss, client, room, now);

	invariant(next == CLIENT_CLOSE || is_consistent(client));
	invariant(next != CLIENT_WAIT || will_be_woken(client));
	return next;
}

void client_finish(struct safestart *ss, struct client *client)
{
	int64_t now = loop_now();
	enum client_next next;

	/* It ends, however much the client sends: nothing more is received, and without room no
	 * further request is answered. */
	do {
		client->readable = false;
		next = client_step(ss, client, false, now);
	} while (next == CLIENT_CONTINUE);
	if (client->pending.kind != RESPONSE_STREAM || client->last)
		return;
	/* Behind what could not be sent so far, if there is anything. */
	response_end(ss, &client->out);
	if (!client->out.failed)
		flush(client, now);
}

/* 0 while a response is pending or input waits: epoll still reports a client that has gone. */
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
