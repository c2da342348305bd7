/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* advice: what to do next. */
#ifndef SAFESTART_COMMAND_ADVICE_H
#define SAFESTART_COMMAND_ADVICE_H

#include "hosts/summary.h"

/* Sets summary->next by the trouble of one of its `count` peers: the caller passes the worst. */
void advise(struct summary *summary, const struct peer *peers, size_t count,
	    const struct peer *peer, enum trouble trouble);

#endif
