/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* options: what a verb is, with its options, and how they are read. A verb is one file with one
 * `struct verb`, which the parser, --help, the man page and the completions all read. */
#ifndef SAFESTART_COMMAND_OPTIONS_H
#define SAFESTART_COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct option_list {
	const char **at;
	size_t count;
};

/* What an option takes, and so what `to` points to. */
enum option_kind {
	OPTION_FLAG,     /* bool; takes nothing */
	OPTION_TEXT,     /* const char * */
	OPTION_DURATION, /* int64_t, nanoseconds */
	OPTION_COUNT,    /* unsigned */
	OPTION_LIST      /* struct option_list; may be given again */
};

struct option_row {
	const char *name;     /* without the dashes; NULL ends the table */
	const char *argument; /* what it is called in the help; NULL for a flag */
	enum option_kind kind;
	void *to;
	const char *help;
};

struct exit_row {
	int code;
	const char *meaning; /* NULL ends the table */
};

struct verb {
	const char *name;
	int (*main)(int argc, char **argv); /* argv[0] is the name; returns how the program ends */
	const char *help;                   /* one line; NULL: not for people, and not listed */
	const char *arguments;              /* "[NAME]"; NULL: none */
	const char *text;                   /* paragraphs, separated by an empty line */
	const struct option_row *options;
	const char *examples[8]; /* what it does, then the command, ended by NULL */
	struct exit_row exits[9];
};

/* Options that many verbs have. */
struct common {
	const char *control;
	bool json;
};
extern struct common common;

#define OPTION_CONTROL                                                                             \
	{                                                                                          \
		"control", "DIR", OPTION_TEXT, &common.control, "directory of the control sockets" \
	}
#define OPTION_JSON                                                                              \
	{                                                                                        \
		"json", NULL, OPTION_FLAG, &common.json, "for programs: JSON on standard output" \
	}
#define OPTION_END                                  \
	{                                           \
		NULL, NULL, OPTION_FLAG, NULL, NULL \
	}

/* Reads the options into where the rows say; options may stand anywhere before "--". What is left
 * are argv[*first] and what follows, between `least` and `most`. False: the program is to end with
 * *code, and it was said why. */
bool options_parse(const struct verb *verb, int argc, char **argv, int least, int most, int *first,
		   int *code);

/* A duration as the library's settings take it. 0 or -EINVAL. */
int options_duration(const char *text, int64_t *ns);

/* --control, $SAFESTART_CONTROL or /run/safestart. */
const char *options_control(void);

/* The nearest of the words, if it is near enough to be meant; else NULL. */
const char *options_nearest(const char *word, const char *const *words);

#endif
