/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* callback_under_lock yes|no RUNS - an application with one big lock. Its threads hold it around
 * every call of the library; its callbacks take it too, and call every function back. `yes`: the
 * library's own threads; `no`: a thread of the application dispatches. Prints one line with the
 * result; exits 0 if no thread waited for ever and every result was the promised one. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALLERS 3
#define LIMIT_S 60

enum {
	PREPARE,
	RESTART,
	OUTCOME,
	RETIRE,
	RETIRE_NODE,
	LOG,
	KINDS
};

static const char *const kinds[KINDS] = {"prepare", "restart",     "outcome",
					 "retire",  "retire_node", "log"};

static struct safestart *handle;
static pthread_mutex_t application; /* the big lock; recursive: its owner may take it again */
static _Atomic unsigned long called[KINDS], calls, wrong;
static _Atomic bool stopping;
static bool shut; /* guarded by application */

static void is(bool fine, const char *what)
{
	atomic_fetch_add(&calls, 1);
	if (!fine && atomic_fetch_add(&wrong, 1) < 20)
		fprintf(stderr, "wrong: %s\n", what);
}

#define IS(condition) is(condition, #condition)

static void lock(const char *who)
{
	int error = pthread_mutex_lock(&application);

	if (error != 0) { /* a callback on a thread that is inside a call of its own */
		fprintf(stderr, "%s was called under the application's lock: %s\n", who,
			strerror(error));
		abort();
	}
}

static void unlock(void)
{
	pthread_mutex_unlock(&application);
}

static void push(unsigned random)
{
	char json[512], id[16];
	size_t length = (size_t)snprintf(json, sizeof(json), "[");

	for (unsigned i = 0; i < 4; i++)
		length += (size_t)
			snprintf(json + length, sizeof(json) - length,
				 "%s{\"targets\":[\"10.0.0.%u:%u\"],\"labels\":{\"id\":\"n%u\"}}",
				 i > 0 ? "," : "", i + 1, 1000 + random % 7, i);
	snprintf(json + length, sizeof(json) - length, "]");
	IS(safestart_nodes_replace(handle, json, NULL, NULL, 0) == 0);
	snprintf(id, sizeof(id), "extra-%u", random % 3);
	IS(safestart_node_announce(handle, id, "10.1.0.1:1", NULL, NULL) == 0);
	int result = safestart_node_withdraw(handle, id, NULL);
	IS(result == 0 || result == -ENOENT);
}

static void read_all(void)
{
	const struct safestart_snapshot *live = safestart_read_lock(handle);

	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		safestart_node_report(safestart_snapshot_at(live, i), i % 2 ? 0 : -EIO);
	safestart_read_unlock(handle);
	struct safestart_snapshot *owned = safestart_snapshot_acquire(handle);
	char *json = safestart_snapshot_json(owned);
	IS(json != NULL);
	safestart_free(json);
	safestart_snapshot_release(owned);
}

/* Everything that is allowed anywhere. */
static void call_everything(unsigned random)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	char why[64];

	IS(safestart_request_restart(handle) != 0);
	IS(safestart_request(handle, random % 2 ? SAFESTART_URGENT : SAFESTART_FORCE,
			     "under the lock") != 0);
	push(random);
	read_all();
	char *text = safestart_status_json(handle);
	IS(text != NULL);
	safestart_free(text);
	text = safestart_metrics_text(handle);
	IS(text != NULL);
	safestart_free(text);
	IS(safestart_node_state(handle, "n1", why, sizeof(why)) >= 0);
	int result = safestart_last_outcome(handle, &outcome);
	IS(result == 0 || result == -EAGAIN);
	(void)safestart_generation(handle);
	IS(safestart_fd(handle) >= 0);
	IS(safestart_after_fork(handle) == 0);
	IS(safestart_check(NULL, "[]", NULL, 0) == -ERANGE);
}

/* Calls that would wait for the callback in which they are made. */
static void wait_for_oneself(void)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = safestart_request_restart(handle);

	IS(safestart_wait(handle, ticket, -1, &outcome) == -EDEADLK);
	IS(safestart_wait_ready(handle, -1) == -EDEADLK);
	IS(safestart_dispatch(handle, -1) == -EDEADLK);
	IS(safestart_close(handle) == -EDEADLK);
}

/* Two handles share nothing: a callback may wait for another handle, and close it. */
static void use_another(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *other = NULL;

	IS(safestart_conf_set(conf, "source", "none", NULL, 0) == 0);
	IS(safestart_conf_set(conf, "debounce", "0", NULL, 0) == 0);
	IS(safestart_open(&other, conf, NULL, 0) == 0);
	IS(safestart_wait(other, safestart_request_restart(other), 30000, &outcome) == 0);
	IS(safestart_close(other) == 0);
	safestart_conf_free(conf);
}

static void call_back(int kind)
{
	unsigned long number = atomic_fetch_add(&called[kind], 1);

	lock(kinds[kind]);
	if (!shut) { /* otherwise close is in progress, and a request returns 0 */
		call_everything((unsigned)number);
		wait_for_oneself();
		if (kind <= OUTCOME && number % 16 == 0)
			use_another();
	}
	unlock();
}

/* ---- Callbacks ---- */

static int prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind;

	(void)user_data;
	call_back(PREPARE);
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind != SAFESTART_REMOVED)
			IS(safestart_run_set_node_data(run, node, malloc(8)) == 0);
	}
	safestart_run_set_data(run, malloc(8));
	IS(safestart_run_number(run) > 0 && safestart_run_current(run) != NULL &&
	   safestart_run_candidate(run) != NULL);
	return safestart_run_number(run) % 10 == 0 ? -EIO : 0; /* a retry now and then */
}

static int restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	call_back(RESTART);
	return 0;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome, (void)user_data;
	call_back(OUTCOME);
}

static void retire(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	call_back(RETIRE);
}

static void retire_node(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	call_back(RETIRE_NODE);
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
	call_back(LOG);
}

/* ---- Threads ---- */

static void *call(void *argument)
{
	unsigned random = (unsigned)(uintptr_t)argument;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	while (!atomic_load(&stopping)) {
		random = random * 1103515245 + 12345;
		lock("a caller");
		call_everything(random >> 16);
		/* No wait without limit here: callbacks need the lock. */
		int result = safestart_wait(handle, safestart_request_restart(handle), 1, &outcome);
		IS(result == 0 || result == -ETIMEDOUT);
		unlock();
		result = safestart_wait(handle, safestart_request_restart(handle), -1, &outcome);
		IS(result == 0);
	}
	return NULL;
}

static void *dispatch(void *unused)
{
	struct pollfd ready = {.fd = safestart_fd(handle), .events = POLLIN};
	int result = 0;

	(void)unused;
	while (result != -ECANCELED) {
		poll(&ready, 1, 1000);
		result = safestart_dispatch(handle, 0);
		IS(result == 0 || result == -ECANCELED);
	}
	return NULL;
}

static void open_handle(const char *thread)
{
	const struct safestart_callbacks callbacks = {
		.size = sizeof(callbacks),
		.prepare = prepare,
		.retire = retire,
		.log = on_log,
		.outcome = on_outcome,
		.retire_node = retire_node,
		.restart = restart,
	};
	struct safestart_conf *conf = safestart_conf_new();
	char why[256] = "out of memory";

	IS(safestart_conf_set_callbacks(conf, &callbacks, NULL) == 0);
	IS(safestart_conf_set(conf, "debounce", "1ms", why, sizeof(why)) == 0);
	IS(safestart_conf_set(conf, "max_delay", "2ms", why, sizeof(why)) == 0);
	IS(safestart_conf_set(conf, "retry_min", "1ms", why, sizeof(why)) == 0);
	IS(safestart_conf_set(conf, "thread", thread, why, sizeof(why)) == 0);
	if (safestart_open(&handle, conf, why, sizeof(why)) < 0) {
		fprintf(stderr, "%s\n", why);
		exit(2);
	}
	safestart_conf_free(conf);
}

static bool enough(unsigned long runs)
{
	for (int kind = PREPARE; kind < KINDS; kind++) {
		if (atomic_load(&called[kind]) < (kind == OUTCOME ? runs : 1))
			return false;
	}
	return true;
}

static void give_up(int status)
{
	printf("%s:", status == 0 ? "nothing waited for ever" : "stuck or wrong");
	for (int kind = PREPARE; kind < KINDS; kind++)
		printf(" %s %lu", kinds[kind], atomic_load(&called[kind]));
	printf(", %lu calls, %lu wrong\n", atomic_load(&calls), atomic_load(&wrong));
	fflush(stdout);
	_exit(status);
}

/* Waits until it is so, or for a minute without progress. */
static void await(unsigned long runs)
{
	const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
	unsigned long seen = 0;

	for (int still = 0; !enough(runs); still++) {
		if (atomic_load(&called[OUTCOME]) != seen)
			still = 0;
		seen = atomic_load(&called[OUTCOME]);
		if (still > LIMIT_S * 100)
			give_up(1);
		nanosleep(&moment, NULL);
	}
}

int main(int argc, char **argv)
{
	pthread_t callers[CALLERS], dispatcher;
	pthread_mutexattr_t errorcheck;
	bool threaded = argc == 3 && strcmp(argv[1], "yes") == 0;

	pthread_mutexattr_init(&errorcheck);
	pthread_mutexattr_settype(&errorcheck, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&application, &errorcheck);
	open_handle(threaded ? "yes" : "no");
	if (!threaded && pthread_create(&dispatcher, NULL, dispatch, NULL) != 0)
		return 2;
	for (uintptr_t i = 0; i < CALLERS; i++) {
		if (pthread_create(&callers[i], NULL, call, (void *)(i + 1)) != 0)
			return 2;
	}
	await(strtoul(argv[argc - 1], NULL, 10));
	atomic_store(&stopping, true);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
	lock("main");
	shut = true;
	IS(safestart_shutdown(handle) == 0);
	unlock();
	if (!threaded)
		pthread_join(dispatcher, NULL);
	IS(safestart_close(handle) == 0);
	pthread_mutexattr_destroy(&errorcheck);
	pthread_mutex_destroy(&application);
	give_up(atomic_load(&wrong) > 0);
}
