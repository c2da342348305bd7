/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* desired: a document is read here as a server reads it. Main thread; starts no thread. */
#include "files/desired.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "base/json.h"

/* The limits of the servers are not known here: as much as there can be. */
static int open_idle(struct safestart **ss, const char *default_port)
{
	struct safestart_conf *conf = safestart_conf_new();
	int error = conf == NULL ? -ENOMEM : safestart_conf_set(conf, "thread", "no", NULL, 0);

	if (error == 0)
		error = safestart_conf_set(conf, "max_nodes", "4294967295", NULL, 0);
	if (error == 0)
		error = safestart_conf_set(conf, "max_bytes", "2GiB", NULL, 0);
	if (error == 0 && default_port != NULL)
		error = safestart_conf_set(conf, "default_port", default_port, NULL, 0);
	if (error == 0)
		error = safestart_open(ss, conf, NULL, 0);
	safestart_conf_free(conf);
	return error;
}

int desired_open(struct safestart **ss, const char *document, const char *default_port, char *why,
		 size_t why_size)
{
	*ss = NULL;
	int error = open_idle(ss, default_port);
	if (error < 0)
		snprintf(why, why_size, "%s", safestart_strerror(error));
	else
		error = safestart_nodes_replace(*ss, document, NULL, why, why_size);
	if (error == 0)
		return 0;
	(void)safestart_close(*ss);
	*ss = NULL;
	return error;
}

/* The desired entries of a status, by id. */
static json_t *digests_in(const json_t *status)
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

json_t *desired_digests(const char *document)
{
	struct safestart *ss;
	char why[256], *text = NULL;

	if (desired_open(&ss, document, NULL, why, sizeof(why)) == 0)
		text = safestart_status_json(ss);
	json_t *status = text != NULL ? json_loads(text, 0, NULL) : NULL;
	json_t *digests = digests_in(status);
	json_decref(status);
	safestart_free(text);
	(void)safestart_close(ss);
	return digests;
}
