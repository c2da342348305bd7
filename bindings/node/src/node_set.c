// SPDX-License-Identifier: LGPL-2.1-or-later
/* node_set: an owned snapshot and what is in it, as JSON and keys: JavaScript parses a document of
 * 100,000 nodes faster than it is handed objects one by one. */
#include "addon.h"

#include <stdlib.h>

napi_value snapshot_object(napi_env env, const struct safestart_snapshot *snapshot)
{
	size_t size = safestart_snapshot_size(snapshot);
	napi_value object, buffer, keys, json;
	double *key;

	json = take_string(env, safestart_snapshot_json(snapshot));
	if (json == NULL || napi_create_object(env, &object) != napi_ok ||
	    napi_create_arraybuffer(env, size * sizeof(*key), (void **)&key, &buffer) != napi_ok ||
	    napi_create_typedarray(env, napi_float64_array, size, buffer, 0, &keys) != napi_ok)
		return NULL;
	for (size_t i = 0; i < size; i++)
		key[i] = (double)safestart_node_key(safestart_snapshot_at(snapshot, i));
	set_number(env, object, "generation", (double)safestart_snapshot_generation(snapshot));
	set_number(env, object, "key", (double)safestart_snapshot_key(snapshot));
	napi_set_named_property(env, object, "json", json);
	napi_set_named_property(env, object, "keys", keys);
	return object;
}

/* generation(handle) → number */
static napi_value generation(napi_env env, napi_callback_info info)
{
	struct handle *h;

	return arguments(env, info, "h", &h) ? number(env, (double)safestart_generation(h->ss))
					     : NULL;
}

struct owned {
	struct safestart_snapshot *snapshot; /* NULL: given back */
};

/* One that JavaScript forgot to give back, such as at the end of its environment. */
static void finalize(napi_env env, void *data, void *hint)
{
	struct owned *owned = data;

	(void)env;
	(void)hint;
	safestart_snapshot_release(owned->snapshot);
	free(owned);
}

/* acquire(handle) → {owned, generation, key, json, keys} */
static napi_value acquire(napi_env env, napi_callback_info info)
{
	napi_value object, external;
	struct owned *owned;
	struct handle *h;

	if (!arguments(env, info, "h", &h))
		return NULL;
	owned = malloc(sizeof(*owned));
	if (owned == NULL)
		return take_string(env, NULL);
	owned->snapshot = safestart_snapshot_acquire(h->ss);
	if (napi_create_external(env, owned, finalize, NULL, &external) != napi_ok) {
		finalize(env, owned, NULL);
		return NULL;
	}
	object = snapshot_object(env, owned->snapshot);
	if (object != NULL)
		napi_set_named_property(env, object, "owned", external);
	return object;
}

/* release(owned) */
static napi_value release(napi_env env, napi_callback_info info)
{
	struct owned *owned;

	if (!arguments(env, info, "p", &owned))
		return NULL;
	safestart_snapshot_release(owned->snapshot);
	owned->snapshot = NULL;
	return NULL;
}

/* report(owned, index, error): of a snapshot that was given back it is too late, and ignored. */
static napi_value report(napi_env env, napi_callback_info info)
{
	int64_t index, error;
	struct owned *owned;

	if (arguments(env, info, "pii", &owned, &index, &error) && owned->snapshot != NULL)
		safestart_node_report(safestart_snapshot_at(owned->snapshot, (size_t)index),
				      (int)error);
	return NULL;
}

const struct function node_set_functions[] = {
	{"generation", generation}, {"acquire", acquire}, {"release", release},
	{"report", report},         {NULL, NULL},
};
