/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash: XXH64 as the specification of xxHash has it (Yann Collet), steps and names too: four lanes
 * take 32 bytes a stripe, then the rest and the avalanche. The processor's byte order stays: a hash
 * never leaves the process. */
#include "source/hash.h"

#include <string.h>

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static uint64_t read_64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t read_32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t round_of(uint64_t lane, uint64_t input)
{
	return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t hash, uint64_t lane)
{
	return (hash ^ round_of(0, lane)) * PRIME_1 + PRIME_4;
}

/* Takes all whole stripes; *at is moved behind them. */
static uint64_t stripes(const unsigned char **at, const unsigned char *end, uint64_t seed)
{
	uint64_t one = seed + PRIME_1 + PRIME_2, two = seed + PRIME_2, three = seed,
		 four = seed - PRIME_1;
	const unsigned char *next = *at;

	for (; end - next >= 32; next += 32) {
		one = round_of(one, read_64(next));
		two = round_of(two, read_64(next + 8));
		three = round_of(three, read_64(next + 16));
		four = round_of(four, read_64(next + 24));
	}
	*at = next;
	uint64_t hash = rotate(one, 1) + rotate(two, 7) + rotate(three, 12) + rotate(four, 18);
	return merge(merge(merge(merge(hash, one), two), three), four);
}

uint64_t hash_xxh64(const void *bytes, size_t length, uint64_t seed)
{
	const unsigned char *at = bytes, *end = at + length;
	uint64_t hash = (length >= 32 ? stripes(&at, end, seed) : seed + PRIME_5) + length;

	for (; end - at >= 8; at += 8)
		hash = rotate(hash ^ round_of(0, read_64(at)), 27) * PRIME_1 + PRIME_4;
	for (; end - at >= 4; at += 4)
		hash = rotate(hash ^ read_32(at) * PRIME_1, 23) * PRIME_2 + PRIME_3;
	for (; at < end; at++)
		hash = rotate(hash ^ *at * PRIME_5, 11) * PRIME_1;
	hash = (hash ^ hash >> 33) * PRIME_2;
	hash = (hash ^ hash >> 29) * PRIME_3;
	return hash ^ hash >> 32;
}
