/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the fuzz targets: conditions that have to hold, texts that have to be clean, bytes
 * taken one by one. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A fuzzer needs a crash, and its reader needs the place. */
#define HOLD(condition)                                                                   \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes that are left. Past the end they are 0. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t input_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

/* Is it UTF-8 of one line? Decoded here step by step: the library's own code must not check
 * itself. */
static inline bool is_clean(const char *words)
{
	const unsigned char *at = (const unsigned char *)words;

	while (*at != '\0') {
		unsigned more = *at < 0x80 ? 0 : *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
		uint32_t code = *at < 0x80 ? *at : *at & (0x3fu >> more);
		if (*at == 0x7f || *at < 0x20 || (*at >= 0x80 && *at < 0xc0) || *at >= 0xf8)
			return false;
		at++;
		for (unsigned i = 0; i < more; i++, at++) {
			if ((*at & 0xc0) != 0x80)
				return false;
			code = code << 6 | (*at & 0x3f);
		}
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
	}
	return true;
}

/* A buffer of exactly that size, so that the address sanitizer sees one byte too many; it is
 * filled with garbage. */
static inline char *dirty(size_t size)
{
	char *buffer = malloc(size > 0 ? size : 1);

	HOLD(buffer != NULL);
	memset(buffer, 0xee, size);
	return buffer;
}

/* Checks that the text ends within its size, and is clean. */
static inline void hold_words(const char *why, size_t size)
{
	if (size == 0)
		return;
	HOLD(memchr(why, '\0', size) != NULL);
	HOLD(is_clean(why));
}

#endif
