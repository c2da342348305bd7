/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control socket as its clients see it: each verb, with real sockets, and the life of the
 * socket with its handle's. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/ctl.h"

#define NODE(id, address, more) \
	"{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"" more "}}"
#define ONE "[" NODE("a", "10.0.0.1:1", "") "]"
#define TWO                                                         \
	"[" NODE("a", "10.0.0.1:1", "") "," NODE("b", "10.0.0.2:1", \
						 ",\"incarnation\":\"boot-7\"") "]"
#define OWT                                                                                    \
	"[" NODE("b", "10.0.0.2:1", ",\"incarnation\":\"boot-7\"") "," NODE("a", "10.0.0.1:1", \
									    "") "]"
#define TWO_ZONED(zone)              \
	"[" NODE("a", "10.0.0.1:1",  \
		 ",\"zone\":\"" zone \
		 "\"") "," NODE("b", "10.0.0.2:1", ",\"incarnation\":\"boot-7\"") "]"

static struct app app;

static struct safestart *start(const char *one, const char *other)
{
	app_init(&app);
	return open_with(&app, "name=api", "debounce=0", ctl_setting(),
			 one != NULL ? one : "thread=yes", other, NULL);
}

static const char *its_socket(void)
{
	return ctl_wait("api", getpid(), 1);
}

/* ---- Looking ---- */

START_TEST(status_and_metrics_are_those_of_the_library)
{
	struct safestart *ss = start(NULL, NULL);
	struct stat status;

	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	json_t *root = ctl_once(its_socket(), "{\"do\":\"status\"}");
	ck_assert(ctl_true(root, "ok") && ctl_true(root, "status.serves"));
	ck_assert_int_eq(ctl_integer(root, "pid"), getpid());
	ck_assert_str_eq(ctl_string(root, "name"), "api");
	ck_assert_str_eq(ctl_string(root, "status.summary"), "generation 1 is live: 2 nodes");
	ck_assert_str_eq(ctl_string(root, "status.digest"),
			 ctl_string(root, "status.desired_digest"));
	json_decref(root);
	root = ctl_once(its_socket(), "{\"do\":\"metrics\"}");
	ck_assert_ptr_nonnull(
		strstr(ctl_string(root, "metrics"), "\nsafestart_generation{name=\"api\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(ctl_string(root, "metrics"), "\nsafestart_set_info{name=\"api\",digest=\""));
	json_decref(root);
	ck_assert_int_eq(stat(its_socket(), &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(ctl_directory(), &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0700);
	close_now(ss);
	ck_assert_int_eq(ctl_count(), 0);
}
END_TEST

/* The element of "nodes" with this id. */
static const json_t *node_of(const json_t *root, const char *id)
{
	size_t i;
	json_t *node;

	json_array_foreach(json_object_get(root, "nodes"), i, node) {
		if (strcmp(ctl_string(node, "id"), id) == 0)
			return node;
	}
	ck_abort_msg("no node %s", id);
}

static void node_is(const json_t *root, const char *id, const char *state, bool held)
{
	const json_t *node = node_of(root, id);

	ck_assert_msg(strcmp(ctl_string(node, "state"), state) == 0, "%s: %s: %s", id,
		      ctl_string(node, "state"), ctl_string(node, "why"));
	ck_assert(ctl_true(node, "held") == held);
}

START_TEST(nodes_are_listed_with_what_is_known_of_each)
{
	struct safestart *ss = start("max_shrink=100%", NULL);

	push_and_wait(ss, "[" NODE("left", "h:1", "") "," NODE(
				  "good", "h:2",
				  ",\"incarnation\":\"b7\"") "," NODE("bad", "h:3",
								      "") "," NODE("quiet", "h:4",
										   "") "]");
	struct safestart_snapshot *held = safestart_snapshot_acquire(ss);
	app.reject = "rejected";
	push_and_wait(ss, "[" NODE("good", "h:2", ",\"incarnation\":\"b7\"") "," NODE(
				  "bad", "h:3",
				  "") "," NODE("quiet", "h:4",
					       "") "," NODE("rejected", "h:5",
							    "") "," NODE("broken", "h:0", "") "]");
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	safestart_node_report(safestart_snapshot_find(live, "good"), 0);
	safestart_node_report(safestart_snapshot_find(live, "bad"), -ECONNREFUSED);
	safestart_read_unlock(ss);
	app.hold = true;
	ck_assert_int_eq(safestart_node_announce(ss, "coming", "h:6", NULL, NULL), 0);
	json_t *root = ctl_once(its_socket(), "{\"do\":\"nodes\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 7);
	node_is(root, "good", "proven", false);
	node_is(root, "bad", "failing", false);
	node_is(root, "quiet", "applied", false);
	node_is(root, "rejected", "quarantined", false);
	node_is(root, "broken", "quarantined", false);
	node_is(root, "coming", "announced", false);
	node_is(root, "left", "retired", true);
	ck_assert_str_eq(ctl_string(node_of(root, "good"), "incarnation"), "b7");
	ck_assert_str_eq(ctl_string(node_of(root, "good"), "address"), "h:2");
	ck_assert_ptr_null(json_object_get(node_of(root, "bad"), "incarnation"));
	ck_assert_int_eq(ctl_integer(root, "generation"), 2);
	ck_assert_str_ne(ctl_string(root, "digest"), ctl_string(root, "desired_digest"));
	json_decref(root);
	root = ctl_once(its_socket(), "{\"do\":\"nodes\",\"id\":\"left\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 1);
	node_is(root, "left", "retired", true);
	json_decref(root);
	root = ctl_once(its_socket(), "{\"do\":\"nodes\",\"id\":\"nobody\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 0);
	json_decref(root);
	app.hold = false;
	app.reject = NULL;
	safestart_snapshot_release(held);
	EVENTUALLY(safestart_node_state(ss, "left", NULL, 0) == SAFESTART_NODE_UNKNOWN);
	close_now(ss);
}
END_TEST

START_TEST(a_node_is_listed_once_whatever_is_known_of_it)
{
	struct safestart *ss = start("max_shrink=100%", NULL);
	static const char *const ways[][2] = {{"h:0", "quarantined"}, {"h:9", "announced"}};

	push_and_wait(ss, "[" NODE("here", "h:1", "") "," NODE("back", "h:2", "") "]");
	struct safestart_snapshot *held = safestart_snapshot_acquire(ss);
	push_and_wait(ss, "[" NODE("here", "h:1", "") "]");
	for (size_t i = 0; i < 2; i++) {
		char document[200];
		snprintf(document, sizeof(document),
			 "[" NODE("here", "h:1", "") "," NODE("back", "%s", "") "]", ways[i][0]);
		app.hold = i == 1;
		if (i == 0)
			push_and_wait(ss, document);
		else
			ck_assert_int_eq(safestart_nodes_replace(ss, document, NULL, NULL, 0), 0);
		json_t *root = ctl_once(its_socket(), "{\"do\":\"nodes\"}");
		ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 2);
		node_is(root, "back", ways[i][1], true);
		json_decref(root);
	}
	app.hold = false;
	safestart_snapshot_release(held);
	close_now(ss);
}
END_TEST

/* In the exposition format they stand for themselves behind a backslash. */
START_TEST(any_name_is_one_label)
{
	struct safestart *ss = open_with(NULL, "name=a\\b\"c\nd", NULL);
	char *metrics = safestart_metrics_text(ss);

	ck_assert_ptr_nonnull(
		strstr(metrics, "\nsafestart_generation{name=\"a\\\\b\\\"c?d\"} 0\n"));
	safestart_free(metrics);
	close_now(ss);
}
END_TEST

static void digest_of(struct safestart *ss, const char *document, char *to)
{
	push_and_wait(ss, document);
	json_t *root = ctl_once(its_socket(), "{\"do\":\"nodes\"}");
	strcpy(to, ctl_string(root, "digest"));
	ck_assert_uint_eq(strlen(to), 16);
	json_decref(root);
}

START_TEST(p7_a_digest_is_of_what_is_in_the_set_whatever_its_order)
{
	struct safestart *ss = start("max_shrink=100%", NULL);
	char two[32], owt[32], zoned[32], moved[32], one[32], again[32];

	digest_of(ss, TWO, two);
	digest_of(ss, ONE, one);
	digest_of(ss, OWT, owt);
	digest_of(ss, TWO_ZONED("z"), zoned);
	digest_of(ss, TWO_ZONED("y"), moved);
	digest_of(ss, ONE, again);
	ck_assert_str_eq(two, owt);
	ck_assert_str_eq(one, again);
	ck_assert(strcmp(two, one) != 0 && strcmp(two, zoned) != 0 && strcmp(zoned, moved) != 0);
	close_now(ss);
	ss = start("max_shrink=100%", "source=push");
	digest_of(ss, OWT, owt);
	ck_assert_str_eq(two, owt);
	close_now(ss);
}
END_TEST

START_TEST(a_hundred_thousand_nodes_are_listed)
{
	struct safestart *ss = start(NULL, NULL);
	int count = under_valgrind() ? 2000 : 100000;
	char *document = document_of(count);

	ck_assert_int_eq(push_and_wait(ss, document).verdict, SAFESTART_APPLIED);
	json_t *root = ctl_once(its_socket(), "{\"do\":\"nodes\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), (size_t)count);
	json_decref(root);
	root = ctl_once(its_socket(), "{\"do\":\"nodes\",\"id\":\"n1999\"}");
	ck_assert_str_eq(ctl_string(root, "nodes.0.id"), "n1999");
	json_decref(root);
	free(document);
	close_now(ss);
}
END_TEST

/* ---- Asking ---- */

START_TEST(p6_a_request_is_answered_by_the_outcome_of_its_run)
{
	struct safestart *ss = start(NULL, NULL);
	struct ctl ctl;

	push_and_wait(ss, ONE);
	ctl_connect(&ctl, its_socket());
	for (int i = 0; i < repeat(200); i++) {
		json_t *root = ctl_ask(&ctl, "{\"do\":\"request\",\"reason\":\"by "
					     "hand\",\"wait\":true,\"urgent\":true}");
		long long ticket = ctl_integer(root, "ticket");
		json_decref(root);
		root = ctl_read(&ctl);
		ck_assert_int_eq(ctl_integer(root, "ticket"), ticket);
		ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "unchanged");
		ck_assert_int_ge(ctl_integer(root, "outcome.ticket"), ticket);
		json_decref(root);
	}
	app.prepare_result = -EIO;
	safestart_nodes_replace(ss, TWO, NULL, NULL, 0);
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true}"));
	json_t *root = ctl_read(&ctl);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "failed");
	ck_assert_int_eq(ctl_integer(root, "outcome.error"), -EIO);
	json_decref(root);
	ck_assert(app_logged(&app, "\"by hand\""));
	ctl_close(&ctl);
	close_now(ss);
}
END_TEST

START_TEST(force_lifts_the_guard_rails)
{
	struct safestart *ss = start(NULL, NULL);
	struct ctl ctl;

	push_and_wait(ss, TWO);
	/* Fewer by 1 of 2: half may go. */
	ck_assert_int_eq(push_and_wait(ss, "[" NODE("z", "h:1", "") "]").verdict,
			 SAFESTART_APPLIED);
	char *many = document_of(5);
	push_and_wait(ss, many);
	free(many);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_REFUSED);
	ctl_connect(&ctl, its_socket());
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true}"));
	json_t *root = ctl_read(&ctl);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "refused");
	json_decref(root);
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true,\"force\":true}"));
	root = ctl_read(&ctl);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "applied");
	json_decref(root);
	ctl_close(&ctl);
	close_now(ss);
}
END_TEST

START_TEST(p6_a_wait_that_times_out_says_what_is_pending_and_changes_nothing_for_others)
{
	struct safestart *ss = start(NULL, NULL);
	struct ctl patient, hasty;

	app.hold = true;
	safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
	EVENTUALLY(app.prepares == 1);
	ctl_connect(&patient, its_socket());
	ctl_connect(&hasty, its_socket());
	json_t *root = ctl_ask(&patient, "{\"do\":\"request\",\"wait\":true}");
	long long ticket = ctl_integer(root, "ticket");
	json_decref(root);
	root = ctl_ask(&hasty, "{\"do\":\"request\",\"wait\":true,\"timeout_ms\":20}");
	ck_assert_int_eq(ctl_integer(root, "ticket"), ticket);
	json_decref(root);
	root = ctl_read(&hasty);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "pending");
	ck_assert_ptr_nonnull(
		strstr(ctl_string(root, "outcome.message"), "`prepare` has not returned"));
	json_decref(root);
	root = ctl_ask(&hasty, "{\"do\":\"status\"}"); /* the next one works */
	ck_assert_str_eq(ctl_string(root, "status.callback.name"), "prepare");
	json_decref(root);
	app.hold = false;
	root = ctl_read(&patient);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "unchanged");
	json_decref(root);
	ctl_close(&patient);
	ctl_close(&hasty);
	close_now(ss);
}
END_TEST

static long long requests(void)
{
	json_t *root = ctl_once(its_socket(), "{\"do\":\"status\"}");
	long long accepted = ctl_integer(root, "status.requests");

	json_decref(root);
	return accepted;
}

START_TEST(lines_are_answered_in_order_and_so_is_what_comes_before_hanging_up)
{
	struct safestart *ss = start(NULL, NULL);
	struct ctl ctl;

	push_and_wait(ss, ONE);
	ctl_connect(&ctl, its_socket());
	ctl_send(&ctl, "{\"do\":\"request\",\"wait\":true}\r\n\n\r\n{\"do\":\"status\",\"unknown\":"
		       "[{}]}\n{\"do\":\"no\"}\n{\"do\":\"metrics\"}");
	ck_assert_int_eq(shutdown(ctl.fd, SHUT_WR), 0);
	static const char *const members[] = {"ticket", "outcome", "status", "error", "metrics"};
	for (size_t i = 0; i < 5; i++) {
		json_t *root = ctl_read(&ctl);
		ck_assert_msg(json_object_get(root, members[i]) != NULL, "no %s: %s", members[i],
			      ctl.line);
		json_decref(root);
	}
	ck_assert_ptr_null(ctl_line(&ctl));
	ctl_close(&ctl);
	/* A client that does not wait for the answer has made its request all the same. */
	long long before = requests();
	for (int i = 0; i < 200; i++) {
		ctl_connect(&ctl, its_socket());
		json_decref(ctl_ask(&ctl, "{\"do\":\"status\"}"));
		ctl_send(&ctl, "{\"do\":\"request\",\"reason\":\"and gone\"}\n");
		ctl_close(&ctl);
	}
	EVENTUALLY(requests() == before + 200 && app_logged(&app, "and gone"));
	close_now(ss);
}
END_TEST

START_TEST(what_is_wrong_with_a_question_is_said_and_the_next_is_answered)
{
	static const struct {
		const char *line, *words;
	} wrong[] = {{"garbage", "not JSON"},
		     {"[]", "not a JSON object"},
		     {"{}", "\"do\" must be one of"},
		     {"{\"do\":7}", "\"do\" must be one of"},
		     {"{\"do\":\"stat\"}", "unknown request \"stat\""},
		     {"{\"do\":\"nodes\",\"id\":7}", "\"id\" must be a string"},
		     {"{\"do\":\"events\",\"follow\":0}", "\"follow\" must be true or false"},
		     {"{\"do\":\"request\",\"force\":1}", "true or false"},
		     {"{\"do\":\"request\",\"timeout_ms\":\"1s\"}", "milliseconds"},
		     {"{\"do\":\"status\",\"do\":\"nodes\"}", "not JSON"},
		     {"{\"do\":\"st\\u0000atus\"}", "not JSON"},
		     {"{\"do\":\"\xff\"}", "not JSON"}};
	struct safestart *ss = start(NULL, NULL);
	struct ctl ctl;

	ctl_connect(&ctl, its_socket());
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *root = ctl_ask(&ctl, wrong[i].line);
		ck_assert(!ctl_true(root, "ok"));
		ck_assert_int_eq(ctl_integer(root, "error"), -EINVAL);
		ck_assert_msg(strstr(ctl_string(root, "message"), wrong[i].words) != NULL, "%s: %s",
			      wrong[i].line, ctl_string(root, "message"));
		json_decref(root);
	}
	json_decref(ctl_ask(&ctl, "{\"do\":\"status\"}"));
	ctl_close(&ctl);
	close_now(ss);
}
END_TEST

/* ---- Hearing ---- */

/* Whatever was sent before has been looked at: the second answer comes in a later turn than the
 * first. */
static void let_it_take_a_turn(void)
{
	json_decref(ctl_once(its_socket(), "{\"do\":\"status\"}"));
	json_decref(ctl_once(its_socket(), "{\"do\":\"status\"}"));
}

/* The next event of that kind. */
static json_t *next_event(struct ctl *ctl, const char *kind)
{
	for (;;) {
		json_t *root = ctl_read(ctl);
		if (strcmp(ctl_string(root, "event"), kind) == 0)
			return root;
		json_decref(root);
	}
}

START_TEST(every_outcome_and_every_log_line_is_an_event_without_callbacks_too)
{
	struct safestart *ss = open_with(NULL, "name=api", "debounce=0", ctl_setting(), NULL);
	struct ctl kept, coming;

	push_and_wait(ss, ONE);
	ctl_connect(&coming, its_socket());
	ctl_send(&coming, "{\"do\":\"events\",\"replay\":false}\n");
	ctl_connect(&kept, its_socket());
	ctl_send(&kept, "{\"do\":\"events\"}\n");
	json_t *root = next_event(&kept, "outcome");
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "applied");
	ck_assert_int_eq(ctl_integer(root, "outcome.ticket"), 1);
	ck_assert_uint_eq(strlen(ctl_string(root, "at")), strlen("2026-11-23T07:43:53.123Z"));
	json_decref(root);
	root = next_event(&kept, "log");
	ck_assert_ptr_nonnull(strstr(ctl_string(root, "message"), "run 1 (1 request)"));
	ck_assert_int_eq(ctl_integer(root, "level"), 5);
	json_decref(root);
	let_it_take_a_turn();
	push_and_wait(ss, TWO);
	root = next_event(&coming, "outcome");
	ck_assert_int_eq(ctl_integer(root, "outcome.generation"), 2);
	json_decref(root);
	close_now(ss);
	json_decref(next_event(&kept, "end"));
	json_decref(next_event(&coming, "end"));
	ck_assert(ctl_line(&kept) == NULL && ctl_line(&coming) == NULL);
	ctl_close(&kept);
	ctl_close(&coming);
}
END_TEST

START_TEST(a_client_without_follow_gets_the_kept_lines_and_the_end)
{
	static const char *const questions[] =
		{"{\"do\":\"events\",\"follow\":false}\n{\"do\":\"status\"}\n",
		 "{\"do\":\"events\",\"replay\":false,\"follow\":false}\n"};
	struct safestart *ss = start("source=none", NULL);
	struct ctl ctl;

	/* Few, more, more than are kept. */
	for (int outcomes = 0; outcomes < 400; outcomes += 100) {
		for (size_t i = 0; i < 2; i++) {
			int heard = 0;
			json_t *root = NULL;
			ctl_connect(&ctl, its_socket());
			ctl_send(&ctl, questions[i]);
			for (;; heard++, json_decref(root)) {
				root = ctl_read(&ctl);
				if (strcmp(ctl_string(root, "event"), "end") == 0)
					break;
			}
			json_decref(root);
			ck_assert(i == 1 ? heard == 0 : heard >= (outcomes < 200 ? outcomes : 200));
			ck_assert_ptr_null(ctl_line(&ctl));
			ctl_close(&ctl);
		}
		for (int k = 0; k < 100; k++)
			ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 10000,
							NULL),
					 0);
	}
	/* Begun, and perhaps still to be sent when the handle is closed: it ends once. */
	ctl_connect(&ctl, its_socket());
	ctl_send(&ctl, questions[0]);
	ck_assert_ptr_nonnull(ctl_line(&ctl));
	close_now(ss);
	int ends = 0;
	for (const char *line; (line = ctl_line(&ctl)) != NULL;)
		ends += strstr(line, "\"event\":\"end\"") != NULL;
	ck_assert_int_eq(ends, 1);
	ctl_close(&ctl);
}
END_TEST

START_TEST(a_client_that_reads_too_slowly_gets_the_number_lost_and_delays_no_one)
{
	struct safestart *ss = start(NULL, NULL);
	long long next = 0, lost = 0, outcomes = 0;
	struct ctl slow;

	ctl_connect(&slow, its_socket());
	int small = 4096;
	setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ctl_send(&slow, "{\"do\":\"events\"}\n");
	let_it_take_a_turn();
	for (int i = 0; i < 2000; i++) /* far more than the buffers hold */
		push_and_wait(ss, i % 2 ? ONE : TWO);
	while (outcomes == 0 || next <= 3900) { /* each number is heard of once, in order */
		json_t *root = ctl_read(&slow);
		if (strcmp(ctl_string(root, "event"), "lost") == 0) {
			lost += ctl_integer(root, "count");
			next += ctl_integer(root, "count");
		} else {
			next++;
			outcomes += strcmp(ctl_string(root, "event"), "outcome") == 0;
		}
		ck_assert_int_eq(ctl_integer(root, "n"), next);
		json_decref(root);
	}
	ck_assert_int_gt(lost, 0);
	ctl_close(&slow);
	close_now(ss);
}
END_TEST

/* ---- With whom ---- */

START_TEST(with_the_applications_own_loop_it_answers_without_dispatch)
{
	struct safestart *ss = start("thread=no", NULL);
	struct ctl ctl;

	ctl_connect(&ctl, its_socket());
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true,\"timeout_ms\":10}"));
	json_t *root = ctl_read(&ctl);
	ck_assert_ptr_nonnull(strstr(ctl_string(root, "outcome.message"),
				     "safestart_dispatch() has not been called"));
	json_decref(root);
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true}"));
	while (app.outcomes == 0)
		ck_assert_int_eq(safestart_dispatch(ss, 100), 0);
	root = ctl_read(&ctl);
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "unchanged");
	json_decref(root);
	ctl_close(&ctl);
	close_now(ss);
}
END_TEST

START_TEST(p16_two_handles_of_one_name_have_a_socket_each)
{
	struct safestart *one = start(NULL, NULL);

	its_socket();
	struct safestart *other = open_with(NULL, "name=api", "serves=no", ctl_setting(), NULL);
	json_t *root = ctl_once(ctl_wait("api", getpid(), 2), "{\"do\":\"status\"}");
	ck_assert(!ctl_true(root, "status.serves"));
	json_decref(root);
	close_now(other);
	ck_assert_int_eq(ctl_count(), 1);
	root = ctl_once(its_socket(), "{\"do\":\"status\"}");
	ck_assert(ctl_true(root, "status.serves"));
	json_decref(root);
	close_now(one);
	ck_assert_int_eq(ctl_count(), 0);
}
END_TEST

START_TEST(close_waits_for_no_client_and_answers_waiting_ones)
{
	for (int i = 0; i < repeat(20); i++) {
		struct safestart *ss = start("thread=no", NULL);
		struct ctl silent, half, waiting, hearing;
		ctl_connect(&silent, its_socket());
		ctl_connect(&half, its_socket());
		ctl_send(&half, "{\"do\":");
		ctl_connect(&waiting, its_socket());
		json_decref(ctl_ask(&waiting, "{\"do\":\"request\",\"wait\":true}"));
		ctl_connect(&hearing, its_socket());
		ctl_send(&hearing, "{\"do\":\"events\"}\n");
		let_it_take_a_turn();
		close_now(ss);
		json_t *root = ctl_read(&waiting);
		ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "cancelled");
		json_decref(root);
		json_decref(next_event(&hearing, "end"));
		ck_assert(ctl_line(&silent) == NULL && ctl_line(&half) == NULL &&
			  ctl_line(&waiting) == NULL && ctl_line(&hearing) == NULL);
		ctl_close(&silent);
		ctl_close(&half);
		ctl_close(&waiting);
		ctl_close(&hearing);
		ck_assert_int_eq(ctl_count(), 0);
	}
}
END_TEST

START_TEST(p6_shutdown_answers_waiting_clients_and_the_socket_stays_until_close)
{
	struct safestart *ss = start("reconcile=10m", NULL); /* nothing else is to wake it */
	struct ctl ctl;

	app.hold = true;
	safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
	EVENTUALLY(app.prepares == 1);
	ctl_connect(&ctl, its_socket());
	json_decref(ctl_ask(&ctl, "{\"do\":\"request\",\"wait\":true}"));
	let_it_take_a_turn();
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	json_t *root = ctl_read(&ctl); /* though `prepare` is still inside */
	ck_assert_str_eq(ctl_string(root, "outcome.verdict"), "cancelled");
	json_decref(root);
	root = ctl_ask(&ctl, "{\"do\":\"request\"}");
	ck_assert_int_eq(ctl_integer(root, "error"), -ECANCELED);
	json_decref(root);
	root = ctl_ask(&ctl, "{\"do\":\"status\"}");
	ck_assert(ctl_true(root, "status.shut_down"));
	json_decref(root);
	app.hold = false;
	ctl_close(&ctl);
	close_now(ss);
}
END_TEST

SUITE("control", a_node_is_listed_once_whatever_is_known_of_it, any_name_is_one_label,
      status_and_metrics_are_those_of_the_library, nodes_are_listed_with_what_is_known_of_each,
      p7_a_digest_is_of_what_is_in_the_set_whatever_its_order, a_hundred_thousand_nodes_are_listed,
      p6_a_request_is_answered_by_the_outcome_of_its_run, force_lifts_the_guard_rails,
      p6_a_wait_that_times_out_says_what_is_pending_and_changes_nothing_for_others,
      lines_are_answered_in_order_and_so_is_what_comes_before_hanging_up,
      what_is_wrong_with_a_question_is_said_and_the_next_is_answered,
      every_outcome_and_every_log_line_is_an_event_without_callbacks_too,
      a_client_without_follow_gets_the_kept_lines_and_the_end,
      a_client_that_reads_too_slowly_gets_the_number_lost_and_delays_no_one,
      with_the_applications_own_loop_it_answers_without_dispatch,
      p16_two_handles_of_one_name_have_a_socket_each,
      p6_shutdown_answers_waiting_clients_and_the_socket_stays_until_close,
      close_waits_for_no_client_and_answers_waiting_ones)
