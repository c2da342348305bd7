/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_sd: edits JSON text in place, group by group. Parses, never re-formats what it does not
 * change. The file is opened and replaced in replace.c. */
#include "files/file_sd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/report.h"
#include "files/address.h"

static const struct file_sd no_file = {.file = {.lock = -1, .fd = -1}};

const char *file_sd_path(const char *given)
{
	/* Nothing here sets the environment. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *path = given != NULL ? given : getenv("SAFESTART_NODES");

	if (path != NULL && path[0] != '\0')
		return path;
	(void)report(0, "no node file given; name the file that the servers read with --file or in "
			"$SAFESTART_NODES");
	return NULL;
}

/* ---- Positions of the groups ---- */

/* The end of the value that begins at `at`. The text has been parsed, so brackets and quotes match.
 */
static size_t end_of_value(const char *text, size_t length, size_t at)
{
	bool quoted = false;
	int depth = 0;

	for (; at < length; at++) {
		char c = text[at];
		if (quoted) {
			if (c == '\\')
				at++;
			quoted = c != '"';
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']') && --depth == 0) {
			return at + 1;
		}
	}
	return length;
}

static bool find_groups(struct file_sd *file_sd)
{
	size_t at = 0;

	file_sd->count = json_array_size(file_sd->root);
	file_sd->groups = calloc(file_sd->count + 1, sizeof(*file_sd->groups));
	for (size_t i = 0; file_sd->groups != NULL && i < file_sd->count; i++) {
		/* In a document that is edited every group is an object; the position of any other
		 * value is not used. */
		const char *brace = memchr(file_sd->text + at, '{', file_sd->length - at);
		size_t start = brace != NULL ? (size_t)(brace - file_sd->text) : file_sd->length;
		at = end_of_value(file_sd->text, file_sd->length, start);
		file_sd->groups[i] =
			(struct file_sd_group){.start = start,
					       .end = at,
					       .group = json_array_get(file_sd->root, i)};
	}
	return file_sd->groups != NULL;
}

/* A document of which the library would leave out a whole group is not edited: what was meant is
 * unknown. */
static bool check_shape(const json_t *root)
{
	const json_t *group, *target, *value;
	const char *key;
	size_t i, k;

	if (!json_is_array(root))
		return false;
	json_array_foreach(root, i, group) {
		const json_t *targets = json_object_get(group, "targets"),
			     *labels = json_object_get(group, "labels");
		if (!json_is_array(targets) || (labels != NULL && !json_is_object(labels)))
			return false;
		json_array_foreach(targets, k, target) {
			if (!json_is_string(target))
				return false;
		}
		json_object_foreach((json_t *)labels, key, value) {
			if (!json_is_string(value))
				return false;
		}
	}
	return true;
}

int file_sd_take(struct file_sd *file_sd, char *text, size_t length, bool strict, char *why,
		 size_t why_size)
{
	json_error_t error;

	*file_sd = no_file;
	file_sd->text = text;
	file_sd->length = length;
	if (strlen(text) != length) { /* jansson accepts one behind a number */
		snprintf(why, why_size, "it contains a NUL byte, the first at byte %zu",
			 strlen(text) + 1);
		return -EINVAL;
	}
	file_sd->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (file_sd->root == NULL)
		snprintf(why, why_size, "line %d, column %d: %s", error.line, error.column,
			 error.text);
	else if (!json_is_array(file_sd->root) || (strict && !check_shape(file_sd->root)))
		snprintf(why, why_size,
			 "it is not an array of groups with targets and labels (file_sd); for "
			 "details: safestart check");
	else if (find_groups(file_sd) && (file_sd->ids = address_ids(file_sd->root)) != NULL)
		return 0;
	else
		return -ENOMEM;
	return -EINVAL;
}

int file_sd_open(struct file_sd *file_sd, const char *path, const struct replace_how *how)
{
	struct replace file;
	char *text, why[300];
	size_t length;

	*file_sd = no_file;
	int code = replace_begin(&file, path, how, &text, &length);
	if (code != 0)
		return code;
	int error = file_sd_take(file_sd, text, length, true, why, sizeof(why));
	file_sd->file = file;
	if (error == 0)
		return 0;
	file_sd_close(file_sd);
	if (error == -ENOMEM)
		return report(EXIT_FAILED, "out of memory");
	return report(EXIT_REFUSED,
		      "malformed: %s; nothing was changed in %s; correct the file first", why,
		      path);
}

void file_sd_close(struct file_sd *file_sd)
{
	for (size_t i = 0; file_sd->groups != NULL && i < file_sd->count; i++)
		free(file_sd->groups[i].text);
	free(file_sd->groups);
	free(file_sd->added);
	free(file_sd->text);
	json_decref(file_sd->root);
	json_decref(file_sd->ids);
	replace_end(&file_sd->file);
	*file_sd = no_file;
}

/* ---- Entries ---- */

/* The id label counts only where the target is alone in its group; in a group of several each
 * target has its address as id, as in the library. */
/* Fills in the target, unless it is none: no string, which is only in a document that is not
 * strict. */
static bool read_entry(const struct file_sd *file_sd, struct file_sd_entry *at,
		       struct file_sd_group *in, size_t target)
{
	const json_t *targets = json_object_get(in->group, "targets"),
		     *labels = json_object_get(in->group, "labels");
	const char *address = json_string_value(json_array_get(targets, target)),
		   *id = json_string_value(json_object_get(labels, "id"));
	bool alone = json_array_size(targets) == 1;

	if (in->dropped || address == NULL)
		return false;
	*at = (struct file_sd_entry){.in = in,
				     .target = target,
				     .id = alone && id != NULL ? id
							       : address_id(file_sd->ids, address),
				     .address = address,
				     .labels = labels,
				     .alone = alone};
	return true;
}

bool file_sd_next(const struct file_sd *file_sd, struct file_sd_entry *at)
{
	size_t index = at->in != NULL ? (size_t)(at->in - file_sd->groups) : 0,
	       target = at->in != NULL ? at->target + 1 : 0;

	for (; index < file_sd->count; index++, target = 0) {
		struct file_sd_group *in = &file_sd->groups[index];
		const json_t *targets = json_object_get(in->group, "targets");
		for (; target < json_array_size(targets); target++) {
			if (read_entry(file_sd, at, in, target))
				return true;
		}
	}
	return false;
}

bool file_sd_find(const struct file_sd *file_sd, const char *id, struct file_sd_entry *entry)
{
	*entry = (struct file_sd_entry){0};
	while (file_sd_next(file_sd, entry)) {
		if (strcmp(entry->id, id) == 0)
			return true;
	}
	return false;
}

/* ---- Editing ---- */

/* The white space between the start of its line and the group, in bytes. */
static size_t indent_of(const struct file_sd *file_sd, const struct file_sd_group *group)
{
	size_t at = group->start;

	while (at > 0 && (file_sd->text[at - 1] == ' ' || file_sd->text[at - 1] == '\t'))
		at--;
	return group->start - at;
}

/* A growing text. Not open_memstream(): without memory glibc's loses bytes silently. */
struct text {
	char *at;
	size_t length, room;
	bool failed;
};

static void text_add(struct text *to, const char *bytes, size_t count)
{
	if (to->at == NULL || to->length + count + 1 > to->room) {
		size_t room = (to->length + count + 1) * 2;
		char *at = to->failed ? NULL : realloc(to->at, room);
		if (at == NULL) {
			to->failed = true;
			return;
		}
		to->at = at;
		to->room = room;
	}
	memcpy(to->at + to->length, bytes, count);
	to->length += count;
	to->at[to->length] = '\0';
}

/* The whole text, or NULL without memory. */
static char *end_text(struct text *text)
{
	if (!text->failed && text->at != NULL)
		return text->at;
	free(text->at);
	return NULL;
}

char *file_sd_json(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags);
	json_t *again = text != NULL
				? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL)
				: NULL;

	if (!json_equal(again, json)) {
		free(text);
		text = NULL;
	}
	json_decref(again);
	return text;
}

/* Writes the group in the style of `like`: on one line or several, with spaces or without. */
static char *format_like(const struct file_sd *file_sd, const struct file_sd_group *like,
			 const json_t *group)
{
	const char *text = like != NULL ? file_sd->text + like->start : "",
		   *newline = like != NULL ? memchr(text, '\n', like->end - like->start) : NULL;
	size_t base = like != NULL ? indent_of(file_sd, like) : 0,
	       deeper = newline != NULL ? strspn(newline + 1, " ") : 0;
	bool dense = like != NULL && newline == NULL &&
		     memmem(text, like->end - like->start, ": ", 2) == NULL;
	char *plain = file_sd_json(group, newline != NULL
						  ? JSON_INDENT(deeper > base && deeper - base < 31
									? deeper - base
									: 2)
					  : dense ? JSON_COMPACT
						  : 0);
	struct text to = {.failed = plain == NULL};

	for (const char *at = plain; at != NULL && *at != '\0'; at++) {
		text_add(&to, at, 1);
		if (*at == '\n' && like != NULL) /* JSON text has newlines only between values */
			text_add(&to, file_sd->text + like->start - base, base);
	}
	free(plain);
	return end_text(&to);
}

/* Removes one target from its group. */
static bool drop_target(struct file_sd *file_sd, const struct file_sd_entry *entry)
{
	file_sd->changed = true;
	if (entry->alone) {
		entry->in->dropped = true;
		return true;
	}
	json_t *targets = json_object_get(entry->in->group, "targets");
	json_array_remove(targets, entry->target);
	/* In a group of several targets the id label names none of them; it must not become the
	 * name of the one that is left. */
	if (json_array_size(targets) == 1)
		json_object_del(json_object_get(entry->in->group, "labels"), "id");
	free(entry->in->text);
	entry->in->text = format_like(file_sd, entry->in, entry->in->group);
	return entry->in->text != NULL;
}

bool file_sd_remove(struct file_sd *file_sd, const char *id)
{
	struct file_sd_entry entry;

	while (file_sd_find(file_sd, id, &entry)) {
		if (!drop_target(file_sd, &entry))
			return false;
	}
	return true;
}

/* Compares labels except the id: an address may stand in for it. */
static bool same_labels(const json_t *a, const json_t *b)
{
	json_t *one = a != NULL ? json_copy((json_t *)a) : json_object(),
	       *other = b != NULL ? json_copy((json_t *)b) : json_object();

	json_object_del(one, "id");
	json_object_del(other, "id");
	bool same = json_equal(one, other);
	json_decref(one);
	json_decref(other);
	return same;
}

/* The id is there exactly once, with this address and these labels [P7]. */
static bool is_unchanged(const struct file_sd *file_sd, const char *id, const json_t *group)
{
	struct file_sd_entry entry, another;

	if (!file_sd_find(file_sd, id, &entry))
		return false;
	another = entry;
	while (file_sd_next(file_sd, &another)) {
		if (strcmp(another.id, id) == 0)
			return false; /* there twice: to be replaced by one */
	}
	/* Another spelling of one address changes nothing. */
	return address_same(entry.address,
			    json_string_value(
				    json_array_get(json_object_get(group, "targets"), 0))) &&
	       same_labels(entry.labels, json_object_get(group, "labels"));
}

bool file_sd_put(struct file_sd *file_sd, const char *id, json_t *group)
{
	struct file_sd_entry entry;

	if (is_unchanged(file_sd, id, group))
		return true;
	file_sd->changed = true;
	if (!file_sd_find(file_sd, id, &entry) || !entry.alone) {
		const struct file_sd_group *like =
			file_sd->count > 0 ? &file_sd->groups[file_sd->count - 1] : NULL;
		return file_sd_remove(file_sd, id) &&
		       (file_sd->added = format_like(file_sd, like, group)) != NULL;
	}
	/* Replaced where it stands; other entries with the id are removed. */
	struct file_sd_group *place = entry.in;
	place->dropped = true;
	if (!file_sd_remove(file_sd, id))
		return false;
	place->dropped = false;
	free(place->text);
	place->text = format_like(file_sd, place, group);
	return place->text != NULL;
}

/* ---- The new text ---- */

/* The position behind the bracket that opens the array. */
static size_t array_start(const struct file_sd *file_sd)
{
	const char *bracket = memchr(file_sd->text, '[', file_sd->length);

	return 1 + (size_t)(bracket - file_sd->text);
}

/* What separates this group from the one before it, or what separates groups elsewhere in this
 * file. */
static void add_separator(struct text *to, const struct file_sd *file_sd, size_t index)
{
	const struct file_sd_group *groups = file_sd->groups;
	size_t opening = array_start(file_sd);

	if (index > 0 && index < file_sd->count)
		text_add(to, file_sd->text + groups[index - 1].end,
			 groups[index].start - groups[index - 1].end);
	else if (file_sd->count > 1)
		text_add(to, file_sd->text + groups[file_sd->count - 2].end,
			 groups[file_sd->count - 1].start - groups[file_sd->count - 2].end);
	else if (file_sd->count == 1 &&
		 memchr(file_sd->text + opening, '\n', groups[0].start - opening) != NULL)
		text_add(to, ",", 1),
			text_add(to, file_sd->text + opening, groups[0].start - opening);
	else
		text_add(to, ", ", 2);
}

/* Copies the old text from group to group; only changed and added groups are written again. */
char *file_sd_text(const struct file_sd *file_sd, size_t *length)
{
	size_t opening = array_start(file_sd);
	size_t head = file_sd->count > 0 ? file_sd->groups[0].start : opening,
	       tail = file_sd->count > 0 ? file_sd->groups[file_sd->count - 1].end : opening;
	struct text to = {0};
	bool first = true;

	text_add(&to, file_sd->text, head);
	for (size_t i = 0; i < file_sd->count; i++) {
		const struct file_sd_group *group = &file_sd->groups[i];
		if (group->dropped)
			continue;
		if (!first)
			add_separator(&to, file_sd, i);
		first = false;
		if (group->text != NULL)
			text_add(&to, group->text, strlen(group->text));
		else
			text_add(&to, file_sd->text + group->start, group->end - group->start);
	}
	if (file_sd->added != NULL && !first)
		add_separator(&to, file_sd, file_sd->count);
	if (file_sd->added != NULL)
		text_add(&to, file_sd->added, strlen(file_sd->added));
	text_add(&to, file_sd->text + tail, file_sd->length - tail);
	*length = to.length;
	return end_text(&to);
}

int file_sd_write(struct file_sd *file_sd)
{
	size_t length;

	if (!file_sd->changed)
		return 0;
	char *text = file_sd_text(file_sd, &length);
	if (text == NULL)
		return report(EXIT_FAILED, "out of memory");
	int code = replace_write(&file_sd->file, text, length, file_sd->text, file_sd->length);
	free(text);
	return code;
}

int file_sd_write_beside(const struct file_sd *file_sd, const char *suffix, const char *text)
{
	char *path;
	int code = 0;

	if (asprintf(&path, "%s%s", file_sd->file.path, suffix) < 0)
		return report(EXIT_FAILED, "out of memory");
	if (text != NULL)
		code = replace_other(path, file_sd->file.fd, &file_sd->file.status, text,
				     strlen(text));
	else
		(void)unlink(path);
	free(path);
	return code;
}
