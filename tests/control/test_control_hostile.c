/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients of the control socket that are silent, slow, too many, malicious or gone: meanwhile
 * reloads go on, each with its outcome, and other clients get their answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/ctl.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define STATUS "{\"do\":\"status\"}\n"
#define MOST 32 /* clients at a time */

static struct app app;

static struct safestart *start(void)
{
	app_init(&app);
	return open_with(&app, "name=api", "debounce=0", ctl_setting(), NULL);
}

static const char *its_socket(void)
{
	return ctl_wait("api", getpid(), 1);
}

/* Reloads, whatever clients are connected. */
static void reloads_go_on(struct safestart *ss)
{
	for (int i = 0; i < 10; i++) {
		/* A run that a client asked for may have been quicker. */
		ck_assert_int_le(push_and_wait(ss, i % 2 ? ONE : TWO).verdict, SAFESTART_UNCHANGED);
		ck_assert_str_eq(live_ids(ss), i % 2 ? "a" : "a b");
	}
}

/* And others are answered. */
static void all_goes_on(struct safestart *ss)
{
	reloads_go_on(ss);
	json_t *root = ctl_once(its_socket(), "{\"do\":\"nodes\"}");
	ck_assert(ctl_true(root, "ok"));
	ck_assert_int_eq(ctl_integer(root, "generation"), (long long)safestart_generation(ss));
	json_decref(root);
}

/* Sends as much as is accepted; the server may close the connection meanwhile. */
static size_t send_all(int fd, const char *bytes, size_t size)
{
	size_t sent = 0;

	while (sent < size) {
		ssize_t n = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	return sent;
}

static long descriptors_and_bytes(size_t *bytes)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	ck_assert_int_eq(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	*bytes = pages * (size_t)sysconf(_SC_PAGESIZE);
	return open_descriptors();
}

/* ---- What is sent ---- */

START_TEST(p16_any_bytes_are_survived)
{
	struct safestart *ss = start();
	unsigned seed = 1;
	char bytes[3000];

	for (int i = 0; i < repeat(300); i++) {
		struct ctl ctl;
		size_t size = (size_t)rand_r(&seed) % sizeof(bytes);
		/* Mostly characters of JSON, with NUL bytes and newlines in it. */
		for (size_t j = 0; j < size; j++)
			bytes[j] =
				rand_r(&seed) % 8
					? "{}[]\",:\\ndo019.-+eE status\0\n\r\t"[rand_r(&seed) % 31]
					: (char)rand_r(&seed);
		ctl_connect(&ctl, its_socket());
		send_all(ctl.fd, bytes, size);
		/* Every line was answered or ignored when the last one's answer is there. */
		if (i % 3 == 0) {
			shutdown(ctl.fd, SHUT_WR);
			for (const char *line; (line = ctl_line(&ctl)) != NULL;)
				ck_assert_msg(strncmp(line, "{\"ok\":", 6) == 0 &&
						      line[strlen(line) - 1] == '\n',
					      "%s", line);
		}
		ctl_close(&ctl);
	}
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

START_TEST(p16_a_nul_byte_is_an_error_and_deep_nesting_too)
{
	struct safestart *ss = start();
	struct ctl ctl;
	char deep[60001];

	ctl_connect(&ctl, its_socket());
	ck_assert_uint_eq(send_all(ctl.fd, "{\"do\":\"status\"\0}\n", 17), 17);
	json_t *root = ctl_read(&ctl);
	ck_assert_ptr_nonnull(strstr(ctl_string(root, "message"), "NUL byte"));
	json_decref(root);
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	root = ctl_ask(&ctl, deep);
	ck_assert_ptr_nonnull(strstr(ctl_string(root, "message"), "too deeply"));
	json_decref(root);
	ctl_close(&ctl);
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

/* A line of so many bytes: a status request with an unknown member. */
static char *line_of(size_t size)
{
	char *line = malloc(size + 2);
	int begun = sprintf(line, "{\"do\":\"status\",\"x\":\"");

	memset(line + begun, 'x', size - (size_t)begun);
	strcpy(line + size - 2, "\"}\n");
	return line;
}

START_TEST(p16_a_line_may_have_65536_bytes_and_no_more)
{
	struct safestart *ss = start();
	struct ctl ctl;

	for (size_t size = 65535; size <= 65536; size++) {
		char *line = line_of(size);
		ctl_connect(&ctl, its_socket());
		ck_assert_uint_eq(send_all(ctl.fd, line, size + 1), size + 1);
		json_t *root = ctl_read(&ctl);
		ck_assert(ctl_true(root, "ok"));
		json_decref(root);
		ctl_close(&ctl);
		free(line);
	}
	char *endless = malloc(4 << 20);
	memset(endless, 'x', 4 << 20);
	for (int i = 0; i < 3; i++) {
		ctl_connect(&ctl, its_socket());
		send_all(ctl.fd, endless, i == 0 ? 65537 : 4 << 20); /* without an end */
		json_t *root = ctl_read(&ctl);
		ck_assert_int_eq(ctl_integer(root, "error"), -E2BIG);
		json_decref(root);
		ck_assert_ptr_null(ctl_line(&ctl));
		ctl_close(&ctl);
	}
	free(endless);
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

/* ---- Clients of each kind ---- */

START_TEST(p16_silent_clients_and_unfinished_lines_delay_nothing)
{
	struct safestart *ss = start();
	struct ctl silent[MOST - 1];

	for (int i = 0; i < MOST - 1; i++) {
		ctl_connect(&silent[i], its_socket());
		if (i % 2)
			ctl_send(&silent[i], "{\"do\":\"sta");
	}
	for (int i = 0; i < 5; i++)
		all_goes_on(ss);
	ctl_send(&silent[1], "tus\"}\n"); /* at last */
	json_t *root = ctl_read(&silent[1]);
	ck_assert(ctl_true(root, "ok"));
	json_decref(root);
	for (int i = 0; i < MOST - 1; i++)
		ctl_close(&silent[i]);
	close_now(ss);
}
END_TEST

START_TEST(p16_a_client_that_asks_and_does_not_read_is_disconnected)
{
	struct pollfd polled = {0};
	struct safestart *ss = start();
	int fd = ctl_try(its_socket());

	ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
	ck_assert_uint_eq(send_all(fd, STATUS, 16), 16);
	polled.fd = fd;
	EVENTUALLY(poll(&polled, 1, 10) == 1 && (polled.revents & POLLHUP));
	close(fd);
	close_now(ss);
}
END_TEST

/* Until the server closes the connection; faster than it is answered. */
static void *ask_without_end(void *argument)
{
	const int *fd = argument;
	char lines[64 * 1024];

	for (size_t i = 0; i < sizeof(lines); i += sizeof(STATUS) - 1)
		memcpy(lines + i, STATUS, sizeof(STATUS) - 1);
	while (send_all(*fd, lines, sizeof(lines)) == sizeof(lines))
		;
	return NULL;
}

START_TEST(p16_a_client_that_never_stops_asking_delays_nothing_and_not_close)
{
	struct safestart *ss =
		open_with(NULL, "name=api", "debounce=0", "run_timeout=3s", ctl_setting(), NULL);
	pthread_t askers[8];
	int fds[8];

	for (int i = 0; i < 8; i++) {
		fds[i] = ctl_try(its_socket());
		ck_assert_int_eq(shutdown(fds[i], SHUT_RD), 0);
		ck_assert_int_eq(pthread_create(&askers[i], NULL, ask_without_end, &fds[i]), 0);
	}
	all_goes_on(ss);
	close_now(ss);
	for (int i = 0; i < 8; i++) {
		pthread_join(askers[i], NULL);
		close(fds[i]);
	}
}
END_TEST

START_TEST(p16_a_thousand_connections_are_refused_or_make_room_in_the_end)
{
	struct safestart *ss = start();
	int fds[1000], count = 0;
	struct ctl late;

	its_socket();
	for (; count < 1000; count++) {
		fds[count] = ctl_try(its_socket());
		ck_assert_int_ge(fds[count], 0);
		if (count % 100 == 99)
			reloads_go_on(ss);
	}
	/* The library has no more than it says. */
	ck_assert_int_lt(open_descriptors(), 1000 + MOST + 40);
	/* Most clients got a message; the silent ones are disconnected after they were silent
	 * for long enough. */
	for (bool answered = false; !answered;) {
		ctl_connect(&late, its_socket());
		ctl_send(&late, "{\"do\":\"status\"}\n");
		json_t *root = ctl_read(&late);
		answered = ctl_true(root, "ok");
		if (!answered) {
			ck_assert_int_eq(ctl_integer(root, "error"), -EAGAIN);
			reloads_go_on(ss);
			pause_a_moment();
		}
		json_decref(root);
		ctl_close(&late);
	}
	while (count > 0)
		close(fds[--count]);
	EVENTUALLY(open_descriptors() < 100);
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

START_TEST(p16_a_waiting_or_listening_client_is_not_disconnected_as_silent)
{
	struct safestart *ss = start();
	struct ctl waiting[MOST];
	char sent[100];

	app.hold = true;
	safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
	EVENTUALLY(app.prepares == 1);
	for (int i = 0; i < MOST; i++) {
		ctl_connect(&waiting[i], its_socket());
		snprintf(sent, sizeof(sent),
			 i % 2 ? "{\"do\":\"request\",\"wait\":true}\n" : "{\"do\":\"events\"}\n");
		ctl_send(&waiting[i], sent);
		json_decref(ctl_read(&waiting[i])); /* an event there is */
	}
	/* Longer than the silent may be silent; nothing depends on how much. */
	int64_t until = now_ms() + 1200;
	while (now_ms() < until) {
		json_t *root = ctl_once(its_socket(), "{\"do\":\"status\"}");
		ck_assert_int_eq(ctl_integer(root, "error"), -EAGAIN);
		json_decref(root);
		pause_a_moment();
	}
	app.hold = false;
	for (int i = 0; i < MOST; i++) {
		const char *line;
		while ((line = ctl_line(&waiting[i])) != NULL &&
		       strstr(line, "\"outcome\":{") == NULL)
			continue;
		ck_assert_ptr_nonnull(line);
		ctl_close(&waiting[i]);
	}
	EVENTUALLY(open_descriptors() < 60);
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

START_TEST(p19_ten_thousand_clients_that_vanish_leave_nothing_behind)
{
	static const char *const beginnings[] =
		{"",
		 "{\"do\":",
		 "{\"do\":\"status\"}\n",
		 "{\"do\":\"events\"}\n",
		 "{\"do\":\"request\",\"wait\":true}\n",
		 "{\"do\":\"metrics\"}\n{\"do\":\"nodes\"}\n{\"do\":\"nodes\"}\n{\"do\":\"no"};
	struct safestart *ss = start();
	size_t before = 0, after = 0;

	its_socket();
	all_goes_on(ss);
	long descriptors = descriptors_and_bytes(&before);
	for (int i = 0; i < repeat(under_valgrind() ? 500 : 10000); i++) {
		int fd = ctl_try(its_socket());
		ck_assert_int_ge(fd, 0);
		const char *begin = beginnings[i % 6];
		send_all(fd, begin, strlen(begin));
		if (i % 4 == 0) { /* with a reset */
			struct linger linger = {.l_onoff = 1};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		}
		close(fd);
		if (i % 1000 == 0)
			all_goes_on(ss);
	}
	all_goes_on(ss);
	EVENTUALLY(open_descriptors() <= descriptors);
#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
	descriptors_and_bytes(&after);
	ck_assert_msg(under_valgrind() || after < before + (8 << 20), "from %zu to %zu bytes",
		      before, after);
#else
	(void)after;
#endif
	close_now(ss);
}
END_TEST

/* ---- What is not read ---- */

/* The whole answer, or NULL: on a busy machine this client, too, may have read nothing for a
 * second, and gave way to others. */
static json_t *whole_answer(void)
{
	struct ctl ctl;
	json_t *root = NULL;

	ctl_connect(&ctl, its_socket());
	ctl_send(&ctl, "{\"do\":\"nodes\"}\n");
	const char *line = ctl_line(&ctl);
	if (line != NULL && line[strlen(line) - 1] == '\n')
		root = json_loads(line, 0, NULL);
	ctl_close(&ctl);
	return root;
}

START_TEST(p16_unread_answers_are_bounded_and_make_room_for_others)
{
	struct safestart *ss = start();
#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
	int count = 3000; /* what it takes is not judged here, and takes its time */
#else
	int count = under_valgrind() ? 3000 : 30000;
#endif
	struct ctl greedy[28];
	size_t before, after = 0;

	char *document = document_of(count);
	ck_assert_int_eq(push_and_wait(ss, document).verdict, SAFESTART_APPLIED);
	json_decref(ctl_once(its_socket(), "{\"do\":\"nodes\"}"));
	descriptors_and_bytes(&before);
	for (int i = 0; i < 28; i++) { /* some 5 MB each, four times */
		ctl_connect(&greedy[i], its_socket());
		ctl_send(&greedy[i], "{\"do\":\"nodes\"}\n{\"do\":\"nodes\"}\n{\"do\":\"nodes\"}\n{"
				     "\"do\":\"nodes\"}\n");
		ck_assert(push_and_wait(ss, document).verdict <= SAFESTART_UNCHANGED);
	}
	/* Waits for its turn, and gets it. */
	json_t *root = NULL;
	EVENTUALLY((root = whole_answer()) != NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), (size_t)count);
	json_decref(root);
	descriptors_and_bytes(&after);
#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
	ck_assert_msg(under_valgrind() || after < before + (100 << 20), "from %zu to %zu bytes",
		      before, after);
#endif
	for (int i = 0; i < 28; i++)
		ctl_close(&greedy[i]);
	free(document);
	close_now(ss);
}
END_TEST

START_TEST(p16_an_answer_is_whole_however_slowly_it_is_read)
{
	struct safestart *ss = start();
	struct ctl slow;
	char *document = document_of(3000);

	push_and_wait(ss, document);
	ctl_connect(&slow, its_socket());
	ctl_send(&slow, "{\"do\":\"nodes\"}\n{\"do\":\"nodes\"}\n");
	setvbuf(slow.from, NULL, _IOFBF, 64);
	for (int i = 0; i < 2; i++) {
		json_t *root = ctl_read(&slow);
		ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 3000);
		json_decref(root);
	}
	ctl_close(&slow);
	free(document);
	close_now(ss);
}
END_TEST

START_TEST(p16_without_descriptors_for_clients_it_comes_back)
{
	struct safestart *ss = start();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct rlimit before, few;
	int taken[64], count = 0;

	if (under_valgrind()) { /* which keeps descriptors of its own */
		close_now(ss);
		return;
	}
	/* The making of the socket is over, and so are its descriptors. */
	json_decref(ctl_once(its_socket(), "{\"do\":\"status\"}"));
	reloads_go_on(ss);
	int waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)waiting + 8;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < 64 && (taken[count] = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0)
		count++;
	ck_assert_int_lt(count, 64);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", its_socket());
	ck_assert_int_eq(connect(waiting, (struct sockaddr *)&address, sizeof(address)), 0);
	reloads_go_on(ss);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (count > 0)
		close(taken[--count]);
	send_all(waiting, "{\"do\":\"status\"}\n", 16);
	char answer[10];
	ck_assert_int_eq(recv(waiting, answer, 6, MSG_WAITALL), 6);
	ck_assert_int_eq(memcmp(answer, "{\"ok\":", 6), 0);
	close(waiting);
	all_goes_on(ss);
	close_now(ss);
}
END_TEST

SUITE("control_hostile", p16_any_bytes_are_survived,
      p16_a_nul_byte_is_an_error_and_deep_nesting_too, p16_a_line_may_have_65536_bytes_and_no_more,
      p16_silent_clients_and_unfinished_lines_delay_nothing,
      p16_a_client_that_asks_and_does_not_read_is_disconnected,
      p16_a_client_that_never_stops_asking_delays_nothing_and_not_close,
      p16_a_thousand_connections_are_refused_or_make_room_in_the_end,
      p16_a_waiting_or_listening_client_is_not_disconnected_as_silent,
      p19_ten_thousand_clients_that_vanish_leave_nothing_behind,
      p16_unread_answers_are_bounded_and_make_room_for_others,
      p16_an_answer_is_whole_however_slowly_it_is_read,
      p16_without_descriptors_for_clients_it_comes_back)
