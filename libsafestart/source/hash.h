/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash: XXH64, 64 bits, about as fast as memory is read. Pure. It distinguishes contents
 * that differ by accident; it has no key, so a content can be made up that has the hash of another.
 */
#ifndef SAFESTART_SOURCE_HASH_H
#define SAFESTART_SOURCE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_xxh64(const void *bytes, size_t length, uint64_t seed);

#endif
