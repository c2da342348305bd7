/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/ctl.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

const char *ctl_directory(void)
{
	static char directory[256];

	snprintf(directory, sizeof(directory), "%s/ctl", scratch());
	return directory;
}

const char *ctl_setting(void)
{
	static char setting[300];

	snprintf(setting, sizeof(setting), "control=%s", ctl_directory());
	return setting;
}

const char *ctl_path(const char *name, pid_t pid, int number)
{
	static char paths[4][400];
	static unsigned next;
	char *path = paths[next++ % 4], sibling[16] = "";

	if (number > 1)
		snprintf(sibling, sizeof(sibling), "-%d", number);
	snprintf(path, sizeof(paths[0]), "%s/%s.%d%s.sock", ctl_directory(), name, (int)pid,
		 sibling);
	return path;
}

const char *ctl_wait(const char *name, pid_t pid, int number)
{
	const char *path = ctl_path(name, pid, number);

	EVENTUALLY(access(path, F_OK) == 0);
	return path;
}

int ctl_count(void)
{
	DIR *list = opendir(ctl_directory());
	int count = 0;

	for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
		size_t length = strlen(entry->d_name);
		count += entry->d_name[0] != '.' && length > 5 &&
			 strcmp(entry->d_name + length - 5, ".sock") == 0;
	}
	if (list != NULL)
		closedir(list);
	return count;
}

int ctl_try(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 110};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* only for hangs */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

void ctl_connect(struct ctl *ctl, const char *path)
{
	*ctl = (struct ctl){.fd = ctl_try(path)};
	ck_assert_msg(ctl->fd >= 0, "%s: %s", path, strerror(-ctl->fd));
	ctl->from = fdopen(ctl->fd, "r");
	ck_assert_ptr_nonnull(ctl->from);
}

void ctl_send(struct ctl *ctl, const char *text)
{
	size_t length = strlen(text);

	ssize_t sent = send(ctl->fd, text, length, MSG_NOSIGNAL);
	/* A client that was refused cannot send; the answer says why. */
	ck_assert(sent == (ssize_t)length || errno == EPIPE);
}

const char *ctl_line(struct ctl *ctl)
{
	return getline(&ctl->line, &ctl->room, ctl->from) > 0 ? ctl->line : NULL;
}

json_t *ctl_read(struct ctl *ctl)
{
	const char *line = ctl_line(ctl);
	json_error_t error;

	ck_assert_msg(line != NULL, "nothing more comes: %s", strerror(errno));
	ck_assert_msg(line[strlen(line) - 1] == '\n', "half a line of %zu bytes: %.200s",
		      strlen(line), line);
	json_t *root = json_loads(line, 0, &error);
	ck_assert_msg(root != NULL, "%s at byte %d of %zu: %.200s", error.text, error.position,
		      strlen(line), line);
	return root;
}

json_t *ctl_ask(struct ctl *ctl, const char *line)
{
	ctl_send(ctl, line);
	ctl_send(ctl, "\n");
	return ctl_read(ctl);
}

void ctl_close(struct ctl *ctl)
{
	fclose(ctl->from);
	free(ctl->line);
}

json_t *ctl_once(const char *path, const char *line)
{
	struct ctl ctl;

	ctl_connect(&ctl, path);
	json_t *root = ctl_ask(&ctl, line);
	ctl_close(&ctl);
	return root;
}

static const json_t *member(const json_t *root, const char *path)
{
	char keys[128], *rest = NULL;
	const json_t *at = root;

	snprintf(keys, sizeof(keys), "%s", path);
	for (char *key = strtok_r(keys, ".", &rest); key != NULL; key = strtok_r(NULL, ".", &rest))
		at = key[0] >= '0' && key[0] <= '9' ? json_array_get(at, (size_t)atoi(key))
						    : json_object_get(at, key);
	if (at == NULL) {
		char *text = json_dumps(root, 0);
		ck_abort_msg("no %s in %s", path, text);
	}
	return at;
}

const char *ctl_string(const json_t *root, const char *path)
{
	const char *text = json_string_value(member(root, path));

	ck_assert_msg(text != NULL, "%s is no string", path);
	return text;
}

long long ctl_integer(const json_t *root, const char *path)
{
	const json_t *value = member(root, path);

	ck_assert_msg(json_is_integer(value), "%s is no integer", path);
	return json_integer_value(value);
}

bool ctl_true(const json_t *root, const char *path)
{
	const json_t *value = member(root, path);

	ck_assert_msg(json_is_boolean(value), "%s is neither true nor false", path);
	return json_is_true(value);
}
