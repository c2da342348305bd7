// SPDX-License-Identifier: LGPL-2.1-or-later
/* handle: a handle's life in one JavaScript environment: open, events by the event loop, close, and
 * the end of an environment that did not close it (a worker that is terminated, for example). */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>

static void disown(struct handle *h)
{
	if (--h->owners == 0)
		free(h);
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	disown(data);
}

/* Call a function of JavaScript from the event loop. What it throws is an uncaught exception, as
 * that of any other callback of Node's. */
static void call(struct handle *h, napi_ref function, size_t count, const int *argument)
{
	napi_value receiver, value, arguments[1];
	napi_handle_scope scope;

	if (function == NULL || napi_open_handle_scope(h->env, &scope) != napi_ok)
		return;
	if (count > 0)
		arguments[0] = number(h->env, *argument);
	if (napi_get_reference_value(h->env, function, &value) == napi_ok &&
	    napi_get_global(h->env, &receiver) == napi_ok &&
	    napi_make_callback(h->env, h->context, receiver, value, count, arguments, NULL) ==
		    napi_pending_exception) {
		napi_value exception;

		if (napi_get_and_clear_last_exception(h->env, &exception) == napi_ok)
			napi_fatal_exception(h->env, exception);
	}
	napi_close_handle_scope(h->env, scope);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct handle *h = poll->data;

	(void)status;
	(void)events;
	call(h, h->wake, 0, NULL);
}

/* The hook holds the environment until libuv is done with the poll handle. */
static void on_poll_closed(uv_handle_t *poll)
{
	struct handle *h = poll->data;

	napi_remove_async_cleanup_hook(h->hook);
	disown(h);
}

static void let_go(struct handle *h)
{
	h->ss = NULL;
	if (h->wake != NULL)
		napi_delete_reference(h->env, h->wake);
	if (h->closed != NULL)
		napi_delete_reference(h->env, h->closed);
	h->wake = h->closed = NULL;
	napi_async_destroy(h->env, h->context);
	uv_close((uv_handle_t *)&h->poll, on_poll_closed);
}

/* The environment ends, and the handle is open. A close that is on its way goes on, and ends here
 * too: the event loop is kept going until the hook is removed. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data)
{
	struct handle *h = data;

	(void)hook;
	h->teardown = true;
	if (h->closing)
		return;
	uv_poll_stop(&h->poll);
	/* If it gives up, because its source hangs, the handle is left as it is. */
	(void)safestart_close(h->ss);
	let_go(h);
}

#define THROWN 1 /* an exception is pending */

static int configure_one(napi_env env, napi_value pair, struct safestart_conf *conf, char *why,
			 size_t why_size)
{
	char *text[2] = {NULL, NULL};
	int result = 0;

	for (uint32_t i = 0; i < 2 && result == 0; i++) {
		napi_value part;

		if (napi_get_element(env, pair, i, &part) != napi_ok ||
		    !read_string(env, part, &text[i]))
			result = THROWN;
	}
	if (result == 0)
		result = safestart_conf_set(conf, text[0], text[1], why, why_size);
	free(text[0]);
	free(text[1]);
	return result;
}

static int configure(napi_env env, napi_value settings, struct safestart_conf *conf, char *why,
		     size_t why_size)
{
	uint32_t length = 0;
	int result = 0;

	napi_get_array_length(env, settings, &length);
	for (uint32_t i = 0; i < length && result == 0; i++) {
		napi_value pair;

		napi_get_element(env, settings, i, &pair);
		result = configure_one(env, pair, conf, why, why_size);
	}
	return result;
}

static int open_library(napi_env env, napi_value settings, struct safestart **ss, char *why,
			size_t why_size)
{
	struct safestart_conf *conf = safestart_conf_new();
	int result = conf == NULL ? -ENOMEM : configure(env, settings, conf, why, why_size);

	if (result == 0)
		result = safestart_conf_set(conf, "events", "pull", why, why_size);
	if (result == 0)
		result = safestart_open(ss, conf, why, why_size);
	safestart_conf_free(conf);
	return result;
}

/* From here on the event loop calls `wake`, and the end of the environment closes the handle. */
static int attach(struct handle *h, napi_value wake)
{
	napi_value name = string(h->env, "safestart");
	uv_loop_t *loop;
	int result;

	if (napi_get_uv_event_loop(h->env, &loop) != napi_ok ||
	    napi_async_init(h->env, NULL, name, &h->context) != napi_ok)
		return -EINVAL;
	result = uv_poll_init(loop, &h->poll, safestart_event_fd(h->ss));
	if (result < 0) {
		napi_async_destroy(h->env, h->context);
		return result;
	}
	h->poll.data = h;
	h->owners++;
	uv_unref((uv_handle_t *)&h->poll);
	uv_poll_start(&h->poll, UV_READABLE, on_event);
	napi_create_reference(h->env, wake, 1, &h->wake);
	napi_add_async_cleanup_hook(h->env, on_teardown, h, &h->hook);
	return 0;
}

/* open([[key, value], …], wake) → handle */
static napi_value open_handle(napi_env env, napi_callback_info info)
{
	napi_value settings, wake, external = NULL;
	struct handle *h = calloc(1, sizeof(*h));
	char why[512] = "";
	int result = h == NULL ? -ENOMEM : 0;

	if (!arguments(env, info, "vv", &settings, &wake)) {
		free(h);
		return NULL;
	}
	if (result == 0)
		result = open_library(env, settings, &h->ss, why, sizeof(why));
	if (result != 0) {
		free(h);
		return result == THROWN ? NULL : throw_error(env, result, why);
	}
	h->env = env;
	h->owners = 1;
	if (napi_create_external(env, h, finalize, NULL, &external) != napi_ok) {
		safestart_close(h->ss);
		free(h);
		return NULL;
	}
	result = attach(h, wake);
	if (result == 0)
		return external;
	safestart_close(h->ss);
	h->ss = NULL;
	return throw_error(env, result, NULL);
}

/* hold(handle, yes): yes: the event loop goes on as long as the handle is open; no: it may end. */
static napi_value hold(napi_env env, napi_callback_info info)
{
	struct handle *h;
	napi_value value;
	bool yes;

	if (!arguments(env, info, "hv", &h, &value) ||
	    napi_get_value_bool(env, value, &yes) != napi_ok)
		return NULL;
	(yes ? uv_ref : uv_unref)((uv_handle_t *)&h->poll);
	return NULL;
}

/* nextEvent(handle) → event; undefined: none; null: nothing will come any more */
static napi_value next_event(napi_env env, napi_callback_info info)
{
	struct safestart_event event = {.size = sizeof(event)};
	napi_value object, run;
	struct handle *h;

	if (!arguments(env, info, "h", &h))
		return NULL;
	int result = safestart_next_event(h->ss, &event);

	if (result == 0)
		return NULL;
	if (result == -ECANCELED) {
		uv_poll_stop(&h->poll); /* the descriptor stays readable until close */
		return string(env, NULL);
	}
	if (result < 0)
		return throw_error(env, result, NULL);
	if (napi_create_object(env, &object) != napi_ok)
		return NULL;
	set_number(env, object, "kind", event.kind);
	set_number(env, object, "level", event.level);
	set_number(env, object, "runNumber", (double)event.run_number);
	set_number(env, object, "key", (double)event.key);
	set_string(env, object, "text", event.text);
	if (event.run != NULL && napi_create_external(env, event.run, NULL, NULL, &run) == napi_ok)
		napi_set_named_property(env, object, "run", run);
	if (event.outcome != NULL)
		napi_set_named_property(env, object, "outcome", outcome_object(env, event.outcome));
	return object;
}

/* afterForkSet(handle, key, value) */
static napi_value after_fork_set(napi_env env, napi_callback_info info)
{
	char *key, *value, why[512];
	struct handle *h;

	if (!arguments(env, info, "hss", &h, &key, &value))
		return NULL;
	int result = safestart_after_fork_set(h->ss, key, value, why, sizeof(why));

	free(key);
	free(value);
	return done(env, result, why);
}

/* afterFork(handle) */
static napi_value after_fork(napi_env env, napi_callback_info info)
{
	struct handle *h;

	return arguments(env, info, "h", &h) ? done(env, safestart_after_fork(h->ss), NULL) : NULL;
}

/* shutdown(handle) */
static napi_value shutdown_handle(napi_env env, napi_callback_info info)
{
	struct handle *h;

	return arguments(env, info, "h", &h) ? done(env, safestart_shutdown(h->ss), NULL) : NULL;
}

static void close_work(uv_work_t *work)
{
	struct handle *h = work->data;

	h->result = safestart_close(h->ss);
}

static void after_close_work(uv_work_t *work, int status)
{
	struct handle *h = work->data;
	napi_ref closed = h->closed;
	napi_handle_scope scope;
	int result = status < 0 ? status : h->result;

	h->closing = false;
	h->closed = NULL;
	napi_open_handle_scope(h->env, &scope);
	if (result == 0)
		h->ss = NULL;
	if (!h->teardown)
		call(h, closed, 1, &result);
	napi_delete_reference(h->env, closed);
	if (h->ss == NULL || h->teardown)
		let_go(h);
	napi_close_handle_scope(h->env, scope);
}

/* close(handle, closed): on a thread of libuv's pool, for it may wait for a source that hangs.
 * Until closed(errno) is called the handle counts as closed; if it could not be closed, it is open
 * again.
 */
static napi_value close_handle(napi_env env, napi_callback_info info)
{
	struct handle *h;
	napi_value closed;
	uv_loop_t *loop;

	if (!arguments(env, info, "hv", &h, &closed) ||
	    napi_get_uv_event_loop(env, &loop) != napi_ok ||
	    napi_create_reference(env, closed, 1, &h->closed) != napi_ok)
		return NULL;
	uv_poll_stop(&h->poll);
	h->closing = true;
	h->work.data = h;
	uv_queue_work(loop, &h->work, close_work, after_close_work);
	return NULL;
}

const struct function handle_functions[] = {
	{"open", open_handle},     {"hold", hold},
	{"nextEvent", next_event}, {"afterForkSet", after_fork_set},
	{"afterFork", after_fork}, {"shutdown", shutdown_handle},
	{"close", close_handle},   {NULL, NULL},
};
