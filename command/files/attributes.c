/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* attributes: copies what belongs to a file besides its contents. Main thread only; changes only
 * the new file. */
#include "files/attributes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACL "system.posix_acl_access"

/* The owner before the mode: changing the owner clears set-uid bits. */
static int copy_owner_and_mode(int to, const struct stat *like, mode_t mode)
{
	struct stat status;

	if (fstat(to, &status) < 0)
		return -errno;
	if ((status.st_uid != like->st_uid || status.st_gid != like->st_gid) &&
	    fchown(to, like->st_uid, like->st_gid) < 0)
		return errno == EPERM ? -ENOTSUP : -errno;
	return fchmod(to, mode) < 0 ? -errno : 0;
}

/* The value; the caller frees it. NULL: errno says why. */
static void *read_value(int fd, const char *name, size_t *length)
{
	ssize_t size = fgetxattr(fd, name, NULL, 0);
	char *value = size >= 0 ? malloc((size_t)size + 1) : NULL;

	if (value != NULL && (size = fgetxattr(fd, name, value, (size_t)size)) < 0) {
		free(value);
		value = NULL;
	}
	*length = size >= 0 ? (size_t)size : 0;
	return value;
}

/* A label that the new file has already is not set: that may take a right this user lacks. */
static bool copy_value(int from, int to, const char *name)
{
	size_t length, has;
	void *value = read_value(from, name, &length), *present = read_value(to, name, &has);
	bool ok = value != NULL &&
		  ((present != NULL && has == length && memcmp(present, value, length) == 0) ||
		   fsetxattr(to, name, value, length, 0) == 0);

	free(value);
	free(present);
	return ok;
}

/* Checksums of the contents, which the kernel makes itself. */
static bool is_of_contents(const char *name)
{
	return strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0;
}

/* NULL with *size 0: none, or the file system has none. */
static char *list_names(int fd, ssize_t *size)
{
	*size = flistxattr(fd, NULL, 0);
	char *names = *size > 0 ? malloc((size_t)*size) : NULL;

	if (names != NULL)
		*size = flistxattr(fd, names, (size_t)*size);
	else if (*size < 0 && errno == ENOTSUP)
		*size = 0;
	return names;
}

/* In a file with an ACL the group bits of the mode are the ACL's mask, not rights of the group: a
 * new file without the ACL gets none of them. The directory's default ACL may have given the new
 * file one that the old one does not have. */
int attributes_copy(int from, int to, const struct stat *like, bool lose, char which[64])
{
	bool with_acl = from >= 0 && fgetxattr(from, ACL, NULL, 0) > 0;
	ssize_t size = 0;

	(void)fremovexattr(to, ACL);
	int error = copy_owner_and_mode(to, like, like->st_mode & (with_acl ? 07707 : 07777));
	char *names = error == 0 && from >= 0 ? list_names(from, &size) : NULL;
	if (error == 0 && (size < 0 || (size > 0 && names == NULL)))
		error = size < 0 ? -errno : -ENOMEM;
	for (ssize_t at = 0; error == 0 && at < size; at += (ssize_t)strlen(names + at) + 1) {
		if (is_of_contents(names + at) || copy_value(from, to, names + at) || lose)
			continue;
		snprintf(which, 64, "%s", names + at);
		error = -ENODATA;
	}
	free(names);
	return error;
}
