/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verbs: the table of all verbs. main() looks them up there; nothing below it reads the table. */
#ifndef SAFESTART_COMMAND_VERBS_H
#define SAFESTART_COMMAND_VERBS_H

#include "base/options.h"
#include "run/run.h"

/* All verbs, in the order of the help; ended by NULL. */
extern const struct verb *const verbs[];

const struct verb *verbs_find(const char *name); /* NULL: unknown */
int verbs_report_unknown(const char *name);      /* prints the message, returns the exit code */

extern const struct verb verb_announce, verb_check, verb_complete, verb_drain, verb_events,
	verb_help, verb_metrics, verb_monitor, verb_nodes, verb_request, verb_status, verb_wait,
	verb_withdraw;

#endif
