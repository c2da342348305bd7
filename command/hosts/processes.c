/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* processes: asks all processes with one poll() loop, in the calling thread. */
#include "hosts/processes.h"

#include <errno.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hosts/connection.h"

#define ASKED_AT_ONCE 256 /* stays below the usual limit of 1024 descriptors */
/* What all answers of processes of other users may take, in bytes. [P23] */
#define OTHERS_MAX ((size_t)512 << 20)
#define TIMEOUT_MIN INT64_C(200000000)

/* The state of asking one process. */
struct asking {
	struct peer *peer;
	struct connection connection;
	bool closed;    /* it ended in an orderly way and removed its socket */
	bool outcome;   /* the answer has two lines: the ticket, then the outcome */
	size_t *others; /* what the answers of other users' processes take */
};

static void set_state(struct peer *peer, enum peer_state state, const char *why)
{
	peer->state = state;
	snprintf(peer->why, sizeof(peer->why), "%s", why);
}

/* About what it takes in memory as a tree: a short text may make a large one. */
static size_t weigh(const char *line, size_t length)
{
	size_t weight = length;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (line[i] == '\\' && quoted)
			i++;
		else if (line[i] == '"')
			quoted = !quoted;
		else if (!quoted && line[i] == ',')
			weight += 128;
		else if (!quoted && (line[i] == '{' || line[i] == '['))
			weight += 384;
	}
	return weight;
}

/* An answer is an object with "ok"; if that is false, "message" says why. */
static bool take_answer(char *line, size_t length, void *user_data)
{
	struct asking *asking = user_data;
	struct peer *peer = asking->peer;

	if (!connection_trusted(&asking->connection)) {
		*asking->others += weigh(line, length);
		if (*asking->others > OTHERS_MAX) {
			set_state(peer, PEER_FAILED,
				  "the answers of other users' processes are too long: not all of "
				  "them are control sockets of libsafestart");
			return false;
		}
	}
	json_t *answer = json_loadb(line, length, 0, NULL);

	if (!json_is_object(answer)) {
		json_decref(answer);
		set_state(peer, PEER_FAILED,
			  "the answer is not a JSON object: not a control socket of libsafestart");
		return false;
	}
	if (asking->outcome && member_bool(answer, "ok", false) &&
	    json_object_get(answer, "outcome") == NULL) {
		json_decref(answer);
		return true;
	}
	peer->answer = answer;
	peer->state = PEER_ANSWERED;
	if (member_text(answer, "name")[0] != '\0') {
		char *name = strdup(member_text(answer, "name"));
		if (name != NULL) {
			free(peer->name);
			peer->name = name;
		}
	}
	if (!member_bool(answer, "ok", false))
		set_state(peer, PEER_REFUSED,
			  member_text(answer, "message")[0] != '\0' ? member_text(answer, "message")
								    : "refused without a reason");
	return false;
}

/* Only these errors have a meaning of their own; each message says what the reader can do. */
static void set_state_by_error(struct asking *asking, int error)
{
	struct peer *peer = asking->peer;
	char why[160];

	if (error == -ENOENT) {
		asking->closed = true;
	} else if (error == -ECONNREFUSED) {
		set_state(peer, PEER_GONE,
			  "gone: it ended without removing its socket, as a killed process does");
	} else if (error == -EPIPE || error == -ECONNRESET) {
		set_state(peer, PEER_FAILED, "closed the connection without an answer");
	} else if (error == -E2BIG) {
		set_state(peer, PEER_FAILED,
			  "the answer is too long: not a control socket of libsafestart");
	} else if (error == -EACCES || error == -EPERM) {
		snprintf(why, sizeof(why),
			 "permission denied: it belongs to user %u; ask as that user or as root",
			 (unsigned)peer->owner);
		set_state(peer, PEER_FAILED, why);
	} else {
		snprintf(why, sizeof(why), "cannot be asked: %s", safestart_strerror(error));
		set_state(peer, PEER_FAILED, why);
	}
}

/* True: it is being asked now. */
static bool start(struct asking *asking, const char *directory, const char *line)
{
	struct peer *peer = asking->peer;
	long number = strtol(peer->process, NULL, 10);
	int error = connection_open(&asking->connection, directory, peer->file, number, line);

	if (error == -EAGAIN)
		return true; /* the queue of its socket is full: retried until the deadline */
	peer->pid = asking->connection.pid;
	peer->connected = error == 0;
	if (error == CONNECTION_STRANGER) {
		char why[160];
		connection_stranger(&asking->connection, why, sizeof(why));
		set_state(peer, PEER_FAILED, why);
		return false;
	}
	if (error < 0)
		set_state_by_error(asking, error);
	return error == 0;
}

static bool is_over(const struct asking *asking)
{
	return asking->closed || asking->peer->state != PEER_UNASKED;
}

/* One step with one process: connect, send, or receive. */
static void progress(struct asking *asking, const char *directory, const char *line)
{
	if (asking->connection.fd < 0) {
		start(asking, directory, line);
		return;
	}
	int result = connection_transfer(&asking->connection, take_answer, asking);
	if (result < 0)
		set_state_by_error(asking, result);
	if (is_over(asking))
		connection_close(&asking->connection);
}

/* Waits for an event of those being asked; retries every 10 ms where connecting was not possible.
 */
static int wait_for(struct asking *asking, size_t begun, struct pollfd *polled,
		    struct asking **polled_asking, int64_t deadline)
{
	int64_t left_ms = (deadline - clock_now()) / 1000000;
	bool again = false;
	int count = 0;

	for (size_t i = 0; i < begun; i++) {
		if (is_over(&asking[i]))
			continue;
		again |= asking[i].connection.fd < 0;
		polled_asking[count] = &asking[i];
		polled[count++] =
			(struct pollfd){.fd = asking[i].connection.fd,
					.events = connection_events(&asking[i].connection)};
	}
	left_ms = left_ms < 0 ? 0 : left_ms < 60000 ? left_ms + 1 : 60000;
	(void)poll(polled, (nfds_t)count, again && left_ms > 10 ? 10 : (int)left_ms);
	return count;
}

/* At most ASKED_AT_ONCE connections are open at a time; the next process is asked when one has
 * ended. One slow process delays only itself. */
static void ask_all(struct asking *asking, size_t count, const char *directory, const char *line,
		    struct pollfd *polled, struct asking **polled_asking, int64_t deadline)
{
	size_t begun = 0;

	for (;;) {
		size_t under_way = 0;
		for (size_t i = 0; i < begun; i++)
			under_way += !is_over(&asking[i]);
		for (; begun < count && under_way < ASKED_AT_ONCE; begun++)
			under_way += start(&asking[begun], directory, line);
		if (under_way == 0 || clock_now() >= deadline)
			return;
		int waiting = wait_for(asking, begun, polled, polled_asking, deadline);
		for (int i = 0; i < waiting; i++) {
			if (polled[i].revents != 0 || polled[i].fd < 0)
				progress(polled_asking[i], directory, line);
		}
	}
}

/* Removes the processes that ended in an orderly way, and marks those that have not answered. */
static void mark_unanswered(struct processes *processes, struct asking *asking, int64_t timeout)
{
	size_t kept = 0;
	char why[96];

	snprintf(why, sizeof(why), "no answer within %.3g s: is it stopped?",
		 (double)timeout / 1e9);
	for (size_t i = 0; i < processes->count; i++) {
		struct peer *peer = asking[i].peer;
		connection_close(&asking[i].connection);
		if (peer->state == PEER_UNASKED)
			set_state(peer, PEER_SILENT, why);
		if (asking[i].closed)
			peer_clear(peer);
		else
			processes->peers[kept++] = *peer;
	}
	processes->count = kept;
	processes_sort(processes);
}

int processes_ask(struct processes *processes, json_t *request, int64_t timeout)
{
	char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
	struct asking *asking = calloc(processes->count + 1, sizeof(*asking));
	struct pollfd *polled = calloc(processes->count + 1, sizeof(*polled));
	struct asking **polled_asking = calloc(processes->count + 1, sizeof(struct asking *));
	bool ok = text != NULL && asking != NULL && polled != NULL && polled_asking != NULL &&
		  asprintf(&line, "%s\n", text) >= 0;

	size_t others = 0;
	bool outcome = json_is_true(json_object_get(request, "wait"));
	/* The timeout that was asked for: what is added to it is not the reader's. */
	int64_t kept = (int64_t)member_number(request, "timeout_ms") * 1000000;
	for (size_t i = 0; ok && i < processes->count; i++) {
		json_decref(processes->peers[i].answer);
		processes->peers[i].answer = NULL;
		processes->peers[i].state = PEER_UNASKED;
		asking[i] = (struct asking){.peer = &processes->peers[i],
					    .connection.fd = -1,
					    .outcome = outcome,
					    .others = &others};
	}
	/* With --timeout 0 a process still needs some time to answer; it must not be reported as
	 * stopped. */
	if (timeout < TIMEOUT_MIN)
		timeout = TIMEOUT_MIN;
	if (ok) {
		ask_all(asking, processes->count, processes->directory, line, polled, polled_asking,
			clock_now() + timeout);
		mark_unanswered(processes, asking, kept > 0 ? kept : timeout);
		free(line);
	}
	free(polled_asking);
	free(polled);
	free(asking);
	free(text);
	json_decref(request);
	return ok ? 0 : -ENOMEM;
}
