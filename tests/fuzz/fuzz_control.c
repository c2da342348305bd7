/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes at the control socket, in any pieces: each line is answered by whole lines of JSON,
 * or is the last one; what the parser makes of a line is clean; and nothing is left when the
 * client has disconnected. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/client.h"
#include "control/protocol.h"
#include "fuzz.h"

/* Each line by itself, as the parser sees it. */
static void hold_request(const char *line, size_t length)
{
	/* Exactly as long as it is. */
	char *copy = malloc(length > 0 ? length : 1), *why = dirty(200);
	struct protocol_request request;

	HOLD(copy != NULL);
	memcpy(copy, line, length);
	int error = protocol_read(&request, copy, length, why, 200);
	HOLD(error == 0 || error == -EINVAL);
	if (error < 0) {
		hold_words(why, 200);
		HOLD(why[0] != '\0' && request.id == NULL);
	} else {
		HOLD(memchr(copy, '\0', length) == NULL && request.verb <= PROTOCOL_EVENTS &&
		     request.timeout_ms >= -1);
		HOLD(is_clean(request.reason) && strlen(request.reason) < sizeof(request.reason));
		json_t *root = json_loadb(copy, length, JSON_REJECT_DUPLICATES, NULL);
		HOLD(json_is_object(root) && json_is_string(json_object_get(root, "do")));
		json_decref(root);
	}
	protocol_clear(&request);
	free(copy);
	free(why);
}

static struct safestart *opened(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;

	HOLD(safestart_conf_set(conf, "thread", "no", NULL, 0) == 0 &&
	     safestart_conf_set(conf, "debounce", "0", NULL, 0) == 0);
	HOLD(safestart_open(&ss, conf, NULL, 0) == 0);
	safestart_conf_free(conf);
	ss->events = events_new(); /* as if there were a socket */
	HOLD(ss->events != NULL);
	HOLD(safestart_nodes_replace(ss,
				     "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\"}},{"
				     "\"targets\":[\"h:0\"]}]",
				     NULL, NULL, 0) == 0);
	HOLD(safestart_dispatch(ss, 0) == 0);
	return ss;
}

/* Every line that arrives is complete. */
static void hold_answers(int fd)
{
	static char lines[1 << 20];
	ssize_t n;
	size_t length = 0;

	while ((n = recv(fd, lines + length, sizeof(lines) - length, MSG_DONTWAIT)) > 0)
		length += (size_t)n;
	for (char *line = lines, *end; line < lines + length; line = end + 1) {
		end = memchr(line, '\n', (size_t)(lines + length - line));
		HOLD(end != NULL); /* they fit into the socket's buffer */
		json_t *root = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
		HOLD(json_is_boolean(json_object_get(root, "ok")) ||
		     json_is_string(json_object_get(root, "event")));
		json_decref(root);
	}
}

static enum client_next steps(struct safestart *ss, struct client *client, int other)
{
	enum client_next next;
	int most = 1 << 17;

	while ((next = client_step(ss, client, true, loop_now())) == CLIENT_CONTINUE)
		HOLD(--most > 0);
	hold_answers(other);
	HOLD(next == CLIENT_CLOSE ||
	     (client_interest(client) & ~(uint32_t)(EPOLLIN | EPOLLOUT)) == 0);
	return next;
}

static void feed(struct safestart *ss, struct input *input)
{
	enum client_next next = CLIENT_WAIT;
	int ends[2];

	HOLD(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	struct client client = {.fd = ends[0], .uid = geteuid(), .readable = true};
	while (input->left > 0 && next != CLIENT_CLOSE) {
		size_t piece = 1 + (size_t)input_byte(input) * 4;
		piece = piece < input->left ? piece : input->left;
		if (client.pending.kind == RESPONSE_COMPLETE && piece > 0)
			HOLD(send(ends[1], input->at, piece, MSG_NOSIGNAL) == (ssize_t)piece);
		input->at += piece;
		input->left -= piece;
		client.readable = true;
		next = steps(ss, &client, ends[1]);
		if (client.pending.kind == RESPONSE_WAIT) { /* its run */
			HOLD(safestart_dispatch(ss, 0) == 0);
			next = steps(ss, &client, ends[1]);
			HOLD(client.pending.kind != RESPONSE_WAIT);
		}
	}
	if (next != CLIENT_CLOSE) {
		shutdown(ends[1], SHUT_WR);
		client.readable = true;
		next = steps(ss, &client, ends[1]);
		HOLD(next == CLIENT_CLOSE || client.pending.kind != RESPONSE_COMPLETE);
		client_finish(ss, &client);
		hold_answers(ends[1]);
	}
	client_clear(&client);
	HOLD(client.in == NULL && client.out.text == NULL);
	close(ends[0]);
	close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	const char *at = (const char *)data, *end = at + size, *newline;

	for (; at < end; at = newline + 1) {
		newline = memchr(at, '\n', (size_t)(end - at));
		newline = newline != NULL ? newline : end;
		hold_request(at, (size_t)(newline - at));
	}
	struct safestart *ss = opened();
	feed(ss, &input);
	HOLD(safestart_close(ss) == 0);
	return 0;
}
