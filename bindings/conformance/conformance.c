/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conformance program in C: what a binding does, without a binding. One thread: standard input,
 * events and a timer in one poll(). README.md says what each command means. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS (1 << 20)

static struct safestart *ss;
static char prepare_script[512] = "ok", restart_script[512] = "ok";
static bool open_ended; /* the next prepare is left open */
static struct safestart_run *hanging;

/* Objects are numbers here; what they would be is whether they are in use. */
static struct {
	uint64_t made, retired, used_after_retire, made_sets, retired_sets, told, heartbeat;
	bool in_use[OBJECTS];
} counts;

/* A wait of the driver: answered when its outcome or its end comes. */
static struct wait {
	struct wait *next;
	json_int_t id;
	uint64_t ticket;
	int64_t timeout_at, cancel_at; /* 0: never */
} * waits;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t now_ms(void)
{
	return now_ns() / 1000000;
}

static void answer(json_int_t id, json_t *with)
{
	json_object_set_new(with, "id", json_integer(id));
	json_dumpf(with, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(with);
}

static void refuse(json_int_t id, int error, const char *why)
{
	answer(id, json_pack("{s:i,s:s}", "error", error, "message",
			     why != NULL && why[0] != '\0' ? why : safestart_strerror(error)));
}

/* ---- The application ---- */

static uint64_t new_object(void)
{
	uint64_t object = ++counts.made;

	if (object < OBJECTS)
		counts.in_use[object] = true;
	return object;
}

static void retire(uint64_t object)
{
	counts.retired++;
	if (object < OBJECTS && !counts.in_use[object])
		counts.used_after_retire++;
	if (object < OBJECTS)
		counts.in_use[object] = false;
}

static const char *after(const char *script, const char *what)
{
	size_t length = strlen(what);

	return strncmp(script, what, length) == 0 ? script + length : NULL;
}

static void prepare(struct safestart_run *run)
{
	const struct safestart_node *node;
	const char *words;
	int kind;

	if ((words = after(prepare_script, "throw:")) != NULL) {
		safestart_run_fail(run, -EIO, words);
		return;
	}
	if (strcmp(prepare_script, "crash") == 0)
		*(volatile int *)(intptr_t)(getpid() < 0) = 1;
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		words = after(prepare_script, "reject:");
		if (words != NULL && strcmp(words, safestart_node_id(node)) == 0)
			safestart_run_reject(run, words, "not this one");
		else if (kind != SAFESTART_REMOVED)
			safestart_run_set_node_key(run, safestart_node_id(node), new_object());
	}
	safestart_run_set_key(run, ++counts.made_sets);
	if (strcmp(prepare_script, "hang") == 0)
		hanging = run;
	else if (!open_ended)
		safestart_run_finish(run, 0);
	open_ended = false;
}

static void restart(struct safestart_run *run)
{
	const char *words;

	if ((words = after(restart_script, "throw:")) != NULL) {
		safestart_run_fail(run, -EIO, words);
		return;
	}
	if ((words = after(restart_script, "status:")) != NULL)
		safestart_run_set_status(run, atoi(words));
	safestart_run_finish(run, 0);
}

static void take(const struct safestart_event *event)
{
	switch (event->kind) {
	case SAFESTART_EVENT_PREPARE: prepare(event->run); break;
	case SAFESTART_EVENT_RESTART: restart(event->run); break;
	case SAFESTART_EVENT_CANCELLED:
		if (event->run == hanging) {
			counts.told++;
			hanging = NULL;
			safestart_run_finish(event->run, -ECANCELED);
		}
		break;
	case SAFESTART_EVENT_RETIRE: counts.retired_sets++; break;
	case SAFESTART_EVENT_RETIRE_NODE: retire(event->key); break;
	case SAFESTART_EVENT_LOG: fprintf(stderr, "<%d>%s\n", event->level, event->text); break;
	default: break;
	}
}

static void take_events(void)
{
	struct safestart_event event = {.size = sizeof(event)};

	while (ss != NULL && safestart_next_event(ss, &event) == 1)
		take(&event);
}

/* ---- Waits ---- */

static json_t *outcome_json(const struct safestart_outcome *outcome)
{
	return json_pack("{s:i,s:i,s:s,s:I,s:I,s:I,s:i}", "verdict", (int)outcome->verdict, "code",
			 (int)outcome->error, "words", outcome->message, "run",
			 (json_int_t)outcome->run, "generation", (json_int_t)outcome->generation,
			 "requests", (json_int_t)outcome->requests, "status", (int)outcome->status);
}

/* True: it is over. */
static bool look(const struct wait *wait)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_try_wait(ss, wait->ticket, &outcome);
	int64_t now = now_ms();

	if (result == 0)
		answer(wait->id, outcome_json(&outcome));
	else if (result != -EAGAIN)
		refuse(wait->id, result, NULL);
	else if (wait->cancel_at != 0 && now >= wait->cancel_at)
		answer(wait->id, json_pack("{s:b,s:I}", "cancelled", 1, "after_ms",
					   (json_int_t)(now - wait->cancel_at)));
	else if (wait->timeout_at != 0 && now >= wait->timeout_at)
		answer(wait->id, json_pack("{s:b}", "timeout", 1));
	else
		return false;
	return true;
}

static void look_at_waits(void)
{
	for (struct wait **at = &waits; ss != NULL && *at != NULL;) {
		struct wait *wait = *at;
		if (!look(wait)) {
			at = &wait->next;
			continue;
		}
		*at = wait->next;
		free(wait);
	}
}

/* ---- Commands ---- */

static json_t *get(json_t *command, const char *name)
{
	return json_object_get(command, name);
}

static const char *string(json_t *command, const char *name)
{
	return json_string_value(get(command, name));
}

static uint64_t number(json_t *command, const char *name)
{
	return (uint64_t)json_integer_value(get(command, name));
}

static void do_hello(json_t *command, json_int_t id)
{
	(void)command;
	answer(id,
	       json_pack("{s:s,s:I,s:s,s:b}", "language", "C", "version",
			 (json_int_t)__STDC_VERSION__, "library", safestart_version(), "forks", 1));
}

static void do_open(json_t *command, json_int_t id)
{
	struct safestart_conf *conf = safestart_conf_new();
	const char *key;
	json_t *value;
	char why[256] = "";
	int error = safestart_conf_set(conf, "events", "pull", why, sizeof(why));

	json_object_foreach(get(command, "settings"), key, value) {
		if (error == 0)
			error = safestart_conf_set(conf, key, json_string_value(value), why,
						   sizeof(why));
	}
	if (error == 0)
		error = safestart_open(&ss, conf, why, sizeof(why));
	safestart_conf_free(conf);
	if (error < 0)
		refuse(id, error, why);
	else
		answer(id, json_object());
}

static void answer_ticket(json_int_t id, int error, uint64_t ticket, const char *why)
{
	if (error < 0)
		refuse(id, error, why);
	else
		answer(id, json_pack("{s:I}", "ticket", (json_int_t)ticket));
}

static void do_replace(json_t *command, json_int_t id)
{
	uint64_t ticket = 0;
	char why[256] = "";
	int error = safestart_nodes_replace(ss, string(command, "json"), &ticket, why, sizeof(why));

	answer_ticket(id, error, ticket, why);
}

static void do_announce(json_t *command, json_int_t id)
{
	uint64_t ticket = 0;
	int error = safestart_node_announce(ss, string(command, "node"), string(command, "address"),
					    string(command, "incarnation"), &ticket);

	answer_ticket(id, error, ticket, NULL);
}

static void do_withdraw(json_t *command, json_int_t id)
{
	uint64_t ticket = 0;
	int error = safestart_node_withdraw(ss, string(command, "node"), &ticket);

	answer_ticket(id, error, ticket, NULL);
}

static void do_request(json_t *command, json_int_t id)
{
	uint32_t flags = (json_is_true(get(command, "force")) ? SAFESTART_FORCE : 0) |
			 (json_is_true(get(command, "urgent")) ? SAFESTART_URGENT : 0);

	answer_ticket(id, 0, safestart_request(ss, flags, string(command, "reason")), NULL);
}

static void do_outcome(json_t *command, json_int_t id)
{
	struct wait *wait = calloc(1, sizeof(*wait));
	json_int_t timeout = json_integer_value(get(command, "timeout_ms"));
	json_t *cancel = get(command, "cancel_after_ms");

	wait->id = id;
	wait->ticket = number(command, "ticket");
	wait->timeout_at = timeout >= 0 ? now_ms() + timeout : 0;
	wait->cancel_at = json_is_integer(cancel) ? now_ms() + json_integer_value(cancel) : 0;
	wait->next = waits;
	waits = wait;
}

struct burst {
	uint64_t count, first, last;
};

static void *request_often(void *argument)
{
	struct burst *burst = argument;

	for (uint64_t i = 0; i < burst->count; i++) {
		burst->last = safestart_request_restart(ss);
		if (i == 0)
			burst->first = burst->last;
	}
	return NULL;
}

static void do_burst(json_t *command, json_int_t id)
{
	enum {
		MOST = 64
	};
	pthread_t threads[MOST];
	struct burst bursts[MOST];
	uint64_t count = number(command, "count"), first = UINT64_MAX, last = 0;
	size_t n = number(command, "threads");
	json_t *tickets = json_array();

	for (size_t i = 0; i < n && i < MOST; i++) {
		bursts[i] = (struct burst){.count = count / n + (i < count % n)};
		pthread_create(&threads[i], NULL, request_often, &bursts[i]);
	}
	for (size_t i = 0; i < n && i < MOST; i++) {
		pthread_join(threads[i], NULL);
		first = bursts[i].first < first ? bursts[i].first : first;
		last = bursts[i].last > last ? bursts[i].last : last;
	}
	for (uint64_t ticket = first; ticket <= last; ticket++)
		json_array_append_new(tickets, json_integer((json_int_t)ticket));
	answer(id, json_pack("{s:o}", "tickets", tickets));
}

static void do_script(json_t *command, json_int_t id)
{
	snprintf(prepare_script, sizeof(prepare_script), "%s", string(command, "prepare"));
	snprintf(restart_script, sizeof(restart_script), "%s", string(command, "restart"));
	answer(id, json_object());
}

static json_t *node_json(const struct safestart_node *node)
{
	json_t *labels = json_object();
	uint64_t key = safestart_node_key(node);
	const char *name, *value;

	for (size_t i = 0; (value = safestart_node_label_at(node, i, &name)) != NULL; i++)
		json_object_set_new(labels, name, json_string(value));
	if (key != 0 && key < OBJECTS && !counts.in_use[key])
		counts.used_after_retire++;
	return json_pack("{s:s,s:s,s:i,s:o,s:o}", "id", safestart_node_id(node), "host",
			 safestart_node_host(node), "port", (int)safestart_node_port(node),
			 "labels", labels, "data",
			 key != 0 ? json_integer((json_int_t)key) : json_null());
}

static void do_nodes(json_t *command, json_int_t id)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	json_t *nodes = json_array();

	(void)command;
	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		json_array_append_new(nodes, node_json(safestart_snapshot_at(live, i)));
	json_int_t generation = (json_int_t)safestart_snapshot_generation(live);
	safestart_read_unlock(ss);
	answer(id, json_pack("{s:I,s:o}", "generation", generation, "nodes", nodes));
}

static void do_report(json_t *command, json_int_t id)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);

	safestart_node_report(safestart_snapshot_find(live, string(command, "node")),
			      (int)json_integer_value(get(command, "code")));
	safestart_read_unlock(ss);
	answer(id, json_object());
}

static void do_state(json_t *command, json_int_t id)
{
	char why[512];
	int state = safestart_node_state(ss, string(command, "node"), why, sizeof(why));

	answer(id, json_pack("{s:i,s:s}", "state", state, "why", why));
}

static void do_status(json_t *command, json_int_t id)
{
	char *text = safestart_status_json(ss);

	(void)command;
	answer(id, json_pack("{s:o}", "status", json_loads(text, 0, NULL)));
	safestart_free(text);
}

static void do_metrics(json_t *command, json_int_t id)
{
	char *text = safestart_metrics_text(ss);

	(void)command;
	answer(id, json_pack("{s:s}", "text", text));
	safestart_free(text);
}

static json_int_t entries_of(const char *path)
{
	DIR *folder = opendir(path);
	json_int_t count = -3; /* `.`, `..`, and the one that is open here */

	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

static json_int_t resident_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
		pages = 0;
	if (file != NULL)
		fclose(file);
	return (json_int_t)pages * sysconf(_SC_PAGESIZE) / 1024;
}

static void do_counts(json_t *command, json_int_t id)
{
	(void)command;
	answer(id, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "made",
			     (json_int_t)counts.made, "retired", (json_int_t)counts.retired,
			     "used_after_retire", (json_int_t)counts.used_after_retire, "made_sets",
			     (json_int_t)counts.made_sets, "retired_sets",
			     (json_int_t)counts.retired_sets, "told", (json_int_t)counts.told,
			     "heartbeat", (json_int_t)counts.heartbeat, "threads",
			     entries_of("/proc/self/task"), "descriptors",
			     entries_of("/proc/self/fd"), "rss_kib", resident_kib()));
	counts.heartbeat = 0;
}

static void do_read(json_t *command, json_int_t id)
{
	const uint64_t *generation = safestart_generation_address(ss);
	static _Atomic uint64_t own;
	uint64_t times = number(command, "times"), cached = safestart_generation(ss), sum = 0;

	int64_t begun = now_ns();
	for (uint64_t i = 0; i < times; i++)
		sum += __atomic_load_n(generation, __ATOMIC_ACQUIRE) == cached;
	int64_t between = now_ns();
	for (uint64_t i = 0; i < times; i++)
		sum += own;
	int64_t ended = now_ns();
	answer(id,
	       json_pack("{s:f,s:f,s:I}", "ns", (double)(between - begun) / (double)times, "own_ns",
			 (double)(ended - between) / (double)times, "sum", (json_int_t)sum));
}

/* In the child: its own run, by events of its own. */
static json_t *live_in_child(void)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = safestart_request_restart(ss);
	int64_t limit = now_ms() + 20000;

	while (safestart_try_wait(ss, ticket, &outcome) == -EAGAIN && now_ms() < limit) {
		struct pollfd readable = {.fd = safestart_event_fd(ss), .events = POLLIN};
		poll(&readable, 1, 100);
		take_events();
	}
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	bool data = safestart_snapshot_size(live) > 0;
	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		data = data && safestart_node_key(safestart_snapshot_at(live, i)) != 0;
	json_t *said = json_pack("{s:I,s:i,s:b}", "generation",
				 (json_int_t)safestart_snapshot_generation(live), "verdict",
				 (int)outcome.verdict, "data", data);
	safestart_read_unlock(ss);
	safestart_close(ss);
	return said;
}

static json_t *ask_child(void)
{
	int ends[2];
	int status;

	if (pipe(ends) < 0)
		abort();
	pid_t child = fork();
	if (child == 0) {
		json_dumpfd(live_in_child(), ends[1], 0);
		_exit(0);
	}
	close(ends[1]);
	json_t *said = json_loadfd(ends[0], 0, NULL);
	close(ends[0]);
	waitpid(child, &status, 0);
	return said != NULL ? said : json_pack("{s:i}", "verdict", -1);
}

static void do_fork(json_t *command, json_int_t id)
{
	struct safestart_event event = {.size = sizeof(event)};

	if (strcmp(string(command, "when"), "prepare") == 0) {
		/* A set is prepared here while the child is made. */
		safestart_nodes_replace(ss,
					"[{\"targets\":[\"10.9.9.9:1\"],\"labels\":{\"id\":\"a\"}}"
					"]",
					NULL, NULL, 0);
		while (safestart_next_event(ss, &event) < 1 ||
		       event.kind != SAFESTART_EVENT_PREPARE) {
			if (event.kind != 0)
				take(&event);
			event.kind = 0;
			struct pollfd readable = {.fd = safestart_event_fd(ss), .events = POLLIN};
			poll(&readable, 1, 100);
		}
	}
	json_t *child = ask_child();
	if (event.run != NULL)
		prepare(event.run);
	answer(id, json_pack("{s:o}", "child", child));
}

static void do_later(json_t *command, json_int_t id)
{
	(void)command;
	open_ended = true;
	answer(id, json_object());
}

static void do_shutdown(json_t *command, json_int_t id)
{
	(void)command;
	safestart_shutdown(ss);
	answer(id, json_object());
}

/* What was not retired is given back by the application, as safestart.h says. */
static void do_close(json_t *command, json_int_t id)
{
	int64_t begun = now_ms();

	(void)command;
	int error = safestart_close(ss);
	if (error < 0) {
		refuse(id, error, NULL);
		return;
	}
	ss = NULL;
	for (uint64_t object = 1; object <= counts.made && object < OBJECTS; object++) {
		if (counts.in_use[object])
			retire(object);
	}
	counts.retired_sets = counts.made_sets;
	answer(id, json_pack("{s:I}", "ms", (json_int_t)(now_ms() - begun)));
}

static void do_end(json_t *command, json_int_t id)
{
	const char *how = string(command, "how");

	(void)id;
	if (strcmp(how, "throw") == 0)
		_exit(1); /* C has nothing to throw */
	exit(strcmp(how, "exit") == 0 ? 3 : 0);
}

static const struct {
	const char *name;
	void (*act)(json_t *command, json_int_t id);
} commands[] = {
	{"hello", do_hello},       {"open", do_open},         {"replace", do_replace},
	{"announce", do_announce}, {"withdraw", do_withdraw}, {"request", do_request},
	{"outcome", do_outcome},   {"burst", do_burst},       {"script", do_script},
	{"nodes", do_nodes},       {"report", do_report},     {"state", do_state},
	{"status", do_status},     {"metrics", do_metrics},   {"counts", do_counts},
	{"read", do_read},         {"fork", do_fork},         {"later", do_later},
	{"shutdown", do_shutdown}, {"close", do_close},       {"end", do_end},
};

static void obey(const char *line)
{
	json_t *command = json_loads(line, 0, NULL);
	const char *name = string(command, "do");

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (name != NULL && strcmp(commands[i].name, name) == 0)
			commands[i].act(command, json_integer_value(get(command, "id")));
	}
	json_decref(command);
}

/* Lines are read without stdio, whose buffer poll() does not see. False: it has ended. */
static bool read_commands(void)
{
	static char buffer[1 << 16];
	static size_t length;
	ssize_t got = read(STDIN_FILENO, buffer + length, sizeof(buffer) - 1 - length);
	char *line = buffer, *end;

	if (got <= 0)
		return false;
	length += (size_t)got;
	buffer[length] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		obey(line);
		line = end + 1;
	}
	length -= (size_t)(line - buffer);
	memmove(buffer, line, length);
	return true;
}

int main(void)
{
	const struct itimerspec beat = {.it_interval = {.tv_nsec = 10000000},
					.it_value = {.tv_nsec = 10000000}};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t beats;

	timerfd_settime(timer, 0, &beat, NULL);
	for (;;) {
		struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
					 {.fd = timer, .events = POLLIN},
					 {.fd = ss != NULL ? safestart_event_fd(ss) : -1,
					  .events = POLLIN}};
		poll(ready, 3, -1);
		if (ready[1].revents != 0 && read(timer, &beats, sizeof(beats)) > 0)
			counts.heartbeat++;
		take_events();
		if (ready[0].revents != 0 && !read_commands())
			return 0;
		look_at_waits();
	}
}
