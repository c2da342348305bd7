/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For Frama-C's Eva: any inputs in any order, with any settings that conf lets through, at any
 * time. It is not compiled. */
#include "request/gate.h"

#include "__fc_builtin.h"

static int64_t any_duration(void)
{
	return Frama_C_long_interval(0, INT64_MAX);
}

int main(void)
{
	const struct gate_conf conf = {.debounce = any_duration(),
				       .max_delay = any_duration(),
				       .min_interval = any_duration(),
				       .retry_min = any_duration(),
				       .retry_max = any_duration()};
	struct gate gate;

	gate_init(&gate, &conf);
	while (Frama_C_interval(0, 1)) {
		int64_t now = Frama_C_long_interval(INT64_MIN, INT64_MAX);
		switch (Frama_C_interval(0, 6)) {
		case 0: gate_request(&gate, now, Frama_C_interval(0, 1)); break;
		case 1: gate_due(&gate, now); break;
		case 2: (void)gate_tick(&gate, now); break;
		case 3:
			(void)gate_ended(&gate, now, Frama_C_interval(0, 1),
					 Frama_C_unsigned_int_interval(0, UINT32_MAX));
			break;
		case 4: gate_not_started(&gate, now); break;
		case 5: gate_callback_returned(&gate, now); break;
		default: (void)gate_next_start(&gate);
		}
	}
	return 0;
}
