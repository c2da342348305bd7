/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* processes: every process that has its socket in the control directory, asked all at once. Nobody
 * is waited for longer than the one deadline, and whoever does not answer is told, never left out.
 */
#ifndef SAFESTART_COMMAND_PROCESSES_H
#define SAFESTART_COMMAND_PROCESSES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum peer_state {
	PEER_UNASKED,
	PEER_ANSWERED,
	PEER_GONE,    /* its socket is left, and nobody listens: it was killed */
	PEER_SILENT,  /* no answer before the deadline */
	PEER_REFUSED, /* answered, with an error */
	PEER_FAILED   /* could not be asked, or answered nonsense */
};

struct peer {
	char *file;    /* NAME.PROCESS.sock */
	char *name;    /* as it says; until it has, as its file is called */
	char *process; /* its pid; "4312-2" is its second handle */
	/* Of its socket: in a directory that others write to, not everybody is who they say. */
	uid_t owner;
	enum peer_state state;
	json_t *answer; /* of PEER_ANSWERED and PEER_REFUSED; an object */
	char why[256];  /* in words, from PEER_GONE on */
};

struct processes {
	const char *directory;
	struct peer *peers; /* by name, then by process */
	size_t count;
};

#define PROCESSES_TIMEOUT INT64_C(2000000000)

/* Find who is there, or who is there under that name (NULL: any). 0, or how the program ends,
 * having said why. */
int processes_find(struct processes *processes, const char *directory, const char *name);
/* The same; nobody at all, or a directory that is not there, is no error. -errno. */
int processes_list(struct processes *processes, const char *directory, const char *name);
void processes_free(struct processes *processes);

/* Ask all of them; returns when everybody has answered, or after `timeout`, a fifth of a second at
 * least. Takes `request`. Who has left in good order meanwhile is no longer in the processes. 0 or
 * -ENOMEM. */
int processes_ask(struct processes *processes, json_t *request, int64_t timeout);

/* Leave out those that are not wanted. */
void processes_filter(struct processes *processes,
		      bool (*wanted)(const struct peer *peer, const void *user_data),
		      const void *user_data);

/* Remove the sockets of those that are gone, if that is allowed. */
void processes_remove_stale(const struct processes *processes);

#endif
