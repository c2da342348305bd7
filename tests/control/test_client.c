/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client of the control socket receives, step by step, while things happen between the
 * steps. */
#include "control/client.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"
#include "support/support.h"

static struct safestart *ss;
static struct client client;
static int other_end;

static void post(const char *words, int times)
{
	while (times-- > 0)
		events_post_log(ss->events, 5, words);
}

/* It has sent a line. */
static void ask(const char *line)
{
	int ends[2];

	ss = open_with(NULL, "thread=no", "debounce=0", NULL);
	ss->events = events_new(); /* as if there were a socket */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	client = (struct client){.fd = ends[0], .uid = geteuid(), .readable = true};
	other_end = ends[1];
	ck_assert_int_eq(send(other_end, line, strlen(line), 0), (ssize_t)strlen(line));
}

/* Until it has nothing to do. What it has received by then; "": nothing. */
static const char *hears(void)
{
	static char told[1 << 18];
	enum client_next next;

	while ((next = client_step(ss, &client, true, 0)) == CLIENT_CONTINUE)
		;
	ck_assert_int_eq(next, CLIENT_WAIT);
	ssize_t n = recv(other_end, told, sizeof(told) - 1, 0);
	told[n > 0 ? n : 0] = '\0';
	return told;
}

static void leave(void)
{
	client_clear(&client);
	close(client.fd);
	close(other_end);
	close_now(ss);
}

/* It has asked, and got the first few of a hundred lines. */
static void begin(const char *line)
{
	ask(line);
	post("before", 100);
	while (client.out.length == 0)
		ck_assert_int_eq(client_step(ss, &client, true, 0), CLIENT_CONTINUE);
	post("after", 1);
}

static int count(const char *text, const char *words)
{
	int times = 0;

	for (; (text = strstr(text, words)) != NULL; text++)
		times++;
	return times;
}

/* In all it got so many lines from before, so many from after, and one `end`, behind all of
 * them. */
static void end(int before, int after)
{
	static char told[1 << 16];
	ssize_t n = recv(other_end, told, sizeof(told) - 1, 0);

	ck_assert_int_gt(n, 0);
	told[n] = '\0';
	ck_assert_int_eq(count(told, "\"before\""), before);
	ck_assert_int_eq(count(told, "\"after\""), after);
	ck_assert_int_eq(count(told, "\"end\""), 1);
	ck_assert_int_eq(count(strstr(told, "\"end\""), "\n"), 1);
	leave();
}

START_TEST(without_follow_the_kept_lines_come_and_then_the_end)
{
	enum client_next next;

	begin("{\"do\":\"events\",\"follow\":false}\n{\"do\":\"status\"}\n");
	while ((next = client_step(ss, &client, true, 0)) == CLIENT_CONTINUE)
		post("after", 1); /* a client that does not stop */
	ck_assert_int_eq(next, CLIENT_CLOSE);
	end(100, 0);
}
END_TEST

START_TEST(what_closes_meanwhile_tells_the_rest_and_ends_once)
{
	begin("{\"do\":\"events\",\"follow\":false}\n");
	client_finish(ss, &client);
	end(100, 0);
	begin("{\"do\":\"events\"}\n");
	client_finish(ss, &client);
	end(100, 1);
}
END_TEST

START_TEST(with_follow_the_stream_waits_for_more)
{
	begin("{\"do\":\"events\"}\n");
	while (client_step(ss, &client, true, 0) == CLIENT_CONTINUE)
		;
	post("after", 2);
	ck_assert_int_eq(client_step(ss, &client, true, 0), CLIENT_CONTINUE);
	client_finish(ss, &client);
	end(100, 3);
}
END_TEST

START_TEST(a_stream_that_cannot_be_sent_gets_no_end)
{
	static char told[1 << 18];

	begin("{\"do\":\"events\"}\n");
	close(other_end);
	client_finish(ss, &client); /* nobody is there */
	ck_assert(client.hung_up);
	client_clear(&client);
	close(client.fd);
	close_now(ss);
	/* It does not read, and is not waited for. */
	ask("{\"do\":\"events\"}\n");
	ck_assert_int_eq(setsockopt(client.fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
	for (int i = 0; i < 5 && client.out.length == client.sent; i++) {
		post("a line that nobody reads, and so the next ones are not sent", 100);
		while (client_step(ss, &client, true, 0) == CLIENT_CONTINUE)
			;
	}
	ck_assert_uint_gt(client.out.length, client.sent);
	client_finish(ss, &client);
	ssize_t n = recv(other_end, told, sizeof(told) - 1, 0);
	ck_assert_int_gt(n, 0);
	told[n] = '\0';
	ck_assert_ptr_null(strstr(told, "\"end\""));
	leave();
}
END_TEST

START_TEST(a_run_is_requested_by_root_and_by_the_user_of_the_process_only)
{
	static const uid_t processes[] = {0, 65534}, clients[] = {0, 65533, 65534};

	for (size_t i = 0; i < 2 && (i == 0 || geteuid() == 0); i++) {
		for (size_t j = 0; j < 3; j++) {
			ask("{\"do\":\"request\"}\n{\"do\":\"status\"}\n");
			client.uid = clients[j];
			ck_assert_int_eq(seteuid(geteuid() == 0 ? processes[i] : geteuid()), 0);
			const char *told = hears();
			if (clients[j] == 0 || clients[j] == geteuid())
				ck_assert_ptr_nonnull(strstr(told, "\"ticket\":1"));
			else
				ck_assert_ptr_nonnull(strstr(told, "permission denied"));
			ck_assert_ptr_nonnull(strstr(told, "\"status\":"));
			ck_assert_int_eq(seteuid(getuid()), 0);
			leave();
		}
	}
}
END_TEST

START_TEST(p6_an_outcome_that_is_no_longer_kept_is_said_to_be_so)
{
	ask("");
	for (int i = 0; i < 1100; i++)
		answer(ss, safestart_request_restart(ss));
	/* It had asked before, and had no turn since. */
	client.pending = (struct response_pending){.kind = RESPONSE_WAIT,
						   .ticket = 1,
						   .deadline = LOOP_NEVER};
	ck_assert_ptr_nonnull(strstr(hears(), "answered too long ago"));
	leave();
}
END_TEST

SUITE("client", a_stream_that_cannot_be_sent_gets_no_end,
      a_run_is_requested_by_root_and_by_the_user_of_the_process_only,
      p6_an_outcome_that_is_no_longer_kept_is_said_to_be_so,
      without_follow_the_kept_lines_come_and_then_the_end,
      what_closes_meanwhile_tells_the_rest_and_ends_once, with_follow_the_stream_waits_for_more)
