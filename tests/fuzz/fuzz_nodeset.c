/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a document: accepted, or refused with a clean message, in an amount of memory
 * that is in proportion. An accepted document is the same set after a round trip, in any order
 * of its groups, and with each group twice. */
#include <errno.h>
#include <jansson.h>

#include "fuzz.h"
#include "nodes/nodeset.h"
#include "support/counted.h"

/* ---- What has to hold for a set ---- */

static const struct nodeset_limits generous = {.max_bytes = SIZE_MAX / 4, .max_nodes = 1 << 30};

static bool same_nodes(const struct nodeset *a, const struct nodeset *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = node_same(a->nodes[i], b->nodes[i]);
	return same;
}

static void hold_ordered(const struct nodeset *set, const struct nodeset_limits *limits)
{
	size_t text = 0;

	for (size_t i = 0; i < set->count; i++) {
		const char *id = safestart_node_id(set->nodes[i]);
		HOLD(i == 0 || strcmp(safestart_node_id(set->nodes[i - 1]), id) < 0);
		HOLD(is_clean(id) && strlen(id) <= NODE_ID_MAX &&
		     safestart_node_port(set->nodes[i]) > 0);
		HOLD(nodeset_find(set->nodes, set->count, id, NULL) == set->nodes[i]);
		text += set->nodes[i]->text_size;
	}
	for (size_t i = 0; i < set->fault_count; i++) {
		HOLD(i == 0 || strcmp(set->faults[i - 1].id, set->faults[i].id) <= 0);
		HOLD(is_clean(set->faults[i].id) && is_clean(set->faults[i].reason) &&
		     set->faults[i].reason[0] != '\0');
		HOLD(nodeset_find_fault(set, set->faults[i].id) != NULL);
	}
	HOLD((set->fault_count > 0) == (set->first_reason != NULL));
	HOLD(set->count + set->fault_count <= limits->max_nodes && text <= limits->max_bytes);
}

static void hold_round_trip(const struct nodeset *set)
{
	struct nodeset *again;
	char *json = nodeset_json(set->nodes, set->count);

	HOLD(json != NULL);
	HOLD(nodeset_parse(&again, json, strlen(json), &generous, NULL, 0) == 0);
	HOLD(again->fault_count == 0 && same_nodes(set, again));
	nodeset_unref(again);
	free(json);
}

/* From a set to itself nothing changes; from the empty set all nodes are added; to the empty set
 * all are removed. */
static void hold_plans(const struct nodeset *set)
{
	struct nodeset nothing = {0};
	struct nodeset_plan plan;

	HOLD(nodeset_equal(set, set));
	HOLD(nodeset_plan(&plan, set->nodes, set->count, set, false) == 0);
	HOLD(plan.change_count == 0 && plan.count == set->count);
	nodeset_plan_clear(&plan);
	HOLD(nodeset_plan(&plan, NULL, 0, set, false) == 0);
	HOLD(plan.change_count == set->count && plan.count == set->count);
	nodeset_plan_clear(&plan);
	HOLD(nodeset_plan(&plan, set->nodes, set->count, &nothing, false) == 0);
	HOLD(plan.change_count == set->count && plan.count == 0);
	nodeset_plan_clear(&plan);
}

/* The group with its labels in the other order. */
static json_t *turned(json_t *group)
{
	json_t *copy = json_copy(group), *labels = json_object_get(group, "labels"),
	       *others = json_object(), *value;
	const char **names = calloc(json_object_size(labels) + 1, sizeof(*names)), *name;
	size_t count = 0;

	HOLD(copy != NULL && others != NULL && names != NULL);
	json_object_foreach(labels, name, value)
		names[count++] = name;
	while (count-- > 0)
		json_object_set(others, names[count], json_object_get(labels, names[count]));
	if (json_is_object(labels))
		json_object_set(copy, "labels", others);
	json_decref(others);
	free(names);
	return copy;
}

/* The groups in reverse order, each of them twice, with its labels in either order. */
static void hold_order_is_nothing(const struct nodeset *set, const char *text, size_t size)
{
	json_t *root = json_loadb((const char *)text, size,
				  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL),
	       *other = json_array();
	struct nodeset *again;

	if (root == NULL) { /* what nobody asks for may be a number that jansson cannot hold */
		json_decref(other);
		return;
	}
	for (size_t i = json_array_size(root); i > 0; i--) {
		json_array_append(other, json_array_get(root, i - 1));
		json_array_append_new(other, turned(json_array_get(root, i - 1)));
	}
	char *json = json_dumps(other, 0);
	HOLD(json != NULL);
	HOLD(nodeset_parse(&again, json, strlen(json), &generous, NULL, 0) == 0);
	HOLD(same_nodes(set, again));
	for (size_t i = 0; i < set->fault_count;
	     i++) /* entries without a name are named by their position */
		HOLD(strncmp(set->faults[i].id, "entry ", 6) == 0 ||
		     nodeset_find_fault(again, set->faults[i].id) != NULL);
	nodeset_unref(again);
	json_decref(root);
	json_decref(other);
	free(json);
}

/* jansson has the same opinion of what JSON is, except that it refuses numbers it cannot hold. */
static void hold_is_json(const char *text, size_t size, const char *words, int error)
{
	json_error_t its;
	json_t *root = json_loadb(text, size, JSON_DECODE_ANY, &its);
	bool malformed = strncmp(words, "the document is not JSON", 24) == 0 ||
			 strncmp(words, "the document is not UTF-8", 25) == 0 ||
			 strncmp(words, "the document ends too early", 27) == 0;

	if (root != NULL)
		HOLD(!malformed);
	else if (error == 0)
		HOLD(json_error_code(&its) == json_error_numeric_overflow);
	json_decref(root);
}

/* How many entries the text can have at most: each stands behind one of these. */
static size_t most_entries(const char *text, size_t size, size_t max_nodes)
{
	size_t count = 0;

	for (size_t i = 0; i < size; i++)
		count += text[i] == ',' || text[i] == '[' || text[i] == ':';
	return count < max_nodes ? count : max_nodes;
}

/* safestart_check() says before what the library does later. */
static void hold_check_agrees(const char *text, const struct nodeset_limits *limits, int error,
			      const struct nodeset *set, const char *words)
{
	struct safestart_conf *conf = safestart_conf_new();
	char number[32], *why = dirty(400);

	snprintf(number, sizeof(number), "%zu", limits->max_bytes);
	HOLD(safestart_conf_set(conf, "max_bytes", number, NULL, 0) == 0);
	snprintf(number, sizeof(number), "%zu", limits->max_nodes);
	HOLD(safestart_conf_set(conf, "max_nodes", number, NULL, 0) == 0);
	int result = safestart_check(conf, text, why, 400);
	hold_words(why, 400);
	HOLD(why[0] != '\0');
	if (error < 0)
		HOLD(result == error && strncmp(why, words, 200) == 0);
	else if (set->count == 0)
		HOLD(result == (set->fault_count > 0 ? -EINVAL : -ERANGE));
	else
		HOLD(result == (int)set->fault_count);
	safestart_conf_free(conf);
	free(why);
}

/* A text that is cut is the beginning of the whole text. */
static void hold_cut_words(const char *text, size_t size, const struct nodeset_limits *limits,
			   size_t why_size, const char *words)
{
	char *why = dirty(why_size);
	struct nodeset *set;

	HOLD(nodeset_parse(&set, text, size, limits, why, why_size) < 0);
	hold_words(why, why_size);
	HOLD(why_size == 0 || (strncmp(why, words, strlen(why)) == 0 &&
			       (strlen(why) + 4 >= why_size || strcmp(why, words) == 0)));
	free(why);
}

/* The first byte: which limits, and how long the text may be. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t choice = input_byte(&input);
	const struct nodeset_limits usual = {.max_bytes = 64 << 20, .max_nodes = 100000},
				    small = {.max_bytes = 300, .max_nodes = 3},
				    tight = {.max_bytes = input.left + 1, .max_nodes = 100000},
				    *limits = choice & 1   ? &small
					      : choice & 2 ? &tight
							   : &usual;
	char words[400] = "";
	struct nodeset *set;

	json_object_seed(1);
	counted_begin(); /* with jansson, before it has allocated anything */
	char *text = malloc(input.left + 1);
	HOLD(text != NULL);
	memcpy(text, input.at, input.left);
	text[input.left] = '\0';
	counted_begin();
	int error = nodeset_parse(&set, text, input.left, limits, words, sizeof(words));
	/* [P23] With the document itself: four times as much. Labels are repeated for each target
	 * of their group: as long as that is within max_bytes. */
	size_t repeated = input.left * input.left / 8 < limits->max_bytes
				  ? input.left * input.left / 8
				  : limits->max_bytes;
	HOLD(counted_peak() <= 65536 + 3 * input.left +
				       1024 * most_entries(text, input.left, limits->max_nodes) +
				       2 * repeated);
	HOLD(error == 0 || error == -EINVAL || error == -E2BIG);
	HOLD((error == 0) == (set != NULL) && (error == 0 || counted_in_use() == 0));
	if (memchr(text, '\0', input.left) == NULL)
		hold_check_agrees(text, limits, error, set, words);
	hold_is_json(text, input.left, words, error);
	if (error < 0) {
		HOLD(words[0] != '\0');
		hold_words(words, sizeof(words));
		hold_cut_words(text, input.left, limits, choice >> 2, words);
	} else {
		hold_ordered(set, limits);
		hold_round_trip(set);
		hold_plans(set);
		hold_order_is_nothing(set, text, input.left);
		nodeset_unref(set);
	}
	free(text);
	return 0;
}
