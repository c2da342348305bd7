/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conclusion: how a run ended, as its outcome. Worker. */
#ifndef SAFESTART_RUN_CONCLUSION_H
#define SAFESTART_RUN_CONCLUSION_H

#include "run/run.h"

/* "WHAT: WORDS; generation 7 (10 nodes) is still serving". RUN_END. */
enum run_phase conclude_failure(struct safestart_run *run, int verdict, int error, const char *what,
				const char *words);

/* Applied or unchanged, and what was left out. RUN_END. */
enum run_phase conclude_success(struct safestart_run *run);

/* The callback of this phase did not return: a C++ exception or pthread_exit() left it. It has
 * ended. Dispatching thread, when no other has the run. */
void conclude_left(struct safestart_run *run, const char *phase);

/* What words that name the live generation have to add in a forked child that has prepared nothing
 * of its own yet; "" otherwise. Any thread, without the handle's lock. */
const char *conclusion_unprepared(struct safestart *ss);

#endif
