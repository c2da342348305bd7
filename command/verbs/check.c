/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check: would the servers accept this node file? The library itself decides; this file only adds
 * line and column. Changes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "files/desired.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "files/places.h"
#include "verbs/verbs.h"

/* The result for one file. */
struct verdict {
	int code;
	char why[512];
	struct place place; /* of the error; may be unknown */
	bool place_missing; /* `why` does not contain the place */
	json_t *quarantined;
	json_t *drained;   /* nodes of the file that are drained, as by drains_list() */
	size_t left_out;   /* number of entries; `quarantined` may have fewer rows */
	char warning[300]; /* what is accepted and was probably not meant; "": nothing */
};

static struct option_list settings;
static bool quiet;

static const struct option_row options[] = {
	{"set", "KEY=VALUE", OPTION_LIST, &settings,
	 "a setting of the servers, such as min_nodes=3; may be repeated"},
	{"quiet", NULL, OPTION_FLAG, &quiet,
	 "print nothing about files that are valid, except warnings"},
	OPTION_JSON,
	OPTION_END,
};

/* The whole file, with a NUL behind its end. NULL: errno says why. The caller checks for a NUL
 * inside, which would end the text early for the library. */
static char *read_file(const char *path, size_t *length)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO)
					: open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t room = 65536;
	char *text = fd >= 0 ? malloc(room) : NULL;
	ssize_t n = 0;

	*length = 0;
	while (text != NULL && (n = read(fd, text + *length, room - *length - 1)) != 0) {
		if (n < 0)
			break;
		*length += (size_t)n;
		if (room - *length < 2) {
			char *more = realloc(text, room *= 2);
			if (more == NULL)
				n = -1;
			text = more != NULL ? more : (free(text), NULL);
		}
	}
	int error = errno;
	if (fd >= 0)
		close(fd);
	if (text != NULL && n == 0) {
		text[*length] = '\0';
		return text;
	}
	free(text);
	errno = error;
	return NULL;
}

/* The settings of --set; NULL: one is wrong, the message is printed. */
static struct safestart_conf *make_conf(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	char why[256], key[64];

	for (size_t i = 0; conf != NULL && i < settings.count; i++) {
		const char *equals = strchr(settings.at[i], '=');
		snprintf(key, sizeof(key), "%.*s",
			 (int)(equals != NULL ? equals - settings.at[i] : 0), settings.at[i]);
		int error = equals != NULL
				    ? safestart_conf_set(conf, key, equals + 1, why, sizeof(why))
				    : -EINVAL;
		if (error == 0)
			continue;
		(void)report(0, "--set %s: %s", settings.at[i],
			     equals != NULL ? why : "write KEY=VALUE, such as min_nodes=3");
		safestart_conf_free(conf);
		return NULL;
	}
	return conf;
}

/* Of the servers' settings the one that changes what an entry says. NULL: not set. */
static const char *default_port(void)
{
	const char *port = NULL;

	for (size_t i = 0; i < settings.count; i++) {
		if (strncmp(settings.at[i], "default_port=", 13) == 0)
			port = settings.at[i] + 13;
	}
	return port;
}

/* Every node that would be quarantined, with the reason: as a handle reports them that has only
 * this set. */
static json_t *find_quarantined(const char *text, char *warning, size_t warning_size)
{
	json_t *found = json_array(), *status, *node;
	struct safestart *ss;
	size_t index;

	if (desired_open(&ss, text, default_port(), warning, warning_size) < 0) {
		warning[0] = '\0';
		return found;
	}
	char *result = safestart_status_json(ss);
	status = result != NULL ? json_loads(result, 0, NULL) : NULL;
	safestart_free(result);
	json_array_foreach(json_object_get(status, "nodes"), index, node) {
		if (strcmp(member_text(node, "state"), "quarantined") == 0)
			json_array_append_new(found, json_pack("{s:O,s:O}", "id",
							       json_object_get(node, "id"), "why",
							       json_object_get(node, "why")));
	}
	json_decref(status);
	(void)safestart_close(ss);
	return found;
}

/* ---- Printing ---- */

static void print_quarantined(const json_t *one)
{
	const json_t *line = json_object_get(one, "line"), *column = json_object_get(one, "column"),
		     *more = json_object_get(one, "more");

	fputs("  ", stdout);
	if (line != NULL && column != NULL && more != NULL) {
		printf("line %lld, column %lld", (long long)json_integer_value(line),
		       (long long)json_integer_value(column));
		if (json_integer_value(more) > 0)
			printf(" (and %lld more with this id)",
			       (long long)json_integer_value(more));
		fputs(": ", stdout);
	}
	text_print(json_string_value(json_object_get(one, "id")));
	fputs(": ", stdout);
	text_print(json_string_value(json_object_get(one, "why")));
	putchar('\n');
}

/* The servers accept them, but they were taken out on purpose. */
static void print_drained(const json_t *drained)
{
	char words[DRAINS_WORDS_SIZE];
	const json_t *one;
	size_t index;

	json_array_foreach(drained, index, one) {
		drains_words(one, words);
		printf("  %swarning:%s ", colour_on(COLOUR_WARN), colour_off());
		text_print(member_text(one, "id"));
		fputs(": ", stdout);
		text_print(words);
		puts(", but in the file: the servers use it; drain it again, or announce it");
	}
}

/* The servers use it, though it was probably not meant. */
static void print_warning(const char *warning)
{
	printf("  %swarning:%s ", colour_on(COLOUR_WARN), colour_off());
	text_print(warning);
	putchar('\n');
}

/* A line for the file, then one for each entry that would be left out. */
static void print_verdict(const char *path, const struct verdict *verdict)
{
	const char *colours[] = {colour_on(COLOUR_GOOD), colour_on(COLOUR_BAD),
				 colour_on(COLOUR_WARN)};
	int code = verdict->code;
	bool warned = verdict->warning[0] != '\0';
	size_t listed = json_array_size(verdict->quarantined), count = verdict->left_out, index;
	const json_t *one;

	if (code == EXIT_DONE && quiet && !warned && json_array_size(verdict->drained) == 0)
		return;
	text_print(path);
	fputs(": ", stdout);
	if (code == EXIT_DONE)
		printf("%svalid%s\n", colours[0], colour_off());
	if (code == EXIT_REFUSED || code == EXIT_FAILED) {
		printf("%s%s%s: ", colours[1],
		       code == EXIT_FAILED ? "cannot be read" : "would be refused", colour_off());
		if (verdict->place_missing && verdict->place.line > 0)
			printf("line %zu, column %zu: ", verdict->place.line,
			       verdict->place.column);
		text_print(verdict->why);
		putchar('\n');
	}
	if (code == EXIT_QUARANTINED)
		printf("%swould be accepted without %zu entr%s%s\n", colours[2], count,
		       count == 1 ? "y" : "ies", colour_off());
	json_array_foreach(verdict->quarantined, index, one)
		print_quarantined(one);
	if (code == EXIT_QUARANTINED && listed < count) {
		printf("  %zu of them cannot be named by id: ", count - listed);
		text_print(verdict->why);
		putchar('\n');
	}
	if (warned)
		print_warning(verdict->warning);
	print_drained(verdict->drained);
}

/* The drained nodes that are in the file; standard input has no notes beside it. */
static json_t *find_drained(const char *path)
{
	json_t *list = strcmp(path, "-") != 0 ? drains_list_at(path, time(NULL)) : json_array();

	for (size_t i = json_array_size(list); i-- > 0;) {
		if (!member_bool(json_array_get(list, i), "in_file", false))
			json_array_remove(list, i);
	}
	return list;
}

static json_t *verdict_json(const char *path, const struct verdict *verdict)
{
	json_t *result =
		json_pack("{s:s,s:b,s:i,s:s,s:O,s:O*}", "file", path, "ok",
			  verdict->code == EXIT_DONE, "exit", verdict->code, "why", verdict->why,
			  "quarantined", verdict->quarantined, "drained", verdict->drained);

	if (verdict->warning[0] != '\0')
		json_object_set_new(result, "warning", json_string(verdict->warning));
	if (verdict->place.line > 0) {
		json_object_set_new(result, "line", json_integer((json_int_t)verdict->place.line));
		json_object_set_new(result, "column",
				    json_integer((json_int_t)verdict->place.column));
	}
	return result;
}

/* ---- The verb ---- */

/* Takes over the text. */
static void check_text(struct verdict *verdict, const struct safestart_conf *conf, char *text,
		       size_t length)
{
	int result = safestart_check(conf, text, verdict->why, sizeof(verdict->why));

	verdict->code = result == 0 ? EXIT_DONE : result > 0 ? EXIT_QUARANTINED : EXIT_REFUSED;
	verdict->left_out = result > 0 ? (size_t)result : 0;
	if (result < 0)
		verdict->place_missing = places_of_refusal(verdict->why, text, &verdict->place);
	/* What was probably not meant stands behind the number of nodes. */
	const char *warning = result == 0 ? strchr(verdict->why, ';') : NULL;
	if (warning != NULL)
		snprintf(verdict->warning, sizeof(verdict->warning), "%s", warning + 2);
	if (result != 0) {
		json_decref(verdict->quarantined);
		verdict->quarantined =
			find_quarantined(text, verdict->warning, sizeof(verdict->warning));
	}
	if (json_array_size(verdict->quarantined) > 0)
		places_of_quarantined(verdict->quarantined, text, length);
	else
		free(text);
}

static int check_file(const struct safestart_conf *conf, const char *path, json_t *result)
{
	struct verdict verdict = {.quarantined = json_array(), .drained = find_drained(path)};
	size_t length;
	char *text = read_file(path, &length);

	if (text == NULL) {
		verdict.code = EXIT_FAILED;
		snprintf(verdict.why, sizeof(verdict.why), "%s", safestart_strerror(errno));
	} else if (strlen(text) != length) {
		verdict.code = EXIT_REFUSED;
		snprintf(verdict.why, sizeof(verdict.why),
			 "it contains a NUL byte, the first at byte %zu", strlen(text) + 1);
		free(text);
	} else {
		check_text(&verdict, conf, text, length);
	}
	if (!common.json)
		print_verdict(path, &verdict);
	else if (json_array_append_new(result, verdict_json(path, &verdict)) < 0)
		verdict.code = report(EXIT_FAILED, "out of memory");
	json_decref(verdict.quarantined);
	json_decref(verdict.drained);
	return verdict.code;
}

static int check_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_check, argc, argv, 1, 10000, &first, &code))
		return code;
	struct safestart_conf *conf = make_conf();
	if (conf == NULL)
		return EXIT_USAGE;
	json_t *result = json_array();
	for (int i = first; i < argc; i++)
		code = exit_code_worse(code, check_file(conf, argv[i], result));
	safestart_conf_free(conf);
	if (common.json)
		return print_json(result, code);
	json_decref(result);
	return code;
}

const struct verb verb_check = {
	.name = "check",
	.main = check_main,
	.help = "check whether the servers would accept this node file",
	.arguments = "FILE...",
	.text = "Checks each FILE (-: standard input) by the rules of the library: malformed JSON, "
		"a wrong structure, entries that would be quarantined, and the guard rails that "
		"need no live set: allow_empty, min_nodes, max_nodes, max_bytes. Each error comes "
		"with its reason, line and column. A node that is drained (see safestart help "
		"drain) "
		"and in the file all the same is a warning.\n\nLines and columns begin with 1; "
		"columns are "
		"characters. If several entries with the same id cannot be used, the first that is "
		"wrong is shown (the first of all, if they are only wrong in that they differ), "
		"and how many more there are. With --json: line, column and more.",
	.options = options,
	.examples = {"Before a file is rolled out", "safestart check nodes.json",
		     "With the settings of the servers",
		     "safestart check --set min_nodes=3 nodes.json"},
	.exits = {{0, "all of it would be accepted"},
		  {2, "usage error"},
		  {3, "it would be refused"},
		  {4, "it cannot be read"},
		  {7, "it would be accepted without some entries"}},
};
