/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For Frama-C's Eva: any bytes in the file, any state, at any time. It is not compiled. */
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/message.h"
#include "lock/share.h"

#include "__fc_builtin.h"

/* ---- Models of what share.c calls, where Eva's own are not precise enough ---- */

/* As snprintf, for the conversions that share.c uses: any bytes, as many as the types of the
 * arguments can have. Nothing that share.c prints is ever cut. */
int snprintf(char *to, size_t size, const char *format, ...)
{
	size_t length = 0;
	va_list arguments;

	va_start(arguments, format);
	/*@ loop unroll 200; */
	for (; *format != '\0'; format++) {
		if (*format != '%') {
			length++;
		} else if (format[1] == 's') {
			length += strlen(va_arg(arguments, const char *));
			format += strlen("s");
		} else if (format[1] == 'd') {
			(void)va_arg(arguments, int);
			length += Frama_C_unsigned_long_interval(1, 11);
			format += strlen("d");
		} else if (format[1] == '0') {
			(void)va_arg(arguments, unsigned long long);
			length += 16;
			format += strlen("016llx");
		} else {
			(void)va_arg(arguments, unsigned long long);
			length += Frama_C_unsigned_long_interval(1, 20);
			format += strlen("llu");
		}
	}
	va_end(arguments);
	/*@ assert not_cut: length < size; */
	Frama_C_make_unknown(to, length);
	to[length] = '\0';
	return (int)length;
}

/* Any byte of the text may become '?'. The fuzzer of lock/share runs the real one. */
void message_clean(char *text)
{
	size_t length = strlen(text);

	while (length > 0 && Frama_C_interval(0, 1))
		text[Frama_C_unsigned_long_interval(0, length - 1)] = '?';
}

/* ---- Any state ---- */

static uint64_t any_number(void)
{
	return Frama_C_unsigned_long_interval(0, UINT64_MAX);
}

static int64_t any_time(void)
{
	return Frama_C_long_interval(INT64_MIN, INT64_MAX);
}

static int64_t any_duration(void)
{
	return Frama_C_long_interval(0, INT64_MAX);
}

static struct share_open any_open(void)
{
	struct share_open open;

	Frama_C_make_unknown((char *)&open, sizeof(open));
	open.urgent = Frama_C_interval(0, 1);
	return open;
}

static struct share_me any_me(void)
{
	struct share_me me;

	Frama_C_make_unknown((char *)&me, sizeof(me));
	me.retries = Frama_C_interval(0, 1);
	return me;
}

static void any_outcome(struct share_outcome *outcome)
{
	Frama_C_make_unknown((char *)outcome, sizeof(*outcome));
	outcome->message[sizeof(outcome->message) - 1] = '\0';
}

/* With any number of outcomes; what is beyond them has no value and must not be used. */
static void any_done(struct share_done *done)
{
	size_t count = Frama_C_unsigned_long_interval(0, SHARE_KEPT);

	/*@ split count; */
	done->id = any_number();
	done->ended = any_time();
	done->count = count;
	for (size_t i = 0; i < count; i++)
		any_outcome(&done->outcomes[i]);
}

/* ---- What a process does ---- */

static void prints(const struct share_open *open, struct share_done *done)
{
	char open_bytes[SHARE_OPEN_SIZE], done_bytes[SHARE_DONE_SIZE];

	share_print_open(open, open_bytes);
	share_print_done(done, done_bytes);
	/*@ assert open_bytes: \initialized(open_bytes + (0 .. SHARE_OPEN_SIZE - 1)); */
	/*@ assert done_bytes: \initialized(done_bytes + (0 .. SHARE_DONE_SIZE - 1)); */
}

static void decides(struct share_open *open, struct share_done *done)
{
	const struct share_conf conf = {.debounce = any_duration(),
					.max_delay = any_duration(),
					.min_interval = any_duration()};
	struct share_me me = any_me();
	struct share_outcome outcome;
	uint64_t requests;

	any_outcome(&outcome);
	(void)share_decide(open, done, &me, &conf, any_time());
	share_enter(open, done, &me, any_number(), Frama_C_interval(0, 1), any_time(),
		    any_number());
	share_close(open, done, &requests);
	share_publish(done, any_number(), &outcome, any_time());
}

static void with_any_bytes(void)
{
	char open_bytes[SHARE_OPEN_SIZE], done_bytes[SHARE_DONE_SIZE];
	struct share_open open;
	struct share_done done;

	Frama_C_make_unknown(open_bytes, sizeof(open_bytes));
	Frama_C_make_unknown(done_bytes, sizeof(done_bytes));
	share_read_open(&open, open_bytes);
	share_read_done(&done, done_bytes);
	prints(&open, &done);
	decides(&open, &done);
}

static void with_any_state(void)
{
	struct share_open open = any_open();
	struct share_done done;

	any_done(&done);
	prints(&open, &done);
	decides(&open, &done);
}

int main(void)
{
	with_any_bytes();
	with_any_state();
	return 0;
}
