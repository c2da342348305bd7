/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes that the command may read: a node file, which is edited and must keep its meaning
 * except for the edit; a file in which places are looked for; answers of processes, which become
 * a line; figures; and text for a terminal. The first byte chooses. */
#include <errno.h>
#include <jansson.h>
#include <locale.h>

#include "base/table.h"
#include "base/text.h"
#include "files/file_sd.h"
#include "files/position.h"
#include "fuzz.h"
#include "hosts/summary.h"
#include "verbs/metrics.h"

static char *text_of(const struct input *input)
{
	char *text = malloc(input->left + 1);

	HOLD(text != NULL);
	memcpy(text, input->at, input->left);
	text[input->left] = '\0';
	return text;
}

/* ---- A file ---- */

/* id → address of all entries; *count: how many there are. */
static json_t *entries_of(const struct file_sd *file_sd, size_t *count)
{
	struct file_sd_entry entry = {0};
	json_t *entries = json_object();

	for (*count = 0; file_sd_next(file_sd, &entry); ++*count)
		json_object_set_new(entries, entry.id, json_string(entry.address));
	return entries;
}

/* Every group that was not edited is in the new text as it was. */
static void hold_untouched(const struct file_sd *file_sd, const char *text)
{
	for (size_t i = 0; i < file_sd->count; i++) {
		const struct file_sd_group *group = &file_sd->groups[i];
		if (group->dropped || group->text != NULL)
			continue;
		text = memmem(text, strlen(text), file_sd->text + group->start,
			      group->end - group->start);
		HOLD(text != NULL);
		text += group->end - group->start;
	}
}

static void edit(struct file_sd *file_sd, const char *id, const char *address)
{
	size_t count, length;
	char why[300];
	json_t *wanted = entries_of(file_sd, &count),
	       *group = json_pack("{s:[s],s:{s:s}}", "targets", address, "labels", "id", id);
	struct file_sd edited;

	if (address[0] != '\0') {
		HOLD(file_sd_put(file_sd, id, group));
		json_object_set_new(wanted, id, json_string(address));
	} else {
		HOLD(file_sd_remove(file_sd, id));
		json_object_del(wanted, id);
	}
	char *text = file_sd_text(file_sd, &length);
	HOLD(text != NULL && strlen(text) == length);
	hold_untouched(file_sd, text);
	HOLD(file_sd->changed || strcmp(text, file_sd->text) == 0);
	HOLD(file_sd_take(&edited, text, length, true, why, sizeof(why)) == 0);
	json_t *found = entries_of(&edited, &count);
	HOLD(json_equal(found, wanted));
	file_sd_close(&edited);
	json_decref(found);
	json_decref(wanted);
	json_decref(group);
}

static void try_file(struct input *input)
{
	static const char *const ids[] = {"a", "b:1", "new"}, *const addresses[] = {"", "a:1",
										    "b:1", "c:1"};
	const char *id = ids[input_byte(input) % 3], *address = addresses[input_byte(input) % 4];
	struct file_sd file_sd;
	char why[300];
	size_t length = input->left;

	if (file_sd_take(&file_sd, text_of(input), length, true, why, sizeof(why)) == 0)
		edit(&file_sd, id, address);
	file_sd_close(&file_sd);
}

/* ---- Places ---- */

/* The text at this place, found step by step. */
static const char *at_place(const char *text, struct place place)
{
	for (size_t line = 1; line < place.line; line++) {
		text = strchr(text, '\n');
		HOLD(text != NULL);
		text++;
	}
	for (size_t column = 1; column < place.column; column++) {
		HOLD(*text != '\0' && *text != '\n');
		text++;
		while ((*text & 0xc0) == 0x80)
			text++;
	}
	return text;
}

/* What the parser found begins at this place. */
static void hold_value(const char *text, const json_t *root, const struct position_walk *walk)
{
	const char *at = at_place(text, walk->place);
	const json_t *group = json_array_get(root, walk->group - 1);
	const json_t *value = walk->target == 0 ? group
						: json_array_get(json_object_get(group, "targets"),
								 walk->target - 1);
	json_t *there =
		json_loadb(at, strlen(at),
			   JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);

	HOLD(value != NULL && json_equal(there, value));
	json_decref(there);
}

/* Groups, and the targets that are in arrays. */
static size_t count_places(const json_t *root)
{
	size_t count = json_array_size(root), index;
	const json_t *group;

	json_array_foreach(root, index, group)
		count += json_array_size(json_object_get(group, "targets"));
	return count;
}

/* In any text the walk goes forward and ends; in JSON it misses nothing that has no escapes. */
static void try_places(struct input *input)
{
	char *text = text_of(input);
	json_t *root = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	struct position_walk walk = position_begin(text);
	const char *before = text;
	size_t count = 0;

	for (; position_next(&walk); count++) {
		HOLD(walk.at > before && walk.place.line > 0);
		before = walk.at;
		struct place found = position_find(text, walk.group, walk.target);
		HOLD(found.line == walk.place.line && found.column == walk.place.column);
		if (root != NULL)
			hold_value(text, root, &walk);
	}
	HOLD(!position_next(&walk) && position_find(text, walk.group + 1, 0).line == 0);
	HOLD(root == NULL || strchr(text, '\\') != NULL || count == count_places(root));
	HOLD(root == NULL || walk.group == json_array_size(root));
	HOLD(walk.at <= text + strlen(text));
	json_decref(root);
	free(text);
}

/* ---- Answers ---- */

/* Each line is the answer of one process. */
static void try_answers(struct input *input)
{
	struct peer peers[8] = {0};
	struct summary summary;
	size_t count = 0;
	char *text = text_of(input), *rest = text, *line, words[400];

	while (count < 8 && (line = strsep(&rest, "\n")) != NULL) {
		json_t *answer = json_loads(line, 0, NULL);
		bool fine = json_is_object(answer);
		peers[count++] = (struct peer){.name = (char *)"api",
					       .process = (char *)"1",
					       .state = fine ? PEER_ANSWERED : PEER_GONE,
					       .answer = answer,
					       .why = "gone"};
	}
	summarise(&summary, peers, count, 3);
	HOLD(summary.line != NULL && summary.on_it <= summary.processes && summary.code >= 0 &&
	     summary.code <= 7);
	for (size_t i = 0; i < count; i++) {
		enum trouble trouble = summary_peer(&peers[i], &summary, words, sizeof(words));
		HOLD(trouble == TROUBLE_NONE || words[0] != '\0');
	}
	summary_end(&summary);
	for (size_t i = 0; i < count; i++)
		json_decref(peers[i].answer);
	free(text);
}

/* ---- Figures, and text ---- */

static void try_metrics(struct input *input)
{
	char *text = text_of(input), *printed = NULL;
	struct peer peers[2] =
		{{.name = (char *)"api", .process = (char *)"1", .state = PEER_ANSWERED},
		 {.name = (char *)"a\"\\", .process = (char *)"2", .state = PEER_ANSWERED}};
	const struct processes processes = {.peers = peers, .count = 2};
	size_t size;
	FILE *to = open_memstream(&printed, &size);

	/* NULL if it is not UTF-8. */
	peers[0].answer = peers[1].answer = json_pack("{s:s}", "metrics", text);
	HOLD(to != NULL);
	metrics_print(to, &processes);
	fclose(to);
	for (const char *at = printed; *at != '\0'; at++)
		HOLD(((unsigned char)*at >= ' ' && *at != '\177') || *at == '\n');
	json_decref(peers[0].answer);
	free(printed);
	free(text);
}

static void try_words(struct input *input)
{
	char *text = text_of(input), *clean = text_clean(text);

	HOLD(clean != NULL);
	HOLD(is_clean(clean));
	HOLD(text_width(clean) <= 2 * strlen(clean));
	free(clean);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(struct input *) = {try_file, try_answers, try_metrics,
							try_words, try_places};
	struct input input = {data, size};

	HOLD(setlocale(LC_CTYPE, "C.UTF-8") != NULL);
	tries[input_byte(&input) % 5](&input);
	return 0;
}
