/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* last_good: the last applied set, kept in a file over a process start. What is written can be read
 * under the same settings; what is there and cannot be read is not replaced by less. [P9] */
#ifndef SAFESTART_RUN_LAST_GOOD_H
#define SAFESTART_RUN_LAST_GOOD_H

#include "run/run.h"

/* The set that it keeps, when nothing has been live yet; NULL: none, or it is not usable, which is
 * logged once and stands in the run: how many entries it has, why, and whether it may be usable at
 * another time. Worker. */
struct nodeset *last_good_stand_in(struct safestart_run *run);

/* Write what is live now. Worker, in no callback. */
void last_good_write(struct safestart *ss);

/* Until a failed write is retried; 0: not by itself. Any thread. */
int64_t last_good_pause(const struct safestart *ss);

/* ---- last_good_file.c: the file. 0 or -errno, and the words; any thread, no lock held ---- */

#define LAST_GOOD_UNKNOWN SIZE_MAX

/* -ENOENT: nothing was kept yet. On another error *unread is how many entries the file has, as far
 * as can be told without understanding it; LAST_GOOD_UNKNOWN: it cannot even be read. */
int last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings, char *why,
		   size_t why_size);
int last_good_save(const char *path, const char *json, char *why, size_t why_size);
/* How long the file may be, so that the same settings can read it. Written as one group a node,
 * with escapes, a set is longer than the document that it came from was allowed to be. */
size_t last_good_max_bytes(const struct settings *settings);

#endif
