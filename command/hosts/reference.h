/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reference: which node set the processes of one name should have live, and what a status says of
 * its own set. Pure: no I/O. */
#ifndef SAFESTART_COMMAND_REFERENCE_H
#define SAFESTART_COMMAND_REFERENCE_H

#include "hosts/processes.h"

/* The status that a process answered; NULL: it answered none. */
const json_t *peer_status(const struct peer *peer);

bool status_has_set(const json_t *status); /* a set was applied at some time */

/* How many of its nodes are in that state; NULL: are live. */
size_t status_nodes(const json_t *status, const char *state);

/* The newest run applied every node that could be used. Such a process counts as behind, because of
 * its quarantined nodes, but no run would change that. */
bool status_applied_all_usable(const json_t *status);

/* The digest of the set that most processes should have live; among equals, of the one that more
 * have live. "": none has a set. */
const char *reference_choose(const struct peer *peers, size_t count);

/* How many digits of the digest, four at least, distinguish it from the other digests there. */
size_t reference_digits(const struct peer *peers, size_t count, const char *digest);

#endif
