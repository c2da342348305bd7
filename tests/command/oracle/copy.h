/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* copy: one handle of a process, with the application around it. Only process.c and application.c
 * know it. */
#ifndef ORACLE_COPY_H
#define ORACLE_COPY_H

#include "process.h"

/* One handle. The process that it belongs to changes when that forks. */
struct copy {
	struct process *process;
	struct safestart *ss;
	struct safestart_run *postponed;
	struct safestart_snapshot *held[HOLDS];
	struct copy *next;
};

/* Opens it with the callbacks and the source of the application. */
void copy_open(struct copy *copy);
/* What its readers get from here on becomes the truth of its process. */
void copy_observe(struct copy *copy);

#endif
