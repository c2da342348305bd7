/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reference: the node set that the processes of one name should have live, found from what they
 * answered. Pure: no I/O, no memory of its own. */
#include "hosts/reference.h"

#include <string.h>

#include "base/json.h"

const json_t *peer_status(const struct peer *peer)
{
	return peer->state == PEER_ANSWERED ? json_object_get(peer->answer, "status") : NULL;
}

size_t status_nodes(const json_t *status, const char *state)
{
	const json_t *nodes = json_object_get(status, "nodes"), *node;
	size_t index, count = 0;

	json_array_foreach(nodes, index, node) {
		const char *its = member_text(node, "state");
		if (state != NULL ? strcmp(its, state) == 0
				  : strcmp(its, "applied") == 0 || strcmp(its, "proven") == 0 ||
					    strcmp(its, "failing") == 0)
			count++;
	}
	return count;
}

bool status_has_set(const json_t *status)
{
	return member_number(status, "generation") > 0;
}

bool status_applied_all_usable(const json_t *status)
{
	const char *verdict = member_text(json_object_get(status, "last"), "verdict");

	return status_nodes(status, "quarantined") > 0 &&
	       !json_is_object(json_object_get(status, "run")) &&
	       (strcmp(verdict, "applied") == 0 || strcmp(verdict, "unchanged") == 0);
}

/* Does a process have this set live? */
static bool any_has_digest(const struct peer *peers, size_t count, const char *digest)
{
	for (size_t i = 0; digest[0] != '\0' && i < count; i++) {
		const json_t *status = peer_status(&peers[i]);
		if (status_has_set(status) && strcmp(member_text(status, "digest"), digest) == 0)
			return true;
	}
	return false;
}

/* The digest that this process should have live; before anything was requested, the one it has.
 * Where it applied all usable nodes, its desired digest counts only if another process could use
 * all of that set. */
static const char *target_digest(const struct peer *peers, size_t count, const json_t *status)
{
	const char *wanted = member_text(status, "desired_digest");

	if (status_applied_all_usable(status) && !any_has_digest(peers, count, wanted))
		wanted = "";
	return wanted[0] != '\0'        ? wanted
	       : status_has_set(status) ? member_text(status, "digest")
					: "";
}

/* One vote for the desired set outweighs all votes for a live one. */
const char *reference_choose(const struct peer *peers, size_t count)
{
	const char *best = "";
	size_t best_score = 0;

	for (size_t i = 0; i < count; i++) {
		const char *candidate = target_digest(peers, count, peer_status(&peers[i]));
		size_t score = 0;
		if (candidate[0] == '\0' || strcmp(candidate, best) == 0)
			continue;
		for (size_t k = 0; k < count; k++) {
			const json_t *status = peer_status(&peers[k]);
			score += strcmp(target_digest(peers, count, status), candidate) == 0
					 ? count + 1
					 : 0;
			score += status_has_set(status) &&
				 strcmp(member_text(status, "digest"), candidate) == 0;
		}
		if (score > best_score) {
			best_score = score;
			best = candidate;
		}
	}
	return best;
}

/* The number of leading digits that are equal. */
static size_t common_digits(const char *a, const char *b)
{
	size_t same = 0;

	while (a[same] != '\0' && a[same] == b[same])
		same++;
	return same;
}

/* Desired digests count too: a message may name them. */
size_t reference_digits(const struct peer *peers, size_t count, const char *digest)
{
	size_t digits = 4;

	for (size_t i = 0; i < count; i++) {
		const char *others[] = {member_text(peer_status(&peers[i]), "digest"),
					member_text(peer_status(&peers[i]), "desired_digest")};
		for (size_t k = 0; k < 2; k++) {
			size_t same = common_digits(digest, others[k]);
			if (strcmp(others[k], digest) != 0 && others[k][0] != '\0' &&
			    same + 1 > digits)
				digits = same + 1;
		}
	}
	return digits;
}
