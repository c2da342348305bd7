/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* digests: asks the library itself, by a handle that never runs, so that a document is read here as
 * a server reads it. Main thread; starts no thread. */
#include "files/digests.h"

#include <safestart/safestart.h>
#include <stddef.h>

#include "base/json.h"

static struct safestart *open_idle(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss = NULL;

	if (conf != NULL && safestart_conf_set(conf, "thread", "no", NULL, 0) == 0)
		(void)safestart_open(&ss, conf, NULL, 0);
	safestart_conf_free(conf);
	return ss;
}

/* The desired entries of a status, by id. */
static json_t *desired_digests(const json_t *status)
{
	json_t *digests = status != NULL ? json_object() : NULL;
	const json_t *node;
	size_t index;

	json_array_foreach(json_object_get(status, "nodes"), index, node) {
		json_t *digest = json_object_get(node, "desired_entry_digest");
		if (json_is_string(digest) &&
		    json_object_set(digests, member_text(node, "id"), digest) < 0) {
			json_decref(digests);
			return NULL;
		}
	}
	return digests;
}

json_t *digests_of(const char *document)
{
	struct safestart *ss = open_idle();
	char *text = NULL;

	if (ss != NULL && safestart_nodes_replace(ss, document, NULL, NULL, 0) == 0)
		text = safestart_status_json(ss);
	json_t *status = text != NULL ? json_loads(text, 0, NULL) : NULL;
	json_t *digests = desired_digests(status);
	json_decref(status);
	safestart_free(text);
	(void)safestart_close(ss);
	return digests;
}
