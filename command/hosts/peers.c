/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* peers: lists the control directory. Asks nobody; marks and removes only sockets on which no
 * process listens. */
#include "hosts/peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/options.h"
#include "base/report.h"
#include "hosts/connection.h"

/* NAME.PID.sock or NAME.PID-N.sock, parsed from the end: a name may contain dots. */
static bool parse_file(const char *file, struct peer *peer)
{
	size_t length = strlen(file);

	if (file[0] == '.' || length < 8 || strcmp(file + length - 5, ".sock") != 0)
		return false;
	const char *suffix = file + length - 5, *at = suffix;
	while (at > file && ((at[-1] >= '0' && at[-1] <= '9') || at[-1] == '-'))
		at--;
	if (at == suffix || at[0] == '-' || at - 1 <= file || at[-1] != '.')
		return false;
	*peer = (struct peer){.file = strdup(file),
			      .name = strndup(file, (size_t)(at - 1 - file)),
			      .process = strndup(at, (size_t)(suffix - at))};
	return true;
}

void peer_clear(struct peer *peer)
{
	free(peer->file);
	free(peer->name);
	free(peer->process);
	json_decref(peer->answer);
	*peer = (struct peer){0};
}

/* The library replaces characters that do not belong in a file name by '_'. */
static bool file_matches_name(const char *file_name, const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	for (; *file_name != '\0' && *name != '\0'; file_name++, name++) {
		if (*file_name != (strchr(allowed, *name) != NULL ? *name : '_'))
			return false;
	}
	return *file_name == '\0' && *name == '\0';
}

/* By name, then by pid as a number. */
static int compare(const void *a, const void *b)
{
	const struct peer *one = a, *other = b;
	int order = strcmp(one->name, other->name);

	if (order != 0)
		return order;
	long difference = strtol(one->process, NULL, 10) - strtol(other->process, NULL, 10);
	return difference != 0 ? (difference > 0) - (difference < 0)
			       : strcmp(one->process, other->process);
}

void processes_sort(struct processes *processes)
{
	if (processes->count > 0)
		qsort(processes->peers, processes->count, sizeof(*processes->peers), compare);
}

/* Takes the peer over, or clears it. */
static int add(struct processes *processes, struct peer *peer)
{
	struct peer *peers = NULL;

	if (peer->file != NULL && peer->name != NULL && peer->process != NULL)
		peers = realloc(processes->peers, (processes->count + 1) * sizeof(*peers));
	if (peers == NULL) {
		peer_clear(peer);
		return -ENOMEM;
	}
	processes->peers = peers;
	processes->peers[processes->count++] = *peer;
	return 0;
}

/* Nothing reads a socket file, so its access time is that of its making until it is set. */
static time_t noted_gone(const struct stat *status)
{
	const struct timespec *made = &status->st_mtim, *noted = &status->st_atim;
	bool later = noted->tv_sec > made->tv_sec ||
		     (noted->tv_sec == made->tv_sec && noted->tv_nsec > made->tv_nsec);

	return later ? noted->tv_sec : 0;
}

int processes_list(struct processes *processes, const char *directory, const char *name)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;
	struct peer peer;
	struct stat status;
	int error = 0;

	*processes = (struct processes){.directory = directory};
	if (stream == NULL)
		return -errno;
	/* No other thread has this stream. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (error == 0 && (entry = readdir(stream)) != NULL) {
		if (!parse_file(entry->d_name, &peer))
			continue;
		peer.owner = (uid_t)-1;
		if (fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
			peer.owner = status.st_uid;
			peer.gone_since = noted_gone(&status);
		}
		if (peer.name != NULL && name != NULL && !file_matches_name(peer.name, name))
			peer_clear(&peer);
		else
			error = add(processes, &peer);
	}
	closedir(stream);
	if (error < 0)
		processes_free(processes);
	else
		processes_sort(processes);
	return error;
}

void processes_free(struct processes *processes)
{
	for (size_t i = 0; i < processes->count; i++)
		peer_clear(&processes->peers[i]);
	free(processes->peers);
	*processes = (struct processes){.directory = processes->directory};
}

/* No process has that name: suggests the most similar one, or names one that is running. */
static int report_no_match(const char *directory, const char *name)
{
	struct processes all;
	const char *names[65];
	size_t count = 0;

	if (processes_list(&all, directory, NULL) < 0 || all.count == 0)
		return report(EXIT_FAILED,
			      "no process has a socket in %s; are the servers running with the "
			      "setting control=%s?",
			      directory, directory);
	for (size_t i = 0; i < all.count && count < 64; i++) {
		if (count == 0 || strcmp(names[count - 1], all.peers[i].name) != 0)
			names[count++] = all.peers[i].name;
	}
	names[count] = NULL;
	const char *nearest = options_nearest(name, names);
	report(EXIT_FAILED, "no process in %s has the name \"%s\"; %s %s%s", directory, name,
	       nearest != NULL ? "did you mean" : "there is", nearest != NULL ? nearest : names[0],
	       nearest != NULL ? "?"
	       : count > 1     ? ", among others"
			       : "");
	processes_free(&all);
	return EXIT_FAILED;
}

int processes_find(struct processes *processes, const char *directory, const char *name)
{
	int error = processes_list(processes, directory, name);
	struct stat status;

	if (error == -ENOENT)
		return report(EXIT_FAILED,
			      "there is no control directory %s; no server has been started with "
			      "control=%s yet; to name another directory: --control or "
			      "$SAFESTART_CONTROL",
			      directory, directory);
	if (error == -EACCES && stat(directory, &status) == 0)
		return report(EXIT_FAILED,
			      "no permission to read the control directory: it belongs to user %u; "
			      "run this as that user or as root: %s",
			      (unsigned)status.st_uid, directory);
	if (error < 0)
		return report(EXIT_FAILED,
			      "cannot read the control directory: %s: %s; to name another one: "
			      "--control or $SAFESTART_CONTROL",
			      safestart_strerror(error), directory);
	if (processes->count == 0 && name != NULL)
		return report_no_match(directory, name);
	if (processes->count == 0)
		return report(EXIT_FAILED,
			      "no process has a socket in %s; are the servers running with the "
			      "setting control=%s?",
			      directory, directory);
	return 0;
}

void processes_filter(struct processes *processes,
		      bool (*wanted)(const struct peer *peer, const void *user_data),
		      const void *user_data)
{
	size_t kept = 0;

	for (size_t i = 0; i < processes->count; i++) {
		if (wanted(&processes->peers[i], user_data))
			processes->peers[kept++] = processes->peers[i];
		else
			peer_clear(&processes->peers[i]);
	}
	processes->count = kept;
}

void peer_number(const struct peer *peer, char *words, size_t size)
{
	char here[40] = "";

	if (peer->connected && peer->pid == 0)
		snprintf(here, sizeof(here), " (not in this pid namespace)");
	else if (peer->connected && peer->pid != (pid_t)strtol(peer->process, NULL, 10))
		snprintf(here, sizeof(here), " (%ld here)", (long)peer->pid);
	snprintf(words, size, "%s%s", peer->process, here);
}

bool peer_gone_lately(const struct peer *peer)
{
	return peer->state == PEER_GONE &&
	       (peer->gone_since == 0 || time(NULL) - peer->gone_since < PROCESSES_GONE_SHOWN);
}

/* Under the lock of the directory, as the library does it, and after one more attempt to connect:
 * meanwhile a new process may have created a socket of the same name. */
void processes_note_gone(const struct processes *processes, bool remove)
{
	const struct timespec now[] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	int directory = open(processes->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool locked = directory >= 0 && flock(directory, LOCK_EX | LOCK_NB) == 0;

	for (size_t i = 0; locked && i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		struct connection connection;
		bool old = peer->gone_since != 0 && !peer_gone_lately(peer);
		if (peer->state != PEER_GONE || (peer->gone_since != 0 && !(old && remove)))
			continue;
		bool gone = connection_open(&connection, processes->directory, peer->file, 0, "") ==
			    -ECONNREFUSED;
		connection_close(&connection);
		if (gone && old)
			(void)unlinkat(directory, peer->file, 0);
		else if (gone)
			(void)utimensat(directory, peer->file, now, AT_SYMLINK_NOFOLLOW);
	}
	if (directory >= 0)
		close(directory);
}
