/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * payments - where a payment is kept, and how it is found again.
 *
 * Each payment has its own order of the nodes (rendezvous hashing): it is stored on the first two
 * that work and looked for in that order. A node that is added comes first for its share of the
 * payments, and what was stored before it came is found one step further on: nothing has to be
 * moved, nothing gets lost.
 */
#ifndef APISERVER_PAYMENTS_H
#define APISERVER_PAYMENTS_H

#include <stddef.h>

#include <safestart/safestart.h>

/* 0: stored; -EHOSTUNREACH: no node took it. */
int payments_put(struct safestart *ss, const char *id, const char *body, size_t size);

/* 0 and the body, freed with free(); -ENOENT: there is none; -EHOSTUNREACH: a node that may have it
 * can't be asked. */
int payments_get(struct safestart *ss, const char *id, char **body, size_t *size);

/* The ids of the nodes this payment would be stored on, one a line. */
void payments_owners(struct safestart *ss, const char *id, char *text, size_t text_size);

#endif
