/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* address: addresses as the library spells them. Asks the library; pure. */
#ifndef SAFESTART_COMMAND_ADDRESS_H
#define SAFESTART_COMMAND_ADDRESS_H

#include <jansson.h>
#include <stdbool.h>

/* Room for an address in the library's spelling. */
#define ADDRESS_SIZE 272

/* Are they two spellings of one address? What is no address is the same as itself. */
bool address_same(const char *a, const char *b);

/* The ids of all targets of a document that are not written as the library writes them, by target.
 * The caller releases it. NULL: no memory. */
json_t *address_ids(const json_t *document);

/* The id of a target without an id label: its address as the library writes it; the target itself,
 * if it is no address. */
const char *address_id(const json_t *ids, const char *target);

#endif
