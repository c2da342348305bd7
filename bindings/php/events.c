/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: taken at the start of a request and in its waits, on PHP's own thread. */
#include <errno.h>
#include <poll.h>
#include <syslog.h>

#include "php_safestart.h"

#include <main/php_main.h>
#include <zend_exceptions.h>
#include <zend_interfaces.h>

/* ---- Data, by the number that the library knows it by ---- */

uint64_t keep_data(struct held *held, zval *data)
{
	uint64_t key = ++held->newest_key;
	zval own;

	if (Z_TYPE_P(data) == IS_STRING) {
		ZVAL_STR(&own, zend_string_init(Z_STRVAL_P(data), Z_STRLEN_P(data), true));
		zend_hash_index_update(&held->strings, key, &own);
	} else {
		ZVAL_COPY(&own, data);
		zend_hash_index_update(&held->objects, key, &own);
	}
	return key;
}

/* Not below 0 in a child that was forked inside the closure. */
void leave_closure(struct held *held)
{
	if (held->inside > 0)
		held->inside--;
}

static void close_object(struct held *held, zval *object)
{
	zend_string *close = zend_string_init(ZEND_STRL("close"), false);
	zval result;

	ZVAL_UNDEF(&result);
	held->inside++;
	zend_call_method_if_exists(Z_OBJ_P(object), close, &result, 0, NULL);
	leave_closure(held);
	zval_ptr_dtor(&result);
	zend_string_release(close);
}

void drop_data(struct held *held, uint64_t key, bool close)
{
	zval *found = zend_hash_index_find(&held->objects, key), object;

	zend_hash_index_del(&held->strings, key);
	if (found == NULL)
		return;
	ZVAL_COPY(&object, found);
	zend_hash_index_del(&held->objects, key);
	if (close)
		close_object(held, &object);
	zval_ptr_dtor(&object);
}

void held_close_objects(struct held *held)
{
	zval *first;
	HashPosition position;
	zend_ulong key;

	for (;;) {
		zend_hash_internal_pointer_reset_ex(&held->objects, &position);
		first = zend_hash_get_current_data_ex(&held->objects, &position);
		if (first == NULL || zend_hash_get_current_key_ex(&held->objects, NULL, &key,
								  &position) != HASH_KEY_IS_LONG)
			return;
		drop_data(held, key, true);
	}
}

void copy_data(struct held *held, uint64_t key, zval *to)
{
	zval *found = zend_hash_index_find(&held->objects, key);

	ZVAL_NULL(to);
	if (found != NULL)
		ZVAL_COPY(to, found);
	else if ((found = zend_hash_index_find(&held->strings, key)) != NULL)
		ZVAL_STRINGL(to, Z_STRVAL_P(found), Z_STRLEN_P(found)); /* the request's own */
}

/* ---- Events ---- */

static void log_line(struct held *held, int level, const char *text)
{
	zval arguments[2], result;

	if (Z_ISUNDEF(held->log)) {
		if (level <= LOG_WARNING)
			php_log_err_with_severity(text, level);
		return;
	}
	ZVAL_LONG(&arguments[0], level);
	ZVAL_STRING(&arguments[1], text);
	ZVAL_UNDEF(&result);
	held->inside++;
	call_user_function(NULL, NULL, &held->log, &result, 2, arguments);
	leave_closure(held);
	zval_ptr_dtor(&arguments[1]);
	zval_ptr_dtor(&result);
}

static void take(struct held *held, const struct safestart_event *event)
{
	switch (event->kind) {
	case SAFESTART_EVENT_PREPARE: call_with_run(held, event->run, &held->prepare); break;
	case SAFESTART_EVENT_RESTART: call_with_run(held, event->run, &held->restart); break;
	case SAFESTART_EVENT_RETIRE:
	case SAFESTART_EVENT_RETIRE_NODE: drop_data(held, event->key, true); break;
	case SAFESTART_EVENT_LOG: log_line(held, event->level, event->text); break;
	default: break;
	}
}

/* What a closure throws that belongs to no run, such as a log's, is thrown where events are taken.
 */
void take_events(struct held *held)
{
	struct safestart_event event = {.size = sizeof(event)};

	/* A closure that takes events would take those that it is in the middle of. */
	while (held->pulls && held->inside == 0 && held->ss != NULL && EG(exception) == NULL &&
	       safestart_next_event(held->ss, &event) == 1)
		take(held, &event);
}

/* A signal handler of the application's, and max_execution_time. True: the wait is over. */
static bool interrupted(void)
{
	bool timed_out = zend_atomic_bool_load_ex(&EG(timed_out));

	if (zend_atomic_bool_load_ex(&EG(vm_interrupt)) && !timed_out &&
	    zend_interrupt_function != NULL) {
		zend_atomic_bool_store_ex(&EG(vm_interrupt), false);
		zend_interrupt_function(EG(current_execute_data));
	}
	return EG(exception) != NULL || timed_out;
}

bool wait_for_events(struct held *held, int64_t timeout_ms)
{
	enum {
		SLICE_MS = 50 /* how late a signal that came just before is seen */
	};
	int wait_ms = timeout_ms < 0 || timeout_ms > SLICE_MS ? SLICE_MS : (int)timeout_ms;
	struct pollfd readable = {.fd = held->pulls ? safestart_event_fd(held->ss) : -1,
				  .events = POLLIN};

	if (!interrupted())
		poll(&readable, 1, wait_ms);
	return !interrupted();
}
