/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* addon: what the files of the addon share. lib/index.js is the only caller and passes what is
 * documented here; users never see these functions. Each is called on the thread of the JavaScript
 * environment (main or worker) that opened the handle; nothing is shared between environments. */
#ifndef SAFESTART_NODE_ADDON_H
#define SAFESTART_NODE_ADDON_H

#include <node_api.h>
#include <safestart/safestart.h>
#include <stdbool.h>
#include <uv.h>

/* One open handle. Its first argument in JavaScript: an external that points here. */
struct handle {
	napi_env env;
	struct safestart *ss; /* NULL: closed */
	uv_poll_t poll;       /* on the event descriptor */
	uv_work_t work;       /* safestart_close(), which may wait */
	bool closing;         /* the work is on its way */
	bool teardown;        /* the environment ends: no JavaScript any more */
	int result;           /* of safestart_close() */
	int owners;           /* the external, and the poll handle until libuv has closed it */
	napi_ref wake;        /* function: take the events */
	napi_ref closed;      /* function(errno): close has ended */
	napi_async_context context;
	napi_async_cleanup_hook_handle hook; /* closes at the end of the environment */
};

/* Reads the arguments of a call: `format` has a letter for each.
 *   h  struct handle **, which must be open (else EBADF is thrown)
 *   p  void **, an external
 *   s  char **, to be freed by free(); null and undefined give NULL
 *   i  int64_t *
 *   v  napi_value *
 * False: an exception is pending, and nothing has to be freed. */
bool arguments(napi_env env, napi_callback_info info, const char *format, ...);

/* As `s` above; for strings that are not arguments. */
bool read_string(napi_env env, napi_value value, char **out);

/* Throw an Error with `errno` (negative) and `code`; NULL message: the library's text. NULL. */
napi_value throw_error(napi_env env, int error, const char *message);

napi_value number(napi_env env, double value);
napi_value string(napi_env env, const char *text); /* NULL: null */
/* A string of the library, which is freed; NULL: ENOMEM is thrown. */
napi_value take_string(napi_env env, char *text);
void set_number(napi_env env, napi_value object, const char *name, double value);
void set_string(napi_env env, napi_value object, const char *name, const char *text);
napi_value outcome_object(napi_env env, const struct safestart_outcome *outcome);
/* {generation, key, json, keys: Float64Array, in the order of the document} */
napi_value snapshot_object(napi_env env, const struct safestart_snapshot *snapshot);
/* undefined for 0, else an exception and NULL. */
napi_value done(napi_env env, int result, const char *message);

struct function {
	const char *name;
	napi_callback call;
};
/* Each file's functions, up to a NULL name. */
extern const struct function addon_functions[], handle_functions[], node_set_functions[],
	run_functions[];

#endif
