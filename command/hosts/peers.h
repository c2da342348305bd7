/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* peers: finds every process that has a socket in the control directory, and keeps what is known of
 * each. */
#ifndef SAFESTART_COMMAND_PEERS_H
#define SAFESTART_COMMAND_PEERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

enum peer_state {
	PEER_UNASKED,
	PEER_ANSWERED,
	PEER_GONE,    /* its socket is there, but no process listens: it was killed */
	PEER_SILENT,  /* no answer before the deadline */
	PEER_REFUSED, /* answered, with an error */
	PEER_FAILED   /* could not be asked, or the answer is not valid */
};

struct peer {
	char *file;    /* NAME.PROCESS.sock */
	char *name;    /* as it answered; before that, as in the file's name */
	char *process; /* its pid; "4312-2": the second handle of process 4312 */
	/* Owner of the socket. In a directory where others may write, the name alone proves
	 * nothing. */
	uid_t owner;
	enum peer_state state;
	/* The process that listens, as the kernel numbers it here: `process` itself, another number
	 * if it is in another pid namespace. 0: it is not to be seen from here. [P22] */
	pid_t pid;
	bool connected; /* else pid says nothing */
	/* When a status found it gone for the first time (wall clock); 0: none has. It is the
	 * access time of the socket, so that it lasts from one call to the next. */
	time_t gone_since;
	json_t *answer; /* of PEER_ANSWERED and PEER_REFUSED; an object */
	char why[256];  /* the reason, for PEER_GONE and the states after it */
};

struct processes {
	const char *directory;
	struct peer *peers; /* by name, then by process */
	size_t count;
};

/* Finds the processes of that name (NULL: all). 0 or an exit code, the message printed; finding
 * none is an error. */
int processes_find(struct processes *processes, const char *directory, const char *name);
/* The same without messages; finding none is no error. 0 or -errno of reading the directory. */
int processes_list(struct processes *processes, const char *directory, const char *name);
void processes_free(struct processes *processes);

void peer_clear(struct peer *peer);

/* "7"; "7 (3412 here)" and "7 (not in this pid namespace)" of a process in a container. */
void peer_number(const struct peer *peer, char *words, size_t size);

/* Removes those that are not wanted from the list. */
void processes_filter(struct processes *processes,
		      bool (*wanted)(const struct peer *peer, const void *user_data),
		      const void *user_data);

#define PROCESSES_GONE_SHOWN 600 /* seconds */

/* It was killed, and that was found less than PROCESSES_GONE_SHOWN ago. */
bool peer_gone_lately(const struct peer *peer);

/* Notes when the PEER_GONE processes were found first; with `remove` removes the sockets of those
 * that have been shown for long enough. Only as far as permissions allow it. */
void processes_note_gone(const struct processes *processes, bool remove);

/* By name, then by process: after a name was learnt. */
void processes_sort(struct processes *processes);

#endif
