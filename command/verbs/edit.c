/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* edit: opens, writes and announces a change of the node file. Holds the lock of the file from
 * edit_begin() until the caller closes it. */
#include "verbs/edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "hosts/processes.h"
#include "verbs/request.h"

/* Another program has written a drained node back: nobody else would notice before the node is
 * switched off. */
static void report_returned(const struct file_sd *file_sd, const struct drains *drains)
{
	json_t *list = drains_list(drains, file_sd, time(NULL));
	char words[DRAINS_WORDS_SIZE];
	const json_t *one;
	size_t index;

	json_array_foreach(list, index, one) {
		const char *id = member_text(one, "id");
		if (!member_bool(one, "in_file", false))
			continue;
		drains_words(one, words);
		(void)report(0,
			     "%s: %s, but in the file: the servers use it; to take it out again: "
			     "safestart drain %s; if it is back: safestart announce %s",
			     id, words, id, id);
	}
	json_decref(list);
}

/* A drain writes its note before it removes the node; an announcement puts the node back before it
 * removes the note. So a monitor never sees a node missing without a note: it re-reads both until
 * the node file stays the same meanwhile. */
int edit_finish(struct file_sd *file_sd, struct drains *drains, bool note_first, json_t *result)
{
	int code = note_first ? drains_write(drains, file_sd) : 0;

	if (code == 0)
		code = file_sd_write(file_sd);
	if (note_first && code != 0)
		drains_restore(drains, file_sd);
	/* The node file is changed already: the announcement must not be undone. */
	if (!note_first && code == 0 && drains->root != NULL && drains_write(drains, file_sd) != 0)
		(void)report(0,
			     "only the note of the drain could not be removed, so the node is "
			     "still "
			     "said to be drained; %s is written as intended; to remove the note, "
			     "announce the node again later",
			     file_sd->file.path);
	if (code == 0 && drains->root != NULL)
		report_returned(file_sd, drains);
	json_object_set_new(result, "file", json_string(file_sd->file.path));
	json_object_set_new(result, "changed", json_boolean(file_sd->changed));
	return code;
}

/* Does the process read that file? Others need no request. */
static bool reads_file(const struct peer *peer, const void *path)
{
	const char *source = member_text(json_object_get(peer->answer, "status"), "source");
	char *real = strncmp(source, "file:/", 6) == 0 ? realpath(source + 5, NULL) : NULL;
	/* A relative path is relative to the directory of that process, which is not known here. */
	bool same = real != NULL ? strcmp(real, path) == 0 : strncmp(source, "file:", 5) == 0;

	free(real);
	return same;
}

/* Processes follow the file by themselves; a request helps where inotify does not work, as on a
 * network file system. */
static void request_readers(const char *path, const char *words)
{
	struct processes processes;

	if (processes_list(&processes, options_control(), NULL) < 0)
		return;
	if (processes_ask(&processes, json_pack("{s:s}", "do", "status"), PROCESSES_TIMEOUT) == 0) {
		processes_filter(&processes, reads_file, path);
		(void)processes_ask(&processes, request_new(false, false, words, 0),
				    PROCESSES_TIMEOUT);
	}
	processes_free(&processes);
}

/* The reason in the logs of the servers names the verb and the node. */
int edit_wait(const struct barrier *what, const char *verb, json_t *result)
{
	char words[300];

	(void)fflush(stdout); /* through a pipe, too, what is done is said before the wait */
	snprintf(words, sizeof(words), "safestart %s %.255s", verb, what->node);
	request_readers(member_text(result, "file"), words);
	return barrier_wait(what, common.json ? result : NULL);
}

int edit_print_result(json_t *result, int code)
{
	if (common.json && json_object_get(result, "changed") != NULL)
		return print_json(result, code);
	json_decref(result);
	return code;
}

bool edit_begin(struct file_sd *file_sd, struct drains *drains, const struct edit *edit,
		bool strict, int *code)
{
	const char *path = file_sd_path(edit->file);
	char why[512] = "out of memory";

	*code = path == NULL ? EXIT_USAGE : file_sd_open(file_sd, path, &edit->how);
	if (*code != 0)
		return false;
	if (drains_read(drains, file_sd->file.path, why, sizeof(why)) < 0) {
		*code = report(strict ? EXIT_FAILED : 0,
			       "cannot read the notes of drained nodes, which stay unchanged: %s",
			       why);
		if (strict)
			file_sd_close(file_sd);
	}
	return *code == 0;
}
