/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stress/life.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct life now;

const char *life_name(void)
{
	static char text[256];
	Dl_info info = {0};

	if (now.site.call == NULL)
		return now.scene;
	dladdr(now.site.where, &info);
	snprintf(text, sizeof(text), "%s, %s at %#lx, time %u: %s%s", now.scene, now.site.call,
		 (unsigned long)((const char *)now.site.where - (const char *)info.dli_fbase),
		 now.nth, now.error == FAILING_SHORT ? "short" : strerrorname_np(now.error),
		 now.lasting ? ", lasting" : "");
	return text;
}

void pass_a_moment(void)
{
	if (now.driven && now.ss != NULL)
		safestart_dispatch(now.ss, 1);
	else
		pause_a_moment();
}

/* A signal in between, or less than was requested: the library has to hide it. */
bool is_to_go_unnoticed(void)
{
	return now.error == FAILING_SHORT ||
	       (now.error == EINTR &&
		(strcmp(now.site.call, "read") == 0 || strcmp(now.site.call, "write") == 0 ||
		 strcmp(now.site.call, "epoll_wait") == 0));
}

/* A step has failed. It may, if a call was made to fail, with that error and a message. It has
 * to work the next time, or when a lasting failure has ended: twice is enough. */
void excuse(int error, const char *words)
{
	ck_assert_msg(failing_injected() > now.excused, "%s: %d for no reason: %s", life_name(),
		      error, words != NULL ? words : "");
	ck_assert_msg(error == -now.error && !is_to_go_unnoticed(), "%s: %d: %s", life_name(),
		      error, words != NULL ? words : "");
	ck_assert_msg(words == NULL || strstr(words, safestart_strerror(error)) != NULL ||
			      (error == -ENOMEM && strstr(words, "out of memory") != NULL),
		      "%s: %s", life_name(), words);
	if (!now.lasting || ++now.excused >= 2) {
		now.excused = failing_injected();
		failing_stop();
	}
}

/* ---- The application ---- */

/* Our data for a node; with NULL for the generation. */
static int hang(struct safestart_run *run, const struct safestart_node *node)
{
	void *data = malloc(8);

	now.hung++;
	if (node == NULL)
		safestart_run_set_data(run, data);
	int error = node != NULL ? safestart_run_set_node_data(run, node, data) : 0;
	if (error < 0) {
		free(data);
		now.hung--;
	}
	return error;
}

int life_prepare(struct safestart_run *run)
{
	const struct safestart_node *node;
	int kind, error = 0;

	for (size_t i = 0; error == 0 && (node = safestart_run_change(run, i, &kind)) != NULL;
	     i++) {
		if (kind == SAFESTART_REMOVED)
			continue;
		error = hang(run, node);
		if (error == 0 && strcmp(safestart_node_id(node), "r") == 0)
			error = safestart_run_reject(run, "r", "told to");
	}
	return error < 0 ? error : hang(run, NULL);
}

static int prepare(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return life_prepare(run);
}

static int prepare_later(struct safestart_run *run, void *user_data)
{
	safestart_run_finish(run, prepare(run, user_data));
	return SAFESTART_LATER;
}

static int restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	return 0;
}

void life_retire(void *data)
{
	free(data);
	now.retired++;
}

static void retire(void *data, void *user_data)
{
	(void)user_data;
	life_retire(data);
}

static void outcome(const struct safestart_outcome *ended, void *user_data)
{
	(void)ended, (void)user_data;
	now.outcomes++;
}

static void log_line(int level, const char *message, void *user_data)
{
	(void)level, (void)user_data;
	if (strstr(message, "inotify") != NULL || strstr(message, "cannot watch") != NULL)
		now.said_inotify = true;
	if (strstr(message, "is not up to date") != NULL)
		now.said_stale = true;
}

/* ---- Steps: each works in the end, or fails with a message ---- */

void set(struct safestart_conf *conf, const char *key, const char *value)
{
	char why[256];
	int error;

	while ((error = safestart_conf_set(conf, key, value, why, sizeof(why))) < 0)
		excuse(error, why);
}

struct safestart_conf *new_conf(void)
{
	struct safestart_conf *conf;

	while ((conf = safestart_conf_new()) == NULL)
		excuse(-ENOMEM, NULL);
	set(conf, "name", "calls");
	set(conf, "debounce", "0");
	set(conf, "retry_min", "1ms");
	set(conf, "retry_max", "5ms");
	/* Without a thread close() waits that long, in vain. */
	set(conf, "run_timeout",
	    now.lasting && strncmp(now.site.call, "pthread_", 8) == 0 ? "3s" : "10s");
	set(conf, "thread", now.driven ? "no" : "yes");
	return conf;
}

/* Consumes conf. */
void opens(struct safestart_conf *conf, bool later)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = later ? prepare_later : prepare,
						      .retire = retire,
						      .log = log_line,
						      .outcome = outcome,
						      .retire_node = retire,
						      .restart = later ? restart : NULL};
	int descriptors = open_descriptors(), error;
	char why[256];

	if (now.pulled)
		set(conf, "events", "pull");
	else
		ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	while ((error = safestart_open(&now.ss, conf, why, sizeof(why))) < 0) {
		excuse(error, why);
		TRUE(now.ss == NULL && open_descriptors() == descriptors);
	}
	safestart_conf_free(conf);
	if (now.pulled)
		life_begin_taking();
}

/* A generation goes live with all data that was attached to it. */
static bool has_its_data(void)
{
	const struct safestart_snapshot *live = safestart_read_lock(now.ss);
	bool has = safestart_snapshot_data(live) != NULL;

	const char *host = safestart_node_host(safestart_snapshot_find(live, "b"));
	ck_assert_msg(strcmp(host, "h2") == 0 || strcmp(host, "storage-9.example.org") == 0,
		      "%s: %s", life_name(), host);
	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		has = has && safestart_node_data(safestart_snapshot_at(live, i)) != NULL;
	safestart_read_unlock(now.ss);
	return has;
}

/* Are these nodes live? Until they are, the old set has to be live. */
static bool are_live(const char *ids, const char *before)
{
	const char *live = live_ids(now.ss);
	bool so = strcmp(live, ids) == 0;

	ck_assert_msg(so || strcmp(live, before) == 0, "%s: neither %s nor %s: %s", life_name(),
		      ids, before, live);
	return so;
}

void becomes(const char *ids)
{
	char before[256];

	snprintf(before, sizeof(before), "%s", live_ids(now.ss));
	UNTIL(are_live(ids, before));
	TRUE(has_its_data());
}

/* A request has one outcome, and a true one. `refused`: the source is unusable. */
void answers(uint64_t ticket, bool refused)
{
	struct safestart_outcome ended = {.size = sizeof(ended)};

	TRUE(ticket != 0);
	int result = safestart_wait(now.ss, ticket, now.lasting ? 50 : 20000, &ended);
	/* There is no memory for a run, and so none for an outcome. */
	if (result == -ETIMEDOUT && now.lasting) {
		failing_stop();
		result = safestart_wait(now.ss, ticket, 20000, &ended);
	}
	ck_assert_msg(result == 0, "%s: %d: %s", life_name(), result, ended.message);
	if (ended.verdict <= SAFESTART_UNCHANGED || (refused && ended.verdict == SAFESTART_REFUSED))
		return;
	ck_assert_msg(ended.verdict == SAFESTART_FAILED &&
			      strstr(ended.message, "retrying in") != NULL,
		      "%s: %d: %s", life_name(), ended.verdict, ended.message);
	excuse(ended.error, ended.message);
}

void pushes(const char *document, const char *ids)
{
	uint64_t ticket;
	char why[256];
	int error;

	while ((error = safestart_nodes_replace(now.ss, document, &ticket, why, sizeof(why))) < 0)
		excuse(error, why);
	answers(ticket, false);
	becomes(ids);
}

void edits(const char *id, const char *address, const char *ids)
{
	uint64_t ticket;
	int error;

	while ((error = address != NULL
				? safestart_node_announce(now.ss, id, address, "i1", &ticket)
				: safestart_node_withdraw(now.ss, id, &ticket)) < 0)
		excuse(error, NULL);
	answers(ticket, false);
	becomes(ids);
}

/* What is reported is complete, or not there at all. */
void tells(void)
{
	static const char *const parts[] = {"\"summary\":",
					    "\"name\":\"calls\"",
					    "\"version\":",
					    "\"pid\":",
					    "\"serves\":",
					    "\"shut_down\":",
					    "\"source\":",
					    "\"generation\":",
					    "\"digest\":\"",
					    "\"desired_digest\":\"",
					    "\"behind_seconds\":",
					    "\"requests\":",
					    "\"runs\":{\"applied\":",
					    "\"cancelled\":",
					    "\"callback\":",
					    "\"last\":{",
					    "\"message\":",
					    "\"run\":",
					    "\"unfinished_later\":",
					    "\"next_run_in_seconds\":",
					    "\"oldest_reader\":",
					    "\"last_good\":{",
					    "\"id\":\"a\"",
					    "\"id\":\"c\"",
					    "\"address\":\"storage-9.example.org:1\""};
	char *text, *end, why[256];
	int state;

	while ((text = safestart_status_json(now.ss)) == NULL)
		excuse(-ENOMEM, NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_msg(strstr(text, parts[i]) != NULL, "%s: no %s in %s", life_name(),
			      parts[i], text);
	safestart_free(text);
	while ((text = safestart_metrics_text(now.ss)) == NULL)
		excuse(-ENOMEM, NULL);
	end = strstr(text, "safestart_wedged_callbacks{name=\"calls\"} ");
	TRUE(end != NULL && end[strlen(end) - 1] == '\n');
	safestart_free(text);
	while ((state = safestart_node_state(now.ss, "a", why, sizeof(why))) < 0)
		excuse(state, NULL);
	TRUE(state == SAFESTART_NODE_APPLIED);
	struct safestart_snapshot *live = safestart_snapshot_acquire(now.ss);
	while ((text = safestart_snapshot_json(live)) == NULL)
		excuse(-ENOMEM, NULL);
	safestart_snapshot_release(live);
	/* Up to "c"; "d" may follow. */
	ck_assert_msg(strncmp(text, ABC, strlen(ABC) - 1) == 0 && text[strlen(text) - 1] == ']',
		      "%s: %s", life_name(), text);
	safestart_free(text);
}

bool asks(const char *path, const char *line, const char *words)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = now.lasting ? 0 : 10, .tv_usec = 30000};
	char answer[16384];
	size_t length = 0;
	ssize_t n = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(fd, line, strlen(line), MSG_NOSIGNAL) > 0) {
		shutdown(fd, SHUT_WR);
		while (length < sizeof(answer) - 1 &&
		       (n = recv(fd, answer + length, sizeof(answer) - 1 - length, 0)) > 0) {
			length += (size_t)n;
			answer[length] = '\0';
			if (answer[length - 1] == '\n' && strstr(answer, words) != NULL)
				break;
		}
	}
	/* The client may be disconnected, but must not be left waiting. */
	ck_assert_msg(n >= 0 || errno == ECONNRESET || now.lasting,
		      "%s: asked %s, got \"%.*s\", then: %s", life_name(), line, (int)length,
		      answer, strerror(errno));
	close(fd);
	answer[length] = '\0';
	return length > 0 && answer[length - 1] == '\n' && strstr(answer, words) != NULL;
}

bool has_words(const char *path, const char *words)
{
	char text[1024] = "";
	FILE *file = fopen(path, "re");

	if (file != NULL) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	/* Complete, or not there. */
	size_t length = strlen(text);
	ck_assert_msg(length == 0 || (text[0] == '[' && text[length - 1] == ']'), "%s: %s: %s",
		      life_name(), path, text);
	return strstr(text, words) != NULL;
}

void closes(void)
{
	if (now.pulled)
		life_end_taking();
	int64_t begun = now_ms();
	int result = safestart_close(now.ss);

	if (result == -ETIMEDOUT && now.lasting) { /* no thread for the work that is due */
		failing_stop();
		begun = now_ms();
		result = safestart_close(now.ss);
	}
	TRUE(result == 0 && now_ms() - begun < 8000);
	now.ss = NULL;
	if (now.pulled)
		life_give_back();
}
