/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading JSON while malloc() leaves ENOMEM in errno although it has found memory, as glibc does
 * when the heap can grow no further and a mapping takes its place. The document decides, not errno.
 */
#include "base/json.h"

#include <errno.h>
#include <safestart/source.h>
#include <stdlib.h>
#include <string.h>

#include "control/protocol.h"
#include "support/support.h"

#define A "[{\"targets\":[\"storage-17.rack-4.example.org:8087\"],\"labels\":{\"id\":\"a\"}}]"

/* Fails at the call with this number, counted from 1; 0: never. */
static unsigned failing, calls;

static void *malloc_elsewhere(size_t size)
{
	void *memory = ++calls == failing ? NULL : malloc(size);

	errno = ENOMEM;
	return memory;
}

/* As an allocator of the application's may. */
static void *malloc_without_errno(size_t size)
{
	void *memory = ++calls == failing ? NULL : malloc(size);

	errno = 0;
	return memory;
}

static void begin(void)
{
	failing = calls = 0;
	json_set_alloc_funcs(malloc_elsewhere, free);
	errno = ENOMEM;
}

/* ---- Good documents ---- */

START_TEST(p9_a_good_document_is_good_whatever_errno_is)
{
	char why[256] = "";

	begin();
	ck_assert_msg(safestart_check(NULL, A, why, sizeof(why)) == 0, "%s", why);
	ck_assert_str_eq(why, "1 nodes");
	begin();
	ck_assert_int_eq(safestart_check(NULL, "[{\"targets\":[\"a:1\",\"b\"]}]", why, sizeof(why)),
			 1);
}
END_TEST

START_TEST(p9_a_good_set_can_be_pushed_whatever_errno_is)
{
	char why[256] = "";
	uint64_t ticket;

	begin();
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	errno = ENOMEM;
	ck_assert_msg(safestart_nodes_replace(ss, A, &ticket, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(answer(ss, ticket).error, 0);
	ck_assert_str_eq(live_ids(ss), "a");
	close_now(ss);
}
END_TEST

static int open_source(void **state, const struct safestart_source_conf *conf, char *why,
		       size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int gather(void *state, struct safestart_gather *gather)
{
	const char *const *document = state;

	errno = ENOMEM;
	return safestart_gather_json(gather, *document, strlen(*document));
}

static void close_source(void *state)
{
	(void)state;
}

START_TEST(p9_a_source_hands_over_and_is_judged_whatever_errno_is)
{
	const struct safestart_source source = {.size = sizeof(source),
						.scheme = "test",
						.open = open_source,
						.gather = gather,
						.close = close_source};
	struct safestart_conf *conf = safestart_conf_new();
	const char *document = A;
	struct safestart *ss;
	char why[256] = "";

	begin();
	ck_assert_int_eq(safestart_conf_add_source(conf, &source, &document), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "test:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, why, sizeof(why)), 0);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a");
	document = "[{\"targets\":[7]}]";
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(outcome.error, -EINVAL); /* and not a failure that is retried for ever */
	ck_assert_ptr_nonnull(strstr(outcome.message, "target 1 is a number"));
	close_now(ss);
	safestart_conf_free(conf);
}
END_TEST

START_TEST(a_question_at_the_socket_is_read_whatever_errno_is)
{
	const char *line = "{\"do\":\"request\",\"reason\":\"a reason of more than 16 bytes\"}";
	struct protocol_request request;
	char why[256] = "";

	begin();
	ck_assert_msg(protocol_read(&request, line, strlen(line), why, sizeof(why)) == 0, "%s",
		      why);
	ck_assert_int_eq(protocol_read(&request, "{", 1, why, sizeof(why)), -EINVAL);
}
END_TEST

/* ---- Bad documents, and no memory ---- */

START_TEST(p9_a_malformed_document_is_called_so_whatever_errno_is)
{
	static const char *const bad[] = {"[", "[{\"targets\":[\"a:1\"}]",
					  "[{\"targets\":[\"a:1\"],\"targets\":[]}]",
					  "[{\"targets\":[\"a\xff:1\"]}]", "[{\"targets\":[7]}]"};
	char why[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin();
		ck_assert_msg(safestart_check(NULL, bad[i], why, sizeof(why)) == -EINVAL, "%s: %s",
			      bad[i], why);
		ck_assert_ptr_null(strstr(why, "memory"));
	}
}
END_TEST

/* Read twice, and at most one reading lacks memory: the other one says what it says. */
START_TEST(p9_whichever_allocation_fails_a_malformed_document_has_its_own_fault_or_none)
{
	static const char *const bad[] =
		{"[",           "[7 7]",    "[\"a\" \"b\"]",      "{\"a\":1,\"a\":2}",
		 "[\"a\xff\"]", "[\"a\"]]", "{\"a\":\"b\" \"c\"}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_error_t fault, error;
		bool no_memory;
		begin();
		json_t *root = json_read(bad[i], strlen(bad[i]), JSON_REJECT_DUPLICATES, &fault,
					 &no_memory);
		ck_assert(root == NULL && !no_memory);
		for (unsigned nth = 1; nth < 50; nth++) {
			begin();
			failing = nth;
			root = json_read(bad[i], strlen(bad[i]), JSON_REJECT_DUPLICATES, &error,
					 &no_memory);
			ck_assert_ptr_null(root);
			ck_assert_msg(no_memory || (strcmp(error.text, fault.text) == 0 &&
						    error.position == fault.position),
				      "%s, %u: %s", bad[i], nth, error.text);
		}
	}
}
END_TEST

/* Not even errno says so then, only how jansson ends. */
START_TEST(p9_a_good_document_is_never_called_malformed_for_want_of_memory)
{
	static const char *const good[] = {"[\"a\",1,{\"b\":null}]", "{\"a\":{\"b\":[\"c\"]}}"};
	unsigned times = 0;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (unsigned nth = 1; nth < 50; nth++) {
			json_error_t error;
			bool no_memory;
			begin();
			json_set_alloc_funcs(malloc_without_errno, free);
			failing = nth;
			json_t *root = json_read(good[i], strlen(good[i]), 0, &error, &no_memory);
			ck_assert_msg(root != NULL || no_memory, "%s, %u: %s", good[i], nth,
				      error.text);
			times += no_memory;
			json_decref(root);
		}
	}
	ck_assert_uint_gt(times, 10);
}
END_TEST

START_TEST(a_text_that_lacks_its_end_is_malformed)
{
	static const char *const bad[] = {"",       " ",      "\"",        "[\"",
					  "[\"a\"", "{\"a\"", "{\"a\" \"", "x\""};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_error_t error;
		bool no_memory = true;
		json_set_alloc_funcs(malloc_without_errno, free);
		failing = 0;
		ck_assert_ptr_null(json_read(bad[i], strlen(bad[i]), 0, &error, &no_memory));
		ck_assert_msg(!no_memory, "%s: %s", bad[i], error.text);
	}
}
END_TEST

/* A byte for which jansson's buffer could not grow is missing from one reading, not from both. */
START_TEST(p9_a_missing_byte_is_never_taken_for_the_document)
{
	json_error_t error;
	bool no_memory = true;

	begin();
	json_t *whole = json_read(A, strlen(A), 0, &error, &no_memory);
	ck_assert_ptr_nonnull(whole);
	for (unsigned nth = 1; nth < 200; nth++) {
		begin();
		failing = nth;
		json_t *root = json_read(A, strlen(A), 0, &error, &no_memory);
		ck_assert_msg(no_memory == (root == NULL), "%u: %s", nth, error.text);
		ck_assert(root == NULL || json_equal(root, whole));
		json_decref(root);
	}
	begin();
	json_decref(whole);
}
END_TEST

SUITE("json", p9_a_good_document_is_good_whatever_errno_is,
      p9_a_good_set_can_be_pushed_whatever_errno_is,
      p9_a_source_hands_over_and_is_judged_whatever_errno_is,
      a_question_at_the_socket_is_read_whatever_errno_is,
      p9_a_malformed_document_is_called_so_whatever_errno_is,
      p9_whichever_allocation_fails_a_malformed_document_has_its_own_fault_or_none,
      p9_a_good_document_is_never_called_malformed_for_want_of_memory,
      a_text_that_lacks_its_end_is_malformed, p9_a_missing_byte_is_never_taken_for_the_document)
