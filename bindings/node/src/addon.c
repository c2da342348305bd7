// SPDX-License-Identifier: LGPL-2.1-or-later
/* addon: the module, the arguments and results of its functions, and those functions of a handle
 * that ask or tell something and return at once. */
#include "addon.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

napi_value throw_error(napi_env env, int error, const char *message)
{
	napi_value text, object, code;
	char name[64];

	uv_err_name_r(error, name, sizeof(name));
	text = string(env,
		      message != NULL && message[0] != '\0' ? message : safestart_strerror(error));
	code = string(env, name);
	if (napi_create_error(env, code, text, &object) != napi_ok)
		return NULL;
	set_number(env, object, "errno", error);
	napi_throw(env, object);
	return NULL;
}

bool read_string(napi_env env, napi_value value, char **out)
{
	napi_valuetype type;
	size_t length;

	*out = NULL;
	if (napi_typeof(env, value, &type) != napi_ok)
		return false;
	if (type == napi_undefined || type == napi_null)
		return true;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
		napi_throw_type_error(env, NULL, "a string is wanted");
		return false;
	}
	*out = malloc(length + 1);
	if (*out == NULL) {
		throw_error(env, -ENOMEM, NULL);
		return false;
	}
	napi_get_value_string_utf8(env, value, *out, length + 1, &length);
	/* The library would see the part before it only. */
	if (memchr(*out, '\0', length) == NULL)
		return true;
	free(*out);
	*out = NULL;
	throw_error(env, -EINVAL, "a string has a NUL character in it");
	return false;
}

static bool read_one(napi_env env, napi_value value, char letter, void *out)
{
	switch (letter) {
	case 'h':
		if (napi_get_value_external(env, value, out) != napi_ok)
			return false;
		if ((*(struct handle **)out)->ss != NULL && !(*(struct handle **)out)->closing)
			return true;
		throw_error(env, -EBADF, "the handle is closed");
		return false;
	case 'p': return napi_get_value_external(env, value, out) == napi_ok;
	case 's': return read_string(env, value, out);
	case 'i':
		if (napi_get_value_int64(env, value, out) == napi_ok)
			return true;
		napi_throw_type_error(env, NULL, "a number is wanted");
		return false;
	default: *(napi_value *)out = value; return true;
	}
}

bool arguments(napi_env env, napi_callback_info info, const char *format, ...)
{
	napi_value values[6];
	size_t wanted = strlen(format), count = sizeof(values) / sizeof(values[0]);
	char **strings[sizeof(values) / sizeof(values[0])];
	size_t owned = 0;
	bool good = true;
	va_list list;

	if (napi_get_cb_info(env, info, &count, values, NULL, NULL) != napi_ok)
		return false;
	va_start(list, format);
	for (size_t i = 0; i < wanted && good; i++) {
		void *out = va_arg(list, void *);

		good = read_one(env, values[i], format[i], out);
		if (good && format[i] == 's')
			strings[owned++] = out;
	}
	va_end(list);
	while (!good && owned > 0)
		free(*strings[--owned]);
	return good;
}

napi_value number(napi_env env, double value)
{
	napi_value result = NULL;

	napi_create_double(env, value, &result);
	return result;
}

napi_value string(napi_env env, const char *text)
{
	napi_value result = NULL;

	if (text == NULL)
		napi_get_null(env, &result);
	else
		napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
	return result;
}

napi_value take_string(napi_env env, char *text)
{
	if (text == NULL)
		return throw_error(env, -ENOMEM, NULL);
	napi_value result = string(env, text);

	safestart_free(text);
	return result;
}

void set_number(napi_env env, napi_value object, const char *name, double value)
{
	napi_set_named_property(env, object, name, number(env, value));
}

void set_string(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_set_named_property(env, object, name, string(env, text));
}

napi_value done(napi_env env, int result, const char *message)
{
	return result < 0 ? throw_error(env, result, message) : NULL;
}

napi_value outcome_object(napi_env env, const struct safestart_outcome *outcome)
{
	napi_value object;

	if (napi_create_object(env, &object) != napi_ok)
		return NULL;
	set_number(env, object, "verdict", outcome->verdict);
	set_string(env, object, "message", outcome->message);
	set_number(env, object, "errno", outcome->error);
	set_number(env, object, "run", (double)outcome->run);
	set_number(env, object, "generation", (double)outcome->generation);
	set_number(env, object, "requests", (double)outcome->requests);
	set_number(env, object, "attempts", outcome->attempts);
	set_number(env, object, "quarantined", outcome->quarantined);
	set_number(env, object, "ticket", (double)outcome->ticket);
	set_number(env, object, "status", outcome->status);
	set_number(env, object, "pid", outcome->pid);
	set_number(env, object, "merged", (double)outcome->merged);
	return object;
}

/* version() → string */
static napi_value version(napi_env env, napi_callback_info info)
{
	(void)info;
	return string(env, safestart_version());
}

/* request(handle, flags, reason) → ticket */
static napi_value request(napi_env env, napi_callback_info info)
{
	struct handle *h;
	int64_t flags;
	char *reason;

	if (!arguments(env, info, "his", &h, &flags, &reason))
		return NULL;
	uint64_t ticket = safestart_request(h->ss, (uint32_t)flags, reason);

	free(reason);
	return ticket == 0 ? throw_error(env, -ECANCELED, "the handle was shut down")
			   : number(env, (double)ticket);
}

/* replace(handle, json) → ticket */
static napi_value replace(napi_env env, napi_callback_info info)
{
	struct handle *h;
	char *json, why[512];
	uint64_t ticket;

	if (!arguments(env, info, "hs", &h, &json))
		return NULL;
	int result = safestart_nodes_replace(h->ss, json, &ticket, why, sizeof(why));

	free(json);
	return result < 0 ? throw_error(env, result, why) : number(env, (double)ticket);
}

/* announce(handle, id, address, incarnation) → ticket */
static napi_value announce(napi_env env, napi_callback_info info)
{
	struct handle *h;
	char *id, *address, *incarnation;
	uint64_t ticket;

	if (!arguments(env, info, "hsss", &h, &id, &address, &incarnation))
		return NULL;
	int result = safestart_node_announce(h->ss, id, address, incarnation, &ticket);

	free(id);
	free(address);
	free(incarnation);
	return result < 0 ? throw_error(env, result, NULL) : number(env, (double)ticket);
}

/* withdraw(handle, id) → ticket */
static napi_value withdraw(napi_env env, napi_callback_info info)
{
	struct handle *h;
	uint64_t ticket;
	char *id;

	if (!arguments(env, info, "hs", &h, &id))
		return NULL;
	int result = safestart_node_withdraw(h->ss, id, &ticket);

	free(id);
	return result < 0 ? throw_error(env, result, NULL) : number(env, (double)ticket);
}

/* tryWait(handle, ticket) → outcome, or undefined: not answered yet */
static napi_value try_wait(napi_env env, napi_callback_info info)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct handle *h;
	int64_t ticket;

	if (!arguments(env, info, "hi", &h, &ticket))
		return NULL;
	int result = safestart_try_wait(h->ss, (uint64_t)ticket, &outcome);

	if (result == -EAGAIN)
		return NULL;
	if (result == -EINVAL)
		return throw_error(env, result, "this ticket was never issued");
	if (result == -ENODATA)
		return throw_error(env, result,
				   "this ticket was answered, but its outcome is no longer kept");
	return result < 0 ? throw_error(env, result, NULL) : outcome_object(env, &outcome);
}

/* ready(handle) → true once a first generation is live, else undefined */
static napi_value ready(napi_env env, napi_callback_info info)
{
	struct handle *h;
	napi_value yes;

	if (!arguments(env, info, "h", &h))
		return NULL;
	int result = safestart_wait_ready(h->ss, 0);

	if (result == -ETIMEDOUT || result == -EAGAIN)
		return NULL;
	if (result < 0)
		return throw_error(env, result, NULL);
	napi_get_boolean(env, true, &yes);
	return yes;
}

/* state(handle, id) → {state, why} */
static napi_value state(napi_env env, napi_callback_info info)
{
	char *id, why[512];
	napi_value object;
	struct handle *h;

	if (!arguments(env, info, "hs", &h, &id))
		return NULL;
	int result = safestart_node_state(h->ss, id, why, sizeof(why));

	free(id);
	if (result < 0)
		return throw_error(env, result, NULL);
	if (napi_create_object(env, &object) != napi_ok)
		return NULL;
	set_number(env, object, "state", result);
	set_string(env, object, "why", why);
	return object;
}

/* status(handle) → JSON */
static napi_value status(napi_env env, napi_callback_info info)
{
	struct handle *h;

	return arguments(env, info, "h", &h) ? take_string(env, safestart_status_json(h->ss))
					     : NULL;
}

/* metrics(handle) → text */
static napi_value metrics(napi_env env, napi_callback_info info)
{
	struct handle *h;

	return arguments(env, info, "h", &h) ? take_string(env, safestart_metrics_text(h->ss))
					     : NULL;
}

const struct function addon_functions[] = {
	{"version", version},   {"request", request},  {"replace", replace}, {"announce", announce},
	{"withdraw", withdraw}, {"tryWait", try_wait}, {"ready", ready},     {"state", state},
	{"status", status},     {"metrics", metrics},  {NULL, NULL},
};

static bool export(napi_env env, napi_value exports, const struct function *functions)
{
	for (; functions->name != NULL; functions++) {
		napi_value value;

		if (napi_create_function(env, functions->name, NAPI_AUTO_LENGTH, functions->call,
					 NULL, &value) != napi_ok ||
		    napi_set_named_property(env, exports, functions->name, value) != napi_ok)
			return false;
	}
	return true;
}

/* Once for each environment: the main thread's and each worker's. */
NAPI_MODULE_INIT()
{
	const struct function *tables[] = {addon_functions, handle_functions, node_set_functions,
					   run_functions};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (!export(env, exports, tables[i]))
			return NULL;
	return exports;
}
