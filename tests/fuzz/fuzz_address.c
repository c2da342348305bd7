/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any text as an address: an accepted text is host:port by a second implementation of the rule,
 * prints as itself, and is parsed again to the same. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "fuzz.h"
#include "nodes/node.h"

static bool all_of(const char *from, const char *to, const char *set)
{
	for (; from < to; from++) {
		if (*from == '\0' || strchr(set, *from) == NULL)
			return false;
	}
	return true;
}

#define DIGITS "0123456789"
#define HOST "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS ".-_"

/* [v6%zone] without its brackets. */
static bool is_ipv6(const char *from, const char *to)
{
	char bare[64];
	struct in6_addr ignored;
	const char *zone = memchr(from, '%', (size_t)(to - from)), *end = zone != NULL ? zone : to;

	if (zone != NULL && (zone + 1 == to || !all_of(zone + 1, to, HOST)))
		return false;
	if ((size_t)(end - from) >= sizeof(bare))
		return false;
	memcpy(bare, from, (size_t)(end - from));
	bare[end - from] = '\0';
	return inet_pton(AF_INET6, bare, &ignored) == 1;
}

/* The one spelling of an address of which the host ends at `to`: small letters, and IPv6 as libc
 * prints it, with its zone as it is. */
static void spell(const char *text, const char *to, char *host, size_t size)
{
	const char *zone = text[0] == '[' ? memchr(text, '%', (size_t)(to - text)) : NULL;
	struct in6_addr binary;

	if (text[0] != '[') {
		for (; text < to; text++)
			*host++ = (char)(*text >= 'A' && *text <= 'Z' ? *text + 32 : *text);
		*host = '\0';
		return;
	}
	snprintf(host, size, "%.*s", (int)((zone != NULL ? zone : to - 1) - text - 1), text + 1);
	HOLD(inet_pton(AF_INET6, host, &binary) == 1);
	HOLD(inet_ntop(AF_INET6, &binary, host, (socklen_t)size) != NULL);
	if (zone != NULL)
		strncat(host, zone, (size_t)(to - 1 - zone));
}

static bool fits(const char *text, const char *to)
{
	char host[600];

	spell(text, to, host, sizeof(host));
	return strlen(host) <= 255;
}

/* The rule, applied from the end: port, colon, host. */
static bool is_address(const char *text, uint16_t *port)
{
	const char *end = text + strlen(text), *colon = strrchr(text, ':');

	if (colon == NULL || colon == text || end - colon < 2 || end - colon > 6 ||
	    !all_of(colon + 1, end, DIGITS))
		return false;
	long number = strtol(colon + 1, NULL, 10);
	*port = (uint16_t)number;
	if (number < 1 || number > 65535)
		return false;
	if (text[0] == '[')
		return colon[-1] == ']' && colon - text - 2 <= 255 &&
		       is_ipv6(text + 1, colon - 1) && fits(text, colon);
	return colon - text <= 255 && all_of(text, colon, HOST);
}

static void hold_taken(const struct safestart_node *node, const char *text, uint16_t port)
{
	char printed[NODE_ADDRESS_SIZE], bare[NODE_ADDRESS_SIZE], spelled[600];
	const char *host = safestart_node_host(node);
	struct safestart_node *again;

	HOLD(safestart_node_port(node) == port);
	HOLD(strpbrk(host, "[]") == NULL);
	node_address(node, printed);
	spell(text, strrchr(text, ':'), spelled, sizeof(spelled));
	HOLD(strcmp(host, spelled) == 0);
	snprintf(bare, sizeof(bare), text[0] == '[' ? "[%.255s]:%u" : "%.255s:%u", spelled,
		 (unsigned)port);
	HOLD(strcmp(printed, bare) == 0);
	HOLD(node_new(&again, "id", printed, 0, NULL, 0, NULL, 0) == 0);
	HOLD(node_same(node, again));
	HOLD(strcmp(safestart_node_host(again), host) == 0 && safestart_node_port(again) == port);
	node_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	size_t why_size = input_byte(&input);
	char *text = malloc(input.left + 1), *why = dirty(why_size);
	struct safestart_node *node = NULL;
	uint16_t port = 0;

	HOLD(text != NULL);
	memcpy(text, input.at, input.left);
	text[input.left] = '\0';
	int error = node_new(&node, "id", text, 0, NULL, 0, why, why_size);
	HOLD(error == 0 || error == -EINVAL);
	HOLD((error == 0) == is_address(text, &port));
	if (error < 0) {
		hold_words(why, why_size);
		HOLD(why_size < 2 || why[0] != '\0');
	} else {
		hold_taken(node, text, port);
		node_free(node);
	}
	/* It has to be valid as its own id, too. */
	int named = node_new(&node, NULL, text, 0, NULL, 0, why, why_size);
	char own[NODE_ADDRESS_SIZE];
	HOLD(node_normalise(own, text, 0, NULL, 0) == error);
	HOLD(named == (error < 0 || strlen(own) > NODE_ID_MAX ? -EINVAL : 0));
	if (named == 0) {
		HOLD(strcmp(safestart_node_id(node), own) == 0);
		node_free(node);
	}
	free(text);
	free(why);
	return 0;
}
