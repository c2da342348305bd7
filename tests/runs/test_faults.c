/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bad input, in every way in which it can come in, and the guard rails: none of it changes the
 * live set. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
#define A "[" NODE("a", "10.0.0.1:1") "]"
#define AB "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]"
#define ABC "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "," NODE("c", "10.0.0.3:1") "]"

/* ---- Documents ---- */

struct document {
	char *text;
	size_t length;
};

static struct document repeated(const char *part, size_t times, const char *end)
{
	size_t length = strlen(part), total = length * times + strlen(end);
	struct document document = {malloc(total + 1), total};

	for (size_t i = 0; i < times; i++)
		memcpy(document.text + i * length, part, length);
	strcpy(document.text + length * times, end);
	return document;
}

static struct document ten_megabytes_in_a_line(void)
{
	return repeated("xxxxxxxxxx", 1 << 20, "");
}

static struct document a_label_of_ten_megabytes(void)
{
	struct document document = repeated("0123456789", 1 << 20, "\"}}]");

	memcpy(document.text, "[{\"targets\":[\"h:1\"],\"labels\":{\"x\":7,\"y\":\"", 41);
	return document;
}

static struct document nested_deep(void)
{
	return repeated("[", 100000, "");
}

static struct document too_many(void)
{
	struct document document =
		repeated("{\"targets\":[\"h:1\"]},", 11, "{\"targets\":[\"h:2\"]}]");

	document.text = realloc(document.text, document.length + 2);
	memmove(document.text + 1, document.text, document.length + 1);
	document.text[0] = '[';
	document.length++;
	return document;
}

static struct document too_large(void)
{
	return repeated(" ", 21 << 20, A);
}

static struct document with_a_nul(void)
{
	struct document document = repeated(A, 1, "");

	document.text[20] = '\0';
	return document;
}

/* What is wrong, and the words that tell it from everything else that can be. */
static const struct bad {
	const char *text;
	struct document (*make)(void);
	int error;
	const char *words;
	bool only_in_a_file, only_by_a_run; /* a run alone judges what is well formed */
} bad[] = {
	{.text = "", .error = -EINVAL, .words = "is empty"},
	{.text = " \n\t\r\n", .error = -EINVAL, .words = "only white space"},
	{.text = "null", .error = -EINVAL, .words = "is null, not an array"},
	{.text = "{}", .error = -EINVAL, .words = "is an object, not an array"},
	{.text = "\"a\"", .error = -EINVAL, .words = "is a string, not an array"},
	{.text = "7", .error = -EINVAL, .words = "is a number, not an array"},
	{.text = "true", .error = -EINVAL, .words = "is a boolean, not an array"},
	{.text = "[7]", .error = -EINVAL, .words = "group 1 is a number"},
	{.text = "[" NODE("a", "h:1") ",[]]", .error = -EINVAL, .words = "group 2 is an array"},
	{.text = "[{}]", .error = -EINVAL, .words = "targets is missing"},
	{.text = "[{\"targets\":\"h:1\"}]",
	 .error = -EINVAL,
	 .words = "targets is a string",
	 .only_by_a_run = true},
	{.text = "[{\"targets\":[8]}]",
	 .error = -EINVAL,
	 .words = "target 1 is a number",
	 .only_by_a_run = true},
	{.text = "- targets: [h:1]", .error = -EINVAL, .words = "looks like YAML"},
	{.text = "[{\"targets\":[\"h:1\"],\"labels\":[]}]",
	 .error = -EINVAL,
	 .words = "labels is an array",
	 .only_by_a_run = true},
	{.text = "[{\"targets\":[\"h:1\"],\"labels\":{\"zone\":1}}]",
	 .error = -EINVAL,
	 .words = "label \"zone\" is a number",
	 .only_by_a_run = true},
	{.text = "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":null}}]",
	 .error = -EINVAL,
	 .words = "label \"id\" is null",
	 .only_by_a_run = true},
	{.text = A " tail", .error = -EINVAL, .words = "goes on behind its end"},
	{.text = "[{\"targets\":[\"h:1\"],\"targets\":[]}]",
	 .error = -EINVAL,
	 .words = "targets is there twice",
	 .only_by_a_run = true},
	{.text = "\xef\xbb\xbf" A, .error = -EINVAL, .words = "byte order mark"},
	{.text = "[{\"targets\":[\"h\xff:1\"]}]", .error = -EINVAL, .words = "is not UTF-8"},
	{.text = "\xff\xfe[\x01]", .error = -EINVAL, .words = "UTF-16 and not UTF-8"},
	{.text = "[{\"targets\":[\"h:1\"],\"labels\":{\"z\":\"\\u0000\"}}]",
	 .error = -EINVAL,
	 .words = "\\u0000"},
	{.text = "[\n{\"targets\":\n[\"h:1\"}]", .error = -EINVAL, .words = "line 3"},
	{.make = ten_megabytes_in_a_line, .error = -EINVAL, .words = "line 1"},
	{.make = a_label_of_ten_megabytes,
	 .error = -EINVAL,
	 .words = "label \"x\" is a number",
	 .only_by_a_run = true},
	{.make = nested_deep, .error = -EINVAL, .words = "nested too deeply"},
	{.make = too_many, .error = -E2BIG, .words = "max_nodes (10)"},
	{.make = too_large, .error = -E2BIG, .words = "max_bytes"},
	{.make = with_a_nul,
	 .error = -EINVAL,
	 .words = "NUL byte at offset 20",
	 .only_in_a_file = true},
	{.text = "[]", .error = -ERANGE, .words = "allow_empty=yes", .only_by_a_run = true},
	{.text = "[{\"targets\":[]}]",
	 .error = -ERANGE,
	 .words = "the set is empty",
	 .only_by_a_run = true},
	{.text = "[{\"targets\":[\"\"]}]",
	 .error = -EINVAL,
	 .words = "no entry of the set is usable: 1 of 1",
	 .only_by_a_run = true},
	{.text = "[" NODE("a", "h:0") "," NODE("b", "h:1") "," NODE("b", "h:2") "]",
	 .error = -EINVAL,
	 .words = "the port \"0\"",
	 .only_by_a_run = true},
};
#define BAD (sizeof(bad) / sizeof(bad[0]))

static struct document document_at(size_t i)
{
	return bad[i].make != NULL ? bad[i].make() : repeated(bad[i].text, 1, "");
}

static struct safestart *open_limited(struct app *app, const char *source)
{
	app_init(app);
	return open_with(app, source, "debounce=2ms", "retry_min=0", "reconcile=0", "max_nodes=10",
			 "max_bytes=20MiB", NULL);
}

static struct safestart *open_file(struct app *app, char path[300])
{
	char source[320];

	snprintf(path, 300, "%s/nodes.json", scratch());
	snprintf(source, sizeof(source), "source=file:%s", path);
	return open_limited(app, source);
}

static void write_document(const char *path, const struct document *document)
{
	char next[320];

	snprintf(next, sizeof(next), "%s.next", path);
	int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_eq(write(fd, document->text, document->length), (ssize_t)document->length);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(rename(next, path), 0);
}

/* Machines can read it as well: status is there, and has the last outcome in it, up to the first
 * quote. */
static void check_status(struct safestart *ss, const char *message)
{
	char *status = safestart_status_json(ss), begin[300];

	ck_assert_ptr_nonnull(status);
	for (const char *c = message; *c != '\0'; c++) /* a line in a log stays one line */
		ck_assert_msg((unsigned char)*c >= 0x20 && *c != 0x7f, "a control character in: %s",
			      message);
	snprintf(begin, sizeof(begin), "\"message\":\"%.*s", (int)strcspn(message, "\"\\"),
		 message);
	const char *last = strstr(status, "\"last\":{");
	ck_assert_msg(last != NULL && strstr(last, begin) != NULL, "%s: %s", begin, status);
	safestart_free(status);
}

static void check_refused(struct safestart *ss, const struct safestart_outcome *outcome,
			  const struct bad *what)
{
	ck_assert_msg(outcome->error == what->error, "%s: %d %s", what->words, outcome->error,
		      outcome->message);
	ck_assert_int_eq(outcome->verdict, SAFESTART_REFUSED);
	ck_assert_msg(strstr(outcome->message, what->words) != NULL, "%s: %s", what->words,
		      outcome->message);
	check_status(ss, outcome->message);
}

/* ---- A document that is no good at all ---- */

START_TEST(p9_every_bad_file_is_refused_in_words_and_the_next_good_one_applies)
{
	struct app app;
	char path[300];
	struct safestart *ss = open_file(&app, path);

	replace_file(path, A);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (size_t i = 0; i < BAD; i++) {
		uint64_t generation = safestart_generation(ss);
		int prepares = app.prepares;
		struct document document = document_at(i);
		write_document(path, &document);
		free(document.text);
		struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
		check_refused(ss, &outcome, &bad[i]);
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a" : "a b");
		ck_assert_int_eq(app.prepares, prepares);
		replace_file(path, i % 2 == 0 ? AB : A);
		outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_msg(outcome.error == 0, "%s", outcome.message);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a b" : "a");
	}
	close_now(ss);
}
END_TEST

START_TEST(p9_every_bad_push_is_refused_in_words_and_the_next_good_one_applies)
{
	struct app app;
	char why[256];
	struct safestart *ss = open_limited(&app, "source=push");

	(void)push_and_wait(ss, A);
	for (size_t i = 0; i < BAD; i++) {
		if (bad[i].only_in_a_file)
			continue;
		uint64_t ticket = 4711, generation = safestart_generation(ss);
		struct document document = document_at(i);
		int error = safestart_nodes_replace(ss, document.text, &ticket, why, sizeof(why));
		free(document.text);
		if (bad[i].only_by_a_run) {
			ck_assert_int_eq(error, 0);
			struct safestart_outcome outcome = answer(ss, ticket);
			check_refused(ss, &outcome, &bad[i]);
		} else {
			ck_assert_int_eq(error, bad[i].error);
			ck_assert_msg(strstr(why, bad[i].words) != NULL, "%s: %s", bad[i].words,
				      why);
			ck_assert_uint_eq(ticket, 4711);
			/* Nothing changed: what was desired is desired, and asking applies nothing
			 * else. */
			ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict,
					 SAFESTART_UNCHANGED);
		}
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_int_eq(push_and_wait(ss, i % 2 == 0 ? AB : A).error, 0);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a b" : "a");
	}
	close_now(ss);
}
END_TEST

START_TEST(check_says_of_every_bad_document_what_a_handle_would_say)
{
	struct safestart_conf *conf = conf_with("max_nodes=10", "max_bytes=20MiB", NULL);
	char why[256];

	for (size_t i = 0; i < BAD; i++) {
		if (bad[i].only_in_a_file)
			continue;
		struct document document = document_at(i);
		ck_assert_int_eq(safestart_check(conf, document.text, why, sizeof(why)),
				 bad[i].error);
		ck_assert_msg(strstr(why, bad[i].words) != NULL, "%s: %s", bad[i].words, why);
		free(document.text);
	}
	ck_assert_int_eq(safestart_check(conf, NULL, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(safestart_check(conf, ABC, why, sizeof(why)), 0);
	ck_assert_int_eq(safestart_check(conf, "[" NODE("a", "h:1") "," NODE("b", "h:x") "]", why,
					 sizeof(why)),
			 1);
	ck_assert_ptr_nonnull(strstr(why, "the port \"x\""));
	safestart_conf_free(conf);
}
END_TEST

START_TEST(p9_a_document_cut_at_any_byte_is_refused)
{
	struct app app;
	char path[300], cut[sizeof(ABC)], why[256];
	struct safestart *ss = open_file(&app, path);
	struct safestart *pushed = open_with(NULL, "debounce=0", NULL);

	replace_file(path, A);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	(void)push_and_wait(pushed, A);
	for (size_t length = 0; length < strlen(ABC); length++) {
		snprintf(cut, sizeof(cut), "%.*s", (int)length, ABC);
		const char *words = length == 0 ? "is empty" : "ends too early";
		ck_assert_int_eq(safestart_check(NULL, cut, why, sizeof(why)), -EINVAL);
		ck_assert_int_eq(safestart_nodes_replace(pushed, cut, NULL, why, sizeof(why)),
				 -EINVAL);
		ck_assert_msg(strstr(why, words) != NULL, "%s: %s", cut, why);
		replace_file(path, cut);
		struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_REFUSED);
		ck_assert_msg(strstr(outcome.message, words) != NULL, "%s: %s", cut,
			      outcome.message);
	}
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_uint_eq(safestart_generation(pushed), 1);
	replace_file(path, ABC);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
	ck_assert_uint_eq(safestart_generation(ss), 2);
	ck_assert_int_eq(push_and_wait(pushed, ABC).verdict, SAFESTART_APPLIED);
	close_now(pushed);
	close_now(ss);
}
END_TEST

/* ---- A bad entry among good ones ---- */

/* Entries of a live set a, b, c that turn bad: b with that reason. */
static const struct {
	const char *entry, *reason;
} bad_entries[] = {
	{NODE("b", ""), "the address is empty"},
	{NODE("b", "10.0.0.2"), "has no port"},
	{NODE("b", "10.0.0.2:0"), "the port \"0\""},
	{NODE("b", "10.0.0.2:65536"), "the port \"65536\""},
	{NODE("b", "10.0.0.2:http"), "the port \"http\""},
	{NODE("b", "fe80::1:80"), "in brackets"},
	{NODE("b", "[fe80::1:80"), "no closing bracket"},
	{NODE("b", "[10.0.0.2]:80"), "not an IPv6 address"},
	{NODE("b", "http://10.0.0.2:80"), "more than one colon"},
	{NODE("b", "10.0.0.2 :80"), "is not host:port"},
	{NODE("b", "h\\u00f6st:80"), "is not host:port"},
	{NODE("b", "h\\u001b[2J\\nrun 99:80"), "is not host:port"},
	{NODE("b", "10.0.0.2:1") "," NODE("b", "10.0.0.9:1"), "10.0.0.2:1 and 10.0.0.9:1"},
	{"{\"target\":[\"10.0.0.2:1\"],\"labels\":{\"id\":\"b\"}}", "there is \"target\" instead"},
	{"{\"targets\":[\"10.0.0.2:1\"],\"labels\":{\"id\":\"b\",\"rank\":1}}",
	 "\"rank\" is a number"},
	/* Its id cannot be read, but its address is that of the live node. */
	{"{\"targets\":[\"10.0.0.2:1\"],\"labels\":{\"id\":7}}", "\"id\" is a number"},
	{"{\"targets\":[\"10.0.0.2:1\"],\"labels\":null}", "labels is null"},
};

START_TEST(p11_a_bad_entry_is_quarantined_alone_and_a_live_node_keeps_its_old_one)
{
	struct app app;
	char path[300], why[256], text[512];
	struct safestart *ss = open_file(&app, path);

	for (size_t i = 0; i < sizeof(bad_entries) / sizeof(bad_entries[0]); i++) {
		replace_file(path, ABC);
		ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
		uint64_t generation = safestart_generation(ss);
		snprintf(text, sizeof(text), "[%s,%s,%s]", NODE("d", "10.0.0.4:1"),
			 bad_entries[i].entry, NODE("a", "10.0.0.1:1"));
		replace_file(path, text);
		struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.error, 0);
		ck_assert_uint_eq(outcome.quarantined, 1);
		ck_assert_msg(strstr(outcome.message, bad_entries[i].reason) != NULL, "%s: %s",
			      bad_entries[i].reason, outcome.message);
		ck_assert_str_eq(live_ids(ss), "a b d");
		ck_assert_uint_eq(safestart_generation(ss), generation + 1);
		struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
		ck_assert_str_eq(safestart_node_host(safestart_snapshot_find(live, "b")),
				 "10.0.0.2");
		ck_assert_uint_eq(safestart_node_port(safestart_snapshot_find(live, "b")), 1);
		safestart_snapshot_release(live);
		ck_assert_int_eq(safestart_node_state(ss, "b", why, sizeof(why)),
				 SAFESTART_NODE_QUARANTINED);
		ck_assert_msg(strstr(why, bad_entries[i].reason) != NULL, "%s: %s",
			      bad_entries[i].reason, why);
		ck_assert_ptr_nonnull(strstr(why, "its old entry stays live"));
		ck_assert_int_eq(safestart_node_state(ss, "d", why, sizeof(why)),
				 SAFESTART_NODE_APPLIED);
		char *status = safestart_status_json(ss);
		ck_assert_ptr_nonnull(strstr(status, "\"quarantined\""));
		safestart_free(status);
		check_status(ss, safestart_last_outcome(ss, &outcome) == 0 ? outcome.message : "");
	}
	close_now(ss);
}
END_TEST

START_TEST(p11_an_entry_without_a_usable_id_is_named_by_its_place)
{
	struct app app;
	struct safestart *ss = open_limited(&app, "source=push");
	char long_id[700], text[1024], why[256];

	/* An id that is cut in a message is cut between characters, otherwise status would fail. */
	strcpy(long_id, "x");
	for (int i = 0; i < 60; i++)
		strcat(long_id, "\xc3\xa9");
	snprintf(text, sizeof(text), "[%s,{\"targets\":[\"bad\"],\"labels\":{\"id\":\"%s\"}}]",
		 NODE("a", "10.0.0.1:1"), long_id);
	struct safestart_outcome outcome = push_and_wait(ss, text);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(safestart_node_state(ss, long_id, why, sizeof(why)),
			 SAFESTART_NODE_QUARANTINED);
	check_status(ss, outcome.message);
	snprintf(text, sizeof(text), "[%s,{\"targets\":[\"h:2\"],\"labels\":{\"id\":\"\"}}]",
		 NODE("a", "10.0.0.1:1"));
	outcome = push_and_wait(ss, text);
	ck_assert_uint_eq(outcome.quarantined, 1);
	ck_assert_ptr_nonnull(
		strstr(outcome.message, "entry 2: group 2: target 1: the id is empty"));
	ck_assert_int_eq(safestart_node_state(ss, "entry 2", why, sizeof(why)),
			 SAFESTART_NODE_QUARANTINED);
	close_now(ss);
}
END_TEST

/* ---- Guard rails ---- */

START_TEST(p12_a_set_that_shrank_too_far_is_refused_with_the_way_to_force_it)
{
	struct app app;
	char path[300];
	struct safestart *ss = open_file(&app, path);

	replace_file(path, ABC);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	replace_file(path, A);
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_REFUSED);
	ck_assert_int_eq(outcome.error, -ERANGE);
	ck_assert_ptr_nonnull(strstr(outcome.message, "would lose 2 of 3 nodes"));
	ck_assert_ptr_nonnull(strstr(outcome.message, "SAFESTART_FORCE"));
	ck_assert_str_eq(live_ids(ss), "a b c");
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, "meant")).verdict,
			 SAFESTART_APPLIED);
	ck_assert_str_eq(live_ids(ss), "a");
	/* Force never empties. */
	replace_file(path, "[]");
	outcome = answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL));
	ck_assert_int_eq(outcome.error, -ERANGE);
	ck_assert_ptr_nonnull(strstr(outcome.message, "allow_empty=yes"));
	ck_assert_str_eq(live_ids(ss), "a");
	close_now(ss);
}
END_TEST

START_TEST(p12_rails_are_judged_by_their_settings)
{
	static const struct {
		const char *shrink, *minimum, *empty, *from, *to;
		bool refused, forced_too;
	} cases[] = {
		{"max_shrink=50%", "min_nodes=1", "allow_empty=no", AB, A, false, false},
		{"max_shrink=49%", "min_nodes=1", "allow_empty=no", AB, A, true, false},
		{"max_shrink=0%", "min_nodes=1", "allow_empty=no", ABC, AB, true, false},
		{"max_shrink=0%", "min_nodes=1", "allow_empty=no", AB, ABC, false, false},
		{"max_shrink=100%", "min_nodes=2", "allow_empty=no", ABC, A, true, false},
		{"max_shrink=100%", "min_nodes=0", "allow_empty=no", ABC, "[]", true, true},
		{"max_shrink=0%", "min_nodes=3", "allow_empty=yes", ABC, "[]", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct safestart *ss = open_with(NULL, "debounce=0", cases[i].shrink,
						 cases[i].minimum, cases[i].empty, NULL);
		ck_assert_int_eq(push_and_wait(ss, cases[i].from).verdict, SAFESTART_APPLIED);
		struct safestart_outcome outcome = push_and_wait(ss, cases[i].to);
		ck_assert_msg((outcome.error == -ERANGE) == cases[i].refused, "case %zu: %s", i,
			      outcome.message);
		ck_assert_uint_eq(safestart_generation(ss), cases[i].refused ? 1 : 2);
		outcome = answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL));
		ck_assert_msg((outcome.error == -ERANGE) == cases[i].forced_too, "case %zu: %s", i,
			      outcome.message);
		ck_assert_uint_eq(safestart_generation(ss), cases[i].forced_too ? 1 : 2);
		close_now(ss);
	}
}
END_TEST

START_TEST(p12_a_retry_of_a_forced_run_is_forced_and_another_set_is_not)
{
	struct app app;
	struct safestart *ss;
	uint64_t ticket;

	app_init(&app);
	ss = open_with(&app, "debounce=2ms", "retry_min=1ms", "retry_max=2ms", NULL);
	(void)push_and_wait(ss, ABC);
	app.prepare_result = -ENOMEM;
	ck_assert_int_eq(push_and_wait(ss, A).error, -ERANGE);
	struct safestart_outcome outcome = answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL));
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -ENOMEM);
	ck_assert_str_eq(live_ids(ss), "a b c");
	int prepares = app.prepares;
	EVENTUALLY(app.prepares > prepares + 3);
	/* Another set that is as small was not what was forced. */
	ck_assert_int_eq(safestart_nodes_replace(ss, "[" NODE("b", "10.0.0.2:1") "]", &ticket, NULL,
						 0),
			 0);
	ck_assert_int_eq(answer(ss, ticket).error, -ERANGE);
	(void)push_and_wait(ss, A);
	app.prepare_result = 0;
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	app.prepare_result = -ENOMEM;
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error, -ENOMEM);
	app.prepare_result = 0;
	EVENTUALLY(safestart_generation(ss) == 2);
	ck_assert_str_eq(live_ids(ss), "a");
	close_now(ss);
}
END_TEST

SUITE("faults", p9_every_bad_file_is_refused_in_words_and_the_next_good_one_applies,
      p9_every_bad_push_is_refused_in_words_and_the_next_good_one_applies,
      check_says_of_every_bad_document_what_a_handle_would_say,
      p9_a_document_cut_at_any_byte_is_refused,
      p11_a_bad_entry_is_quarantined_alone_and_a_live_node_keeps_its_old_one,
      p11_an_entry_without_a_usable_id_is_named_by_its_place,
      p12_a_set_that_shrank_too_far_is_refused_with_the_way_to_force_it,
      p12_rails_are_judged_by_their_settings,
      p12_a_retry_of_a_forced_run_is_forced_and_another_set_is_not)
