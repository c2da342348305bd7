/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verbs: the table of them; each is a file of its own. */
#ifndef SAFESTART_COMMAND_VERBS_H
#define SAFESTART_COMMAND_VERBS_H

#include "base/options.h"
#include "run/run.h"

/* Every verb, ended by NULL. */
extern const struct verb *const verbs[];

const struct verb *verbs_find(const char *name); /* NULL: there is none */
int verbs_report_unknown(const char *name);      /* says so; returns how the program ends */

extern const struct verb verb_announce, verb_check, verb_complete, verb_drain, verb_events,
	verb_help, verb_metrics, verb_monitor, verb_nodes, verb_request, verb_status, verb_wait,
	verb_withdraw;

#endif
