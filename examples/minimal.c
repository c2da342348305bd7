/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <safestart/safestart.h>
#include <stdio.h>

/* Connect to the added nodes here. Nothing is live yet: an error leaves everything as it was. */
static int prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind;

	(void)user_data;
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++)
		printf("%s %s\n",
		       kind == SAFESTART_ADDED     ? "added"
		       : kind == SAFESTART_REMOVED ? "removed"
						   : "changed",
		       safestart_node_id(node));
	return 0;
}

int main(void)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare};
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;
	char why[256] = "out of memory";

	/* From a file: safestart_conf_set(conf, "source", "file:/etc/api/nodes.json", …), and no
	 * safestart_nodes_replace(). */
	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	if (safestart_open(&ss, conf, why, sizeof(why)) < 0)
		return fprintf(stderr, "%s\n", why), 1;
	safestart_conf_free(conf);
	safestart_nodes_replace(ss, "[{\"targets\":[\"10.0.0.1:8087\",\"10.0.0.2:8087\"]}]", NULL,
				NULL, 0);
	/* As often as you like, from anywhere. */
	safestart_wait(ss, safestart_request_restart(ss), 5000, &outcome);
	puts(outcome.message);

	const struct safestart_snapshot *nodes = safestart_read_lock(ss); /* the hot path */
	for (size_t i = 0; i < safestart_snapshot_size(nodes); i++)
		puts(safestart_node_host(safestart_snapshot_at(nodes, i)));
	safestart_read_unlock(ss);
	return safestart_close(ss);
}
