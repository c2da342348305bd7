/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash: XXH64 gives what its specification says, where bytes are in the order it says. */
#include <string.h>

#include "source/hash.h"
#include "support/support.h"

START_TEST(it_is_xxh64)
{
	static const struct {
		const char *text;
		uint64_t seed, hash;
	} cases[] = {
		{"", 0, UINT64_C(0xef46db3751d8e999)},
		{"a", 0, UINT64_C(0xd24ec4f1a98c6e5b)},
		{"abc", 0, UINT64_C(0x44bc2cf5ad770999)},
		{"Nobody inspects the spammish repetition", 0, UINT64_C(0xfbcea83c8a378bf1)},
	};

	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_uint_eq(hash_xxh64(cases[i].text, strlen(cases[i].text), cases[i].seed),
				  cases[i].hash);
}
END_TEST

START_TEST(every_bit_length_and_seed_counts)
{
	unsigned char bytes[100] = {0};
	uint64_t seen[100 * 8 + 300];
	size_t count = 0;

	for (size_t length = 0; length <= sizeof(bytes); length++)
		seen[count++] = hash_xxh64(bytes, length, 0);
	for (uint64_t seed = 1; seed < 100; seed++)
		seen[count++] = hash_xxh64(bytes, sizeof(bytes), seed);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] = (unsigned char)(1u << bit % 8);
		seen[count++] = hash_xxh64(bytes, sizeof(bytes), 0);
		bytes[bit / 8] = 0;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++)
			ck_assert_uint_ne(seen[i], seen[j]);
	}
}
END_TEST

SUITE("hash", it_is_xxh64, every_bit_length_and_seed_counts)
