/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* handle: Safestart\Handle, by which a request uses what its process holds. */
#include <errno.h>
#include <time.h>

#include "php_safestart.h"

#include <zend_enum.h>

static zend_object_handlers handle_handlers;

static zend_object *handle_create(zend_class_entry *class)
{
	struct handle *handle = zend_object_alloc(sizeof(*handle), class);

	handle->held = NULL;
	zend_object_std_init(&handle->std, class);
	object_properties_init(&handle->std, class);
	handle->std.handlers = &handle_handlers;
	return &handle->std;
}

/* In a child nothing of the parent's is used, and nothing is closed: it is the parent's. */
static bool make_own(struct held *held)
{
	forget_runs(held, false);
	held->inside = 0;
	zval_ptr_dtor(&held->nodes);
	ZVAL_UNDEF(&held->nodes);
	zend_hash_clean(&held->objects);
	zend_hash_clean(&held->strings);
	int error = safestart_after_fork(held->ss);
	if (error < 0)
		throw_error(error, NULL);
	return error == 0;
}

struct held *held_of(zend_object *object)
{
	struct held *held = CONTAINER(handle, object)->held;

	if (held == NULL || held->ss == NULL) {
		throw_error(-ECANCELED, "the handle is closed");
		return NULL;
	}
	return safestart_forked(held->ss) != 1 || make_own(held) ? held : NULL;
}

/* ---- $handle->nodes and $handle->generation: a look without a call ---- */

static zval *handle_read_property(zend_object *object, zend_string *name, int type,
				  void **cache_slot, zval *scratch)
{
	struct held *held = CONTAINER(handle, object)->held;
	bool nodes = zend_string_equals_literal(name, "nodes");

	if (!nodes && !zend_string_equals_literal(name, "generation"))
		return zend_std_read_property(object, name, type, cache_slot, scratch);
	if (held == NULL || held->ss == NULL || safestart_forked(held->ss) == 1)
		held = held_of(object);
	if (held == NULL)
		return &EG(uninitialized_zval);
	refresh_nodes(held);
	if (nodes)
		ZVAL_COPY(scratch, &held->nodes);
	else
		ZVAL_LONG(scratch, (zend_long)held->generation);
	return scratch;
}

static zval *handle_write_property(zend_object *object, zend_string *name, zval *value,
				   void **cache_slot)
{
	zend_throw_error(NULL, "Cannot modify Safestart\\Handle::$%s", ZSTR_VAL(name));
	return &EG(error_zval);
}

/* A write into what hangs on $handle->nodes['a'] begins by a read, too. */
static zval *handle_no_pointer(zend_object *object, zend_string *name, int type, void **cache_slot)
{
	return NULL;
}

/* ---- Requests and their outcomes ---- */

static void return_ticket(zval *return_value, int error, uint64_t ticket, const char *why)
{
	if (error < 0)
		throw_error(error, why);
	else
		ZVAL_LONG(return_value, (zend_long)ticket);
}

PHP_METHOD(Safestart_Handle, request)
{
	char *reason = NULL;
	size_t length;
	bool force = false, urgent = false;

	ZEND_PARSE_PARAMETERS_START(0, 3)
	Z_PARAM_OPTIONAL
	Z_PARAM_STRING_OR_NULL(reason, length)
	Z_PARAM_BOOL(force)
	Z_PARAM_BOOL(urgent)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	uint64_t ticket =
		safestart_request(held->ss,
				  (force ? SAFESTART_FORCE : 0) | (urgent ? SAFESTART_URGENT : 0),
				  reason);
	return_ticket(return_value, ticket == 0 ? -ECANCELED : 0, ticket,
		      "the handle was shut down");
}

PHP_METHOD(Safestart_Handle, replace)
{
	char *json, why[512] = "";
	size_t length;
	uint64_t ticket = 0;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_STRING(json, length)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	int error = safestart_nodes_replace(held->ss, json, &ticket, why, sizeof(why));
	return_ticket(return_value, error, ticket, why);
}

PHP_METHOD(Safestart_Handle, announce)
{
	char *id, *address, *incarnation = NULL;
	size_t length;
	uint64_t ticket = 0;

	ZEND_PARSE_PARAMETERS_START(2, 3)
	Z_PARAM_PATH(id, length)
	Z_PARAM_PATH(address, length)
	Z_PARAM_OPTIONAL
	Z_PARAM_PATH_OR_NULL(incarnation, length)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	int error = safestart_node_announce(held->ss, id, address, incarnation, &ticket);
	return_ticket(return_value, error, ticket, NULL);
}

PHP_METHOD(Safestart_Handle, withdraw)
{
	char *id;
	size_t length;
	uint64_t ticket = 0;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_PATH(id, length)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	int error = safestart_node_withdraw(held->ss, id, &ticket);
	return_ticket(return_value, error, ticket, NULL);
}

static void set_enum(zend_object *object, const char *name, zend_class_entry *of, const char *which)
{
	zval value;

	ZVAL_OBJ_COPY(&value, zend_enum_get_case_cstr(of, which));
	zend_update_property(object->ce, object, name, strlen(name), &value);
	zval_ptr_dtor(&value);
}

static void return_outcome(zval *return_value, const struct safestart_outcome *outcome)
{
	static const char *const verdicts[] = {"Applied", "Unchanged", "Refused",
					       "Failed",  "TimedOut",  "Cancelled"};

	object_init_ex(return_value, outcome_class);
	zend_object *object = Z_OBJ_P(return_value);
	set_enum(object, "verdict", verdict_enum, verdicts[outcome->verdict]);
	set_long(object, "code", outcome->error);
	set_string(object, "message", outcome->message);
	set_long(object, "run", (zend_long)outcome->run);
	set_long(object, "generation", (zend_long)outcome->generation);
	set_long(object, "requests", (zend_long)outcome->requests);
	set_long(object, "attempts", outcome->attempts);
	set_long(object, "quarantined", outcome->quarantined);
	set_long(object, "ticket", (zend_long)outcome->ticket);
	set_long(object, "status", outcome->status);
	set_long(object, "pid", outcome->pid);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Seconds, or null for no limit, as a moment; -1: never. */
static int64_t limit_of(double seconds, bool is_null)
{
	if (is_null || seconds > 1e12)
		return -1;
	return now_ms() + (int64_t)(seconds > 0 ? seconds * 1000 : 0);
}

static int64_t left_ms(int64_t limit)
{
	int64_t left = limit - now_ms();

	return limit < 0 ? -1 : left > 0 ? left : 0;
}

/* Asks until it is answered, and takes events meanwhile. Returns: 0 answered; -ETIMEDOUT; -EINTR:
 * an exception was thrown. */
static int ask_until(zval *this, int (*ask)(struct held *held, int timeout_ms, void *question),
		     void *question, int64_t limit)
{
	for (;;) {
		struct held *held = held_of(Z_OBJ_P(this));
		if (held == NULL)
			return -EINTR;
		if (held->inside > 0) {
			throw_error(-EDEADLK,
				    "a wait inside prepare, restart, close or log would wait "
				    "for itself");
			return -EINTR;
		}
		take_events(held);
		if (EG(exception) != NULL)
			return -EINTR;
		int64_t left = left_ms(limit);
		/* With closures it is events that wake the wait; without, the library does. */
		int slice = held->pulls ? 0 : left < 0 || left > 50 ? 50 : (int)left;
		int result = ask(held, slice, question);
		if (result == 0)
			return 0;
		if (result != -ETIMEDOUT) {
			throw_error(result, NULL);
			return -EINTR;
		}
		left = left_ms(limit);
		if (left == 0)
			return -ETIMEDOUT;
		if (!wait_for_events(held, held->pulls ? left : 0))
			return -EINTR;
	}
}

struct question {
	uint64_t ticket;
	struct safestart_outcome outcome;
};

static int ask_for_outcome(struct held *held, int timeout_ms, void *data)
{
	struct question *question = data;

	return safestart_wait(held->ss, question->ticket, timeout_ms, &question->outcome);
}

static int ask_whether_ready(struct held *held, int timeout_ms, void *data)
{
	return safestart_wait_ready(held->ss, timeout_ms);
}

PHP_METHOD(Safestart_Handle, wait)
{
	struct question question = {.outcome.size = sizeof(question.outcome)};
	zend_long ticket;
	double timeout = 0;
	bool no_timeout = true;

	ZEND_PARSE_PARAMETERS_START(1, 2)
	Z_PARAM_LONG(ticket)
	Z_PARAM_OPTIONAL
	Z_PARAM_DOUBLE_OR_NULL(timeout, no_timeout)
	ZEND_PARSE_PARAMETERS_END();
	question.ticket = (uint64_t)ticket;
	if (ask_until(ZEND_THIS, ask_for_outcome, &question, limit_of(timeout, no_timeout)) == 0)
		return_outcome(return_value, &question.outcome);
}

PHP_METHOD(Safestart_Handle, waitReady)
{
	double timeout = 0;
	bool no_timeout = true;

	ZEND_PARSE_PARAMETERS_START(0, 1)
	Z_PARAM_OPTIONAL
	Z_PARAM_DOUBLE_OR_NULL(timeout, no_timeout)
	ZEND_PARSE_PARAMETERS_END();
	RETURN_BOOL(ask_until(ZEND_THIS, ask_whether_ready, NULL, limit_of(timeout, no_timeout)) ==
		    0);
}

PHP_METHOD(Safestart_Handle, poll)
{
	double timeout = 0;
	bool no_timeout = false;

	ZEND_PARSE_PARAMETERS_START(0, 1)
	Z_PARAM_OPTIONAL
	Z_PARAM_DOUBLE_OR_NULL(timeout, no_timeout)
	ZEND_PARSE_PARAMETERS_END();
	int64_t limit = limit_of(timeout, no_timeout);
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	while (held != NULL && left_ms(limit) != 0 && wait_for_events(held, left_ms(limit)))
		take_events(held);
	if (held != NULL)
		take_events(held);
}

PHP_METHOD(Safestart_Handle, fd)
{
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	RETURN_LONG(held->pulls ? safestart_event_fd(held->ss) : -1);
}

PHP_METHOD(Safestart_Handle, lastOutcome)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	int error = safestart_last_outcome(held->ss, &outcome);
	if (error == 0)
		return_outcome(return_value, &outcome);
	else if (error != -EAGAIN)
		throw_error(error, NULL);
}

/* ---- Reports and status ---- */

/* Another entry may have this id by now: a Node stands for its own only. */
static bool is_live(struct held *held, zend_string *id, zend_object *node)
{
	refresh_nodes(held);
	zval *live = zend_symtable_find(Z_ARRVAL(held->nodes), id);
	return live != NULL && (node == NULL || Z_OBJ_P(live) == node);
}

PHP_METHOD(Safestart_Handle, report)
{
	zend_object *node = NULL;
	zend_string *id = NULL;
	zend_long error = 0;
	zval scratch;

	ZEND_PARSE_PARAMETERS_START(1, 2)
	Z_PARAM_OBJ_OF_CLASS_OR_STR(node, node_class, id)
	Z_PARAM_OPTIONAL
	Z_PARAM_LONG(error)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	if (node != NULL)
		id = Z_STR_P(
			zend_read_property(node_class, node, ZEND_STRL("id"), false, &scratch));
	while (is_live(held, id, node)) {
		const struct safestart_snapshot *live = safestart_read_lock(held->ss);
		bool same = safestart_snapshot_generation(live) == held->generation;
		if (same)
			safestart_node_report(safestart_snapshot_find(live, ZSTR_VAL(id)),
					      (int)error);
		safestart_read_unlock(held->ss);
		if (same)
			return;
	}
}

PHP_METHOD(Safestart_Handle, state)
{
	static const char *const states[] = {"Unknown", "Announced",   "Applied", "Proven",
					     "Failing", "Quarantined", "Retired"};
	char *id, why[512] = "";
	size_t length;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_PATH(id, length)
	ZEND_PARSE_PARAMETERS_END();
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));
	if (held == NULL)
		RETURN_THROWS();
	int state = safestart_node_state(held->ss, id, why, sizeof(why));
	object_init_ex(return_value, state_class);
	set_enum(Z_OBJ_P(return_value), "state", state_enum, states[state]);
	set_string(Z_OBJ_P(return_value), "why", why);
}

static void return_text(zval *return_value, char *text)
{
	if (text == NULL) {
		throw_error(-ENOMEM, NULL);
		return;
	}
	ZVAL_STRING(return_value, text);
	safestart_free(text);
}

PHP_METHOD(Safestart_Handle, status)
{
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	return_text(return_value, safestart_status_json(held->ss));
}

PHP_METHOD(Safestart_Handle, metrics)
{
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	return_text(return_value, safestart_metrics_text(held->ss));
}

/* ---- Fork and the end ---- */

PHP_METHOD(Safestart_Handle, afterFork)
{
	HashTable *settings = NULL;
	struct held *held = CONTAINER(handle, Z_OBJ_P(ZEND_THIS))->held;
	zend_string *key;
	zval *value;
	char why[512] = "";

	ZEND_PARSE_PARAMETERS_START(0, 1)
	Z_PARAM_OPTIONAL
	Z_PARAM_ARRAY_HT(settings)
	ZEND_PARSE_PARAMETERS_END();
	if (held == NULL || held->ss == NULL) {
		held_of(Z_OBJ_P(ZEND_THIS)); /* says so */
		RETURN_THROWS();
	}
	if (settings != NULL) {
		ZEND_HASH_FOREACH_STR_KEY_VAL(settings, key, value)
		{
			zend_string *text = zval_get_string(value);
			int error =
				safestart_after_fork_set(held->ss, key != NULL ? ZSTR_VAL(key) : "",
							 ZSTR_VAL(text), why, sizeof(why));
			zend_string_release(text);
			if (error < 0) {
				throw_error(error, why);
				RETURN_THROWS();
			}
		}
		ZEND_HASH_FOREACH_END();
	}
	if (safestart_forked(held->ss) == 1)
		make_own(held);
	else if (safestart_after_fork(held->ss) < 0) /* start=after_fork, where it was opened */
		throw_error(-EAGAIN, NULL);
}

PHP_METHOD(Safestart_Handle, shutdown)
{
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	safestart_shutdown(held->ss);
}

void init_handle(void)
{
	handle_class->create_object = handle_create;
	memcpy(&handle_handlers, &std_object_handlers, sizeof(handle_handlers));
	handle_handlers.offset = XtOffsetOf(struct handle, std);
	handle_handlers.clone_obj = NULL;
	handle_handlers.read_property = handle_read_property;
	handle_handlers.write_property = handle_write_property;
	handle_handlers.get_property_ptr_ptr = handle_no_pointer;
}
