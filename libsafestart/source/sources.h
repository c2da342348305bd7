/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sources: the sources that settings know, with the values given for their own settings. No clock,
 * no I/O; one thread at a time, as for the settings they are part of. */
#ifndef SAFESTART_SOURCE_SOURCES_H
#define SAFESTART_SOURCE_SOURCES_H

#include <safestart/source.h>
#include <stddef.h>

struct source_entry {
	struct safestart_source source;
	void *user_data;
	char **values; /* one for each of its settings; NULL: the default */
	struct source_entry *next;
};

/* What a source's `open` gets. */
struct safestart_source_conf {
	const char *argument;
	const struct source_entry *entry;
};

/* May it be added? 0; -EINVAL incomplete, -EEXIST its scheme or a setting of its is there already.
 */
int sources_check(const struct source_entry *list, const struct safestart_source *source);

/* Add one that may be added at the head of the list. 0 or -ENOMEM. */
int sources_add(struct source_entry **list, const struct safestart_source *source, void *user_data);
void sources_free(struct source_entry *list);

/* A copy in the same order, so that the same source is found by its scheme. 0 or -ENOMEM; what was
 * copied so far is in *copy in any case. */
int sources_copy(struct source_entry **copy, const struct source_entry *list);

/* Where the value of a source's own setting is kept; NULL: no source has it. */
char **sources_value(const struct source_entry *list, const char *key);

/* The key at `index` among all settings of all sources; NULL past the end. */
const char *sources_key(const struct source_entry *list, size_t index);

/* The source that "SCHEME:ARGUMENT" names, NULL: none (push, none); its argument, "" without. */
const struct source_entry *sources_find(const struct source_entry *list, const char *name,
					const char **argument);

#endif
