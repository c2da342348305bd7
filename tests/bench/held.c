/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "held.h"

#include <safestart/source.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW                                                                                     \
	"%c{\"targets\":[\"10.%zu.%zu.%zu:%d\"],\"labels\":{\"id\":\"node-%06zu\",\"zone\":\"%" \
	"c\"}}"

static void make_text(struct held_documents *held, int which, size_t nodes)
{
	size_t room = nodes * 96 + 16, length = 0;
	char *text = malloc(room);

	if (text == NULL)
		abort();
	for (size_t i = 0; i < nodes; i++) {
		/* The node in the middle differs, by its port. */
		int port = 8087 + (i == nodes / 2 ? which : 0);
		length += (size_t)snprintf(text + length, room - length, ROW, i == 0 ? '[' : ',',
					   i >> 16, i >> 8 & 255, i & 255, port, i,
					   'a' + (int)(i % 3));
	}
	text[length++] = ']';
	text[length] = '\0';
	held->texts[which] = text;
	held->lengths[which] = length;
}

void held_make(struct held_documents *held, size_t nodes)
{
	memset(held, 0, sizeof(*held));
	make_text(held, 0, nodes);
	make_text(held, 1, nodes);
	for (size_t i = 0; i < nodes; i++)
		held->strings += (size_t)snprintf(NULL, 0, "node-%06zu.10.%zu.%zu.%zu.zone.a.", i,
						  i >> 16, i >> 8 & 255, i & 255);
}

void held_free(struct held_documents *held)
{
	free(held->texts[0]);
	free(held->texts[1]);
}

void held_flip(struct held_documents *held)
{
	atomic_fetch_xor(&held->which, 1);
}

/* ---- The source, as an application would add it ---- */

/* Handed to the source; one handle is opened at a time. */
static struct held_documents *_Atomic opened;

static int held_source_open(void **state, const struct safestart_source_conf *conf, char *why,
			    size_t why_size, void *user_data)
{
	(void)conf;
	(void)why;
	(void)why_size;
	(void)user_data;
	*state = opened;
	return 0;
}

static int held_gather(void *state, struct safestart_gather *gather)
{
	struct held_documents *held = state;
	unsigned which = atomic_load(&held->which);

	return safestart_gather_json(gather, held->texts[which], held->lengths[which]);
}

static void held_source_close(void *state)
{
	(void)state;
}

static const struct safestart_source source = {.size = sizeof(source),
					       .scheme = "held",
					       .open = held_source_open,
					       .gather = held_gather,
					       .close = held_source_close};

/* ---- A handle ---- */

static void set(struct safestart_conf *conf, const char *setting)
{
	char key[64], why[256];
	const char *value = strchr(setting, '=');

	snprintf(key, sizeof(key), "%.*s", (int)(value - setting), setting);
	if (safestart_conf_set(conf, key, value + 1, why, sizeof(why)) < 0) {
		fprintf(stderr, "%s: %s\n", setting, why);
		abort();
	}
}

struct safestart *held_open(struct held_documents *held,
			    const struct safestart_callbacks *callbacks, void *user_data,
			    const char *first, ...)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;
	char why[256];
	va_list more;

	opened = held;
	if (safestart_conf_add_source(conf, &source, NULL) < 0)
		abort();
	set(conf, held != NULL ? "source=held:" : "source=none");
	set(conf, "debounce=0");
	set(conf, "reconcile=0");
	va_start(more, first);
	for (const char *setting = first; setting != NULL; setting = va_arg(more, const char *))
		set(conf, setting);
	va_end(more);
	if (callbacks != NULL)
		safestart_conf_set_callbacks(conf, callbacks, user_data);
	if (safestart_open(&ss, conf, why, sizeof(why)) < 0 || safestart_wait_ready(ss, -1) < 0) {
		fprintf(stderr, "open: %s\n", why);
		abort();
	}
	safestart_conf_free(conf);
	return ss;
}

void held_close(struct safestart *ss)
{
	if (safestart_close(ss) < 0)
		abort();
}
