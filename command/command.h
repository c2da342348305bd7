/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command: the program `safestart`, for shells, playbooks and operators. Public functions of the
 * library only. A verb is one file with one `struct verb`, which the parser, --help, the man page
 * and the completions all read. */
#ifndef SAFESTART_COMMAND_H
#define SAFESTART_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the program ends. `run` has env(1)'s codes instead. */
enum leave {
	LEAVE_DONE = 0,
	LEAVE_NOT_YET = 1, /* or timed out */
	LEAVE_USAGE = 2,
	LEAVE_REFUSED = 3,
	LEAVE_FAILED = 4,
	LEAVE_UNANNOUNCED = 5,
	LEAVE_ROSTER = 6,
	LEAVE_QUARANTINED = 7
};

/* What an option takes, and so what `to` points to. */
enum option_kind {
	OPTION_FLAG,     /* bool; takes nothing */
	OPTION_TEXT,     /* const char * */
	OPTION_DURATION, /* int64_t, nanoseconds */
	OPTION_COUNT,    /* unsigned */
	OPTION_LIST      /* struct words; may be given again */
};

struct words {
	const char **at;
	size_t count;
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

/* Every verb, ended by NULL. */
extern const struct verb *const verbs[];

const struct verb *verbs_find(const char *name); /* NULL: there is none */
int verbs_none(const char *name);                /* says so; returns how the program ends */

extern const struct verb verb_announce, verb_check, verb_complete, verb_drain, verb_events,
	verb_metrics, verb_monitor, verb_nodes, verb_request, verb_run, verb_status, verb_wait,
	verb_withdraw;

int command_run(int argc, char **argv);

/* ---- Options ---- */

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
 * *leave, and it was said why. */
bool options_parse(const struct verb *verb, int argc, char **argv, int least, int most, int *first,
		   int *leave);

/* A duration as the library's settings take it. 0 or -EINVAL. */
int options_duration(const char *text, int64_t *ns);

/* --control, $SAFESTART_CONTROL or /run/safestart. */
const char *options_control(void);

/* The nearest of the words, if it is near enough to be meant; else NULL. */
const char *options_nearest(const char *word, const char *const *words);

/* ---- Words ---- */

/* "safestart VERB: …" on standard error; returns `leave`. */
int say(int leave, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_verb(const char *name); /* whose words they are */

/* Of two ends the one that matters more. */
int leave_worse(int one, int other);

/* One JSON text on standard output; takes it. Returns `leave`, or how the program ends without
 * memory. */
int print_json(json_t *json, int leave);

#endif
