// SPDX-License-Identifier: LGPL-2.1-or-later
/* run: what `prepare` and `restart` do with their run. The first argument is the external of the
 * event; lib/index.js uses it until it has finished the run or begins to close the handle, and
 * never after. */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>

/* runChanges(run) → JSON */
static napi_value changes(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;

	return arguments(env, info, "p", &run) ? take_string(env, safestart_run_changes_json(run))
					       : NULL;
}

/* runNodes(run) → {generation, key, json, keys} of the candidate */
static napi_value nodes(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;

	return arguments(env, info, "p", &run) ? snapshot_object(env, safestart_run_candidate(run))
					       : NULL;
}

static const char *why_rejected(int error)
{
	if (error == -ENOENT)
		return "the new set has no node with this id";
	if (error == -EINVAL)
		return "only in prepare, and only an added or changed node";
	return NULL;
}

/* runReject(run, id, reason) */
static napi_value reject(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;
	char *id, *reason;

	if (!arguments(env, info, "pss", &run, &id, &reason))
		return NULL;
	int result = safestart_run_reject(run, id, reason);

	free(id);
	free(reason);
	return done(env, result, why_rejected(result));
}

/* runSetNodeKey(run, id, key) */
static napi_value set_node_key(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;
	int64_t key;
	char *id;

	if (!arguments(env, info, "psi", &run, &id, &key))
		return NULL;
	int result = safestart_run_set_node_key(run, id, (uint64_t)key);

	free(id);
	return done(env, result, result == -EINVAL ? "only in prepare" : why_rejected(result));
}

/* runSetKey(run, key) */
static napi_value set_key(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;
	int64_t key;

	if (!arguments(env, info, "pi", &run, &key))
		return NULL;
	int result = safestart_run_set_key(run, (uint64_t)key);

	return done(env, result, result == -EINVAL ? "only in prepare" : NULL);
}

/* runSetStatus(run, status) */
static napi_value set_status(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;
	int64_t number;

	if (arguments(env, info, "pi", &run, &number))
		safestart_run_set_status(run, (int)number);
	return NULL;
}

/* runFinish(run, error, message): the run is gone. -ESTALE is no error: the outcome has said so. */
static napi_value finish(napi_env env, napi_callback_info info)
{
	struct safestart_run *run;
	char *message;
	int64_t error;

	if (!arguments(env, info, "pis", &run, &error, &message))
		return NULL;
	if (error == 0)
		safestart_run_finish(run, 0);
	else
		safestart_run_fail(run, (int)error, message);
	free(message);
	return NULL;
}

const struct function run_functions[] = {
	{"runChanges", changes},         {"runNodes", nodes},    {"runReject", reject},
	{"runSetNodeKey", set_node_key}, {"runSetKey", set_key}, {"runSetStatus", set_status},
	{"runFinish", finish},           {NULL, NULL},
};
