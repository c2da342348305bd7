/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "desired.h"

#include <errno.h>

/* Of entries with one id and one address the first by its labels: none, an incarnation, both, a
 * zone.
 */
static int rank_of(uint8_t value)
{
	int zone = (value - 1) >> 2 & 1, incarnation = (value - 1) >> 3;

	return incarnation > 0 ? 1 + zone : 3 * zone;
}

static bool same_address(uint8_t a, uint8_t b)
{
	return a != FAULT && b != FAULT && ((a - 1) & 3) == ((b - 1) & 3);
}

static void add_entry(struct model_set *set, int position, int id, uint8_t value)
{
	if (id < 0)
		set->unnamed |= UINT64_C(1) << position;
	else if (set->node[id] == 0 || set->node[id] == value)
		set->node[id] = value;
	else if (same_address(set->node[id], value))
		set->node[id] = rank_of(value) < rank_of(set->node[id]) ? value : set->node[id];
	else
		set->node[id] = FAULT;
}

/* One byte is one entry: its node, its address, and what is wrong with it. Returns how many
 * entries it makes. */
static int write_entry(uint8_t byte, int position, struct model_set *set, char *text, size_t size)
{
	int id = byte & 7;
	uint8_t value = (uint8_t)(1 + (byte >> 6));
	char address[64];

	application_address(id, value, address, sizeof(address));
	switch (byte >> 3 & 7) {
	case 4:
		snprintf(text, size, "{\"targets\":[\"h:0\"],\"labels\":{\"id\":\"%s\"}}",
			 application_id(id));
		add_entry(set, position, id, FAULT);
		return 1;
	case 5:
		snprintf(text, size, "{\"targets\":[\"%s\"],\"labels\":{\"id\":\"\"}}", address);
		add_entry(set, position, -1, 0);
		return 1;
	case 6:
		snprintf(text, size, "{\"targets\":[\"%s\"]}", application_id(8 + id));
		add_entry(set, position, 8 + id, 1);
		return 1;
	case 7: /* one id cannot name two targets */
		snprintf(text, size,
			 "{\"targets\":[\"%s\",\"%s\"],\"labels\":{\"id\":\"no\",\"zone\":\"x\"}}",
			 application_id(8 + id), application_id(8 + id));
		add_entry(set, position, 8 + id, 1 + 4);
		return 2;
	default:
		value = (uint8_t)(value + ((byte >> 3 & 1) ? 4 : 0) +
				  ((byte >> 3 & 2) ? 8 * (1 + (byte >> 7)) : 0));
		snprintf(text, size, "{\"targets\":[\"%s\"],\"labels\":{\"id\":\"%s\"%s%s}}",
			 address, application_id(id), byte >> 3 & 1 ? ",\"zone\":\"x\"" : "",
			 !(byte >> 3 & 2) ? ""
			 : byte >> 7      ? ",\"incarnation\":\"2\""
					  : ",\"incarnation\":\"1\"");
		add_entry(set, position, id, value);
		return 1;
	}
}

/* Returns how many entries it has. */
int desired_write(struct input *input, int count, struct model_set *set, char *text, size_t size)
{
	int position = 0;

	snprintf(text, size, "[");
	for (int i = 0; i < count; i++) {
		size_t length = strlen(text);
		snprintf(text + length, size - length, "%s", i > 0 ? "," : "");
		length = strlen(text);
		position +=
			write_entry(input_byte(input), position, set, text + length, size - length);
	}
	strcat(text, "]");
	return position;
}

static size_t entries_of(const struct model_set *set)
{
	return model_count(set->node) + model_faults(set);
}

void desired_replace(struct input *input)
{
	struct model_set set = {0};
	char text[8192], why[200];
	int position = desired_write(input, input_byte(input) & 15, &set, text, sizeof(text));
	uint64_t ticket = 0;

	bool too_many = (size_t)position > model.max_nodes;
	if (!model.push) {
		HOLD(safestart_nodes_replace(application.ss, text, &ticket, why, sizeof(why)) ==
		     -ENOTSUP);
		if (!too_many) {
			strcpy(application.text, text);
			model.desired = set;
			model.pushed = true;
		}
		return;
	}
	int error = safestart_nodes_replace(application.ss, text, &ticket, why, sizeof(why));
	hold_words(why, sizeof(why));
	HOLD(error == (model.shut ? -ECANCELED : too_many ? -E2BIG : 0));
	HOLD(error == 0 || why[0] != '\0'); /* a warning, where nothing is wrong */
	if (error < 0)
		return;
	model.desired = set;
	model.pushed = true;
	model_request(ticket, false);
}

void desired_replace_malformed(struct input *input)
{
	static const char *const bad[] =
		{"",     "[",    "{}",        "[{\"targets\":1}]", "\xef\xbb\xbf[]",
		 "[{}]", "[] x", "[\"\xff\"]"};
	char why[64];
	uint64_t ticket = 77;

	int error = safestart_nodes_replace(application.ss, bad[input_byte(input) & 7], &ticket,
					    why, sizeof(why));
	HOLD(error == (!model.push ? -ENOTSUP : model.shut ? -ECANCELED : -EINVAL));
	HOLD(ticket == 77 && why[0] != '\0');
	hold_words(why, sizeof(why));
}

/* Before anything was pushed, the change is made to the live set, or to the kept one. */
static struct model_set base(void)
{
	struct model_set set = {0};

	if (model.pushed)
		return model.desired;
	if (model.generation == 0 && model.kept_any)
		return model.kept;
	memcpy(set.node, model.live, IDS);
	return set;
}

void desired_announce(struct input *input)
{
	int id = input_byte(input) & (IDS - 1);
	uint8_t choice = input_byte(input), value = (uint8_t)(1 + (choice & 3));
	const char *incarnation = (choice >> 2 & 3) == 0   ? NULL
				  : (choice >> 2 & 3) == 1 ? "1"
							   : "2";
	struct model_set set = base();
	uint64_t ticket;
	char address[64];

	application_address(id, value, address, sizeof(address));
	uint8_t old = set.node[id];
	int zone = old != 0 && old != FAULT ? (old - 1) >> 2 & 1 : 0,
	    before = old != 0 && old != FAULT ? (old - 1) >> 3 : 0;
	value = (uint8_t)(value + 4 * zone +
			  8 * (incarnation != NULL ? atoi(incarnation) : before));
	bool bad = choice >> 5 == 7;
	int expected = !model.push                                       ? -ENOTSUP
		       : model.shut                                      ? -ECANCELED
		       : bad                                             ? -EINVAL
		       : old == 0 && entries_of(&set) >= model.max_nodes ? -E2BIG
									 : 0;
	HOLD(safestart_node_announce(application.ss, application_id(id), bad ? "h:0" : address,
				     incarnation, &ticket) == expected);
	if (expected < 0)
		return;
	set.node[id] = value;
	model.desired = set;
	model.pushed = true;
	model_request(ticket, false);
}

void desired_withdraw(struct input *input)
{
	int id = input_byte(input) & (IDS - 1);
	struct model_set set = base();
	uint64_t ticket;

	int expected = !model.push         ? -ENOTSUP
		       : model.shut        ? -ECANCELED
		       : set.node[id] == 0 ? -ENOENT
					   : 0;
	HOLD(safestart_node_withdraw(application.ss, application_id(id), &ticket) == expected);
	if (expected < 0)
		return;
	set.node[id] = 0;
	model.desired = set;
	model.pushed = true;
	model_request(ticket, false);
}
