/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* document: a set from the text of a file_sd document, and back. The document as a whole is here,
 * its groups are in group.c. Any thread; no I/O, no clock, no lock. A document that is not JSON is
 * refused whole, and nothing comes of it. [P9] */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/json.h"
#include "base/message.h"
#include "nodes/group.h"

static bool only_white_space(const char *text, size_t length)
{
	struct scan scan = {.text = text, .length = length};

	(void)scan_peek(&scan);
	return scan.at == length;
}

/* Text that is something else than JSON in UTF-8, by its first bytes. NULL: not one of these. */
static const char *foreign(const char *text, size_t length)
{
	const unsigned char first = length > 0 ? (unsigned char)text[0] : 0,
			    second = length > 1 ? (unsigned char)text[1] : 0;

	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return "the document begins with a byte order mark; write UTF-8 without it";
	if (length > 1 && ((first == 0xff && second == 0xfe) || (first == 0xfe && second == 0xff) ||
			   (first == 0) != (second == 0)))
		return "the document is UTF-16 and not UTF-8; convert it: iconv -f UTF-16 -t UTF-8";
	return NULL;
}

/* What begins like the YAML that Prometheus reads too: "- targets:", "---", or a comment. */
static bool is_like_yaml(const char *text, size_t length)
{
	struct scan scan = {.text = text, .length = length};
	char first = scan_peek(&scan);

	return first == '#' || (first == '-' && scan.at + 1 < length &&
				strchr(" -\t\r\n", text[scan.at + 1]) != NULL);
}

/* What can be seen to be wrong without a parser. Returns: 0; -E2BIG or -EINVAL and the reason. */
static int check_text(const char *text, size_t length, const struct entries *entries)
{
	char *why = entries->why;
	size_t size = entries->why_size;
	const char *what = foreign(text, length);

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
	if (what != NULL)
		return message_set(why, size, -EINVAL, "%s", what);
	if (is_like_yaml(text, length))
		return message_set(why, size, -EINVAL,
				   "the document is not JSON: it looks like YAML; write the same "
				   "groups as JSON: [{\"targets\": [\"host:port\"]}]");
	const char *nul = memchr(text, '\0', length);
	if (nul != NULL)
		return message_set(why, size, -EINVAL, "the document has a NUL byte at offset %zu",
				   (size_t)(nul - text));
	return 0;
}

/* Returns: -EINVAL, with what is wrong and where. Columns are characters. */
static int malformed(const struct scan *scan, const struct entries *entries)
{
	size_t line = 1, column = 1;
	char *why = entries->why;

	for (size_t i = 0; i < scan->at; i++) {
		column += ((unsigned char)scan->text[i] & 0xc0) != 0x80;
		if (scan->text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	switch (scan->fault) {
	case SCAN_ENDS:
		return message_set(why, entries->why_size, -EINVAL,
				   "the document ends too early at line %zu, column %zu: %s (is it "
				   "still being written?)",
				   line, column, scan->words);
	case SCAN_UTF8:
		return message_set(why, entries->why_size, -EINVAL,
				   "the document is not UTF-8: line %zu, column %zu: %s", line,
				   column, scan->words);
	case SCAN_DEEP:
		return message_set(why, entries->why_size, -EINVAL,
				   "the document is nested too deeply (line %zu, column %zu): "
				   "arrays and objects may be nested %d deep",
				   line, column, SCAN_DEPTH_MAX);
	default:
		return message_set(why, entries->why_size, -EINVAL,
				   "the document is not JSON: line %zu, column %zu: %s", line,
				   column, scan->words);
	}
}

static bool ends_here(struct scan *scan)
{
	(void)scan_peek(scan);
	if (scan->at == scan->length)
		return true;
	return scan_fail(scan, SCAN_SYNTAX, "the document goes on behind its end");
}

static int read_other(struct group_reader *reader)
{
	char first = scan_peek(&reader->scan);

	if (!scan_value(&reader->scan) || !ends_here(&reader->scan))
		return -EINVAL;
	return message_set(reader->entries->why, reader->entries->why_size, -EINVAL,
			   "the document is %s, not an array of groups; a set without nodes is []",
			   scan_type_name(first));
}

static int read_groups(struct group_reader *reader)
{
	struct scan *scan = &reader->scan;
	int error = 0;

	if (scan_peek(scan) != '[')
		return read_other(reader);
	(void)scan_enter(scan);
	while (error == 0 && scan_next(scan, ']', &reader->number))
		error = group_read(reader);
	if (error == 0 && (scan->fault != SCAN_FINE || !ends_here(scan) || reader->refused))
		error = -EINVAL; /* what is not JSON is worse than a wrong group */
	return error;
}

/* Room for strings as long as the document: no single one is longer, and none has to move. */
static int read_document(struct entries *entries, const char *text, size_t length)
{
	struct group_reader reader = {.scan = {.text = text, .length = length},
				      .entries = entries,
				      .decoded = malloc(length),
				      .labels = malloc(NODE_LABELS_MAX * sizeof(*reader.labels))};
	int error = reader.decoded != NULL && reader.labels != NULL ? read_groups(&reader)
								    : entries_no_memory(entries);

	if (reader.scan.fault != SCAN_FINE)
		error = malformed(&reader.scan, entries);
	free(reader.decoded);
	free(reader.labels);
	return error;
}

int nodeset_parse(struct nodeset **out, const char *json, size_t length,
		  const struct nodeset_limits *limits, char *why, size_t why_size)
{
	struct entries entries = {.limits = limits, .why = why, .why_size = why_size};

	*out = NULL;
	int error = check_text(json, length, &entries);
	if (error == 0)
		error = read_document(&entries, json, length);
	if (error == 0 && (*out = entries_make_set(&entries)) == NULL)
		error = entries_no_memory(&entries);
	entries_clear(&entries);
	invariant(error <= 0);
	invariant((error == 0) == (*out != NULL)); /* a set or a reason [P9] */
	return error;
}

/* One group: its target, its labels and its id, unless that is the address. */
static json_t *node_to_json(const struct safestart_node *node)
{
	char address[NODE_ADDRESS_SIZE];
	json_t *labels = json_object();
	int failed = labels == NULL;

	node_address(node, address);
	if (strcmp(address, safestart_node_id(node)) != 0)
		failed |= json_object_set_new(labels, "id", json_string(safestart_node_id(node)));
	for (const char *name = NULL; (name = node_next_label(node, name)) != NULL;)
		failed |= json_object_set_new(labels, name, json_string(node_label_value(name)));
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
