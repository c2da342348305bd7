/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings: what their text means, what is refused with which message, and which ones contradict
 * each other. */
#include "conf/conf.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "conf/value.h"
#include "support/support.h"

static struct safestart_conf *new_conf(void)
{
	struct safestart_conf *conf = safestart_conf_new();

	ck_assert_ptr_nonnull(conf);
	return conf;
}

/* Refused, and the reason has these words. */
static void refuses(struct safestart_conf *conf, const char *key, const char *value,
		    const char *words)
{
	char why[256];

	memset(why, '#', sizeof(why));
	ck_assert_msg(safestart_conf_set(conf, key, value, why, sizeof(why)) == -EINVAL,
		      "%s=%s was taken", key, value);
	ck_assert_ptr_nonnull(memchr(why, '\0', sizeof(why)));
	ck_assert_msg(strstr(why, words) != NULL, "%s=%s: \"%s\" does not say \"%s\"", key, value,
		      why, words);
	ck_assert_int_eq(safestart_conf_set(conf, key, value, NULL, 0), -EINVAL);
}

static void takes(struct safestart_conf *conf, const char *key, const char *value)
{
	char why[256] = "";

	ck_assert_msg(safestart_conf_set(conf, key, value, why, sizeof(why)) == 0, "%s=%s: %s", key,
		      value, why);
}

/* ---- Values ---- */

START_TEST(durations_have_units_and_do_not_overflow)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused */
	} rows[] = {
		{"0", 0},
		{"0s", 0},
		{"1ns", 1},
		{"2us", 2000},
		{"100ms", 100000000},
		{"3s", 3000000000},
		{"4m", 240000000000},
		{"1h", 3600000000000},
		{"007s", 7000000000},
		{"876000h", 3153600000000000000},
		{"3153600000000000000ns", 3153600000000000000},
		{"876001h", -1},
		{"3153600000000000001ns", -1},
		{"9223372036854775807ns", -1},
		{"9223372036854775808ns", -1},
		{"2562048h", -1},
		{"99999999999999999999999999999999s", -1},
		{"", -1},
		{"1", -1},
		{"100", -1},
		{"00", -1},
		{"s", -1},
		{"-1s", -1},
		{"+1s", -1},
		{" 1s", -1},
		{"1 s", -1},
		{"1s ", -1},
		{"1.5s", -1},
		{"1S", -1},
		{"1min", -1},
		{"1d", -1},
		{"1m30s", -1},
		{"0x10s", -1},
		{"infinity", -1},
		{"1\xc2\xb5s", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t value = 42, positive = 42;
		char why[256] = "";
		int error = value_duration(rows[i].text, &value, why, sizeof(why));
		ck_assert_msg(error == (rows[i].ns < 0 ? -EINVAL : 0), "%s: %d", rows[i].text,
			      error);
		ck_assert_int_eq(value, rows[i].ns < 0 ? 42 : rows[i].ns);
		ck_assert_msg(error == 0 || strstr(why, "100ms") != NULL, "%s", why);
		error = value_positive_duration(rows[i].text, &positive, why, sizeof(why));
		ck_assert_int_eq(error, rows[i].ns <= 0 ? -EINVAL : 0);
		ck_assert_int_eq(positive, rows[i].ns <= 0 ? 42 : rows[i].ns);
	}
}
END_TEST

START_TEST(sizes_counts_and_shares_do_not_overflow)
{
	enum kind {
		SIZE,
		COUNT,
		PERCENT
	};
	static const struct {
		enum kind kind;
		const char *text;
		int64_t value; /* -1: refused */
	} rows[] = {
		{SIZE, "1", 1},
		{SIZE, "1KiB", 1024},
		{SIZE, "64MiB", 64 << 20},
		{SIZE, "2GiB", INT64_C(2) << 30},
		{SIZE, "8589934591GiB", INT64_C(8589934591) << 30},
		{SIZE, "9223372036854775807", INT64_MAX},
		{SIZE, "8589934592GiB", -1},
		{SIZE, "9223372036854775808", -1},
		{SIZE, "18446744073709551617", -1},
		{SIZE, "0", -1},
		{SIZE, "0MiB", -1},
		{SIZE, "", -1},
		{SIZE, "MiB", -1},
		{SIZE, "1MB", -1},
		{SIZE, "1M", -1},
		{SIZE, "1 MiB", -1},
		{SIZE, "-1", -1},
		{SIZE, "1mib", -1},
		{SIZE, "1B", -1},
		{COUNT, "0", 0},
		{COUNT, "100000", 100000},
		{COUNT, "4294967295", UINT32_MAX},
		{COUNT, "4294967296", -1},
		{COUNT, "-1", -1},
		{COUNT, "", -1},
		{COUNT, "1.0", -1},
		{COUNT, "1KiB", -1},
		{COUNT, "ten", -1},
		{COUNT, "18446744073709551616", -1},
		{PERCENT, "0%", 0},
		{PERCENT, "50%", 50},
		{PERCENT, "100%", 100},
		{PERCENT, "101%", -1},
		{PERCENT, "50", -1},
		{PERCENT, "%", -1},
		{PERCENT, "", -1},
		{PERCENT, "0.5", -1},
		{PERCENT, "-1%", -1},
		{PERCENT, "50 %", -1},
		{PERCENT, "4294967346%", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t size = 42;
		unsigned percent = 42;
		char why[256] = "";
		int error = rows[i].kind == SIZE ? value_size(rows[i].text, &size, why, sizeof(why))
			    : rows[i].kind == COUNT
				    ? value_count(rows[i].text, &size, why, sizeof(why))
				    : value_percent(rows[i].text, &percent, why, sizeof(why));
		uint64_t got = rows[i].kind == PERCENT ? percent : size;
		ck_assert_msg(error == (rows[i].value < 0 ? -EINVAL : 0), "%s: %d", rows[i].text,
			      error);
		uint64_t wanted = rows[i].value < 0 ? 42 : (uint64_t)rows[i].value;
		if (rows[i].kind == SIZE && wanted > SIZE_MAX / 2) /* of 32 bits */
			wanted = SIZE_MAX / 2;
		ck_assert_uint_eq(got, wanted);
		ck_assert((error == 0) == (why[0] == '\0'));
	}
}
END_TEST

START_TEST(words_are_yes_or_no_and_strings_are_copies)
{
	static const char *const others[] = {"", "Yes", "true", "1", "y", "no ", "yesno"};
	char *string = NULL, text[] = "abc", why[256];
	bool value = false;

	ck_assert_int_eq(value_bool("yes", &value, NULL, 0), 0);
	ck_assert(value);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		ck_assert_int_eq(value_bool(others[i], &value, why, sizeof(why)), -EINVAL);
	ck_assert(value);
	ck_assert_int_eq(value_bool("no", &value, NULL, 0), 0);
	ck_assert(!value);
	ck_assert_int_eq(value_string(text, &string, NULL, 0), 0);
	text[0] = 'x';
	ck_assert_str_eq(string, "abc");
	ck_assert_int_eq(value_word("", &string, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(string, "abc");
	ck_assert_int_eq(value_string("", &string, NULL, 0), 0);
	ck_assert_ptr_null(string);
}
END_TEST

START_TEST(distance_counts_letters_to_change)
{
	static const struct {
		const char *a, *b;
		size_t distance;
	} rows[] = {{"", "", 0},    {"abc", "abc", 0},          {"", "abc", 3},
		    {"abc", "", 3}, {"debonce", "debounce", 1}, {"kitten", "sitting", 3}};
	char longer[1000];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ck_assert_uint_eq(value_distance(rows[i].a, rows[i].b), rows[i].distance);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_uint_le(value_distance(longer, "name"), 64);
	ck_assert_uint_le(value_distance("name", longer), 64);
	ck_assert_uint_eq(value_distance(longer, longer), 0);
}
END_TEST

/* ---- Settings ---- */

START_TEST(every_setting_takes_its_default_and_has_help)
{
	struct safestart_conf *conf = new_conf(), *resolved;
	const char *key, *value, *help;
	size_t index = 0;

	for (; safestart_setting(index, &key, &value, &help) == 0; index++) {
		ck_assert(key[0] != '\0' && value != NULL && strlen(help) > 5);
		if (strcmp(key, "name") == 0 || value[0] != '\0' || strcmp(key, "last_good") == 0)
			takes(conf, key, value);
	}
	ck_assert_uint_ge(index, 17);
	ck_assert_int_eq(safestart_setting(index, &key, &value, &help), -ENOENT);
	ck_assert_int_eq(safestart_setting(SIZE_MAX, NULL, NULL, NULL), -ENOENT);
	ck_assert_int_eq(safestart_setting(0, NULL, NULL, NULL), 0);
	ck_assert_int_eq(conf_resolve(&resolved, conf, NULL, 0), 0);
	ck_assert_ptr_null(resolved->settings.last_good);
	ck_assert_str_eq(resolved->settings.name, program_invocation_short_name);
	safestart_conf_free(resolved);
	safestart_conf_free(conf);
}
END_TEST

START_TEST(the_defaults_are_the_documented_ones)
{
	struct safestart_conf *conf = new_conf();
	const struct settings *s = &conf->settings;
	static const char *const table[][2] = {{"source", "push"},      {"debounce", "100ms"},
					       {"max_delay", "1s"},     {"min_interval", "0"},
					       {"retry_min", "100ms"},  {"retry_max", "30s"},
					       {"run_timeout", "30s"},  {"reconcile", "30s"},
					       {"max_shrink", "50%"},   {"shrink_window", "1m"},
					       {"min_nodes", "1"},      {"allow_empty", "no"},
					       {"max_nodes", "100000"}, {"max_bytes", "64MiB"},
					       {"default_port", "0"},   {"last_good", ""},
					       {"serves", "yes"},       {"thread", "yes"},
					       {"start", "open"},       {"name", ""}};
	const char *key, *value;

	ck_assert_str_eq(s->source, "push");
	ck_assert_int_eq(s->gate.debounce, 100000000);
	ck_assert_int_eq(s->gate.retry_max, 30000000000);
	ck_assert(s->rails.max_shrink == 50 && s->rails.min_nodes == 1 && !s->rails.allow_empty &&
		  s->rails.shrink_window == INT64_C(60000000000));
	ck_assert(s->limits.max_nodes == 100000 && s->limits.max_bytes == 64 << 20 && s->serves &&
		  s->thread && !s->start_after_fork && !s->events_pull);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		size_t index = 0;
		while (safestart_setting(index, &key, &value, NULL) == 0 &&
		       strcmp(key, table[i][0]) != 0)
			index++;
		ck_assert_str_eq(key, table[i][0]);
		ck_assert_str_eq(value, table[i][1]);
	}
	safestart_conf_free(conf);
}
END_TEST

START_TEST(the_default_name_is_that_of_the_program_as_it_was_started)
{
	struct safestart_conf *own;

	/* A title over the arguments, as of nginx. */
	memset(program_invocation_short_name, 'x', strlen(program_invocation_short_name));
	ck_assert_int_eq(conf_resolve(&own, NULL, NULL, 0), 0);
	ck_assert_str_eq(own->settings.name, "test_conf");
	safestart_conf_free(own);
}
END_TEST

START_TEST(every_setting_refuses_what_it_can_not_mean)
{
	static const char *const rows[][3] = {{"source", "", "empty"},
					      {"debounce", "100", "not a duration"},
					      {"max_delay", "-1s", "not a duration"},
					      {"min_interval", "", "not a duration"},
					      {"retry_min", "1 s", "not a duration"},
					      {"retry_max", "soon", "not a duration"},
					      {"run_timeout", "0", "more than 0"},
					      {"run_timeout", "0s", "more than 0"},
					      {"run_timeout", "x", "not a duration"},
					      {"reconcile", "1d", "not a duration"},
					      {"max_shrink", "50", "0% to 100%"},
					      {"max_shrink", "101%", "0% to 100%"},
					      {"shrink_window", "1", "not a duration"},
					      {"min_nodes", "-1", "whole number"},
					      {"allow_empty", "true", "yes or no"},
					      {"max_nodes", "1e5", "whole number"},
					      {"max_bytes", "64MB", "KiB"},
					      {"default_port", "65536", "1 to 65535"},
					      {"default_port", "http", "1 to 65535"},
					      {"max_bytes", "0", "above 0"},
					      {"serves", "", "yes or no"},
					      {"thread", "YES", "yes or no"},
					      {"start", "now", "open or after_fork"}};
	struct safestart_conf *conf = new_conf(), *before = new_conf();

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		refuses(conf, rows[i][0], rows[i][1], rows[i][2]);
		refuses(conf, rows[i][0], rows[i][1], rows[i][0]); /* the key is named */
	}
	/* Nothing changed by any of it. */
	ck_assert_str_eq(conf->settings.source, before->settings.source);
	free(conf->settings.source);
	free(before->settings.source);
	conf->settings.source = before->settings.source = NULL;
	ck_assert_mem_eq(&conf->settings, &before->settings, sizeof(conf->settings));
	ck_assert(!conf->max_delay_set);
	safestart_conf_free(conf);
	safestart_conf_free(before);
}
END_TEST

START_TEST(an_unknown_key_says_the_nearest)
{
	static const char *const rows[][2] = {{"debonce", "nearest is debounce"},
					      {"Debounce", "nearest is debounce"},
					      {"max-shrink", "nearest is max_shrink"},
					      {"threads", "nearest is thread"},
					      {"min_node", "nearest is min_nodes"},
					      {"", "nearest is name"},
					      {"own_settin", "nearest is own_setting"}};
	static const struct safestart_source_setting own[] = {{"own_setting", "", "help"},
							      {NULL, NULL, NULL}};
	struct safestart_conf *conf = new_conf();
	struct safestart_source source = conf->sources->source; /* the functions of file */
	char longer[5000];

	source.scheme = "own";
	source.settings = own;
	ck_assert_int_eq(safestart_conf_add_source(conf, &source, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		refuses(conf, rows[i][0], "1s", rows[i][1]);
	memset(longer, 'k', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	refuses(conf, longer, "1s", "there is no setting");
	refuses(conf, "debounce", longer, "not a duration");
	ck_assert_int_eq(safestart_conf_set(NULL, "debounce", "1s", NULL, 0), -EINVAL);
	ck_assert_int_eq(safestart_conf_set(conf, NULL, "1s", NULL, 0), -EINVAL);
	ck_assert_int_eq(safestart_conf_set(conf, "debounce", NULL, longer, sizeof(longer)),
			 -EINVAL);
	ck_assert_msg(strstr(longer, "NULL") != NULL, "%s", longer);
	safestart_conf_free(conf);
	safestart_conf_free(NULL);
}
END_TEST

START_TEST(settings_that_contradict_each_other_do_not_open)
{
	static const struct {
		const char *settings[3][2];
		const char *words; /* NULL: it opens */
	} rows[] = {
		{{{"max_delay", "99ms"}}, "max_delay is shorter than debounce"},
		{{{"debounce", "2s"}, {"max_delay", "1s"}}, "max_delay is shorter than debounce"},
		{{{"max_delay", "0"}}, "max_delay is shorter than debounce"},
		{{{"debounce", "2s"}}, NULL},
		{{{"max_delay", "0"}, {"debounce", "0"}}, NULL},
		{{{"debounce", "2s"}, {"max_delay", "1s"}, {"max_delay", "2s"}}, NULL},
		{{{"retry_max", "99ms"}}, "retry_max is shorter than retry_min"},
		{{{"retry_min", "31s"}}, "retry_max is shorter than retry_min"},
		{{{"retry_min", "0"}, {"retry_max", "0"}}, NULL},
		{{{"source", "etcd:nodes"}}, "no such source"},
		{{{"source", "fil:/x"}}, "no such source"},
		{{{"source", "pus"}}, "no such source"},
		{{{"source", "push:x"}}, "no such source"},
		{{{"source", "none"}}, NULL},
		{{{"lock", "/tmp/"}}, "names a directory"},
		{{{"lock", ".."}}, "names a directory"},
		{{{"lock", "x"}, {"lock_share", "yes"}}, "set source=none"},
		{{{"source", "none"}, {"lock_share", "yes"}}, "set lock=PATH too"},
		{{{"source", "none"}, {"lock_share", "yes"}, {"lock", "/nowhere/x"}}, NULL},
		{{{"lock", "/nowhere/x"}}, NULL},
		{{{"lock", ""}, {"lock_timeout", "0"}}, NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct safestart_conf *conf = new_conf();
		struct safestart *ss = (struct safestart *)(uintptr_t)1;
		char why[256] = "";
		for (size_t j = 0; j < 3 && rows[i].settings[j][0] != NULL; j++)
			takes(conf, rows[i].settings[j][0], rows[i].settings[j][1]);
		int error = safestart_open(&ss, conf, why, sizeof(why));
		safestart_conf_free(conf);
		ck_assert_msg(error == (rows[i].words != NULL ? -EINVAL : 0), "row %zu: %d %s", i,
			      error, why);
		ck_assert_msg(rows[i].words == NULL || strstr(why, rows[i].words) != NULL,
			      "row %zu: %s", i, why);
		ck_assert((ss == NULL) == (rows[i].words != NULL));
		ck_assert_int_eq(safestart_close(ss), 0);
	}
}
END_TEST

START_TEST(max_delay_that_was_not_set_rises_to_debounce)
{
	struct safestart_conf *conf = new_conf(), *resolved;

	takes(conf, "debounce", "5s");
	ck_assert_int_eq(conf_resolve(&resolved, conf, NULL, 0), 0);
	ck_assert_int_eq(resolved->settings.gate.max_delay, 5000000000);
	safestart_conf_free(resolved);
	takes(conf, "debounce", "5ms"); /* and falls back again */
	ck_assert_int_eq(conf_resolve(&resolved, conf, NULL, 0), 0);
	ck_assert_int_eq(resolved->settings.gate.max_delay, 1000000000);
	safestart_conf_free(resolved);
	safestart_conf_free(conf);
	ck_assert_int_eq(conf_resolve(&resolved, NULL, NULL, 0), 0);
	ck_assert_str_eq(resolved->settings.source, "push");
	safestart_conf_free(resolved);
}
END_TEST

/* ---- Callbacks and sources ---- */

START_TEST(callbacks_smaller_than_this_version_are_refused)
{
	struct safestart_conf *conf = new_conf();
	struct {
		struct safestart_callbacks known;
		void *later;
	} callbacks = {.known = {.size = sizeof(callbacks)}, .later = &callbacks};
	int user_data;

	ck_assert_int_eq(safestart_conf_set_callbacks(NULL, &callbacks.known, NULL), -EINVAL);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, NULL, NULL), -EINVAL);
	/* Larger: the part that is known. */
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks.known, &user_data), 0);
	ck_assert_ptr_eq(conf->user_data, &user_data);
	callbacks.known.size = offsetof(struct safestart_callbacks, committed) - 1;
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks.known, NULL), -EINVAL);
	callbacks.known.size = 0;
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks.known, NULL), -EINVAL);
	ck_assert_ptr_eq(conf->user_data, &user_data);
	safestart_conf_free(conf);
}
END_TEST

static char seen_argument[64], seen_values[64];

static int own_open(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data)
{
	(void)why, (void)why_size;
	*state = user_data;
	snprintf(seen_argument, sizeof(seen_argument), "%s", safestart_source_argument(conf));
	snprintf(seen_values, sizeof(seen_values), "%s %s %s",
		 safestart_source_value(conf, "own_url"), safestart_source_value(conf, "own_mode"),
		 safestart_source_value(conf, "debounce") == NULL ? "none" : "some");
	return 0;
}

static int own_gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	return safestart_gather_json(gather, "[]", 2);
}

static void own_close(void *state)
{
	(void)state;
}

static const struct safestart_source_setting own_settings[] = {{"own_url", "http://[::1]", "where"},
							       {"own_mode", "plain", "how"},
							       {NULL, NULL, NULL}};
static const struct safestart_source own_source = {.size = sizeof(own_source),
						   .scheme = "own-1",
						   .settings = own_settings,
						   .open = own_open,
						   .gather = own_gather,
						   .close = own_close};

START_TEST(a_source_of_ones_own_gets_its_argument_and_settings)
{
	static const char *const rows[][2] = {{"own-1:a:b", "a:b"}, {"own-1", ""}, {"own-1:", ""}};

	for (size_t i = 0; i < 3; i++) {
		struct safestart_conf *conf = new_conf();
		struct safestart *ss;
		char why[256] = "";
		refuses(conf, "own_mode", "x", "no setting");
		ck_assert_int_eq(safestart_conf_add_source(conf, &own_source, NULL), 0);
		takes(conf, "own_mode", "first");
		takes(conf, "own_mode", "fast");
		takes(conf, "source", rows[i][0]);
		ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
		safestart_conf_free(conf);
		ck_assert_str_eq(seen_argument, rows[i][1]);
		ck_assert_str_eq(seen_values, "http://[::1] fast none");
		close_now(ss);
	}
}
END_TEST

static int some_fd(void *state)
{
	(void)state;
	return -1;
}

START_TEST(a_source_that_lacks_something_or_takes_a_name_is_refused)
{
	static const struct safestart_source_setting
		taken[] = {{"debounce", "", ""}, {NULL, NULL, NULL}},
		twice[] = {{"own_mode", "", ""}, {NULL, NULL, NULL}},
		doubled[] = {{"y", "", ""}, {"y", "", ""}, {NULL, NULL, NULL}},
		no_value[] = {{"x", NULL, ""}, {NULL, NULL, NULL}},
		no_help[] = {{"x", "", NULL}, {NULL, NULL, NULL}};
	struct safestart_source rows[14];
	static const int errors[14] = {-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL,
				       -EINVAL, -EINVAL, -EEXIST, -EEXIST, -EEXIST,
				       -EEXIST, -EINVAL, -EINVAL, -EEXIST};
	struct safestart_conf *conf = new_conf();

	ck_assert_int_eq(safestart_conf_add_source(NULL, &own_source, NULL), -EINVAL);
	ck_assert_int_eq(safestart_conf_add_source(conf, NULL, NULL), -EINVAL);
	ck_assert_int_eq(safestart_conf_add_source(conf, &own_source, NULL), 0);
	for (size_t i = 0; i < 14; i++) {
		rows[i] = own_source;
		rows[i].scheme = "other";
		rows[i].settings = NULL;
	}
	rows[0].size--, rows[1].scheme = NULL, rows[2].scheme = "", rows[3].open = NULL,
			rows[4].gather = NULL, rows[5].close = NULL;
	rows[6].fd = some_fd, rows[7].scheme = "own-1", rows[8].scheme = "file",
	rows[9].settings = taken, rows[10].settings = twice;
	rows[11].settings = no_value, rows[12].settings = no_help, rows[13].settings = doubled;
	for (size_t i = 0; i < 14; i++)
		ck_assert_msg(safestart_conf_add_source(conf, &rows[i], NULL) == errors[i],
			      "row %zu", i);
	static const char *const schemes[] = {"push", "none",     "a:b", "a b",
					      "a_b",  "\xc3\xa9", "a/b"};
	for (size_t i = 0; i < 7; i++) {
		rows[0] = own_source, rows[0].settings = NULL, rows[0].scheme = schemes[i];
		ck_assert_msg(safestart_conf_add_source(conf, &rows[0], NULL) == -EINVAL, "%s",
			      schemes[i]);
	}
	rows[0].scheme = "Other-2";
	ck_assert_int_eq(safestart_conf_add_source(conf, &rows[0], NULL), 0);
	safestart_conf_free(conf);
}
END_TEST

/* ---- safestart_check() ---- */

START_TEST(check_judges_a_document_as_the_library_would)
{
	static const struct {
		const char *key, *value, *json;
		int result;
		const char *words;
	} rows[] = {
		{NULL, NULL, "[{\"targets\":[\"a:1\",\"b:1\"]}]", 0, "2 nodes"},
		{NULL, NULL, "[{\"targets\":[\"a:1\",\"b:0\",\"c\"]}]", 2,
		 "2 of 3 entries would be left out: the port \"0\""},
		{NULL, NULL, NULL, -EINVAL, "NULL"},
		{NULL, NULL, "", -EINVAL, "empty"},
		{NULL, NULL, "[{", -EINVAL, "too early"},
		{NULL, NULL, "[{\"targets\":[\"b:0\"]}]", -EINVAL, "no entry of the set is usable"},
		{NULL, NULL, "[]", -ERANGE, "allow_empty"},
		{"allow_empty", "yes", "[]", 0, ""},
		{"allow_empty", "yes", "[{\"targets\":[\"b:0\"]}]", -EINVAL, "usable"},
		{"min_nodes", "2", "[{\"targets\":[\"a:1\"]}]", -ERANGE, "min_nodes is 2"},
		{"min_nodes", "2", "[{\"targets\":[\"a:1\",\"b:0\"]}]", -ERANGE, "min_nodes is 2"},
		{"max_nodes", "1", "[{\"targets\":[\"a:1\",\"b:1\"]}]", -E2BIG, "max_nodes"},
		{"max_bytes", "10", "[{\"targets\":[\"a:1\"]}]", -E2BIG, "max_bytes"},
		{"default_port", "8087", "[{\"targets\":[\"a\"]}]", 0, "1 nodes"},
		{NULL, NULL, "[{\"targets\":[\"a:1\"],\"label\":{}}]", 0,
		 "1 nodes; group 1: the member \"label\" is unknown"},
		{NULL, NULL, "[{\"targets\":[\"a:1\"],\"x\":1,\"y\":1}]", 0,
		 "1 nodes; 2 warnings, the first: group 1: the member \"x\""},
		{"max_delay", "1ms", "[{\"targets\":[\"a:1\"]}]", -EINVAL, "max_delay is shorter"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct safestart_conf *conf = new_conf();
		char why[256];
		memset(why, '#', sizeof(why));
		if (rows[i].key != NULL)
			takes(conf, rows[i].key, rows[i].value);
		int result = safestart_check(conf, rows[i].json, why, sizeof(why));
		ck_assert_ptr_nonnull(memchr(why, '\0', sizeof(why)));
		ck_assert_msg(result == rows[i].result, "row %zu: %d %s", i, result, why);
		ck_assert_msg(strstr(why, rows[i].words) != NULL, "row %zu: %s", i, why);
		ck_assert_int_eq(safestart_check(rows[i].key != NULL ? conf : NULL, rows[i].json,
						 NULL, 0),
				 result);
		safestart_conf_free(conf);
	}
}
END_TEST

START_TEST(an_address_has_one_spelling_and_that_is_its_id)
{
	static const char *const rows[][2] = {{"Db-1.Example:08087", "db-1.example:8087"},
					      {"[2001:DB8::0:1]:1", "[2001:db8::1]:1"},
					      {"a", NULL},
					      {"", NULL}};
	struct safestart_conf *conf = new_conf();
	char id[272], small[4] = "old";

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int length = safestart_target_id(NULL, rows[i][0], id, sizeof(id));
		ck_assert_int_eq(length, rows[i][1] != NULL ? (int)strlen(rows[i][1]) : -EINVAL);
		if (rows[i][1] != NULL)
			ck_assert_str_eq(id, rows[i][1]);
	}
	takes(conf, "default_port", "80");
	ck_assert_int_eq(safestart_target_id(conf, "A", id, sizeof(id)), 4);
	ck_assert_str_eq(id, "a:80");
	ck_assert_int_eq(safestart_target_id(conf, "A", small, sizeof(small)), -ENOSPC);
	ck_assert_str_eq(small, "old");
	ck_assert_int_eq(safestart_target_id(conf, NULL, id, sizeof(id)), -EINVAL);
	ck_assert_int_eq(safestart_target_id(conf, "a", NULL, 0), -EINVAL);
	safestart_conf_free(conf);
}
END_TEST

SUITE("conf", an_address_has_one_spelling_and_that_is_its_id,
      durations_have_units_and_do_not_overflow, sizes_counts_and_shares_do_not_overflow,
      words_are_yes_or_no_and_strings_are_copies, distance_counts_letters_to_change,
      every_setting_takes_its_default_and_has_help,
      the_default_name_is_that_of_the_program_as_it_was_started,
      the_defaults_are_the_documented_ones, every_setting_refuses_what_it_can_not_mean,
      an_unknown_key_says_the_nearest, settings_that_contradict_each_other_do_not_open,
      max_delay_that_was_not_set_rises_to_debounce, callbacks_smaller_than_this_version_are_refused,
      a_source_of_ones_own_gets_its_argument_and_settings,
      a_source_that_lacks_something_or_takes_a_name_is_refused,
      check_judges_a_document_as_the_library_would)
