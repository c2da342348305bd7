/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* attributes: gives a new file the owner, mode, ACL, security label and extended attributes of the
 * file that it replaces. */
#ifndef SAFESTART_COMMAND_ATTRIBUTES_H
#define SAFESTART_COMMAND_ATTRIBUTES_H

#include <stdbool.h>
#include <sys/stat.h>

/* Owner and mode of `like`; from the descriptor `from` (-1: nothing more) everything else. 0 or
 * -errno; -ENOTSUP: the owner cannot be given; -ENODATA: the attribute named in `which` cannot be
 * set. With `lose` such an attribute is left out. */
int attributes_copy(int from, int to, const struct stat *like, bool lose, char which[64]);

#endif
