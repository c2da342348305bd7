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
#include "files/desired.h"
#include "files/layout.h"

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

/* Every group is an object, or it was refused: by check_shape(), or by the library, which cannot
 * tell which nodes anything else means. */
static bool find_groups(struct file_sd *file_sd)
{
	size_t at = 0;

	file_sd->count = json_array_size(file_sd->root);
	file_sd->groups = calloc(file_sd->count + 1, sizeof(*file_sd->groups));
	for (size_t i = 0; file_sd->groups != NULL && i < file_sd->count; i++) {
		const char *brace = memchr(file_sd->text + at, '{', file_sd->length - at);
		size_t start = (size_t)(brace - file_sd->text);
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

/* Would the servers take it? */
static int judge(const char *text, char *why, size_t why_size)
{
	struct safestart *ss;
	int error = desired_open(&ss, text, NULL, why, why_size);

	(void)safestart_close(ss);
	return error;
}

/* Strict: each member can be written back as it is. Else what nobody looks at does not matter. */
static json_t *load(const char *text, size_t length, bool strict, char *why, size_t why_size)
{
	json_error_t error;
	json_t *root =
		json_loadb(text, length, strict ? JSON_REJECT_DUPLICATES : JSON_DECODE_INT_AS_REAL,
			   &error);

	if (root == NULL)
		snprintf(why, why_size, "line %d, column %d: %s", error.line, error.column,
			 error.text);
	return root;
}

int file_sd_take(struct file_sd *file_sd, char *text, size_t length, bool strict, char *why,
		 size_t why_size)
{
	*file_sd = no_file;
	file_sd->text = text;
	file_sd->length = length;
	if (strlen(text) != length) {
		snprintf(why, why_size, "it contains a NUL byte, the first at byte %zu",
			 strlen(text) + 1);
		return -EINVAL;
	}
	int error = judge(text, why, why_size);
	if (error < 0)
		return error;
	file_sd->root = load(text, length, strict, why, why_size);
	if (file_sd->root == NULL)
		return -ENOTSUP;
	if (strict && !check_shape(file_sd->root)) {
		snprintf(why, why_size,
			 "a group is wrong, and the servers leave out its nodes; for details: "
			 "safestart check");
		return -EINVAL;
	}
	if (find_groups(file_sd) && (file_sd->ids = address_ids(file_sd->root)) != NULL)
		return 0;
	snprintf(why, why_size, "out of memory");
	return -ENOMEM;
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
	int error = file_sd_take(file_sd, text, length, how != NULL, why, sizeof(why));
	file_sd->file = file;
	if (error == 0)
		return 0;
	file_sd_close(file_sd);
	if (error == -EINVAL)
		return report(EXIT_REFUSED,
			      "malformed: %s; nothing was changed in %s; correct the file first",
			      why, path);
	if (error == -ENOTSUP)
		return report(EXIT_REFUSED,
			      "the servers accept it, but this program cannot write back what is "
			      "at %s; nothing was changed in %s; edit it by hand",
			      why, path);
	return report(EXIT_FAILED, "%s; nothing was changed in %s", why, path);
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

/* False: the target is no string, which is only in a document that is not strict. The id label
 * counts only where the target is alone in its group; in a group of several each target has its
 * address as id, as in the library. */
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

/* The group as text, in the style of another one; NULL: there is none. */
static char *text_like(const struct file_sd *file_sd, const struct file_sd_group *like,
		       const json_t *group)
{
	return like != NULL ? layout_like(file_sd->text, like->start, like->end, group)
			    : layout_json(group, 0);
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
	entry->in->text = text_like(file_sd, entry->in, entry->in->group);
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
		       (file_sd->added = text_like(file_sd, like, group)) != NULL;
	}
	/* Replaced where it stands; other entries with the id are removed. */
	struct file_sd_group *place = entry.in;
	place->dropped = true;
	if (!file_sd_remove(file_sd, id))
		return false;
	place->dropped = false;
	free(place->text);
	place->text = text_like(file_sd, place, group);
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
static void add_separator(struct layout *to, const struct file_sd *file_sd, size_t index)
{
	const struct file_sd_group *groups = file_sd->groups;
	size_t opening = array_start(file_sd);

	if (index > 0 && index < file_sd->count)
		layout_add(to, file_sd->text + groups[index - 1].end,
			   groups[index].start - groups[index - 1].end);
	else if (file_sd->count > 1)
		layout_add(to, file_sd->text + groups[file_sd->count - 2].end,
			   groups[file_sd->count - 1].start - groups[file_sd->count - 2].end);
	else if (file_sd->count == 1 &&
		 memchr(file_sd->text + opening, '\n', groups[0].start - opening) != NULL)
		layout_add(to, ",", 1),
			layout_add(to, file_sd->text + opening, groups[0].start - opening);
	else
		layout_add(to, ", ", 2);
}

/* Copies the old text from group to group; only changed and added groups are written again. */
char *file_sd_text(const struct file_sd *file_sd, size_t *length)
{
	size_t opening = array_start(file_sd);
	size_t head = file_sd->count > 0 ? file_sd->groups[0].start : opening,
	       tail = file_sd->count > 0 ? file_sd->groups[file_sd->count - 1].end : opening;
	struct layout to = {0};
	bool first = true;

	layout_add(&to, file_sd->text, head);
	for (size_t i = 0; i < file_sd->count; i++) {
		const struct file_sd_group *group = &file_sd->groups[i];
		if (group->dropped)
			continue;
		if (!first)
			add_separator(&to, file_sd, i);
		first = false;
		if (group->text != NULL)
			layout_add(&to, group->text, strlen(group->text));
		else
			layout_add(&to, file_sd->text + group->start, group->end - group->start);
	}
	if (file_sd->added != NULL && !first)
		add_separator(&to, file_sd, file_sd->count);
	if (file_sd->added != NULL)
		layout_add(&to, file_sd->added, strlen(file_sd->added));
	layout_add(&to, file_sd->text + tail, file_sd->length - tail);
	*length = to.length;
	return layout_end(&to);
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
