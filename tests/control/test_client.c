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

/* It has asked, and got the first few of a hundred lines. */
static void begin(const char *line)
{
	int ends[2];

	ss = open_with(NULL, "thread=no", NULL);
	ss->events = events_new(); /* as if there were a socket */
	post("before", 100);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	client = (struct client){.fd = ends[0], .uid = geteuid(), .readable = true};
	other_end = ends[1];
	ck_assert_int_eq(send(other_end, line, strlen(line), 0), (ssize_t)strlen(line));
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
	client_clear(&client);
	close(client.fd);
	close(other_end);
	close_now(ss);
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

SUITE("client", without_follow_the_kept_lines_come_and_then_the_end,
      what_closes_meanwhile_tells_the_rest_and_ends_once, with_follow_the_stream_waits_for_more)
