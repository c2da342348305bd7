/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * payments - stores a payment on nodes, and finds it again.
 *
 * Each payment has its own order of the nodes (rendezvous hashing): it is stored on the first two
 * that work, and looked for in that order. An added node comes first for its share of the payments;
 * a payment that was stored before is found one step further on. Nothing has to be moved, and
 * nothing gets lost.
 */
#ifndef APISERVER_PAYMENTS_H
#define APISERVER_PAYMENTS_H

#include <stddef.h>

#include <safestart/safestart.h>

/* Returns 0: stored; -EHOSTUNREACH: no node stored it. */
int payments_put(struct safestart *ss, const char *id, const char *body, size_t size);

/* Returns 0 and the body, freed with free(); -ENOENT: no such payment; -EHOSTUNREACH: a node that
 * may have it cannot be reached. */
int payments_get(struct safestart *ss, const char *id, char **body, size_t *size);

/* Writes the ids of the nodes that this payment would be stored on, one per line. */
void payments_owners(struct safestart *ss, const char *id, char *text, size_t text_size);

#endif
