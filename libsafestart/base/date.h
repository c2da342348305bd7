/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* date: wall-clock time in words, for printing only: nothing is decided by it [P8]. Pure. */
#ifndef SAFESTART_BASE_DATE_H
#define SAFESTART_BASE_DATE_H

#include <stddef.h>
#include <stdint.h>

/* 2026-11-23T07:43:53.123Z of milliseconds since 1970. */
void date_print(char *to, size_t size, int64_t wall_ms);

#endif
