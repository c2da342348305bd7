/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* advice: for each kind of trouble the command that mends it, or what has to be looked at. Pure: no
 * I/O. */
#include "hosts/advice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hosts/reference.h"

/* The library names SAFESTART_FORCE in a refusal that a forced request would lift [P12]; any other
 * refusal needs other nodes. */
static void next_when_behind(struct summary *summary, const struct peer *peer)
{
	const json_t *status = peer_status(peer), *last = json_object_get(status, "last");
	const char *message = member_text(last, "message"), *source = member_text(status, "source"),
		   *verdict = member_text(last, "verdict");

	if (strstr(message, "SAFESTART_FORCE") != NULL)
		snprintf(summary->next, sizeof(summary->next), "safestart request --force %s",
			 peer->name);
	else if ((int)member_number(last, "error") == -ENOENT && strncmp(source, "file:", 5) == 0)
		snprintf(summary->next, sizeof(summary->next), "restore the file %.400s",
			 source + 5);
	else if (strcmp(verdict, "refused") == 0 && strncmp(source, "file:", 5) == 0)
		snprintf(summary->next, sizeof(summary->next), "safestart check %s", source + 5);
	else if (strcmp(verdict, "refused") == 0)
		snprintf(summary->next, sizeof(summary->next),
			 "correct the nodes it is given; for details: safestart events %s",
			 peer->name);
	else
		snprintf(summary->next, sizeof(summary->next), "safestart events %s", peer->name);
}

/* It reads the same file as a process that has the reference set: then it has not read the file
 * since, and a request helps. With another file a request changes nothing. */
static bool has_same_source(const struct summary *summary, const struct peer *peers, size_t count,
			    const struct peer *peer)
{
	const char *source = member_text(peer_status(peer), "source");

	for (size_t i = 0; strncmp(source, "file:", 5) == 0 && i < count; i++) {
		const json_t *status = peer_status(&peers[i]);
		if (status_has_set(status) &&
		    strcmp(member_text(status, "digest"), summary->full) == 0 &&
		    strcmp(member_text(status, "source"), source) == 0)
			return true;
	}
	return false;
}

void advise(struct summary *summary, const struct peer *peers, size_t count,
	    const struct peer *peer, enum trouble trouble)
{
	char number[64];

	switch (trouble) {
	case TROUBLE_NONE: break;
	case TROUBLE_OTHER:
		snprintf(summary->next, sizeof(summary->next), "safestart %s %s",
			 has_same_source(summary, peers, count, peer) ? "request" : "nodes",
			 peer->name);
		break;
	case TROUBLE_QUARANTINED:
		snprintf(summary->next, sizeof(summary->next), "safestart nodes %s", peer->name);
		break;
	case TROUBLE_GONE:
		snprintf(summary->next, sizeof(summary->next), "find out why process %s ended",
			 peer->process);
		break;
	case TROUBLE_BEHIND:
	case TROUBLE_EMPTY: next_when_behind(summary, peer); break;
	case TROUBLE_UNKNOWN:
		peer_number(peer, number, sizeof(number));
		if (peer->state == PEER_SILENT && peer->connected && peer->pid > 1)
			snprintf(summary->next, sizeof(summary->next),
				 "see what process %s is doing; if it is stopped: kill -CONT %ld",
				 number, (long)peer->pid);
		else if (peer->state == PEER_SILENT)
			snprintf(summary->next, sizeof(summary->next),
				 "see what process %s is doing", number);
		else if (strncmp(peer->why, "permission denied", 17) == 0)
			snprintf(summary->next, sizeof(summary->next),
				 "run safestart status as root");
		else
			snprintf(summary->next, sizeof(summary->next),
				 "find out which process has the socket %.200s, and what it does",
				 peer->file != NULL ? peer->file : "");
		break;
	}
}
