/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drains: reads and writes the notes of drained nodes. Locks nothing itself: the caller holds the
 * lock of the node file. */
#include "files/drains.h"

#include <errno.h>
#include <pwd.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/report.h"
#include "files/layout.h"

#define SUFFIX ".draining"
#define FORMAT "%Y-%m-%dT%H:%M:%SZ"
/* The path may be what a process has answered: these bound what it can make this program read. */
#define NOTES_MAX ((size_t)4 << 20)
#define NODES_MAX ((size_t)64 << 20)
#define KEEP_EXPIRED_S \
	((time_t)7 * 24 * 3600) /* a node that comes back late still gets its labels */

int drains_read(struct drains *drains, const char *path, char *why, size_t why_size)
{
	json_error_t error = {0};
	struct file_text file;
	char *beside;

	*drains = (struct drains){0};
	if (asprintf(&beside, "%s" SUFFIX, path) < 0)
		return -ENOMEM;
	int result = file_read(beside, NOTES_MAX, &file);
	if (result == -ENOENT) {
		drains->root = json_object();
	} else if (result < 0) {
		snprintf(why, why_size, "%s: %s", beside, safestart_strerror(result));
	} else if ((drains->root = json_loadb(file.text, file.length, JSON_REJECT_DUPLICATES,
					      &error)) == NULL) {
		snprintf(why, why_size, "%s: %s", beside, error.text);
	} else if (!json_is_object(drains->root)) {
		snprintf(why, why_size, "%s is not a JSON object, as drain writes it", beside);
		json_decref(drains->root);
		drains->root = NULL;
	}
	free(file.text);
	free(beside);
	drains->before = json_deep_copy(drains->root);
	return drains->root != NULL ? 0 : -EINVAL;
}

void drains_free(struct drains *drains)
{
	json_decref(drains->root);
	json_decref(drains->before);
	*drains = (struct drains){0};
}

time_t drains_until(const json_t *note)
{
	const char *text = json_string_value(json_object_get(note, "until"));
	struct tm until = {0};

	return text != NULL && strptime(text, FORMAT, &until) != NULL ? timegm(&until) : 0;
}

const json_t *drains_note(const struct drains *drains, const char *id)
{
	return json_object_get(drains->root, id);
}

const json_t *drains_find(const struct drains *drains, const char *id, time_t now)
{
	const json_t *note = drains_note(drains, id);

	return note != NULL && drains_until(note) > now ? note : NULL;
}

void drains_words(const json_t *note, char words[DRAINS_WORDS_SIZE])
{
	snprintf(words, DRAINS_WORDS_SIZE, "drained until %.40s by %.200s (%.300s)",
		 member_text(note, "until"), member_text(note, "by"), member_text(note, "reason"));
}

json_t *drains_list(const struct drains *drains, const struct file_sd *file_sd, time_t now)
{
	json_t *list = json_array(), *note;
	struct file_sd_entry entry;
	int failed = list == NULL;
	const char *id;

	json_object_foreach(drains->root, id, note) {
		if (drains_until(note) <= now)
			continue;
		bool in_file = file_sd != NULL && file_sd_find(file_sd, id, &entry);
		failed |=
			json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:b}", "id", id,
							      "until", member_text(note, "until"),
							      "by", member_text(note, "by"),
							      "reason", member_text(note, "reason"),
							      "in_file", in_file));
	}
	if (failed == 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *drains_list_at(const char *path, time_t now)
{
	char *real = realpath(path, NULL), why[512];
	struct file_sd file_sd;
	struct file_text file;
	struct drains drains;
	json_t *list = NULL;

	if (real == NULL || drains_read(&drains, real, why, sizeof(why)) < 0) {
		free(real);
		return json_array();
	}
	if (json_object_size(drains.root) == 0) {
		list = json_array();
	} else if (file_read(real, NODES_MAX, &file) < 0) {
		list = drains_list(&drains, NULL, now);
	} else {
		bool ok = file_sd_take(&file_sd, file.text, file.length, false, why, sizeof(why)) ==
			  0;
		list = drains_list(&drains, ok ? &file_sd : NULL, now);
		file_sd_close(&file_sd);
	}
	drains_free(&drains);
	free(real);
	return list;
}

/* The user and host that drain the node, for those who find it missing. */
static void format_user(char *words, size_t size)
{
	char buffer[4096], host[128] = "";
	struct passwd entry, *found = NULL;

	(void)gethostname(host, sizeof(host) - 1);
	if (getpwuid_r(getuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
		snprintf(words, size, "%s@%s", found->pw_name, host);
	else
		snprintf(words, size, "user %u@%s", (unsigned)getuid(), host);
}

bool drains_set(struct drains *drains, const char *id, const struct file_sd_entry *entry,
		time_t until, const char *reason)
{
	char text[64], who[256];
	struct tm utc;

	if (gmtime_r(&until, &utc) == NULL || strftime(text, sizeof(text), FORMAT, &utc) == 0)
		return false;
	format_user(who, sizeof(who));
	json_t *note = json_pack("{s:s,s:s,s:s}", "until", text, "reason", reason, "by", who),
	       *known = json_object_get(drains->root, id);
	int failed = note == NULL;
	if (entry != NULL) {
		failed |= json_object_set_new(note, "address", json_string(entry->address));
		failed |= json_object_set_new(note, "labels",
					      entry->labels != NULL ? json_deep_copy(entry->labels)
								    : json_object());
	} else if (json_is_object(known)) {
		failed |= json_object_update_missing(note, known);
	}
	/* Set even if memory was short: the caller then writes nothing at all. */
	drains->changed = true;
	failed |= json_object_set_new(drains->root, id, note);
	return failed == 0;
}

void drains_remove(struct drains *drains, const char *id)
{
	drains->changed |= json_object_del(drains->root, id) == 0;
}

static int write_notes(const struct file_sd *file_sd, const json_t *root)
{
	char *text, *whole = NULL;

	if (json_object_size(root) == 0)
		return file_sd_write_beside(file_sd, SUFFIX, NULL);
	text = layout_json(root, JSON_INDENT(2));
	int code = text == NULL || asprintf(&whole, "%s\n", text) < 0
			   ? report(EXIT_FAILED, "out of memory")
			   : file_sd_write_beside(file_sd, SUFFIX, whole);
	free(text);
	free(whole);
	return code;
}

/* Notes whose time is long over are dropped on this occasion. */
int drains_write(struct drains *drains, const struct file_sd *file_sd)
{
	time_t now = time(NULL);
	const char *id;
	json_t *note;
	void *next;

	if (!drains->changed)
		return 0;
	json_object_foreach_safe(drains->root, next, id, note)
	{
		if (drains_until(note) + KEEP_EXPIRED_S < now)
			json_object_del(drains->root, id);
	}
	return write_notes(file_sd, drains->root);
}

void drains_restore(struct drains *drains, const struct file_sd *file_sd)
{
	if (drains->changed && drains->before != NULL)
		(void)write_notes(file_sd, drains->before);
}
