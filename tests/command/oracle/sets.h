/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sets: node sets as the oracle sees them: a byte for each id, which says
 * address and labels of its entry. Nothing of the library is used to compare two of them. */
#ifndef ORACLE_SETS_H
#define ORACLE_SETS_H

#include <safestart/safestart.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/chance.h"

#define IDS 5
#define ABSENT 0
#define BROKEN 255 /* an entry that is unusable */

struct set {
	uint8_t entry[IDS];
};

const char *set_id(int id);

/* 3 addresses, 3 zones (one of them none), 4 incarnations (one of them none). */
uint8_t entry_make(unsigned address, unsigned zone, unsigned incarnation);
void entry_address(int id, uint8_t entry, char *text, size_t size);
const char *entry_incarnation(uint8_t entry); /* NULL: none */
/* The same node announced anew, as safestart_node_announce() does it: its zone stays. */
uint8_t entry_announced(uint8_t before, unsigned address, unsigned incarnation);
uint8_t entry_random(void);
void entry_words(uint8_t entry, char *text, size_t size);

#define SET_TEXT 2048
void set_text(const struct set *set, char text[SET_TEXT]);
size_t set_size(const struct set *set); /* of what is usable */
/* What a reader of the snapshot gets. */
struct set set_read(const struct safestart_snapshot *snapshot);

#endif
