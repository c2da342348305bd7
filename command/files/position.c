/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* position: a walk over JSON text that was parsed before. Pure; reads no byte behind the NUL. */
#include "files/position.h"

#include <string.h>

/* Moves over one byte. A continuation byte of UTF-8 adds no column. */
static void step(struct position_walk *walk)
{
	char c = *walk->at++;

	if (c == '\n')
		walk->here = (struct place){walk->here.line + 1, 1};
	else if (((unsigned char)c & 0xc0) != 0x80)
		walk->here.column++;
}

static void skip(struct position_walk *walk, const char *characters)
{
	while (*walk->at != '\0' && strchr(characters, *walk->at) != NULL)
		step(walk);
}

static void skip_string(struct position_walk *walk)
{
	step(walk);
	while (*walk->at != '\0' && *walk->at != '"') {
		if (*walk->at == '\\')
			step(walk);
		if (*walk->at != '\0')
			step(walk);
	}
	if (*walk->at == '"')
		step(walk);
}

/* The parser has matched the brackets, so counting both kinds together is enough. */
static void skip_value(struct position_walk *walk)
{
	size_t depth = 0;

	do {
		if (*walk->at == '"') {
			skip_string(walk);
		} else if (*walk->at == '{' || *walk->at == '[') {
			depth++;
			step(walk);
		} else if (*walk->at == '}' || *walk->at == ']') {
			depth -= depth > 0;
			step(walk);
		} else if (depth > 0) {
			step(walk);
		} else {
			do
				step(walk);
			while (*walk->at != '\0' && strchr(",:]} \t\r\n", *walk->at) == NULL);
		}
	} while (depth > 0 && *walk->at != '\0');
}

/* To the next value or key of the current array or object; false: it has ended. */
static bool next_inside(struct position_walk *walk)
{
	skip(walk, " \t\r\n,");
	if (*walk->at != ']' && *walk->at != '}')
		return *walk->at != '\0';
	step(walk);
	return false;
}

/* Moves over a key and its value, or into the value if the key is "targets". */
static void take_member(struct position_walk *walk)
{
	static const char targets[] = "\"targets\"";
	bool meant = strncmp(walk->at, targets, sizeof(targets) - 1) == 0;

	skip_value(walk);
	skip(walk, " \t\r\n:");
	if (meant && *walk->at == '[') {
		step(walk);
		walk->inside = POSITION_TARGETS;
	} else if (*walk->at != '\0') {
		skip_value(walk);
	}
}

struct position_walk position_begin(const char *text)
{
	return (struct position_walk){.at = text, .here = {1, 1}};
}

static bool enter_value(struct position_walk *walk, size_t group, size_t target)
{
	walk->group = group;
	walk->target = target;
	walk->place = walk->here;
	if (target == 0 && *walk->at == '{') {
		step(walk);
		walk->inside = POSITION_MEMBERS;
	} else {
		skip_value(walk);
	}
	return true;
}

bool position_next(struct position_walk *walk)
{
	if (walk->inside == POSITION_BEFORE) {
		skip(walk, " \t\r\n");
		if (*walk->at != '[')
			return false;
		step(walk);
		walk->inside = POSITION_GROUPS;
	}
	while (walk->inside != POSITION_AFTER) {
		if (!next_inside(walk))
			walk->inside = walk->inside == POSITION_TARGETS   ? POSITION_MEMBERS
				       : walk->inside == POSITION_MEMBERS ? POSITION_GROUPS
									  : POSITION_AFTER;
		else if (walk->inside == POSITION_GROUPS)
			return enter_value(walk, walk->group + 1, 0);
		else if (walk->inside == POSITION_TARGETS)
			return enter_value(walk, walk->group, walk->target + 1);
		else
			take_member(walk);
	}
	return false;
}

struct place position_advance(struct position_walk *walk, size_t group, size_t target)
{
	while (walk->group < group || (walk->group == group && walk->target < target)) {
		if (!position_next(walk))
			break;
	}
	return walk->group == group && walk->target == target ? walk->place : (struct place){0};
}

struct place position_find(const char *text, size_t group, size_t target)
{
	struct position_walk walk = position_begin(text);

	return position_advance(&walk, group, target);
}
