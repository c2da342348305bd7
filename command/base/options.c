/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* options: reads the command line with getopt_long() into the places that a verb's rows point to.
 * Main thread only, once in the life of the program. */
#include "base/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/help.h"
#include "base/report.h"

#define OPTIONS_MAX 24

struct common common;

const char *options_control(void)
{
	/* Nothing here sets the environment. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *directory = getenv("SAFESTART_CONTROL");

	if (common.control != NULL)
		directory = common.control;

	return directory != NULL && directory[0] != '\0' ? directory : "/run/safestart";
}

/* Edit distance (Levenshtein) of their first 32 letters. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[33], length = strnlen(b, 32);

	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 0; i < 32 && a[i] != '\0'; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < length; j++) {
			size_t best = diagonal + (a[i] != b[j]);
			diagonal = row[j + 1];
			best = row[j + 1] + 1 < best ? row[j + 1] + 1 : best;
			row[j + 1] = row[j] + 1 < best ? row[j] + 1 : best;
		}
	}
	return row[length];
}

/* The limit grows with the length of the word, so that a short word does not match everything. */
const char *options_nearest(const char *word, const char *const *words)
{
	size_t least = strlen(word) / 3 + 2; /* a swapped pair counts as two letters */
	const char *nearest = NULL;

	for (; *words != NULL; words++) {
		size_t away = edit_distance(word, *words);
		if (away < least) {
			least = away;
			nearest = *words;
		}
	}
	return nearest;
}

int options_duration(const char *text, int64_t *ns)
{
	static const struct {
		const char *name;
		int64_t factor;
	} units[] = {{"ns", 1},
		     {"us", 1000},
		     {"ms", 1000000},
		     {"s", 1000000000},
		     {"m", INT64_C(60000000000)},
		     {"h", INT64_C(3600000000000)}};
	/* 100 years: far below the range of int64_t, and longer than any use. */
	const int64_t longest = INT64_C(876000) * INT64_C(3600000000000);
	size_t digits = strspn(text, "0123456789");

	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return 0;
	}
	if (digits == 0 || digits > 18)
		return -EINVAL;
	int64_t number = strtoll(text, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].name) == 0 &&
		    number <= longest / units[i].factor) {
			*ns = number * units[i].factor;
			return 0;
		}
	}
	return -EINVAL;
}

static bool parse_count(const char *text, unsigned *to)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 9 || text[digits] != '\0')
		return false;
	*to = (unsigned)strtoul(text, NULL, 10);
	return true;
}

/* The list lives as long as the program. */
static bool append_word(struct option_list *words, const char *text)
{
	const char **at = realloc(words->at, (words->count + 1) * sizeof(*at));

	if (at == NULL)
		return false;
	words->at = at;
	words->at[words->count++] = text;
	return true;
}

/* 0 or an exit code. */
static int set_option(const struct option_row *row, const char *text)
{
	switch (row->kind) {
	case OPTION_FLAG: *(bool *)row->to = true; break;
	case OPTION_TEXT: *(const char **)row->to = text; break;
	case OPTION_DURATION:
		if (options_duration(text, row->to) < 0)
			return report(EXIT_USAGE,
				      "--%s: \"%s\" is not a duration; write a whole number and "
				      "ns, us, ms, s, m or h, such as 90s",
				      row->name, text);
		break;
	case OPTION_COUNT:
		if (!parse_count(text, row->to))
			return report(EXIT_USAGE, "--%s: \"%s\" is not a whole number", row->name,
				      text);
		break;
	case OPTION_LIST:
		if (!append_word(row->to, text))
			return report(EXIT_FAILED, "out of memory");
		break;
	}
	return 0;
}

/* getopt_long() met an unknown option, or one without its value. */
static int report_wrong_option(const struct verb *verb, const char *given,
			       const struct option *options, int what)
{
	const char *names[OPTIONS_MAX + 1], *nearest;
	char word[64];
	size_t count = 0;

	if (what == ':')
		return report(EXIT_USAGE, "%s needs a value; see: safestart help %s", given,
			      verb->name);
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(given + strspn(given, "-"), "="),
		 given + strspn(given, "-"));
	for (; options[count].name != NULL; count++) {
		names[count] = options[count].name;
		if (strncmp(given, "--", 2) == 0 && strcmp(word, names[count]) == 0)
			return report(EXIT_USAGE, "--%s takes no value", word);
	}
	names[count] = NULL;
	nearest = options_nearest(word, names);
	if (nearest != NULL)
		return report(EXIT_USAGE,
			      "unknown option %s; did you mean --%s? See: safestart help %s", given,
			      nearest, verb->name);
	return report(EXIT_USAGE, "unknown option %s; for the list: safestart help %s", given,
		      verb->name);
}

/* The word that getopt_long() rejected. After -json it has read only the j, and optind still points
 * to the word. */
static const char *failed_word(int argc, char **argv)
{
	bool inside = optopt != 0 && optind < argc && argv[optind][0] == '-' &&
		      argv[optind][1] == optopt && argv[optind][2] != '\0';

	return argv[inside ? optind : optind - 1];
}

/* "help" is an option of every verb. The leading ':' makes getopt_long() return errors instead of
 * printing its own messages. */
bool options_parse(const struct verb *verb, int argc, char **argv, int least, int most, int *first,
		   int *code)
{
	struct option options[OPTIONS_MAX + 1] = {{"help", no_argument, NULL, 'h'}};
	int index = 0, count = 1, what;

	for (const struct option_row *row = verb->options;
	     row != NULL && row->name != NULL && count < OPTIONS_MAX; row++)
		options[count++] =
			(struct option){row->name,
					row->argument != NULL ? required_argument : no_argument,
					NULL, 'o'};
	opterr = 0;
	optind = 0; /* glibc: start from the beginning */
	*code = EXIT_USAGE;
	/* There is no other thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((what = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (what == 'h') {
			help_verb(verb, stdout);
			*code = EXIT_DONE;
			return false;
		}
		*code = what == 'o' && verb->options != NULL
				? set_option(&verb->options[index - 1], optarg)
				: report_wrong_option(verb, failed_word(argc, argv), options, what);
		if (*code != 0)
			return false;
	}
	*first = optind;
	*code = EXIT_DONE;
	if (argc - optind < least || argc - optind > most) {
		*code = report(EXIT_USAGE, "%s%s%s; usage: safestart %s %s",
			       argc - optind < least ? "an argument is missing"
						     : "unexpected argument ",
			       argc - optind < least ? "" : argv[optind + most], "", verb->name,
			       verb->arguments != NULL ? verb->arguments : "");
		return false;
	}
	return true;
}
