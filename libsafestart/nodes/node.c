/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* node: what an entry must look like to be a node, and the memory of one: a single block with all
 * its text. Any thread; no I/O, no clock, no lock, no locale. */
#include "nodes/node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/message.h"

#define HOST_MAX 255

/* What is cheap to check: the three parts of the text are where the fields say, and each ends
 * inside the block. */
static inline __attribute__((unused)) bool node_holds(const struct safestart_node *node)
{
	return node->port > 0 && node->label_count <= NODE_LABELS_MAX && node->host_at > 1 &&
	       node->host_at <= NODE_ID_MAX + 1 && node->host_at + 1 < node->labels_at &&
	       node->labels_at + 2 * (uint32_t)node->label_count <= node->text_size &&
	       node->text[node->host_at - 1] == '\0' && node->text[node->labels_at - 1] == '\0' &&
	       node->text[node->text_size - 1] == '\0';
}

/* All of it: the labels fill the rest of the text, in the order of names, without one named "id".
 */
static inline __attribute__((unused)) bool labels_hold(const struct safestart_node *node)
{
	const char *at = node->text + node->labels_at, *before = NULL;

	for (size_t i = 0; i < node->label_count; i++) {
		if (strcmp(at, "id") == 0 || (before != NULL && strcmp(before, at) >= 0))
			return false;
		before = at;
		at += strlen(at) + 1;
		at += strlen(at) + 1;
	}
	return at == node->text + node->text_size;
}

struct address {
	char host[HOST_MAX + 1];
	uint16_t port;
};

/* Not ctype.h: it depends on the locale, which belongs to the application. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_host_character(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
	       c == '-' || c == '_';
}

static int parse_port(const char *text, uint16_t *port, char *why, size_t why_size)
{
	unsigned long value = 0;
	size_t length = strlen(text);

	for (size_t i = 0; i < length && i < 6; i++) {
		if (!is_digit(text[i]))
			length = 0;
		else
			value = value * 10 + (unsigned long)(text[i] - '0');
	}
	if (length == 0 || length > 5 || value < 1 || value > 65535)
		return message_set(why, why_size, -EINVAL,
				   "the port \"%.20s\" is not a number from 1 to 65535", text);
	*port = (uint16_t)value;
	invariant(*port > 0);
	return 0;
}

/* The one spelling of an IPv6 address; its zone ("%eth0") names an interface and is kept. */
static bool normalise_ipv6(char host[HOST_MAX + 1])
{
	struct in6_addr binary;
	char bare[INET6_ADDRSTRLEN], zone[HOST_MAX + 1];
	size_t length = strcspn(host, "%");
	bool zone_valid = host[length] == '\0' || host[length + 1] != '\0';

	message_copy(zone, sizeof(zone), host + length);
	for (const char *c = zone; *c != '\0'; c++)
		zone_valid = zone_valid && (c == zone || is_host_character(*c));
	if (length >= sizeof(bare) || !zone_valid)
		return false;
	memcpy(bare, host, length);
	bare[length] = '\0';
	if (inet_pton(AF_INET6, bare, &binary) != 1)
		return false;
	(void)inet_ntop(AF_INET6, &binary, bare, sizeof(bare));
	if (strlen(bare) + strlen(zone) > HOST_MAX) /* ::1.2.3.4 grows */
		return false;
	stpcpy(stpcpy(host, bare), zone);
	return true;
}

/* "[::1]:8087": takes the part between the brackets. */
static int parse_bracketed(const char *text, struct address *to, const char **rest, char *why,
			   size_t why_size)
{
	const char *end = strchr(text, ']');

	if (end == NULL || (size_t)(end - text - 1) > HOST_MAX)
		return message_set(why, why_size, -EINVAL,
				   "the address \"%.60s\" has no closing bracket", text);
	memcpy(to->host, text + 1, (size_t)(end - text - 1));
	to->host[end - text - 1] = '\0';
	if (!normalise_ipv6(to->host))
		return message_set(why, why_size, -EINVAL, "\"%.60s\" is not an IPv6 address",
				   to->host);
	*rest = end + 1;
	return 0;
}

static int several_colons(const char *text, char *why, size_t why_size)
{
	return message_set(why, why_size, -EINVAL,
			   "the address \"%.60s\" has more than one colon; write an IPv6 address "
			   "in brackets",
			   text);
}

/* A name, in which capital letters mean the same as small ones, or an IPv4 address. */
static int parse_host(const char *text, struct address *to, const char **rest, char *why,
		      size_t why_size)
{
	size_t length = 0;

	while (is_host_character(text[length]))
		length++;
	if (text[0] == ':' && strchr(text + 1, ':') != NULL)
		return several_colons(text, why, why_size);
	if (length == 0 || (text[length] != ':' && text[length] != '\0'))
		return message_set(why, why_size, -EINVAL, "the address \"%.60s\" is not host:port",
				   text);
	if (length > HOST_MAX)
		return message_set(why, why_size, -EINVAL,
				   "the host in \"%.60s...\" is longer than %d bytes", text,
				   HOST_MAX);
	for (size_t i = 0; i < length; i++)
		to->host[i] = (char)(text[i] + (text[i] >= 'A' && text[i] <= 'Z' ? 'a' - 'A' : 0));
	to->host[length] = '\0';
	*rest = text + length;
	return **rest == ':' && strchr(*rest + 1, ':') != NULL ? several_colons(text, why, why_size)
							       : 0;
}

static int parse_address(const char *text, uint16_t default_port, struct address *to, char *why,
			 size_t why_size)
{
	const char *rest = text;

	if (text[0] == '\0')
		return message_set(why, why_size, -EINVAL, "the address is empty; write host:port");
	int error = text[0] == '[' ? parse_bracketed(text, to, &rest, why, why_size)
				   : parse_host(text, to, &rest, why, why_size);
	if (error < 0)
		return error;
	invariant(to->host[0] != '\0');
	invariant(rest > text);
	if (*rest == '\0' && default_port > 0) {
		to->port = default_port;
		return 0;
	}
	if (*rest != ':')
		return message_set(why, why_size, -EINVAL,
				   "the address \"%.60s\" has no port; write host:port, or set "
				   "default_port",
				   text);
	return parse_port(rest + 1, &to->port, why, why_size);
}

static void print_address(const char *host, uint16_t port, char address[NODE_ADDRESS_SIZE])
{
	snprintf(address, NODE_ADDRESS_SIZE, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
		 (unsigned)port);
}

int node_normalise(char address[NODE_ADDRESS_SIZE], const char *text, uint16_t default_port,
		   char *why, size_t why_size)
{
	struct address parsed = {.port = 0};

	int error = parse_address(text, default_port, &parsed, why, why_size);
	if (error == 0)
		print_address(parsed.host, parsed.port, address);
	return error;
}

int node_check_id(const char *id, char *why, size_t why_size)
{
	size_t length = strlen(id);

	if (length == 0)
		return message_set(why, why_size, -EINVAL, "the id is empty");
	if (length > NODE_ID_MAX)
		return message_set(why, why_size, -EINVAL,
				   "the id \"%.40s...\" is %zu bytes long; at most %d are allowed",
				   id, length, NODE_ID_MAX);
	if (!message_is_utf8(id))
		return message_set(why, why_size, -EINVAL, "the id \"%.40s\" is not UTF-8", id);
	for (const char *c = id; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return message_set(why, why_size, -EINVAL,
					   "the id contains a control character (byte %zu)",
					   (size_t)(c - id));
	}
	return 0;
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct node_label *)a)->name, ((const struct node_label *)b)->name);
}

static char *append(char *at, const char *text)
{
	size_t size = strlen(text) + 1;

	memcpy(at, text, size);
	return at + size;
}

static size_t text_size(const char *id, const struct address *address,
			const struct node_label *labels, size_t label_count)
{
	size_t size = strlen(id) + 1 + strlen(address->host) + 1;

	for (size_t i = 0; i < label_count; i++)
		size += strlen(labels[i].name) + 1 + strlen(labels[i].value) + 1;
	return size;
}

/* `size`: of the text of all this. */
static struct safestart_node *allocate(size_t size, const char *id, const struct address *address,
				       const struct node_label *labels, size_t label_count)
{
	struct safestart_node *node = malloc(sizeof(*node) + size);

	if (node == NULL)
		return NULL;
	atomic_init(&node->refs, 1);
	atomic_init(&node->newest, NODE_REPORT_NONE);
	node->payload = NULL;
	node->text_size = (uint32_t)size;
	node->label_count = (uint16_t)label_count;
	node->port = address->port;
	char *at = append(node->text, id);
	node->host_at = (uint32_t)(at - node->text);
	at = append(at, address->host);
	node->labels_at = (uint32_t)(at - node->text);
	for (size_t i = 0; i < label_count; i++)
		at = append(append(at, labels[i].name), labels[i].value);
	invariant(at == node->text + size);
	invariant(node_holds(node));
	invariant(labels_hold(node));
	return node;
}

/* In the order of names, each name once. */
static int sort_labels(struct node_label *labels, size_t count, char *why, size_t why_size)
{
	if (count > NODE_LABELS_MAX)
		return message_set(why, why_size, -EINVAL,
				   "it has %zu labels; at most %d are allowed", count,
				   NODE_LABELS_MAX);
	for (size_t i = 0; i < count; i++) {
		if (!message_is_utf8(labels[i].name) || !message_is_utf8(labels[i].value))
			return message_set(why, why_size, -EINVAL,
					   "the label \"%.40s\" is not UTF-8", labels[i].name);
	}
	if (count > 1)
		qsort(labels, count, sizeof(*labels), compare_labels);
	for (size_t i = 1; i < count; i++) {
		if (compare_labels(&labels[i - 1], &labels[i]) == 0)
			return message_set(why, why_size, -EINVAL,
					   "the label \"%.40s\" is there twice", labels[i].name);
	}
	return 0;
}

int node_new(struct safestart_node **out, const char *id, const char *address,
	     uint16_t default_port, const struct node_label *labels, size_t label_count, char *why,
	     size_t why_size)
{
	struct address parsed = {.port = 0};
	char normalised[NODE_ADDRESS_SIZE];
	struct node_label *sorted = NULL;

	int error = parse_address(address, default_port, &parsed, why, why_size);
	if (error == 0 && id == NULL) {
		print_address(parsed.host, parsed.port, normalised);
		id = normalised;
	}
	if (error == 0)
		error = node_check_id(id, why, why_size);
	if (error < 0)
		return error;
	size_t size = text_size(id, &parsed, labels, label_count);
	if (size > UINT32_MAX)
		return message_set(why, why_size, -EINVAL,
				   "its labels have %zu bytes; at most %u are allowed", size,
				   UINT32_MAX);
	if (label_count > 0) {
		sorted = malloc(label_count * sizeof(*sorted));
		if (sorted == NULL)
			return message_set(why, why_size, -ENOMEM, "out of memory");
		memcpy(sorted, labels, label_count * sizeof(*sorted));
	}
	error = sort_labels(sorted, label_count, why, why_size);
	if (error == 0 && (*out = allocate(size, id, &parsed, sorted, label_count)) == NULL)
		error = message_set(why, why_size, -ENOMEM, "out of memory");
	free(sorted);
	return error;
}

struct safestart_node *node_copy(const struct safestart_node *node)
{
	struct safestart_node *copy = malloc(sizeof(*copy) + node->text_size);

	invariant(node_holds(node));
	if (copy == NULL)
		return NULL;
	atomic_init(&copy->refs, 1);
	atomic_init(&copy->newest, NODE_REPORT_NONE);
	copy->payload = NULL;
	copy->text_size = node->text_size;
	copy->host_at = node->host_at;
	copy->labels_at = node->labels_at;
	copy->label_count = node->label_count;
	copy->port = node->port;
	memcpy(copy->text, node->text, node->text_size);
	invariant(node_same(copy, node));
	invariant(labels_hold(copy));
	return copy;
}

struct safestart_node *node_ref(struct safestart_node *node)
{
	uint32_t before = atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);

	invariant(before > 0);
	invariant(before < UINT32_MAX); /* only an owner adds one */
	return node;
}

bool node_unref(struct safestart_node *node)
{
	/* acq_rel: all that others did with the node comes before the last one frees it. */
	uint32_t before = atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel);

	invariant(before > 0);
	return before == 1;
}

void node_free(struct safestart_node *node)
{
	/* 1: its maker never shared it. */
	invariant(atomic_load_explicit(&node->refs, memory_order_relaxed) <= 1);
	invariant(node_holds(node));
	free(node);
}

bool node_same(const struct safestart_node *a, const struct safestart_node *b)
{
	return a == b ||
	       (a->port == b->port && a->label_count == b->label_count &&
		a->text_size == b->text_size && memcmp(a->text, b->text, a->text_size) == 0);
}

bool node_same_address(const struct safestart_node *a, const struct safestart_node *b)
{
	return a->port == b->port && strcmp(safestart_node_host(a), safestart_node_host(b)) == 0;
}

void node_address(const struct safestart_node *node, char address[NODE_ADDRESS_SIZE])
{
	const char *host = node->text + node->host_at;

	invariant(node_holds(node));
	print_address(host, node->port, address);
}

const char *safestart_node_id(const struct safestart_node *node)
{
	return node->text;
}

const char *safestart_node_host(const struct safestart_node *node)
{
	return node->text + node->host_at;
}

uint16_t safestart_node_port(const struct safestart_node *node)
{
	return node->port;
}

const char *safestart_node_label_at(const struct safestart_node *node, size_t index,
				    const char **name)
{
	const char *at = node->text + node->labels_at;

	if (index >= node->label_count)
		return NULL;
	for (size_t i = 0; i < 2 * index; i++)
		at += strlen(at) + 1;
	invariant(at < node->text + node->text_size);
	if (name != NULL)
		*name = at;
	return at + strlen(at) + 1;
}

const char *node_next_label(const struct safestart_node *node, const char *name)
{
	const char *at = node->text + node->labels_at;

	if (name != NULL)
		at = node_label_value(name) + strlen(node_label_value(name)) + 1;
	invariant(at <= node->text + node->text_size);
	return at < node->text + node->text_size ? at : NULL;
}

const char *safestart_node_label(const struct safestart_node *node, const char *name)
{
	if (name == NULL)
		return NULL;
	if (strcmp(name, "id") == 0)
		return node->text;
	for (const char *at = NULL; (at = node_next_label(node, at)) != NULL;) {
		if (strcmp(at, name) == 0)
			return node_label_value(at);
	}
	return NULL;
}

int32_t node_report(const struct safestart_node *node)
{
	uint64_t newest = atomic_load_explicit(&node->newest, memory_order_relaxed);

	return newest >> 32 == epoch_now() ? (int32_t)(uint32_t)newest : NODE_REPORT_NONE;
}

void node_carry_report(struct safestart_node *to, const struct safestart_node *from)
{
	invariant(node_same(to, from));
	atomic_store_explicit(&to->newest,
			      atomic_load_explicit(&from->newest, memory_order_relaxed),
			      memory_order_relaxed);
}

int safestart_node_report(const struct safestart_node *node, int error)
{
	int32_t report = error == 0 ? NODE_REPORT_WORKED : error > 0 ? -error : error;
	uint64_t value = (uint64_t)epoch_now() << 32 | (uint32_t)report;

	if (node == NULL)
		return 0;
	/* The only field that changes after publication. Loading it first keeps the cache line
	 * shared between processors as long as nothing changes. */
	node_newest *newest = &((struct safestart_node *)(uintptr_t)node)->newest;
	if (atomic_load_explicit(newest, memory_order_relaxed) != value)
		atomic_store_explicit(newest, value, memory_order_relaxed);
	return 0;
}
