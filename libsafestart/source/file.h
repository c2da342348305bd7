/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file: the source that reads a file_sd document from disk, source=file:PATH. Its functions are
 * called as safestart/source.h says; it knows nothing else of the library. */
#ifndef SAFESTART_SOURCE_FILE_H
#define SAFESTART_SOURCE_FILE_H

#include <safestart/source.h>

extern const struct safestart_source file_source;

#endif
