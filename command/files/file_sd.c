/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "files/file_sd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "files/replace.h"

const char *filesd_path(const char *given)
{
	const char *path = given != NULL ? given : getenv("SAFESTART_NODES"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */

	if (path != NULL && path[0] != '\0')
		return path;
	(void)say(0, "which file of nodes? Name the one that the servers read with --file, or in $SAFESTART_NODES");
	return NULL;
}

/* ---- Where the groups are ---- */

/* The end of the value that begins at `at`: the text was parsed, so brackets and quotes match. */
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

/* Groups are objects, as check_shape() has seen. */
static bool find_groups(struct filesd *filesd)
{
	size_t at = 0;

	filesd->count = json_array_size(filesd->root);
	filesd->groups = calloc(filesd->count + 1, sizeof(*filesd->groups));
	for (size_t i = 0; filesd->groups != NULL && i < filesd->count; i++) {
		const char *brace = memchr(filesd->text + at, '{', filesd->length - at);
		size_t start = (size_t)(brace - filesd->text);
		at = end_of_value(filesd->text, filesd->length, start);
		filesd->groups[i] = (struct filesd_group){.start = start, .end = at, .group = json_array_get(filesd->root, i)};
	}
	return filesd->groups != NULL;
}

/* What the library would refuse whole is not edited either: who knows what it was to be. */
static bool check_shape(const json_t *root)
{
	const json_t *group, *target, *value;
	const char *key;
	size_t i, k;

	if (!json_is_array(root))
		return false;
	json_array_foreach(root, i, group) {
		const json_t *targets = json_object_get(group, "targets"), *labels = json_object_get(group, "labels");
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

int filesd_take(struct filesd *filesd, char *text, size_t length, char *why, size_t why_size)
{
	json_error_t error;

	*filesd = (struct filesd){.fd = -1, .text = text, .length = length};
	if (strlen(text) != length) { /* jansson does not mind one behind a number */
		snprintf(why, why_size, "it has a NUL byte, the first at byte %zu", strlen(text) + 1);
		return -EINVAL;
	}
	filesd->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (filesd->root == NULL)
		snprintf(why, why_size, "line %d, column %d: %s", error.line, error.column, error.text);
	else if (!check_shape(filesd->root))
		snprintf(why, why_size, "it is no array of groups with targets and labels, as in file_sd (safestart check says more)");
	else if (find_groups(filesd))
		return 0;
	else
		return -ENOMEM;
	return -EINVAL;
}

int filesd_open(struct filesd *filesd, const char *path, bool locked)
{
	struct stat status;
	char *real, *text, why[300];
	size_t length;
	int fd;

	*filesd = (struct filesd){.fd = -1};
	int leave = replace_begin(path, locked, &real, &fd, &status, &text, &length);
	if (leave != 0)
		return leave;
	int error = filesd_take(filesd, text, length, why, sizeof(why));
	filesd->path = real;
	filesd->fd = fd;
	filesd->status = status;
	if (error == 0)
		return 0;
	filesd_close(filesd);
	if (error == -ENOMEM)
		return say(LEAVE_FAILED, "out of memory");
	return say(LEAVE_REFUSED, "%s is malformed: %s; it was not touched: put it right first", path, why);
}

void filesd_close(struct filesd *filesd)
{
	for (size_t i = 0; filesd->groups != NULL && i < filesd->count; i++)
		free(filesd->groups[i].text);
	free(filesd->groups);
	free(filesd->added);
	free(filesd->path);
	free(filesd->text);
	json_decref(filesd->root);
	if (filesd->fd >= 0)
		close(filesd->fd);
	*filesd = (struct filesd){.fd = -1};
}

/* ---- Entries ---- */

bool filesd_next(const struct filesd *filesd, struct filesd_entry *at)
{
	size_t index = at->in != NULL ? (size_t)(at->in - filesd->groups) : 0, target = at->in != NULL ? at->target + 1 : 0;

	for (; index < filesd->count; index++, target = 0) {
		struct filesd_group *in = &filesd->groups[index];
		const json_t *targets = json_object_get(in->group, "targets"), *labels = json_object_get(in->group, "labels");
		if (in->dropped || target >= json_array_size(targets))
			continue;
		const char *address = json_string_value(json_array_get(targets, target)), *id = json_string_value(json_object_get(labels, "id"));
		bool alone = json_array_size(targets) == 1;
		*at = (struct filesd_entry){in, target, alone && id != NULL ? id : address, address, labels, alone};
		return true;
	}
	return false;
}

bool filesd_find(const struct filesd *filesd, const char *id, struct filesd_entry *entry)
{
	*entry = (struct filesd_entry){0};
	while (filesd_next(filesd, entry)) {
		if (strcmp(entry->id, id) == 0)
			return true;
	}
	return false;
}

/* ---- Editing ---- */

/* What stands between the beginning of its line and the group. */
static size_t indent_of(const struct filesd *filesd, const struct filesd_group *group)
{
	size_t at = group->start;

	while (at > 0 && (filesd->text[at - 1] == ' ' || filesd->text[at - 1] == '\t'))
		at--;
	return group->start - at;
}

/* A text that grows. Not a stream of memory: glibc's loses bytes when there is none, and says nothing. */
struct text {
	char *at;
	size_t length, room;
	bool failed;
};

static void add(struct text *to, const char *bytes, size_t count)
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

/* All of it, or NULL. */
static char *end_text(struct text *text)
{
	if (!text->failed && text->at != NULL)
		return text->at;
	free(text->at);
	return NULL;
}

char *filesd_json(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags);
	json_t *again = text != NULL ? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (!json_equal(again, json)) {
		free(text);
		text = NULL;
	}
	json_decref(again);
	return text;
}

/* As `like` is written: on one line or several, with blanks or without. */
static char *write_like(const struct filesd *filesd, const struct filesd_group *like, const json_t *group)
{
	const char *text = like != NULL ? filesd->text + like->start : "", *newline = like != NULL ? memchr(text, '\n', like->end - like->start) : NULL;
	size_t base = like != NULL ? indent_of(filesd, like) : 0, deeper = newline != NULL ? strspn(newline + 1, " ") : 0;
	bool dense = like != NULL && newline == NULL && memmem(text, like->end - like->start, ": ", 2) == NULL;
	char *plain = filesd_json(group, newline != NULL ? JSON_INDENT(deeper > base && deeper - base < 31 ? deeper - base : 2) : dense ? JSON_COMPACT : 0);
	struct text to = {.failed = plain == NULL};

	for (const char *at = plain; at != NULL && *at != '\0'; at++) {
		add(&to, at, 1);
		if (*at == '\n' && like != NULL) /* in JSON text only between values */
			add(&to, filesd->text + like->start - base, base);
	}
	free(plain);
	return end_text(&to);
}

/* The group without one of its targets. */
static bool drop_target(struct filesd *filesd, const struct filesd_entry *entry)
{
	filesd->changed = true;
	if (entry->alone) {
		entry->in->dropped = true;
		return true;
	}
	json_t *targets = json_object_get(entry->in->group, "targets");
	json_array_remove(targets, entry->target);
	if (json_array_size(targets) == 1) /* among several it meant none of them, and must not become the name of the last */
		json_object_del(json_object_get(entry->in->group, "labels"), "id");
	free(entry->in->text);
	entry->in->text = write_like(filesd, entry->in, entry->in->group);
	return entry->in->text != NULL;
}

bool filesd_remove(struct filesd *filesd, const char *id)
{
	struct filesd_entry entry;

	while (filesd_find(filesd, id, &entry)) {
		if (!drop_target(filesd, &entry))
			return false;
	}
	return true;
}

/* Labels, but for the id, which an address may stand for. */
static bool same_labels(const json_t *a, const json_t *b)
{
	json_t *one = a != NULL ? json_copy((json_t *)a) : json_object(), *other = b != NULL ? json_copy((json_t *)b) : json_object();

	json_object_del(one, "id");
	json_object_del(other, "id");
	bool same = json_equal(one, other);
	json_decref(one);
	json_decref(other);
	return same;
}

static bool is_there(const struct filesd *filesd, const char *id, const json_t *group)
{
	struct filesd_entry entry, another;

	if (!filesd_find(filesd, id, &entry))
		return false;
	another = entry;
	while (filesd_next(filesd, &another)) {
		if (strcmp(another.id, id) == 0)
			return false; /* twice: to be put right */
	}
	return strcmp(entry.address, json_string_value(json_array_get(json_object_get(group, "targets"), 0))) == 0 && same_labels(entry.labels, json_object_get(group, "labels"));
}

bool filesd_put(struct filesd *filesd, const char *id, json_t *group)
{
	struct filesd_entry entry;

	if (is_there(filesd, id, group))
		return true;
	filesd->changed = true;
	if (!filesd_find(filesd, id, &entry) || !entry.alone) {
		const struct filesd_group *like = filesd->count > 0 ? &filesd->groups[filesd->count - 1] : NULL;
		return filesd_remove(filesd, id) && (filesd->added = write_like(filesd, like, group)) != NULL;
	}
	/* In its place; whatever else has the id goes. */
	struct filesd_group *place = entry.in;
	place->dropped = true;
	if (!filesd_remove(filesd, id))
		return false;
	place->dropped = false;
	free(place->text);
	place->text = write_like(filesd, place, group);
	return place->text != NULL;
}

/* ---- The new text ---- */

/* Behind the bracket that opens the array. */
static size_t opening_of(const struct filesd *filesd)
{
	const char *bracket = memchr(filesd->text, '[', filesd->length);

	return 1 + (size_t)(bracket - filesd->text);
}

/* From the end of the group before to its beginning, or what is usual in this file. */
static void separate(struct text *to, const struct filesd *filesd, size_t index)
{
	const struct filesd_group *groups = filesd->groups;
	size_t opening = opening_of(filesd);

	if (index > 0 && index < filesd->count)
		add(to, filesd->text + groups[index - 1].end, groups[index].start - groups[index - 1].end);
	else if (filesd->count > 1)
		add(to, filesd->text + groups[filesd->count - 2].end, groups[filesd->count - 1].start - groups[filesd->count - 2].end);
	else if (filesd->count == 1 && memchr(filesd->text + opening, '\n', groups[0].start - opening) != NULL)
		add(to, ",", 1), add(to, filesd->text + opening, groups[0].start - opening);
	else
		add(to, ", ", 2);
}

char *filesd_text(const struct filesd *filesd, size_t *length)
{
	size_t opening = opening_of(filesd);
	size_t head = filesd->count > 0 ? filesd->groups[0].start : opening, tail = filesd->count > 0 ? filesd->groups[filesd->count - 1].end : opening;
	struct text to = {0};
	bool first = true;

	add(&to, filesd->text, head);
	for (size_t i = 0; i < filesd->count; i++) {
		const struct filesd_group *group = &filesd->groups[i];
		if (group->dropped)
			continue;
		if (!first)
			separate(&to, filesd, i);
		first = false;
		if (group->text != NULL)
			add(&to, group->text, strlen(group->text));
		else
			add(&to, filesd->text + group->start, group->end - group->start);
	}
	if (filesd->added != NULL && !first)
		separate(&to, filesd, filesd->count);
	if (filesd->added != NULL)
		add(&to, filesd->added, strlen(filesd->added));
	add(&to, filesd->text + tail, filesd->length - tail);
	*length = to.length;
	return end_text(&to);
}

int filesd_write(struct filesd *filesd)
{
	size_t length;

	if (!filesd->changed)
		return 0;
	char *text = filesd_text(filesd, &length);
	if (text == NULL)
		return say(LEAVE_FAILED, "out of memory");
	int leave = replace_file(filesd->path, filesd->fd, &filesd->status, text, length);
	free(text);
	return leave;
}

int filesd_write_beside(const struct filesd *filesd, const char *suffix, const char *text)
{
	char *path;
	int leave = 0;

	if (asprintf(&path, "%s%s", filesd->path, suffix) < 0)
		return say(LEAVE_FAILED, "out of memory");
	if (text != NULL)
		leave = replace_file(path, -1, &filesd->status, text, strlen(text));
	else
		(void)unlink(path);
	free(path);
	return leave;
}
