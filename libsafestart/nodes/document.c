/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* document: a set from the text of a file_sd document, and back. The document as a whole is here,
 * its groups are in entries.c. Any thread; no I/O, no clock, no lock. A document whose structure is
 * wrong is refused whole, and nothing comes of it. [P9] */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/json.h"
#include "base/message.h"
#include "nodes/entries.h"

static bool only_white_space(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0')
			return false;
	}
	return true;
}

/* Before jansson sees it: a parser that recurses must not meet what the stack does not survive. */
static int check_depth(const char *text, size_t length, const struct entries *entries)
{
	size_t at = json_too_deep(text, length), line = 1, column = 1;

	if (at == length)
		return 0;
	for (size_t i = 0; i < at; i++) {
		column++;
		if (text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	return message_set(entries->why, entries->why_size, -EINVAL,
			   "the document is nested too deeply (line %zu, column %zu): arrays and "
			   "objects may be nested %d deep",
			   line, column, JSON_DEPTH_MAX);
}

/* What can be seen to be wrong without a parser. Returns: 0; -E2BIG or -EINVAL and the reason. */
static int check_text(const char *text, size_t length, const struct entries *entries)
{
	char *why = entries->why;
	size_t size = entries->why_size;

	if (length > entries->limits->max_bytes)
		return message_set(why, size, -E2BIG,
				   "the document has more than max_bytes (%zu); to allow that, "
				   "raise the setting",
				   entries->limits->max_bytes);
	if (length == 0)
		return message_set(why, size, -EINVAL,
				   "the document is empty; a set without nodes is []");
	if (only_white_space(text, length))
		return message_set(why, size, -EINVAL,
				   "the document is only white space; a set without nodes is []");
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return message_set(why, size, -EINVAL,
				   "the document begins with a byte order mark; write UTF-8 "
				   "without it");
	const char *nul = memchr(text, '\0', length);
	if (nul != NULL)
		return message_set(why, size, -EINVAL, "the document has a NUL byte at offset %zu",
				   (size_t)(nul - text));
	return check_depth(text, length, entries);
}

/* Parse the whole text as JSON. Returns: 0; -EINVAL or -ENOMEM and the reason. */
static int load(json_t **out, const char *text, size_t length, const struct entries *entries)
{
	json_error_t error;
	char *why = entries->why;
	size_t size = entries->why_size;
	bool no_memory;

	*out = json_read(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error,
			 &no_memory);
	if (no_memory)
		return entries_no_memory(entries);
	if (*out != NULL)
		return 0;
	invariant(error.text[0] != '\0'); /* else it was taken for a lack of memory */
	switch (json_error_code(&error)) {
	case json_error_premature_end_of_input:
		return message_set(why, size, -EINVAL,
				   "the document ends too early at line %d, column %d: %s (is it "
				   "still being written?)",
				   error.line, error.column, error.text);
	case json_error_invalid_utf8:
		return message_set(why, size, -EINVAL,
				   "the document is not UTF-8: line %d, column %d: %s", error.line,
				   error.column, error.text);
	default:
		return message_set(why, size, -EINVAL,
				   "the document is not JSON: line %d, column %d: %s", error.line,
				   error.column, error.text);
	}
}

static int read_document(struct entries *entries, const json_t *root)
{
	if (!json_is_array(root))
		return message_set(entries->why, entries->why_size, -EINVAL,
				   "the document is %s, not an array of groups; a set without "
				   "nodes is []",
				   entries_type_name(root));
	for (size_t i = 0; i < json_array_size(root); i++) {
		int error = entries_read_group(entries, json_array_get(root, i), i + 1);
		if (error < 0)
			return error;
	}
	return 0;
}

static int read_whole(struct entries *entries, const char *text, size_t length)
{
	json_t *root = NULL;
	int error = load(&root, text, length, entries);

	if (error == 0)
		error = read_document(entries, root);
	json_decref(root);
	return error;
}

static size_t skip_space(const char *text, size_t at, size_t length)
{
	while (at < length &&
	       (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n'))
		at++;
	return at;
}

#define READ_WHOLE 1 /* parse the document in one piece, to find out what is wrong with it */

/* One group, from its brace on. Returns: 0, and in *end where it ends; READ_WHOLE; -ENOMEM. */
static int read_next_group(struct entries *entries, const char *text, size_t length, size_t group,
			   size_t *end)
{
	json_error_t error;
	bool no_memory;

	json_t *object = json_read(text, length, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK,
				   &error, &no_memory);
	if (no_memory)
		return entries_no_memory(entries);
	if (object == NULL || error.position < 0) { /* a position beyond an int turns negative */
		json_decref(object);
		return READ_WHOLE;
	}
	*end = (size_t)error.position;
	invariant(*end > 0);
	invariant(*end <= length);
	int result = entries_read_group(entries, object, group);
	json_decref(object);
	return result < 0 && result != -ENOMEM ? READ_WHOLE : result;
}

/* Group by group: the JSON tree of a whole document takes many times the memory of its nodes, and
 * most of the time is spent on building and freeing it. Only valid documents get through here; for
 * any other one read_whole() gives the reason, so that all reasons come from one place. */
static int read_by_group(struct entries *entries, const char *text, size_t length)
{
	size_t at = skip_space(text, 0, length), end = 0;
	char before = '[';

	for (size_t group = 1; at < length && text[at] == before; group++) {
		at = skip_space(text, at + 1, length);
		if (at == length || text[at] != '{')
			return READ_WHOLE;
		int result = read_next_group(entries, text + at, length - at, group, &end);
		if (result != 0)
			return result;
		at = skip_space(text, at + end, length);
		before = ',';
	}
	bool complete = before == ',' && at < length && text[at] == ']' &&
			skip_space(text, at + 1, length) == length;
	return complete ? 0 : READ_WHOLE;
}

int nodeset_parse(struct nodeset **out, const char *json, size_t length,
		  const struct nodeset_limits *limits, char *why, size_t why_size)
{
	struct entries entries = {.limits = limits, .why = why, .why_size = why_size};

	*out = NULL;
	int error = check_text(json, length, &entries);
	if (error < 0)
		return error;
	error = read_by_group(&entries, json, length);
	if (error == READ_WHOLE) {
		entries_clear(&entries);
		error = read_whole(&entries, json, length);
	}
	if (error == 0 && (*out = entries_make_set(&entries)) == NULL)
		error = entries_no_memory(&entries);
	entries_clear(&entries);
	free(entries.all);
	invariant(error <= 0);
	invariant((error == 0) == (*out != NULL)); /* a set or a reason [P9] */
	return error;
}

/* One group: its target, its labels and its id, unless that is the address. */
static json_t *node_to_json(const struct safestart_node *node)
{
	char address[NODE_ADDRESS_SIZE];
	const char *name, *value;
	json_t *labels = json_object();
	int failed = labels == NULL;

	node_address(node, address);
	if (strcmp(address, safestart_node_id(node)) != 0)
		failed |= json_object_set_new(labels, "id", json_string(safestart_node_id(node)));
	for (size_t i = 0; (value = safestart_node_label_at(node, i, &name)) != NULL; i++)
		failed |= json_object_set_new(labels, name, json_string(value));
	if (failed) {
		json_decref(labels);
		return NULL;
	}
	return json_pack("{s:[s],s:o}", "targets", address, "labels", labels);
}

char *nodeset_json(struct safestart_node *const *nodes, size_t count)
{
	json_t *root = json_array();
	bool complete = root != NULL;

	invariant(nodeset_nodes_hold(nodes, count));
	for (size_t i = 0; complete && i < count; i++)
		complete = json_array_append_new(root, node_to_json(nodes[i])) == 0;
	char *text = complete ? json_text(root) : NULL;
	json_decref(root);
	return text;
}
