/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* counted: every allocation of the program it is linked into, by --wrap of malloc, calloc, realloc,
 * free and strdup; jansson's by its own hook. It does not matter what the allocator gives back to
 * the system. One thread. */
#ifndef COUNTED_H
#define COUNTED_H

#include <stddef.h>

/* From now on: nothing is in use, and jansson is counted, too. */
void counted_begin(void);
size_t counted_in_use(void);
size_t counted_peak(void);

#endif
