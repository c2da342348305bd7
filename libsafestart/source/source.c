/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source: opening, reading and closing the source that was chosen. What was inherited by a fork is
 * closed and opened again before it is read; what may be torn is left alone. [P17] */
#include "source/source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/message.h"
#include "source/file.h"

static enum source_kind kind_of(const char *name)
{
	return strcmp(name, "push") == 0   ? SOURCE_PUSH
	       : strcmp(name, "none") == 0 ? SOURCE_NONE
					   : SOURCE_ADDED;
}

void source_init(struct source_part *source, const struct source_entry *sources, const char *name)
{
	const char *argument;

	source->kind = kind_of(name);
	source->name = name;
	source->entry =
		source->kind == SOURCE_ADDED ? sources_find(sources, name, &argument) : NULL;
	/* The settings were checked. */
	invariant((source->kind == SOURCE_ADDED) == (source->entry != NULL));
}

static void take_descriptor(struct source_part *source)
{
	if (source->fd < 0 && source->entry->source.fd != NULL)
		source->fd = source->entry->source.fd(source->state);
}

int source_open(struct source_part *source, char *why, size_t why_size)
{
	struct safestart_source_conf conf = {.entry = source->entry};
	char reason[200] = "";

	if (source->kind != SOURCE_ADDED)
		return 0;
	invariant(!source->open && source->fd < 0);
	(void)sources_find(source->entry, source->name, &conf.argument);
	source->state = NULL;
	int error = source->entry->source.open(&source->state, &conf, reason, sizeof(reason),
					       source->entry->user_data);
	if (error < 0)
		return message_set(why, why_size, error, "source=%.60s: %s", source->name,
				   reason[0] != '\0' ? reason : safestart_strerror(error));
	source->open = true;
	source->inherited = source->torn = false;
	take_descriptor(source);
	return 0;
}

void source_close(struct source_part *source)
{
	if (!source->open)
		return;
	if (!source->torn)
		source->entry->source.close(source->state);
	else if (source->fd >= 0)
		close(source->fd);
	source->open = false;
	source->fd = -1;
}

int source_gather(struct source_part *source, struct safestart_gather *gather)
{
	if (source->inherited) {
		source_close(source);
		source->inherited = false;
	}
	if (!source->open) {
		int error = source_open(source, gather->words, sizeof(gather->words));
		if (error < 0)
			return error;
	}
	invariant(source->open && !source->inherited && !source->torn);
	/* A reading without a warning ends the row. */
	if (!atomic_exchange(&source->warnings.said, false))
		atomic_store(&source->warnings.times, 0);
	int result = source->entry->source.gather(source->state, gather);
	take_descriptor(source);
	return result;
}

bool source_hint(struct source_part *source)
{
	/* Only what is open here is watched. */
	invariant(source->open && !source->inherited);
	return source->entry->source.hint(source->state) > 0;
}

void source_abandon(struct source_part *source)
{
	source->torn = source->torn || (source->open && source->inherited &&
					source->entry->source.close != file_source.close);
}
