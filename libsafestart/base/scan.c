/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scan: JSON by RFC 8259, with UTF-8 by RFC 3629. Stricter in two points, in which a C string could
 * not hold what is said: no \u0000, and no half of a surrogate pair. Numbers are judged by their
 * form alone: nobody asks for their value. Any thread; pure; nothing recurses. */
#include "base/scan.h"

#include <stdint.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"

#define BITS_OF_DEPTH 64

static inline __attribute__((unused)) bool scan_holds(const struct scan *scan)
{
	return scan->at <= scan->length && scan->depth <= SCAN_DEPTH_MAX &&
	       (scan->fault == SCAN_FINE) == (scan->words == NULL);
}

bool scan_fail(struct scan *scan, enum scan_fault fault, const char *words)
{
	invariant(scan->fault == SCAN_FINE);
	scan->fault = scan->at == scan->length ? SCAN_ENDS : fault;
	scan->words = words;
	invariant(scan_holds(scan));
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The next byte; NUL at the end. A NUL byte inside is no part of any value, so it is a fault
 * wherever it stands. */
static char here(const struct scan *scan)
{
	if (scan->at == scan->length)
		return '\0';
	return scan->text[scan->at];
}

char scan_peek(struct scan *scan)
{
	while (here(scan) == ' ' || here(scan) == '\t' || here(scan) == '\r' || here(scan) == '\n')
		scan->at++;
	return here(scan);
}

/* ---- Strings ---- */

static int digit_value(char c)
{
	return is_digit(c)            ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The number of four hexadecimal digits behind `\u`; `at` moves behind those that are right. */
static bool scan_hexadecimal(struct scan *scan, uint32_t *number)
{
	*number = 0;
	for (int i = 0; i < 4; i++, scan->at++) {
		int value = digit_value(here(scan));
		if (value < 0)
			return scan_fail(scan, SCAN_SYNTAX, "\\u needs four hexadecimal digits");
		*number = *number * 16 + (uint32_t)value;
	}
	return true;
}

/* Behind `\u`. */
static bool scan_character(struct scan *scan)
{
	uint32_t high, low;

	if (!scan_hexadecimal(scan, &high))
		return false;
	if (high == 0)
		return scan_fail(scan, SCAN_SYNTAX, "\\u0000 is not allowed");
	if (high < 0xd800 || high > 0xdfff)
		return true;
	if (high > 0xdbff)
		return scan_fail(scan, SCAN_SYNTAX, "half of a surrogate pair");
	for (int i = 0; i < 2; i++, scan->at++) {
		if (here(scan) != "\\u"[i])
			return scan_fail(scan, SCAN_SYNTAX, "half of a surrogate pair");
	}
	if (!scan_hexadecimal(scan, &low))
		return false;
	if (low >= 0xdc00 && low <= 0xdfff)
		return true;
	return scan_fail(scan, SCAN_SYNTAX, "half of a surrogate pair");
}

static bool scan_escape(struct scan *scan)
{
	scan->at++;
	if (here(scan) == '\0' || strchr("\"\\/bfnrtu", here(scan)) == NULL)
		return scan_fail(scan, SCAN_SYNTAX, "there is no such escape");
	return scan->text[scan->at++] != 'u' || scan_character(scan);
}

static bool scan_string(struct scan *scan)
{
	invariant(here(scan) == '"');
	scan->at++;
	for (char c; (c = here(scan)) != '"';) {
		size_t size = 1;
		if (c == '\\') {
			if (!scan_escape(scan))
				return false;
			continue;
		}
		if (scan->at == scan->length)
			return scan_fail(scan, SCAN_ENDS, "a string has no closing quote");
		if ((unsigned char)c < 0x20)
			return scan_fail(scan, SCAN_SYNTAX, "a control character in a string");
		if ((unsigned char)c >= 0x80 &&
		    (size = message_character(scan->text + scan->at, scan->length - scan->at)) == 0)
			return scan_fail(scan, SCAN_UTF8, "no character begins with these bytes");
		scan->at += size;
	}
	scan->at++;
	return true;
}

static uint32_t hexadecimal(const char *at)
{
	uint32_t number = 0;

	for (int i = 0; i < 4; i++)
		number = number * 16 + (uint32_t)digit_value(at[i]);
	return number;
}

/* The character behind `\u`; *at moves behind its last digit. */
static char *put_character(char *to, const char **at)
{
	uint32_t number = hexadecimal(*at);

	*at += 4;
	if (number >= 0xd800 && number <= 0xdbff) {
		number = 0x10000 + ((number - 0xd800) << 10) + (hexadecimal(*at + 2) - 0xdc00);
		*at += 6;
	}
	if (number < 0x80) {
		*to++ = (char)number;
		return to;
	}
	int more = number < 0x800 ? 1 : number < 0x10000 ? 2 : 3;
	*to++ = (char)((0xff00 >> (more + 1) & 0xff) | number >> 6 * more);
	while (more-- > 0)
		*to++ = (char)(0x80 | (number >> 6 * more & 0x3f));
	return to;
}

size_t scan_decode(const struct scan *scan, size_t at, char *to)
{
	static const char escapes[] = "b\bf\fn\nr\rt\t";
	const char *from = scan->text + at + 1;
	char *end = to;

	invariant(scan->text[at] == '"');
	while (*from != '"') {
		/* Most strings have no escape, and are copied in one piece. */
		size_t plain = 0;
		while (from[plain] != '"' && from[plain] != '\\')
			plain++;
		memcpy(end, from, plain);
		end += plain;
		from += plain;
		if (*from == '"')
			break;
		char c = from[1];
		const char *escape = strchr(escapes, c);
		from += 2;
		if (c == 'u') {
			end = put_character(end, &from);
			continue;
		}
		if (escape != NULL)
			c = escape[1];
		*end++ = c;
	}
	*end = '\0';
	invariant((size_t)(end - to) < (size_t)(from - scan->text) - at);
	return (size_t)(end - to);
}

/* ---- Numbers and words ---- */

static bool scan_digits(struct scan *scan)
{
	if (!is_digit(here(scan)))
		return scan_fail(scan, SCAN_SYNTAX, "a number lacks a digit");
	while (is_digit(here(scan)))
		scan->at++;
	return true;
}

static bool scan_number(struct scan *scan)
{
	if (here(scan) == '-')
		scan->at++;
	bool zero = here(scan) == '0';
	if (zero)
		scan->at++;
	else if (!scan_digits(scan))
		return false;
	if (zero && is_digit(here(scan)))
		return scan_fail(scan, SCAN_SYNTAX, "a number begins with 0");
	if (here(scan) == '.') {
		scan->at++;
		if (!scan_digits(scan))
			return false;
	}
	if (here(scan) == 'e' || here(scan) == 'E') {
		scan->at++;
		if (here(scan) == '+' || here(scan) == '-')
			scan->at++;
		return scan_digits(scan);
	}
	return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
	for (; *word != '\0'; word++, scan->at++) {
		if (here(scan) != *word)
			return scan_fail(scan, SCAN_SYNTAX,
					 "no value begins like this; a string needs quotes");
	}
	return true;
}

static bool scan_scalar(struct scan *scan)
{
	switch (here(scan)) {
	case '"': return scan_string(scan);
	case 't': return scan_word(scan, "true");
	case 'f': return scan_word(scan, "false");
	case 'n': return scan_word(scan, "null");
	default: break;
	}
	if (here(scan) == '-' || is_digit(here(scan)))
		return scan_number(scan);
	return scan_fail(scan, SCAN_SYNTAX, "a value is expected");
}

/* ---- Arrays and objects ---- */

bool scan_enter(struct scan *scan)
{
	invariant(here(scan) == '[' || here(scan) == '{');
	if (scan->depth == SCAN_DEPTH_MAX)
		return scan_fail(scan, SCAN_DEEP, "nested too deeply");
	scan->at++;
	scan->depth++;
	return true;
}

bool scan_next(struct scan *scan, char closing, size_t *count)
{
	char c = scan_peek(scan);

	invariant(scan_holds(scan));
	invariant(scan->depth > 0);
	if (c == closing) {
		scan->at++;
		scan->depth--;
		return false;
	}
	if (*count > 0) {
		if (c != ',')
			return scan_fail(scan, SCAN_SYNTAX,
					 closing == ']' ? "a comma or ] is expected"
							: "a comma or } is expected");
		scan->at++;
		(void)scan_peek(scan);
	}
	++*count;
	return true;
}

bool scan_key(struct scan *scan)
{
	if (scan_peek(scan) != '"')
		return scan_fail(scan, SCAN_SYNTAX, "the name of a member is expected, in quotes");
	if (!scan_string(scan))
		return false;
	if (scan_peek(scan) != ':')
		return scan_fail(scan, SCAN_SYNTAX, "a colon is expected");
	scan->at++;
	(void)scan_peek(scan);
	return true;
}

/* One bit for each array (0) or object (1) around the place where the scan is, and whether it has
 * had an element: all that has to be known of them. */
bool scan_value(struct scan *scan)
{
	uint64_t objects = 0, begun = 0;
	size_t outside = scan->depth;

	_Static_assert(SCAN_DEPTH_MAX < BITS_OF_DEPTH, "a bit for each level");
	do {
		char c = scan_peek(scan);
		if (c == '[' || c == '{') {
			if (!scan_enter(scan))
				return false;
			objects = objects << 1 | (c == '{');
			begun <<= 1;
		} else if (!scan_scalar(scan)) {
			return false;
		}
		/* To the next value, out of all that end here. */
		while (scan->depth > outside) {
			size_t count = begun & 1;
			if (scan_next(scan, objects & 1 ? '}' : ']', &count)) {
				begun |= 1;
				break;
			}
			if (scan->fault != SCAN_FINE)
				return false;
			objects >>= 1;
			begun >>= 1;
		}
		if (scan->depth > outside && (objects & 1) && !scan_key(scan))
			return false;
	} while (scan->depth > outside);
	invariant(scan->depth == outside);
	return true;
}

const char *scan_type_name(char first)
{
	switch (first) {
	case '{': return "an object";
	case '[': return "an array";
	case '"': return "a string";
	case 'n': return "null";
	case 't':
	case 'f': return "a boolean";
	default: return "a number";
	}
}
