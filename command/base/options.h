/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* options: what a verb is, and how its command line is read. A verb is one file with one `struct
 * verb`, which the parser, --help, the man page and the completions all read. */
#ifndef SAFESTART_COMMAND_OPTIONS_H
#define SAFESTART_COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of an option that may be given several times. */
struct option_list {
	const char **at;
	size_t count;
};

/* The type of an option's value, and so what `to` points to. */
enum option_kind {
	OPTION_FLAG,     /* bool; no value */
	OPTION_TEXT,     /* const char * */
	OPTION_DURATION, /* int64_t, nanoseconds */
	OPTION_COUNT,    /* unsigned */
	OPTION_LIST      /* struct option_list; may be given several times */
};

struct option_row {
	const char *name;     /* without the dashes; NULL ends the table */
	const char *argument; /* name of the value in the help; NULL for a flag. Completion goes by
				 it. */
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
	int (*main)(int argc, char **argv); /* argv[0] is the verb's name; returns the exit code */
	const char *help;                   /* one line; NULL: for programs, not listed */
	const char *arguments;              /* "[NAME]"; NULL: none */
	const char *text;                   /* paragraphs, separated by an empty line */
	const struct option_row *options;
	const char *examples[11]; /* a title, then the command; ended by NULL */
	struct exit_row exits[10];
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

/* Stores the options where the rows point; options may stand anywhere before "--". The remaining
 * arguments begin at argv[*first]; there are `least` to `most` of them. False: end with *code, the
 * message or the help is printed already. */
bool options_parse(const struct verb *verb, int argc, char **argv, int least, int most, int *first,
		   int *code);

/* Reads a duration written as in the library's settings. 0 or -EINVAL. */
int options_duration(const char *text, int64_t *ns);

/* The control directory: --control, $SAFESTART_CONTROL or /run/safestart. */
const char *options_control(void);

/* The word most similar to it, for "did you mean"; NULL: none is similar enough. */
const char *options_nearest(const char *word, const char *const *words);

#endif
