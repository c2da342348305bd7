/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors in words: what does not fit is cut between characters; durations for people. */
#include "base/message.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "support/support.h"

START_TEST(saying_returns_the_error_and_writes_the_words)
{
	char why[32];

	ck_assert_int_eq(message_set(why, sizeof(why), -EINVAL, "%d nodes of %s", 3, "x"), -EINVAL);
	ck_assert_str_eq(why, "3 nodes of x");
	ck_assert_int_eq(message_set(NULL, 0, -ENOMEM, "nobody listens"), -ENOMEM);
	ck_assert_int_eq(message_set(NULL, 10, -ENOMEM, "nobody listens"), -ENOMEM);
	strcpy(why, "as it was");
	ck_assert_int_eq(message_set(why, 0, -EIO, "no room"), -EIO);
	ck_assert_str_eq(why, "as it was");
	ck_assert_int_eq(message_set(why, 1, 0, "no room"), 0);
	ck_assert_str_eq(why, "");
}
END_TEST

/* Bytes of the characters of `text` that fit into `room` bytes. */
static size_t whole_characters(const char *text, size_t room)
{
	size_t end = strlen(text) < room ? strlen(text) : room;

	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	return end;
}

START_TEST(what_does_not_fit_is_cut_between_characters)
{
	static const char *const texts[] = {"plain ascii", "éééééé",
					    "a€€€€b",      "𝄞𝄞𝄞",
					    "é€𝄞é€𝄞",      "~\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf"};
	char said[40], copied[40];

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		for (size_t size = 1; size <= strlen(texts[i]) + 2; size++) {
			size_t fits = whole_characters(texts[i], size - 1);
			memset(said, '#', sizeof(said));
			memset(copied, '#', sizeof(copied));
			message_set(said, size, 0, "%s", texts[i]);
			message_copy(copied, size, texts[i]);
			ck_assert_msg(strlen(said) == fits && memcmp(said, texts[i], fits) == 0,
				      "%s in %zu: %s", texts[i], size, said);
			ck_assert_msg(strcmp(copied, said) == 0, "%s in %zu: %s", texts[i], size,
				      copied);
			ck_assert_int_eq(said[size], '#');
			ck_assert_int_eq(copied[size], '#');
		}
	}
}
END_TEST

START_TEST(bytes_that_are_not_utf8_are_cut_without_harm)
{
	char said[6];

	message_copy(said, sizeof(said), "\x80\x80\x80\x80\x80\x80\x80");
	ck_assert_uint_le(strlen(said), 5);
	message_copy(said, sizeof(said), "\xff\xff\xff\xff\xff\xff\xff");
	ck_assert_uint_le(strlen(said), 5);
	message_copy(said, 2, "\xf0\x9d");
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(words_are_one_line_of_utf8)
{
	char said[64];

	message_set(said, sizeof(said), 0, "a\nforged line\x1b[2J%s", "\xed\xa0\x80\xc0\xaf");
	ck_assert_str_eq(said, "a?forged line?[2J?????");
	ck_assert(message_is_utf8("h\xc3\xa9") && !message_is_utf8("\xc3") &&
		  !message_is_utf8("\xf5\x80\x80\x80"));
}
END_TEST

START_TEST(durations_are_for_people)
{
	static const struct {
		long long ns;
		const char *text;
	} rows[] = {
		{0, "0 ms"},
		{-5, "0 ms"},
		{LLONG_MIN, "0 ms"},
		{1000, "1 us"},
		{999999, "999 us"},
		{1000000, "1 ms"},
		{850000000, "850 ms"},
		{9999000000, "9999 ms"},
		{10000000000, "10 s"},
		{119000000000, "119 s"},
		{120000000000, "2m00s"},
		{252000000000, "4m12s"},
		{7199000000000, "119m59s"},
		{7200000000000, "2h00m"},
		{LLONG_MAX, "2562047h47m"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ck_assert_str_eq(message_duration(rows[i].ns).text, rows[i].text);
}
END_TEST

SUITE("message", saying_returns_the_error_and_writes_the_words,
      what_does_not_fit_is_cut_between_characters, bytes_that_are_not_utf8_are_cut_without_harm,
      words_are_one_line_of_utf8, durations_are_for_people)
