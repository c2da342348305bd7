/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* life: the steps of a handle's life while its calls fail (support/failing.h). Each step works
 * in the end, or fails with a message and works when it is repeated. For one handle at a time. */
#ifndef LIFE_H
#define LIFE_H

#include "support/failing.h"
#include "support/support.h"

/* One address is longer than jansson's first buffer. No string has exactly 16 or 32 bytes with
 * its quotes: jansson 2.14 then reads beyond the buffer when the next one cannot be allocated. */
#define NODE(id, address) \
	"{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\",\"zone\":\"z\"}}"
#define AB "[" NODE("a", "h1:1") "," NODE("b", "h2:1") "]"
#define AB_MOVED "[" NODE("a", "h1:1") "," NODE("b", "storage-9.example.org:1") "]"
#define ABC "[" NODE("a", "h1:1") "," NODE("b", "storage-9.example.org:1") "," NODE("c", "h3:1") "]"
#define ABC_AND_BAD                                                              \
	"[" NODE("a", "h1:1") "," NODE("b", "storage-9.example.org:1") "," NODE( \
		"c", "h3:1") "," NODE("r", "h4:1") "," NODE("x", "h5:0") "]"

/* The life that is being played, and what fails meanwhile. */
struct life {
	const char *scene;
	struct failing_site site; /* if this is NULL and there is no call, nothing fails */
	unsigned nth;
	int error;
	bool lasting;
	unsigned excused;
	struct safestart *ss;
	bool driven; /* thread=no */
	bool pulled; /* events=pull: a thread of ours takes them */
	_Atomic int hung, retired, outcomes;
	_Atomic bool said_inotify, said_stale;
};
extern struct life now;

/* Which life, and which call fails in it. */
const char *life_name(void);

#define TRUE(condition) ck_assert_msg(condition, "%s: not so: %s", life_name(), #condition)

void pass_a_moment(void);

/* As EVENTUALLY; a lasting failure ends after a while. */
#define UNTIL(condition)                                                                    \
	do {                                                                                \
		int64_t begun_ = now_ms();                                                  \
		while (!(condition)) {                                                      \
			if (now.lasting && now_ms() > begun_ + 20)                          \
				failing_stop();                                             \
			ck_assert_msg(now_ms() < begun_ + 20000, "%s: never came true: %s", \
				      life_name(), #condition);                             \
			pass_a_moment();                                                    \
		}                                                                           \
	} while (0)

/* A step has failed. It may, if a call was made to fail, with that error and a message. It has
 * to work the next time, or when a lasting failure has ended: twice is enough. */
void excuse(int error, const char *words);

/* A signal in between, or less than was requested: the library has to hide it. */
bool is_to_go_unnoticed(void);

void set(struct safestart_conf *conf, const char *key, const char *value);
struct safestart_conf *new_conf(void);
/* Frees conf; later: prepare returns LATER, and there is a restart. */
void opens(struct safestart_conf *conf, bool later);
/* What `prepare` and `retire` do. */
int life_prepare(struct safestart_run *run);
void life_retire(void *data);
/* life_pulled.c: the thread that takes events. After the end it has to have taken all there are;
 * what is live then is given back after close. */
void life_begin_taking(void);
void life_end_taking(void);
void life_give_back(void);
void becomes(const char *ids); /* it is live in the end; until then the old set is */
/* One outcome, and a true one; refused: the source is unusable. */
void answers(uint64_t ticket, bool refused);
void pushes(const char *document, const char *ids);
void edits(const char *id, const char *address, const char *ids); /* address NULL: withdraws it */
void tells(void); /* what is reported is complete, or not there at all */
/* At the control socket: is the request answered, completely, by this text? */
bool asks(const char *path, const char *line, const char *words);
/* The set in last_good, which is complete at any time. */
bool has_words(const char *path, const char *words);
void closes(void);

#endif
