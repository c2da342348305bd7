/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host: what its parts share. */
#ifndef HOST_H
#define HOST_H

#include <safestart/source.h>
#include <stdio.h>

extern struct safestart *handle;

void pause_ms(int ms);

/* registry.c: source=registry:PORT asks an HTTP server on 127.0.0.1. It hears of no change by
 * itself: only who asks, learns. */
extern const struct safestart_source registry_source;

/* What is hung on nodes and generations. A use after it was given back is for the address sanitizer
 * to find. */
struct data {
	_Atomic unsigned long uses;
};

/* readers.c: commands, and what main needs of it. */
void readers_start(FILE *to, char *argument);
void readers_own(FILE *to, char *argument);
void readers_disown(FILE *to, char *argument);
void readers_borrow(FILE *to, char *argument);
unsigned long readers_reads(void); /* how often a reader has read so far */
int readers_borrowing(void);       /* how many are inside readers_borrow() */
void readers_stop(void);

#endif
