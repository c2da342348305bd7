/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sources: the list, and what a source's `open` may ask of it. Knows no other setting than the
 * sources' own: that a key is free among the others, the settings check. */
#include "source/sources.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* NULL past the end. */
static const struct safestart_source_setting *setting_at(const struct safestart_source *source,
							 size_t index)
{
	const struct safestart_source_setting *setting = source->settings;

	while (setting != NULL && setting->key != NULL && index-- > 0)
		setting++;
	return setting != NULL && setting->key != NULL ? setting : NULL;
}

static size_t setting_count(const struct safestart_source *source)
{
	size_t count = 0;

	while (setting_at(source, count) != NULL)
		count++;
	return count;
}

/* At which index the source has that setting; as many as it has: it has none. */
static size_t find_setting(const struct safestart_source *source, const char *key)
{
	const struct safestart_source_setting *setting;
	size_t index = 0;

	while ((setting = setting_at(source, index)) != NULL && strcmp(setting->key, key) != 0)
		index++;
	return index;
}

static void free_entry(struct source_entry *entry)
{
	for (size_t i = 0; i < setting_count(&entry->source); i++)
		free(entry->values[i]);
	free(entry->values);
	free(entry);
}

void sources_free(struct source_entry *list)
{
	while (list != NULL) {
		struct source_entry *next = list->next;
		free_entry(list);
		list = next;
	}
}

char **sources_value(const struct source_entry *list, const char *key)
{
	for (const struct source_entry *entry = list; entry != NULL; entry = entry->next) {
		size_t index = find_setting(&entry->source, key);
		if (index < setting_count(&entry->source))
			return &entry->values[index];
	}
	return NULL;
}

const char *sources_key(const struct source_entry *list, size_t index)
{
	for (const struct source_entry *entry = list; entry != NULL; entry = entry->next) {
		size_t count = setting_count(&entry->source);
		if (index < count)
			return setting_at(&entry->source, index)->key;
		index -= count;
	}
	return NULL;
}

const struct source_entry *sources_find(const struct source_entry *list, const char *name,
					const char **argument)
{
	size_t length = strcspn(name, ":");

	*argument = name[length] == ':' ? name + length + 1 : "";
	for (const struct source_entry *entry = list; entry != NULL; entry = entry->next) {
		if (strlen(entry->source.scheme) == length &&
		    strncmp(entry->source.scheme, name, length) == 0)
			return entry;
	}
	return NULL;
}

/* ---- Adding ---- */

/* push and none are no sources of their own: the handle has them built in. */
static bool is_scheme(const char *text)
{
	if (text == NULL || text[0] == '\0' || strcmp(text, "push") == 0 ||
	    strcmp(text, "none") == 0)
		return false;
	for (; *text != '\0'; text++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-",
			   *text) == NULL)
			return false;
	}
	return true;
}

int sources_check(const struct source_entry *list, const struct safestart_source *source)
{
	if (source->size < sizeof(*source) || !is_scheme(source->scheme))
		return -EINVAL;
	if (source->open == NULL || source->gather == NULL || source->close == NULL ||
	    (source->fd != NULL && source->hint == NULL))
		return -EINVAL;
	for (const struct source_entry *entry = list; entry != NULL; entry = entry->next) {
		if (strcmp(entry->source.scheme, source->scheme) == 0)
			return -EEXIST;
	}
	const struct safestart_source_setting *setting;
	for (size_t i = 0; (setting = setting_at(source, i)) != NULL; i++) {
		if (setting->value == NULL || setting->help == NULL)
			return -EINVAL;
		if (sources_value(list, setting->key) != NULL ||
		    find_setting(source, setting->key) < i)
			return -EEXIST;
	}
	return 0;
}

/* NULL: no memory. */
static struct source_entry *new_entry(const struct safestart_source *source, void *user_data)
{
	struct source_entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	entry->source = *source;
	entry->user_data = user_data;
	entry->values = calloc(setting_count(source) + 1, sizeof(*entry->values));
	if (entry->values == NULL) {
		free(entry);
		return NULL;
	}
	return entry;
}

int sources_add(struct source_entry **list, const struct safestart_source *source, void *user_data)
{
	struct source_entry *entry = new_entry(source, user_data);

	if (entry == NULL)
		return -ENOMEM;
	entry->next = *list;
	*list = entry;
	return 0;
}

int sources_copy(struct source_entry **copy, const struct source_entry *list)
{
	for (*copy = NULL; list != NULL; list = list->next) {
		struct source_entry *entry = new_entry(&list->source, list->user_data);
		if (entry == NULL)
			return -ENOMEM;
		*copy = entry;
		copy = &entry->next;
		for (size_t i = 0; i < setting_count(&list->source); i++) {
			if (list->values[i] != NULL &&
			    (entry->values[i] = strdup(list->values[i])) == NULL)
				return -ENOMEM;
		}
	}
	return 0;
}

/* ---- What a source's `open` may ask ---- */

const char *safestart_source_argument(const struct safestart_source_conf *conf)
{
	return conf->argument;
}

const char *safestart_source_value(const struct safestart_source_conf *conf, const char *key)
{
	const struct source_entry *entry = conf->entry;
	size_t index = find_setting(&entry->source, key);
	const struct safestart_source_setting *setting = setting_at(&entry->source, index);

	if (setting == NULL)
		return NULL;
	return entry->values[index] != NULL ? entry->values[index] : setting->value;
}
