/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* value: the parsers, and the distance between words for "the nearest is …". Pure: no locale, no
 * state. */
#include "conf/value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", UINT64_C(60000000000)},
	{"h", UINT64_C(3600000000000)},
	{NULL, 0},
};

/* So that any of them added to the time since boot is a time. */
#define LONGEST (UINT64_C(876000) * UINT64_C(3600000000000))

static const struct unit sizes[] = {
	{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0},
};

/* Digits, then a unit. strtoull() would take signs and white space. */
static bool parse_number(const char *text, const struct unit *units, uint64_t most, uint64_t *value)
{
	uint64_t number = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');
		if (number > (most - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	if (at == text)
		return false;
	for (const struct unit *unit = units; unit->name != NULL; unit++) {
		if (strcmp(unit->name, at) == 0 && number <= most / unit->factor) {
			*value = number * unit->factor;
			return true;
		}
	}
	return false;
}

int value_string(const char *text, void *to, char *why, size_t why_size)
{
	char *copy = NULL;

	if (text[0] != '\0' && (copy = strdup(text)) == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	free(*(char **)to);
	*(char **)to = copy;
	return 0;
}

int value_word(const char *text, void *to, char *why, size_t why_size)
{
	if (text[0] == '\0')
		return message_set(why, why_size, -EINVAL, "it must not be empty");
	return value_string(text, to, why, why_size);
}

int value_duration(const char *text, void *to, char *why, size_t why_size)
{
	uint64_t value = 0;

	if (strcmp(text, "0") != 0 && !parse_number(text, durations, LONGEST, &value))
		return message_set(why, why_size, -EINVAL,
				   "not a duration; write a whole number and ns, us, ms, s, m or "
				   "h, such as 100ms (0 needs no unit; at most 100 years, "
				   "876000h)");
	*(int64_t *)to = (int64_t)value;
	return 0;
}

int value_positive_duration(const char *text, void *to, char *why, size_t why_size)
{
	int64_t value = 0;

	int error = value_duration(text, &value, why, why_size);
	if (error == 0 && value == 0)
		error = message_set(why, why_size, -EINVAL, "it must be more than 0");
	if (error == 0)
		*(int64_t *)to = value;
	return error;
}

int value_size(const char *text, void *to, char *why, size_t why_size)
{
	uint64_t value = 0;

	if (!parse_number(text, sizes, INT64_MAX, &value) || value == 0)
		return message_set(why, why_size, -EINVAL,
				   "not a size; write a whole number of bytes above 0, or one with "
				   "KiB, MiB or GiB");
	/* More than 32 bits can address is not less than all of it. */
	*(size_t *)to = value < SIZE_MAX / 2 ? (size_t)value : SIZE_MAX / 2;
	return 0;
}

int value_count(const char *text, void *to, char *why, size_t why_size)
{
	static const struct unit bare[] = {{"", 1}, {NULL, 0}};
	uint64_t value = 0;

	if (!parse_number(text, bare, UINT32_MAX, &value))
		return message_set(why, why_size, -EINVAL, "not a whole number from 0 to %u",
				   UINT32_MAX);
	*(size_t *)to = (size_t)value;
	return 0;
}

int value_port(const char *text, void *to, char *why, size_t why_size)
{
	static const struct unit bare[] = {{"", 1}, {NULL, 0}};
	uint64_t value = 0;

	if (!parse_number(text, bare, UINT16_MAX, &value))
		return message_set(why, why_size, -EINVAL, "not a port from 1 to %u, or 0 for none",
				   (unsigned)UINT16_MAX);
	*(uint16_t *)to = (uint16_t)value;
	return 0;
}

int value_percent(const char *text, void *to, char *why, size_t why_size)
{
	static const struct unit percent[] = {{"%", 1}, {NULL, 0}};
	uint64_t value = 0;

	if (!parse_number(text, percent, 100, &value))
		return message_set(why, why_size, -EINVAL,
				   "not a share from 0%% to 100%%, written with the sign");
	*(unsigned *)to = (unsigned)value;
	return 0;
}

int value_bool(const char *text, void *to, char *why, size_t why_size)
{
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return message_set(why, why_size, -EINVAL, "write yes or no");
	*(bool *)to = text[0] == 'y';
	return 0;
}

int value_start(const char *text, void *to, char *why, size_t why_size)
{
	if (strcmp(text, "open") != 0 && strcmp(text, "after_fork") != 0)
		return message_set(why, why_size, -EINVAL, "write open or after_fork");
	*(bool *)to = text[0] == 'a';
	return 0;
}

int value_events(const char *text, void *to, char *why, size_t why_size)
{
	if (strcmp(text, "callback") != 0 && strcmp(text, "pull") != 0)
		return message_set(why, why_size, -EINVAL, "write callback or pull");
	*(bool *)to = text[0] == 'p';
	return 0;
}

size_t value_distance(const char *a, const char *b)
{
	size_t row[65], b_length = strnlen(b, 64);

	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 0; i < 64 && a[i] != '\0'; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < b_length; j++) {
			size_t change = diagonal + (a[i] != b[j]), drop = row[j] + 1,
			       insert = row[j + 1] + 1;
			diagonal = row[j + 1];
			row[j + 1] = change < drop ? (change < insert ? change : insert)
						   : (drop < insert ? drop : insert);
		}
	}
	return row[b_length];
}
