/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* last_good: the last applied set, kept in a file over a process start. [P9] */
#ifndef SAFESTART_RUN_LAST_GOOD_H
#define SAFESTART_RUN_LAST_GOOD_H

#include "run/run.h"

/* The set that it keeps, when nothing has been live yet; NULL: none, or it is not usable, which is
 * logged once. *later: it may be usable at another time. Worker. */
struct nodeset *last_good_stand_in(struct safestart *ss, bool *later);

/* Write what is live now. Worker, in no callback. */
void last_good_write(struct safestart *ss);

/* Until a failed write is retried; 0: not by itself. Any thread. */
int64_t last_good_pause(const struct safestart *ss);

/* ---- last_good_file.c: the file. 0 or -errno, and the words; any thread, no lock held ---- */

/* -ENOENT: nothing was kept yet. */
int last_good_load(struct nodeset **out, const struct settings *settings, char *why,
		   size_t why_size);
int last_good_save(const char *path, const char *json, char *why, size_t why_size);

#endif
