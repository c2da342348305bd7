/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source/file: the nodes are in a file_sd document on disk. See file.c. */
#ifndef SAFESTART_SOURCE_FILE_H
#define SAFESTART_SOURCE_FILE_H

#include <safestart/source.h>

extern const struct safestart_source file_source;

#endif
