/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check: would the servers take this file? Judged by the library itself. */
#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "table.h"

static struct words settings;
static bool quiet;

static const struct option_row options[] = {
	{"set", "KEY=VALUE", OPTION_LIST, &settings, "a setting of the servers, such as min_nodes=3; again for more"},
	{"quiet", NULL, OPTION_FLAG, &quiet, "say nothing about files that are fine"},
	OPTION_JSON,
	OPTION_END,
};

/* The whole file, ended by a NUL. NULL: errno says why. A NUL inside is for the library to find: it is told the text only. */
static char *read_file(const char *path, size_t *length)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
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

/* The settings, checked; NULL: it was said why. */
static struct safestart_conf *make_conf(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	char why[256], key[64];

	for (size_t i = 0; conf != NULL && i < settings.count; i++) {
		const char *equals = strchr(settings.at[i], '=');
		snprintf(key, sizeof(key), "%.*s", (int)(equals != NULL ? equals - settings.at[i] : 0), settings.at[i]);
		int error = equals != NULL ? safestart_conf_set(conf, key, equals + 1, why, sizeof(why)) : -EINVAL;
		if (error == 0)
			continue;
		(void)say(0, "--set %s: %s", settings.at[i], equals != NULL ? why : "it is KEY=VALUE, such as min_nodes=3");
		safestart_conf_free(conf);
		return NULL;
	}
	return conf;
}

/* Everything that would be quarantined, with the reason: a handle that has only this set says so. */
static json_t *find_quarantined(const char *text)
{
	struct safestart_conf *conf = safestart_conf_new();
	json_t *found = json_array(), *status, *node;
	struct safestart *ss = NULL;
	size_t index;

	if (conf == NULL || safestart_conf_set(conf, "thread", "no", NULL, 0) < 0 || safestart_conf_set(conf, "max_nodes", "4294967295", NULL, 0) < 0 ||
	    safestart_conf_set(conf, "max_bytes", "4GiB", NULL, 0) < 0 || safestart_open(&ss, conf, NULL, 0) < 0)
		goto done;
	if (safestart_nodes_replace(ss, text, NULL, NULL, 0) == 0) {
		char *told = safestart_status_json(ss);
		status = told != NULL ? json_loads(told, 0, NULL) : NULL;
		safestart_free(told);
		json_array_foreach(json_object_get(status, "nodes"), index, node) {
			if (strcmp(json_string_value(json_object_get(node, "state")), "quarantined") == 0)
				json_array_append_new(found, json_pack("{s:O,s:O}", "id", json_object_get(node, "id"), "why", json_object_get(node, "why")));
		}
		json_decref(status);
	}
done:
	(void)safestart_close(ss);
	safestart_conf_free(conf);
	return found;
}

static void tell(const char *path, int leave, const char *why, const json_t *quarantined)
{
	const char *colours[] = {colour_on(COLOUR_GOOD), colour_on(COLOUR_BAD), colour_on(COLOUR_WARN)};
	const json_t *one;
	size_t index;

	if (leave == LEAVE_DONE && quiet)
		return;
	words_print(path);
	fputs(": ", stdout);
	if (leave == LEAVE_DONE)
		printf("%sfine%s\n", colours[0], colour_off());
	if (leave == LEAVE_REFUSED || leave == LEAVE_FAILED) {
		printf("%s%s%s: ", colours[1], leave == LEAVE_FAILED ? "can't be read" : "would be refused", colour_off());
		words_print(why);
		putchar('\n');
	}
	if (leave == LEAVE_QUARANTINED)
		printf("%swould be taken but for %zu entr%s%s\n", colours[2], json_array_size(quarantined), json_array_size(quarantined) == 1 ? "y" : "ies", colour_off());
	json_array_foreach(quarantined, index, one) {
		fputs("  ", stdout);
		words_print(json_string_value(json_object_get(one, "id")));
		fputs(": ", stdout);
		words_print(json_string_value(json_object_get(one, "why")));
		putchar('\n');
	}
}

static int check(const struct safestart_conf *conf, const char *path, json_t *told)
{
	char why[512] = "";
	size_t length;
	char *text = read_file(path, &length);
	json_t *quarantined = json_array();
	int leave = LEAVE_DONE;

	if (text == NULL) {
		leave = LEAVE_FAILED;
		snprintf(why, sizeof(why), "%s", safestart_strerror(errno));
	} else if (strlen(text) != length) {
		leave = LEAVE_REFUSED;
		snprintf(why, sizeof(why), "it has a NUL byte, the first at byte %zu", strlen(text) + 1);
	} else {
		int result = safestart_check(conf, text, why, sizeof(why));
		leave = result == 0 ? LEAVE_DONE : result > 0 ? LEAVE_QUARANTINED : LEAVE_REFUSED;
	}
	if (leave == LEAVE_QUARANTINED || leave == LEAVE_REFUSED) {
		json_decref(quarantined);
		quarantined = find_quarantined(text);
	}
	free(text);
	if (common.json)
		json_array_append_new(told, json_pack("{s:s,s:b,s:i,s:s,s:O}", "file", path, "ok", leave == LEAVE_DONE, "exit", leave, "why", why, "quarantined", quarantined));
	else
		tell(path, leave, why, quarantined);
	json_decref(quarantined);
	return leave;
}

static int check_main(int argc, char **argv)
{
	int first, leave;

	if (!options_parse(&verb_check, argc, argv, 1, 10000, &first, &leave))
		return leave;
	struct safestart_conf *conf = make_conf();
	if (conf == NULL)
		return LEAVE_USAGE;
	json_t *told = json_array();
	for (int i = first; i < argc; i++)
		leave = leave_worse(leave, check(conf, argv[i], told));
	safestart_conf_free(conf);
	if (common.json)
		return print_json(told, leave);
	json_decref(told);
	return leave;
}

const struct verb verb_check = {
	.name = "check",
	.main = check_main,
	.help = "would the servers take this file of nodes?",
	.arguments = "FILE...",
	.text = "Judges each FILE (-: standard input) as the library would: malformed JSON with its line and column, entries that would be quarantined with "
		"their reasons, and the guard rails that need no live set: allow_empty, min_nodes, max_nodes, max_bytes.",
	.options = options,
	.examples = {"Before a file is rolled out", "safestart check nodes.json", "With what the servers are set to", "safestart check --set min_nodes=3 nodes.json"},
	.exits = {{0, "all of it would be taken"},
		  {2, "used in a way that can't be meant"},
		  {3, "it would be refused"},
		  {4, "it can't be read"},
		  {7, "it would be taken, but for some entries"}},
};
