/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/protocol.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

#define DEPTH_MAX                                                                       \
	32 /* far more than any question has, far less than what a thread's stack bears \
	    */

static const char *const verbs[] = {[PROTOCOL_STATUS] = "status",
				    [PROTOCOL_NODES] = "nodes",
				    [PROTOCOL_METRICS] = "metrics",
				    [PROTOCOL_REQUEST] = "request",
				    [PROTOCOL_EVENTS] = "events"};

/* How deep are arrays and objects nested? Exact for JSON; what is none may be anything. */
static size_t depth_of(const char *line, size_t length)
{
	size_t depth = 0, deepest = 0;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (quoted && line[i] == '\\')
			i++;
		else if (line[i] == '"')
			quoted = !quoted;
		else if (!quoted && (line[i] == '[' || line[i] == '{'))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!quoted && (line[i] == ']' || line[i] == '}') && depth > 0)
			depth--;
	}
	return deepest;
}

static int load(json_t **root, const char *line, size_t length, char *why, size_t why_size)
{
	json_error_t error;

	*root = NULL;
	if (memchr(line, '\0', length) != NULL)
		return message_set(why, why_size, -EINVAL, "the line has a NUL byte");
	if (depth_of(line, length) > DEPTH_MAX)
		return message_set(why, why_size, -EINVAL, "the line is nested too deeply");
	/* jansson 2.14 leaves out the byte of a string for which its buffer could not grow, and
	 * goes on: malloc() alone knows. */
	errno = 0;
	*root = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	if (errno == ENOMEM ||
	    (*root == NULL &&
	     (error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory))) {
		json_decref(*root);
		*root = NULL;
		return message_set(why, why_size, -ENOMEM, "out of memory");
	}
	if (*root == NULL)
		return message_set(why, why_size, -EINVAL, "the line is not JSON: column %d: %s",
				   error.column, error.text);
	if (!json_is_object(*root)) {
		json_decref(*root);
		*root = NULL;
		return message_set(why, why_size, -EINVAL,
				   "the line is no JSON object such as {\"do\":\"status\"}");
	}
	return 0;
}

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
				   "\"do\" has to be one of status, nodes, metrics, request, "
				   "events");
	return message_set(why, why_size, -EINVAL,
			   "there is no \"%.40s\"; \"do\" has to be one of status, nodes, metrics, "
			   "request, events",
			   text);
}

static int read_bool(bool *to, const json_t *root, const char *key, char *why, size_t why_size)
{
	const json_t *value = json_object_get(root, key);

	if (value != NULL && !json_is_boolean(value))
		return message_set(why, why_size, -EINVAL, "\"%s\" has to be true or false", key);
	if (value != NULL)
		*to = json_is_true(value);
	return 0;
}

/* NULL when there is none. */
static int read_string(const char **to, const json_t *root, const char *key, char *why,
		       size_t why_size)
{
	const json_t *value = json_object_get(root, key);

	if (value != NULL && !json_is_string(value))
		return message_set(why, why_size, -EINVAL, "\"%s\" has to be a string", key);
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
				   "\"timeout_ms\" has to be a whole number of milliseconds; -1: "
				   "for ever");
	json_int_t ms = json_integer_value(value);
	*to = ms < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
	return 0;
}

static int read_members(struct protocol_request *asked, const json_t *root, char *why,
			size_t why_size)
{
	const char *id = NULL, *reason = NULL;

	int error = read_verb(&asked->verb, root, why, why_size);
	if (error == 0)
		error = read_string(&id, root, "id", why, why_size);
	if (error == 0)
		error = read_string(&reason, root, "reason", why, why_size);
	if (error == 0)
		error = read_bool(&asked->force, root, "force", why, why_size);
	if (error == 0)
		error = read_bool(&asked->urgent, root, "urgent", why, why_size);
	if (error == 0)
		error = read_bool(&asked->wait, root, "wait", why, why_size);
	if (error == 0)
		error = read_bool(&asked->replay, root, "replay", why, why_size);
	if (error == 0)
		error = read_bool(&asked->follow, root, "follow", why, why_size);
	if (error == 0)
		error = read_timeout(&asked->timeout_ms, root, why, why_size);
	if (error < 0)
		return error;
	message_copy(asked->reason, sizeof(asked->reason), reason != NULL ? reason : "");
	if (id != NULL && (asked->id = strdup(id)) == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	return 0;
}

int protocol_read(struct protocol_request *asked, const char *line, size_t length, char *why,
		  size_t why_size)
{
	json_t *root;

	*asked = (struct protocol_request){.timeout_ms = -1, .replay = true, .follow = true};
	int error = load(&root, line, length, why, why_size);
	if (error == 0)
		error = read_members(asked, root, why, why_size);
	json_decref(root);
	if (error < 0)
		protocol_clear(asked);
	return error;
}

void protocol_clear(struct protocol_request *asked)
{
	free(asked->id);
	asked->id = NULL;
}
