/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* address: most targets are written as the library writes them, so only the others are kept. Main
 * thread. */
#include "files/address.h"

#include <safestart/safestart.h>
#include <string.h>

bool address_same(const char *a, const char *b)
{
	char one[ADDRESS_SIZE], other[ADDRESS_SIZE];

	if (safestart_target_id(NULL, a, one, sizeof(one)) < 0 ||
	    safestart_target_id(NULL, b, other, sizeof(other)) < 0)
		return strcmp(a, b) == 0;
	return strcmp(one, other) == 0;
}

static bool add_id(json_t *ids, const json_t *target)
{
	const char *address = json_string_value(target);
	char id[ADDRESS_SIZE];

	return address == NULL || safestart_target_id(NULL, address, id, sizeof(id)) < 0 ||
	       strcmp(address, id) == 0 || json_object_set_new(ids, address, json_string(id)) == 0;
}

json_t *address_ids(const json_t *document)
{
	json_t *ids = json_object();
	const json_t *group, *target;
	bool complete = ids != NULL;
	size_t i, k;

	json_array_foreach(document, i, group) {
		json_array_foreach(json_object_get(group, "targets"), k, target)
			complete = complete && add_id(ids, target);
	}
	if (complete)
		return ids;
	json_decref(ids);
	return NULL;
}

const char *address_id(const json_t *ids, const char *target)
{
	const json_t *id = json_object_size(ids) > 0 ? json_object_get(ids, target) : NULL;

	return id != NULL ? json_string_value(id) : target;
}
