/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/counted.h"

#include <jansson.h>
#include <malloc.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);

static size_t in_use, peak;

void counted_begin(void)
{
	json_set_alloc_funcs(__wrap_malloc, __wrap_free);
	in_use = peak = 0;
}

size_t counted_in_use(void)
{
	return in_use;
}

size_t counted_peak(void)
{
	return peak;
}

static void *counted(void *memory)
{
	in_use += malloc_usable_size(memory);
	peak = in_use > peak ? in_use : peak;
	return memory;
}

void *__wrap_malloc(size_t size)
{
	return counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return counted(__real_calloc(count, size));
}

/* The old block and the new one exist at the same time. */
void *__wrap_realloc(void *memory, size_t size)
{
	size_t old = malloc_usable_size(memory);
	void *grown = counted(__real_realloc(memory, size));

	in_use -= grown != NULL ? old : 0;
	return grown;
}

char *__wrap_strdup(const char *text)
{
	return counted(__real_strdup(text));
}

void __wrap_free(void *memory)
{
	in_use -= malloc_usable_size(memory);
	__real_free(memory);
}
