/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "verbs/edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "hosts/processes.h"
#include "verbs/request.h"

/* The note of a drain before the node goes, and the node back before the note goes, so that no
 * monitor ever sees it missing without a reason: it reads both again until the nodes stay as they
 * are meanwhile. */
int edit_finish(struct file_sd *file_sd, struct drains *drains, bool note_first, json_t *result)
{
	int code = note_first ? drains_write(drains, file_sd) : 0;

	if (code == 0)
		code = file_sd_write(file_sd);
	if (note_first && code != 0)
		drains_restore(drains, file_sd);
	/* By now the nodes are changed; a note that stays is of no harm while its node is
	 * announced. */
	if (!note_first && code == 0 && drains->root != NULL && drains_write(drains, file_sd) != 0)
		(void)report(0,
			     "that was the note of drained nodes only, and it still has this one, "
			     "which does no harm while the node is announced: %s is as it was to "
			     "be. "
			     "When that is mended, announcing the node again removes it",
			     file_sd->path);
	json_object_set_new(result, "file", json_string(file_sd->path));
	json_object_set_new(result, "changed", json_boolean(file_sd->changed));
	return code;
}

/* Its nodes come from that file; where another one's do, nothing is to be done. */
static bool reads_file(const struct peer *peer, const void *path)
{
	const char *source = member_text(json_object_get(peer->answer, "status"), "source");
	char *real = strncmp(source, "file:/", 6) == 0 ? realpath(source + 5, NULL) : NULL;
	/* Where a relative one leads, only it knows. */
	bool same = real != NULL ? strcmp(real, path) == 0 : strncmp(source, "file:", 5) == 0;

	free(real);
	return same;
}

/* The file is followed by those that read it; to ask them hurries them up where there is nothing to
 * follow it by. */
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

int edit_wait(const struct barrier *what, const char *verb, json_t *result)
{
	char words[300];

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

bool edit_begin(struct file_sd *file_sd, struct drains *drains, const char *given, bool strict,
		int *code)
{
	const char *path = file_sd_path(given);
	char why[512] = "out of memory";

	*code = path == NULL ? EXIT_USAGE : file_sd_open(file_sd, path, true);
	if (*code != 0)
		return false;
	if (drains_read(drains, file_sd->path, why, sizeof(why)) < 0) {
		*code = report(strict ? EXIT_FAILED : 0,
			       "the note of drained nodes can't be read, and is left as it is: %s",
			       why);
		if (strict)
			file_sd_close(file_sd);
	}
	return *code == 0;
}
