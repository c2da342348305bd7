/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* restart: the last phase of a run. Worker. */
#ifndef SAFESTART_RUN_RESTART_H
#define SAFESTART_RUN_RESTART_H

#include "run/run.h"

/* The set is live, or nothing had to change: RUN_RESTART, or the run ends here with success. */
enum run_phase restart_or_end(struct safestart_run *run);

int restart_call(struct safestart_run *run); /* The application's. */
enum run_phase restart_returned(struct safestart_run *run, int result);

#endif
