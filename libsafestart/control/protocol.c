/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* protocol: JSON parsing of a request line. Control thread; pure. Every byte comes from outside, so
 * whatever is wrong with it is an error message for the client, never a broken invariant. */
#include "control/protocol.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/json.h"
#include "base/message.h"
#include "base/scan.h"

static const char *const verbs[] = {[PROTOCOL_STATUS] = "status",
				    [PROTOCOL_NODES] = "nodes",
				    [PROTOCOL_METRICS] = "metrics",
				    [PROTOCOL_REQUEST] = "request",
				    [PROTOCOL_EVENTS] = "events"};

/* Parse the line to a JSON object. On error *root is NULL. */
static int load_object(json_t **root, const char *line, size_t length, char *why, size_t why_size)
{
	struct scan scan = {.text = line, .length = length};
	json_error_t error;
	bool no_memory;

	*root = NULL;
	if (memchr(line, '\0', length) != NULL)
		return message_set(why, why_size, -EINVAL, "the line contains a NUL byte");
	if (!scan_value(&scan) && scan.fault == SCAN_DEEP)
		return message_set(why, why_size, -EINVAL, "the line is nested too deeply");
	if (scan.fault != SCAN_FINE)
		return message_set(why, why_size, -EINVAL, "the line is not JSON: column %zu: %s",
				   scan.at + 1, scan.words);
	*root = json_read(line, length, JSON_REJECT_DUPLICATES, &error, &no_memory);
	if (no_memory)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	if (*root == NULL)
		return message_set(why, why_size, -EINVAL, "the line is not JSON: column %d: %s",
				   error.column, error.text);
	if (!json_is_object(*root)) {
		json_decref(*root);
		*root = NULL;
		return message_set(why, why_size, -EINVAL,
				   "the line is not a JSON object such as {\"do\":\"status\"}");
	}
	return 0;
}

/* The error lists every verb: it is the help of this protocol. */
static int read_verb(enum protocol_verb *verb, const json_t *root, char *why, size_t why_size)
{
	const char *text = json_string_value(json_object_get(root, "do"));

	for (size_t i = 0; text != NULL && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i], text) == 0) {
			*verb = (enum protocol_verb)i;
			return 0;
		}
	}
	if (text == NULL)
		return message_set(why, why_size, -EINVAL,
				   "\"do\" must be one of status, nodes, metrics, request, "
				   "events");
	return message_set(why, why_size, -EINVAL,
			   "unknown request \"%.40s\"; \"do\" must be one of status, nodes, "
			   "metrics, "
			   "request, events",
			   text);
}

/* A member that is missing keeps its default. */
static int read_bool(bool *to, const json_t *root, const char *key, char *why, size_t why_size)
{
	const json_t *value = json_object_get(root, key);

	if (value != NULL && !json_is_boolean(value))
		return message_set(why, why_size, -EINVAL, "\"%s\" must be true or false", key);
	if (value != NULL)
		*to = json_is_true(value);
	return 0;
}

/* *to is NULL when there is no such member. It belongs to `root`. */
static int read_string(const char **to, const json_t *root, const char *key, char *why,
		       size_t why_size)
{
	const json_t *value = json_object_get(root, key);

	if (value != NULL && !json_is_string(value))
		return message_set(why, why_size, -EINVAL, "\"%s\" must be a string", key);
	*to = json_string_value(value);
	return 0;
}

static int read_timeout(int *to, const json_t *root, char *why, size_t why_size)
{
	const json_t *value = json_object_get(root, "timeout_ms");

	if (value == NULL)
		return 0;
	if (!json_is_integer(value))
		return message_set(why, why_size, -EINVAL,
				   "\"timeout_ms\" must be a whole number of milliseconds; -1: "
				   "no limit");
	/* Values out of range are limited, not refused: any negative one means no limit. */
	json_int_t ms = json_integer_value(value);
	*to = ms < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
	return 0;
}

/* Members that are not known are ignored: newer clients may send them. */
static int read_members(struct protocol_request *request, const json_t *root, char *why,
			size_t why_size)
{
	const char *id = NULL, *reason = NULL;

	int error = read_verb(&request->verb, root, why, why_size);
	if (error == 0)
		error = read_string(&id, root, "id", why, why_size);
	if (error == 0)
		error = read_string(&reason, root, "reason", why, why_size);
	if (error == 0)
		error = read_bool(&request->force, root, "force", why, why_size);
	if (error == 0)
		error = read_bool(&request->urgent, root, "urgent", why, why_size);
	if (error == 0)
		error = read_bool(&request->wait, root, "wait", why, why_size);
	if (error == 0)
		error = read_bool(&request->replay, root, "replay", why, why_size);
	if (error == 0)
		error = read_bool(&request->follow, root, "follow", why, why_size);
	if (error == 0)
		error = read_timeout(&request->timeout_ms, root, why, why_size);
	if (error < 0)
		return error;
	/* Cut to 127 bytes, and cleaned: it appears in the log and in the outcome. */
	message_copy(request->reason, sizeof(request->reason), reason != NULL ? reason : "");
	if (id != NULL && (request->id = strdup(id)) == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	return 0;
}

int protocol_read(struct protocol_request *request, const char *line, size_t length, char *why,
		  size_t why_size)
{
	json_t *root;

	*request = (struct protocol_request){.timeout_ms = -1, .replay = true, .follow = true};
	int error = load_object(&root, line, length, why, why_size);
	if (error == 0)
		error = read_members(request, root, why, why_size);
	json_decref(root);
	if (error < 0)
		protocol_clear(request);
	invariant(error == 0 || error == -EINVAL || error == -ENOMEM);
	invariant(error == 0 || request->id == NULL);
	invariant(error < 0 || (request->verb <= PROTOCOL_EVENTS && request->timeout_ms >= -1));
	return error;
}

void protocol_clear(struct protocol_request *request)
{
	free(request->id);
	request->id = NULL;
}
