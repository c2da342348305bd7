/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings and documents at random: whatever goes live is what last_good gives back after a restart
 * of the process under the same settings, and is what its own JSON says. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/chance.h"
#include "support/support.h"

static uint64_t seed;

/* ---- A document ---- */

static struct {
	char bytes[1 << 18];
	size_t length;
	unsigned targets;
} document;

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(document.bytes + document.length,
			       sizeof(document.bytes) - document.length, format, arguments);
	va_end(arguments);
	ck_assert_uint_lt((size_t)length, sizeof(document.bytes) - document.length);
	document.length += (size_t)length;
}

/* What is longer in one spelling than in another, and what an escape can hide. */
static void add_characters(unsigned count)
{
	static const char *const characters[] = {
		"a",
		"Z",
		"0",
		":",
		"/",
		"\\u0001",
		"\\n",
		"\\\"",
		"\\\\",
		"\\/",
		"\\u001f",
		"\xc3\xa9",
		"\\u00e9",
		"\x7f",
		" ",
		"\\u2028",
		"\\ud83d\\ude00",
		"\xf0\x9f\x98\x80",
		"{",
		"]",
		"\\t",
		"\\u007f",
		"entry 2",
		"\xef\xbb\xbf",
	};

	while (count-- > 0)
		add("%s", characters[below(sizeof(characters) / sizeof(characters[0]))]);
}

static void add_space(void)
{
	static const char *const spaces[] = {"", "", "", " ", "\n", "\t", "\r\n  "};

	add("%s", spaces[below(sizeof(spaces) / sizeof(spaces[0]))]);
}

static void add_target(void)
{
	unsigned host = below(30), port = one_in(25) ? 0 : one_in(8) ? 65535 : 1 + below(3);

	switch (below(6)) {
	case 0: add("\"node-%u.example:%u\"", host, port); break;
	case 1: add("\"[fd00::%x]:%u\"", host, port); break;
	case 2: add("\"[2001:db8::%X]:%u\"", host, port); break;
	case 3: add("\"UPPER%u.Example:%u\"", host, port); break;
	default: add("\"10.0.0.%u:%u\"", host, port);
	}
	document.targets++;
}

static void add_labels(void)
{
	static const char *const names[] = {"zone", "rack", "incarnation", "__meta_x", "a", "Z"};
	unsigned used = below(64);
	bool first = true;

	add("{");
	if (one_in(8)) { /* the address of another node, perhaps */
		add("\"id\":\"10.0.0.%u:1\"", below(30));
		first = false;
	} else if (!one_in(3)) {
		add("\"id\":\"n");
		add_characters(below(4));
		add("%u\"", below(20));
		first = false;
	}
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(used >> i & 1))
			continue;
		add("%s\"%s\":\"", first ? "" : ",", names[i]);
		add_characters(one_in(10) ? below(300) : below(5));
		add("\"");
		first = false;
	}
	add("}");
}

static void add_group(void)
{
	unsigned count = one_in(3) ? below(12) : 1;

	add("{");
	add_space();
	if (one_in(10))
		add("\"comment\":[1,{\"x\":null}],");
	add("\"targets\":[");
	for (unsigned i = 0; i < count; i++) {
		add("%s", i > 0 ? "," : "");
		add_space();
		add_target();
	}
	add("]");
	if (!one_in(4)) {
		add(",");
		add_space();
		add("\"labels\":");
		add_labels();
	}
	add("}");
}

static void make_document(void)
{
	unsigned groups = one_in(12) ? 0 : one_in(6) ? below(60) : 1 + below(8);

	document.length = document.targets = 0;
	add_space();
	add("[");
	for (unsigned i = 0; i < groups; i++) {
		add("%s", i > 0 ? "," : "");
		add_space();
		add_group();
	}
	add("]");
	add_space();
}

/* ---- Settings ---- */

/* Limits are such that the document just fits, or more does. */
static struct {
	char max_bytes[40], max_nodes[40], min_nodes[40], max_shrink[40], window[40], empty[40],
		last_good[300];
} settings;

static void choose_settings(void)
{
	size_t bytes = one_in(2) ? document.length : 64 << 20;
	size_t nodes = one_in(2) ? document.targets : 100000;

	snprintf(settings.max_bytes, sizeof(settings.max_bytes), "max_bytes=%zu", bytes);
	snprintf(settings.max_nodes, sizeof(settings.max_nodes), "max_nodes=%zu", nodes);
	snprintf(settings.min_nodes, sizeof(settings.min_nodes), "min_nodes=%u",
		 one_in(3) ? below(9) : 0);
	snprintf(settings.max_shrink, sizeof(settings.max_shrink), "max_shrink=%u%%",
		 25 * below(5));
	snprintf(settings.window, sizeof(settings.window), "shrink_window=%s",
		 one_in(2) ? "0" : "1m");
	snprintf(settings.empty, sizeof(settings.empty), "allow_empty=%s",
		 one_in(2) ? "yes" : "no");
	snprintf(settings.last_good, sizeof(settings.last_good), "last_good=%s",
		 scratch_path("kept.json"));
}

static struct safestart *start(struct app *app)
{
	app_init(app);
	return open_with(app, settings.max_bytes, settings.max_nodes, settings.min_nodes,
			 settings.max_shrink, settings.window, settings.empty, settings.last_good,
			 "debounce=0", "retry_min=0", "thread=no", NULL);
}

/* ---- A set as text: everything in it, without doubt where anything ends ---- */

static char *picture(struct safestart *ss)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(to);
	for (size_t i = 0; i < safestart_snapshot_size(live); i++) {
		const struct safestart_node *node = safestart_snapshot_at(live, i);
		const char *id = safestart_node_id(node), *name, *value;
		fprintf(to, "%zu:%s at %s, %u", strlen(id), id, safestart_node_host(node),
			(unsigned)safestart_node_port(node));
		for (size_t j = 0; (value = safestart_node_label_at(node, j, &name)) != NULL; j++)
			fprintf(to, " %s=%zu:%s", name, strlen(value), value);
		fprintf(to, "\n");
	}
	safestart_read_unlock(ss);
	ck_assert_int_eq(fclose(to), 0);
	return text;
}

static void hold_same(struct safestart *ss, const char *wanted, const char *after, int round)
{
	char *got = picture(ss);

	ck_assert_msg(strcmp(got, wanted) == 0,
		      "SAFESTART_SEED=%llu, round %d: %s\nwas live:\n%s\nnow:\n%s",
		      (unsigned long long)seed, round, after, wanted, got);
	free(got);
}

/* ---- The two ways round ---- */

static char *json_of(struct safestart *ss)
{
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	char *json = safestart_snapshot_json(live);

	safestart_snapshot_release(live);
	ck_assert_ptr_nonnull(json);
	return json;
}

/* Live -> JSON -> the same set, which says the same JSON. */
static void hold_json(struct safestart *ss, const char *wanted, int round)
{
	struct safestart *other =
		open_with(NULL, "debounce=0", "allow_empty=yes", "min_nodes=0", "thread=no", NULL);
	char *json = json_of(ss), *again;

	struct safestart_outcome outcome = push_and_wait(other, json);
	ck_assert_msg(outcome.error == 0, "SAFESTART_SEED=%llu, round %d: %s\n%s",
		      (unsigned long long)seed, round, outcome.message, json);
	hold_same(other, wanted, "its JSON says another set", round);
	again = json_of(other);
	ck_assert_str_eq(json, again);
	safestart_free(json);
	safestart_free(again);
	close_now(other);
}

/* Live -> last_good -> restart -> the same set. */
static struct safestart *hold_restart(struct safestart *ss, struct app *app, const char *wanted,
				      int round)
{
	bool any = safestart_generation(ss) > 0;

	close_now(ss);
	ck_assert_msg((access(scratch_path("kept.json"), F_OK) == 0) == any,
		      "SAFESTART_SEED=%llu, round %d: %s", (unsigned long long)seed, round,
		      any ? "nothing was kept" : "something was kept");
	ss = start(app);
	int result = safestart_wait_ready(ss, any ? 60000 : 0);
	ck_assert_msg(result == (any ? 0 : -ETIMEDOUT), "SAFESTART_SEED=%llu, round %d: %d, %s",
		      (unsigned long long)seed, round, result, app->log);
	hold_same(ss, wanted, "last_good gives back another set", round);
	return ss;
}

/* Another document, or a change of one node. */
static void change(struct safestart *ss)
{
	uint64_t ticket = 0;
	char id[256] = "";
	int error;

	if (one_in(4)) /* long, and longer still with escapes */
		memset(id, 1, below(200));
	snprintf(id + strlen(id), 20, "n%u", below(20));
	switch (below(6)) {
	case 0:
		error = safestart_node_announce(ss, id, one_in(2) ? "10.1.0.1:1" : "[fd01::1]:2",
						one_in(2) ? "boot-2" : NULL, &ticket);
		break;
	case 1: error = safestart_node_withdraw(ss, id, &ticket); break;
	default:
		make_document();
		error = safestart_nodes_replace(ss, document.bytes, &ticket, NULL, 0);
	}
	if (error == 0 && one_in(2))
		ticket = safestart_request(ss, SAFESTART_FORCE, NULL);
	if (error == 0)
		(void)answer(ss, ticket);
}

static int lives, ready; /* times that something was live; starts after which it was */

static void play(int round)
{
	uint64_t ticket;
	struct app app;

	make_document();
	choose_settings();
	struct safestart *ss = start(&app);
	if (safestart_nodes_replace(ss, document.bytes, &ticket, NULL, 0) == 0)
		(void)answer(ss, ticket);
	for (int i = 0; i < 4; i++) {
		lives += safestart_generation(ss) > 0;
		char *wanted = picture(ss);
		hold_json(ss, wanted, round);
		ss = hold_restart(ss, &app, wanted, round);
		free(wanted);
		ready += safestart_generation(ss) > 0;
		change(ss);
	}
	close_now(ss);
	remove_scratch();
}

START_TEST(p9_what_is_live_comes_back_after_a_restart_and_from_its_json)
{
	int rounds = repeat(60);

	seed = chance_seed(19880609);
	chance_begin(seed);
	for (int round = 0; round < rounds; round++)
		play(round);
	ck_assert_int_eq(ready, lives);
	ck_assert_int_gt(lives, 2 * rounds); /* most documents are usable */
}
END_TEST

SUITE("round_trip", p9_what_is_live_comes_back_after_a_restart_and_from_its_json)
