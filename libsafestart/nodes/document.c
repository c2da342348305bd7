/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodeset, continued: sets to and from file_sd documents. The only place that knows JSON as input;
 * as pure as the rest of nodeset. A document is refused whole when its structure is wrong, an entry
 * alone when only the entry is. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "nodes/nodeset.h"

/* A node or a fault, in the order of the document, until both are sorted by id. */
struct entry {
	struct safestart_node *node; /* NULL: a fault */
	char *id;                    /* of a fault */
	char *reason;
	bool unnamed; /* its id is a name we gave it; somebody else's may read the same */
	size_t position;
};

struct reading {
	struct entry *entries;
	size_t text_size; /* of all nodes */
	size_t count;
	size_t capacity;
	const struct nodeset_limits *limits;
	char *why;
	size_t why_size;
};

static int no_memory(const struct reading *reading)
{
	return message_set(reading->why, reading->why_size, -ENOMEM,
			   "out of memory while reading the nodes");
}

static const char *entry_id(const struct entry *entry)
{
	return entry->node != NULL ? safestart_node_id(entry->node) : entry->id;
}

static int by_id_then_position(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = strcmp(entry_id(left), entry_id(right));

	if (order == 0)
		order = left->unnamed - right->unnamed;
	return order != 0 ? order : left->position < right->position ? -1 : 1;
}

static bool only_white_space(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0')
			return false;
	}
	return true;
}

static const char *type_name(const json_t *value)
{
	if (value == NULL)
		return "missing";
	switch (json_typeof(value)) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a string";
	case JSON_NULL: return "null";
	case JSON_TRUE:
	case JSON_FALSE: return "a boolean";
	default: return "a number";
	}
}

/* jansson 2.14 says out of memory by saying nothing, or that a string, read up to its closing
 * quote, is no token. */
static bool wanted_memory(const json_error_t *error, const char *text, size_t length)
{
	if (error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory)
		return true;
	if (error->position < 1 || (size_t)error->position > length ||
	    text[error->position - 1] != '"')
		return false;
	return strncmp(error->text, "invalid token", 13) == 0 ||
	       strncmp(error->text, "string or '}' expected", 22) == 0;
}

/* What needs no parser to be wrong. */
static int look_at(const char *text, size_t length, const struct reading *reading)
{
	char *why = reading->why;
	size_t size = reading->why_size;

	if (length > reading->limits->max_bytes)
		return message_set(why, size, -E2BIG,
				   "the document has more than max_bytes (%zu); raise the setting "
				   "if that is meant",
				   reading->limits->max_bytes);
	if (length == 0)
		return message_set(why, size, -EINVAL,
				   "the document is empty; a set without nodes is []");
	if (only_white_space(text, length))
		return message_set(why, size, -EINVAL,
				   "the document is nothing but white space; a set without nodes "
				   "is []");
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return message_set(why, size, -EINVAL,
				   "the document begins with a byte order mark; write UTF-8 "
				   "without it");
	const char *nul = memchr(text, '\0', length);
	if (nul != NULL)
		return message_set(why, size, -EINVAL, "the document has a NUL byte at offset %zu",
				   (size_t)(nul - text));
	return 0;
}

/* The text as JSON, or what is wrong with it in words. */
static int load(json_t **out, const char *text, size_t length, const struct reading *reading)
{
	json_error_t error;
	char *why = reading->why;
	size_t size = reading->why_size;

	/* jansson 2.14 leaves out the byte of a string for which its buffer could not grow, and
	 * goes on: malloc() alone knows. */
	errno = 0;
	*out = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (errno == ENOMEM || (*out == NULL && wanted_memory(&error, text, length))) {
		json_decref(*out);
		*out = NULL;
		return no_memory(reading);
	}
	if (*out != NULL)
		return 0;
	switch (json_error_code(&error)) {
	case json_error_premature_end_of_input:
		return message_set(why, size, -EINVAL,
				   "the document ends too early at line %d, column %d: %s (is it "
				   "still being written?)",
				   error.line, error.column, error.text);
	case json_error_stack_overflow:
		return message_set(why, size, -EINVAL,
				   "the document is nested too deeply (line %d, column %d)",
				   error.line, error.column);
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

static struct entry *next_entry(struct reading *reading)
{
	if (reading->count == reading->capacity) {
		size_t capacity = reading->capacity * 2 + 16;
		struct entry *grown = realloc(reading->entries, capacity * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		reading->entries = grown;
		reading->capacity = capacity;
	}
	struct entry *entry = &reading->entries[reading->count];
	*entry = (struct entry){.position = reading->count};
	reading->count++;
	return entry;
}

static bool describe_fault(struct entry *entry, const char *id, const char *reason)
{
	entry->id = strdup(id);
	entry->reason = strdup(reason);
	return entry->id != NULL && entry->reason != NULL;
}

/* A fault is named by its id where it has a usable one, so that the live node with this id is known
 * to stay. */
static bool make_fault(struct entry *entry, const char *id, const char *address, const char *reason)
{
	char name[64];

	snprintf(name, sizeof(name), "entry %zu", entry->position + 1);
	entry->unnamed = node_check_id(id != NULL ? id : address, NULL, 0) < 0;
	return describe_fault(entry, entry->unnamed ? name : id != NULL ? id : address, reason);
}

static int read_target(struct reading *reading, const char *address, const char *id,
		       const struct node_label *labels, size_t label_count)
{
	char reason[256];
	struct entry *entry = next_entry(reading);

	if (entry == NULL)
		return no_memory(reading);
	int error =
		node_new(&entry->node, id, address, labels, label_count, reason, sizeof(reason));
	if (error == -ENOMEM || (error < 0 && !make_fault(entry, id, address, reason))) {
		free(entry->id);
		free(entry->reason);
		reading->count--;
		return no_memory(reading);
	}
	/* A group's labels are repeated for each of its targets: a small document can mean a huge
	 * set. */
	reading->text_size += error == 0 ? entry->node->text_size : 0;
	if (reading->text_size > reading->limits->max_bytes)
		return message_set(reading->why, reading->why_size, -E2BIG,
				   "the nodes with their labels have more than max_bytes (%zu); "
				   "raise the setting if that is meant",
				   reading->limits->max_bytes);
	return 0;
}

static int read_labels(struct reading *reading, const json_t *object, size_t group,
		       struct node_label **out, size_t *count)
{
	const char *name;
	json_t *value;

	*out = NULL;
	*count = 0;
	if (object == NULL)
		return 0;
	if (!json_is_object(object))
		return message_set(reading->why, reading->why_size, -EINVAL,
				   "group %zu: labels is %s, not an object", group,
				   type_name(object));
	*out = calloc(json_object_size(object) + 1, sizeof(**out));
	if (*out == NULL)
		return no_memory(reading);
	json_object_foreach((json_t *)(uintptr_t)object, name, value) {
		if (!json_is_string(value))
			return message_set(reading->why, reading->why_size, -EINVAL,
					   "group %zu: the label \"%.40s\" is %s, not a string",
					   group, name, type_name(value));
		(*out)[(*count)++] =
			(struct node_label){.name = name, .value = json_string_value(value)};
	}
	return 0;
}

static int read_group(struct reading *reading, const json_t *object, size_t group)
{
	struct node_label *labels = NULL;
	size_t label_count, target_count;

	if (!json_is_object(object))
		return message_set(reading->why, reading->why_size, -EINVAL,
				   "group %zu is %s, not an object with targets and labels", group,
				   type_name(object));
	const json_t *targets = json_object_get(object, "targets");
	if (!json_is_array(targets))
		return message_set(reading->why, reading->why_size, -EINVAL,
				   "group %zu: targets is %s, not an array of strings", group,
				   type_name(targets));
	target_count = json_array_size(targets);
	if (target_count > reading->limits->max_nodes - reading->count)
		return message_set(reading->why, reading->why_size, -E2BIG,
				   "the set has more than max_nodes (%zu) entries; raise the "
				   "setting if that is meant",
				   reading->limits->max_nodes);
	int error = read_labels(reading, json_object_get(object, "labels"), group, &labels,
				&label_count);
	/* With several targets an id label can't mean one of them. */
	const char *id = target_count == 1
				 ? json_string_value(
					   json_object_get(json_object_get(object, "labels"), "id"))
				 : NULL;
	for (size_t i = 0; error == 0 && i < target_count; i++) {
		const json_t *target = json_array_get(targets, i);
		if (!json_is_string(target))
			error = message_set(reading->why, reading->why_size, -EINVAL,
					    "group %zu: target %zu is %s, not a string", group,
					    i + 1, type_name(target));
		else
			error = read_target(reading, json_string_value(target), id, labels,
					    label_count);
	}
	free(labels);
	return error;
}

static int read_document(struct reading *reading, const json_t *root)
{
	if (!json_is_array(root))
		return message_set(reading->why, reading->why_size, -EINVAL,
				   "the document is %s, not an array of groups; a set without "
				   "nodes is []",
				   type_name(root));
	for (size_t i = 0; i < json_array_size(root); i++) {
		int error = read_group(reading, json_array_get(root, i), i + 1);
		if (error < 0)
			return error;
	}
	return 0;
}

static int read_as_a_whole(struct reading *reading, const char *text, size_t length)
{
	json_t *root = NULL;
	int error = load(&root, text, length, reading);

	if (error == 0)
		error = read_document(reading, root);
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

#define AS_A_WHOLE 1 /* find out in one piece what is wrong with it */

/* One group, from its brace on. Where it ends; AS_A_WHOLE, -ENOMEM. */
static int read_next_group(struct reading *reading, const char *text, size_t length, size_t group,
			   size_t *end)
{
	json_error_t error;

	errno = 0;
	json_t *object =
		json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
	/* As in load(). */
	if (errno == ENOMEM || (object == NULL && wanted_memory(&error, text, length))) {
		json_decref(object);
		return no_memory(reading);
	}
	if (object == NULL || error.position < 0) { /* what is beyond an int is negative */
		json_decref(object);
		return AS_A_WHOLE;
	}
	*end = (size_t)error.position;
	int result = read_group(reading, object, group);
	json_decref(object);
	return result < 0 && result != -ENOMEM ? AS_A_WHOLE : result;
}

/* Group by group: the tree of a whole document takes many times the memory of its nodes, and most
 * of the time goes into making it and taking it down. Only what is right gets through here, so that
 * all words about what is wrong come from one place. */
static int read_by_group(struct reading *reading, const char *text, size_t length)
{
	size_t at = skip_space(text, 0, length), end = 0;
	char before = '[';

	for (size_t group = 1; at < length && text[at] == before; group++) {
		at = skip_space(text, at + 1, length);
		if (at == length || text[at] != '{')
			return AS_A_WHOLE;
		int result = read_next_group(reading, text + at, length - at, group, &end);
		if (result != 0)
			return result;
		at = skip_space(text, at + end, length);
		before = ',';
	}
	bool complete = before == ',' && at < length && text[at] == ']' &&
			skip_space(text, at + 1, length) == length;
	return complete ? 0 : AS_A_WHOLE;
}

/* Two entries with one id, and they differ: the second is the fault of both. */
static bool make_contradiction(const struct entry *first, struct entry *second)
{
	char one[NODE_ADDRESS_SIZE], other[NODE_ADDRESS_SIZE], reason[3 * NODE_ADDRESS_SIZE];

	node_address(first->node, one);
	node_address(second->node, other);
	snprintf(reason, sizeof(reason),
		 "the id is given to differing entries (%s and %s); none of them is used", one,
		 other);
	return describe_fault(second, entry_id(second), reason);
}

/* Of entries that share an id: the one that is unusable, or that contradicts the first. NULL: they
 * are one node. */
static struct entry *find_fault(struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].node == NULL)
			return &entries[i];
	}
	for (size_t i = 1; i < count; i++) {
		if (!node_same(entries[0].node, entries[i].node))
			return &entries[i];
	}
	return NULL;
}

/* These entries share an id: one node, or one fault. */
static bool settle(struct nodeset *set, struct entry *entries, size_t count)
{
	struct entry *fault = find_fault(entries, count);

	if (fault == NULL) {
		set->nodes[set->count++] = node_ref(entries[0].node);
		return true;
	}
	if (fault->node != NULL && !make_contradiction(&entries[0], fault))
		return false;
	set->faults[set->fault_count++] = (struct nodeset_fault){.id = fault->id,
								 .reason = fault->reason,
								 .unnamed = fault->unnamed};
	fault->id = fault->reason = NULL; /* the set's now */
	return true;
}

/* Most documents are written by programs, in order. */
static bool is_sorted(const struct reading *reading)
{
	for (size_t i = 1; i < reading->count; i++) {
		if (by_id_then_position(&reading->entries[i - 1], &reading->entries[i]) > 0)
			return false;
	}
	return true;
}

static struct nodeset *make_set(struct reading *reading)
{
	struct nodeset *set = calloc(1, sizeof(*set));
	size_t first_position = SIZE_MAX;

	if (set == NULL)
		return NULL;
	atomic_init(&set->refs, 1);
	set->nodes = calloc(reading->count + 1, sizeof(*set->nodes));
	set->faults = calloc(reading->count + 1, sizeof(*set->faults));
	if (set->nodes == NULL || set->faults == NULL)
		goto fail;
	if (!is_sorted(reading))
		qsort(reading->entries, reading->count, sizeof(*reading->entries),
		      by_id_then_position);
	for (size_t from = 0, to; from < reading->count; from = to) {
		size_t faults = set->fault_count;
		const char *id = entry_id(&reading->entries[from]);
		for (to = from + 1; to < reading->count && !reading->entries[to].unnamed &&
				    strcmp(id, entry_id(&reading->entries[to])) == 0;)
			to++;
		if (!settle(set, &reading->entries[from], to - from))
			goto fail;
		if (set->fault_count > faults && reading->entries[from].position < first_position) {
			first_position = reading->entries[from].position;
			set->first_reason = set->faults[faults].reason;
		}
	}
	/* As a rule: none. */
	struct nodeset_fault *few = realloc(set->faults, (set->fault_count + 1) * sizeof(*few));
	if (few != NULL)
		set->faults = few;
	return set;
fail:
	nodeset_unref(set);
	return NULL;
}

static void forget_entries(struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++) {
		if (reading->entries[i].node != NULL && node_unref(reading->entries[i].node))
			node_free(reading->entries[i].node);
		free(reading->entries[i].id);
		free(reading->entries[i].reason);
	}
	reading->count = reading->text_size = 0;
}

int nodeset_parse(struct nodeset **out, const char *json, size_t length,
		  const struct nodeset_limits *limits, char *why, size_t why_size)
{
	struct reading reading = {.limits = limits, .why = why, .why_size = why_size};

	*out = NULL;
	int error = look_at(json, length, &reading);
	if (error < 0)
		return error;
	error = read_by_group(&reading, json, length);
	if (error == AS_A_WHOLE) {
		forget_entries(&reading);
		error = read_as_a_whole(&reading, json, length);
	}
	if (error == 0 && (*out = make_set(&reading)) == NULL)
		error = no_memory(&reading);
	forget_entries(&reading);
	free(reading.entries);
	return error;
}

/* One group: its target, its labels and, where the address does not say it, its id. */
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

	for (size_t i = 0; complete && i < count; i++)
		complete = json_array_append_new(root, node_to_json(nodes[i])) == 0;
	char *text = complete ? json_text(root) : NULL;
	json_decref(root);
	return text;
}
