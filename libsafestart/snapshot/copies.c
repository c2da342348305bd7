/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* copies: how copies find each other. Their symbols may be hidden from each other, so each object
 * that has a copy in it has a note (an ELF note, which linkers keep and strip leaves alone) that
 * says how far away its `struct copies` is. */
#define _LGPL_SOURCE /* for urcu_bp_gp, which its inlined functions use */
#include "snapshot/copies.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <urcu-bp.h>

#include "base/invariant.h"

#define NOTE_OWNER "safestart"
#define NOTE_TYPE 1 /* the layout of struct copies */

/* Global, because the note below refers to it by name. */
extern struct copies copies_own __attribute__((visibility("hidden")));
struct copies copies_own __attribute__((used)) = {.rcu = &urcu_bp_gp,
						  .grace_lock = PTHREAD_MUTEX_INITIALIZER,
						  .registration = PTHREAD_MUTEX_INITIALIZER,
						  .once = PTHREAD_ONCE_INIT,
						  .again = PTHREAD_MUTEX_INITIALIZER,
						  .lock = PTHREAD_MUTEX_INITIALIZER};

struct copies *copies = &copies_own;

/* The lengths of name and content, the type, the name with its NUL, the content. */
__asm__(".pushsection .note.safestart, \"a\", %note\n"
	".balign 4\n"
	".long 10, 4, 1\n"
	".asciz \"" NOTE_OWNER "\"\n"
	".balign 4\n"
	".long copies_own - .\n"
	".popsection\n");

static size_t aligned(size_t size, size_t alignment)
{
	return (size + alignment - 1) / alignment * alignment;
}

/* The notes of one segment. NULL: no copy that uses our liburcu. */
static struct copies *look_at_notes(const char *at, size_t length, size_t alignment)
{
	ElfW(Nhdr) note;

	while (length >= sizeof(note)) {
		memcpy(&note, at, sizeof(note));
		size_t content = aligned(sizeof(note) + note.n_namesz, alignment);
		size_t size = aligned(content + note.n_descsz, alignment);
		if (note.n_type == NOTE_TYPE && note.n_namesz == sizeof(NOTE_OWNER) &&
		    note.n_descsz == sizeof(int32_t) &&
		    memcmp(at + sizeof(note), NOTE_OWNER, sizeof(NOTE_OWNER)) == 0) {
			int32_t distance;
			memcpy(&distance, at + content, sizeof(distance));
			struct copies *found =
				(struct copies *)((intptr_t)(at + content) + distance);
			if (found->rcu == copies_own.rcu)
				return found;
		}
		if (size > length)
			break;
		at += size;
		length -= size;
	}
	return NULL;
}

/* In the order in which objects were loaded. Positive: found. */
static int look_at_object(struct dl_phdr_info *object, size_t size, void *argument)
{
	struct copies **found = argument;

	(void)size;
	for (size_t i = 0; i < object->dlpi_phnum && *found == NULL; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		if (segment->p_type == PT_NOTE)
			*found = look_at_notes((const char *)(uintptr_t)(object->dlpi_addr +
									 segment->p_vaddr),
					       segment->p_memsz, segment->p_align == 8 ? 8 : 4);
	}
	return *found != NULL;
}

/* Found by its name, for it is loaded. That fails for the main program, which stays in any case. */
static void stay_loaded(const void *inside)
{
	Dl_info object;

	if (dladdr(inside, &object) != 0)
		(void)dlopen(object.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

static struct copies *find_first(void)
{
	struct copies *found = NULL;

	(void)dl_iterate_phdr(look_at_object, &found);
	invariant(found != NULL); /* at least our own */
	return found;
}

static void find_once(void)
{
	struct copies *first, *before;

	stay_loaded(&copies_own);
	first = find_first();
	/* Another thread may unload the first one meanwhile, if that was never used. */
	do {
		before = first;
		stay_loaded(first);
		first = find_first();
	} while (first != before);
	copies = first;
}

void copies_find(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_once);
}
