/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door after so many requests that one more would change nothing: then a request is a load,
 * if membarrier() is available. test_door.c tests that nothing is lost by it. */
#include "request/request.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

static struct request_door door;

static void open_door(void)
{
	request_init(&door, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	ck_assert_int_ge(door.wake_fd, 0);
}

/* Was the loop woken since the last call? */
static bool woken(void)
{
	uint64_t count;

	return read(door.wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

/* As if 65535 requests were made and the loop had seen it. */
static void crowd(struct request_door *it)
{
	atomic_fetch_or(&it->word,
			REQUEST_COUNT_MAX | REQUEST_PENDING | REQUEST_SEEN | REQUEST_FRESH);
}

static bool loads_do(const struct request_door *it)
{
	return (atomic_load(&it->word) & REQUEST_LOAD) != 0;
}

/* A saturated door on a page of its own that is read-only. */
static struct request_door *crowded_and_guarded(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct request_door *guarded =
		mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (guarded == MAP_FAILED)
		abort();
	request_init(guarded, -1);
	crowd(guarded);
	if (mprotect(guarded, page, PROT_READ) < 0)
		abort();
	return guarded;
}

START_TEST(p5_at_a_saturated_door_a_request_writes_nothing)
{
	struct request_door *guarded = crowded_and_guarded();

	/* Not under the thread sanitizer, nor where membarrier() is missing. */
	if (loads_do(guarded)) {
		for (int i = 0; i < 100; i++)
			ck_assert_uint_eq(request_enter(guarded, 0, NULL), 1);
	}
	munmap(guarded, (size_t)sysconf(_SC_PAGESIZE));
}
END_TEST

START_TEST(at_a_saturated_door_a_request_that_changes_something_still_writes)
{
	uint32_t flags;

	open_door();
	crowd(&door);
	ck_assert(request_look(&door, &flags));
	ck_assert(!request_look(&door, &flags));
	/* The newest counts for the debounce. */
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 1);
	ck_assert(request_look(&door, &flags));
	request_enter(&door, 0, NULL);
	ck_assert(!woken());
	request_listen(&door);
	request_enter(&door, 0, NULL);
	ck_assert(woken());
	crowd(&door);
	request_enter(&door, REQUEST_URGENT, NULL);
	ck_assert(woken());
	request_enter(&door, REQUEST_FORCE, NULL);
	request_enter(&door, 0, "a reason");
	struct request_batch batch;
	ck_assert(request_close(&door, &batch));
	ck_assert_uint_eq(batch.flags, REQUEST_PENDING | REQUEST_SEEN | REQUEST_FRESH |
					       REQUEST_FORCE | REQUEST_URGENT);
	ck_assert_str_eq(batch.reason, "a reason");
	ck_assert_uint_eq(batch.requests, 0xffff);
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 2); /* the crowd has left with its batch */
	ck_assert(woken());
	crowd(&door);
	ck_assert_uint_eq(request_shut(&door), 2);
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 0);
	close(door.wake_fd);
}
END_TEST

static int forbid_membarrier(void)
{
	struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						offsetof(struct seccomp_data, nr)),
				       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
				       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
				       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
		       ? -1
		       : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void on_write(int number)
{
	(void)number;
	leave_child(0);
}

/* In a child: a filter is for ever. Returns how far it came: 0 to the end. */
static int ask_where_it_is_forbidden(void)
{
	struct request_batch batch;
	struct request_door early;

	request_init(&early, -1);
	crowd(&early);
	if (forbid_membarrier() < 0)
		return 0; /* no filters here */
	request_init(&door, -1);
	if (loads_do(&door))
		return 1;
	crowd(&door);
	if (request_enter(&door, 0, NULL) != 1 || !request_close(&door, &batch) ||
	    batch.requests != 0xffff)
		return 2;
	/* Forbidden only after it was there. */
	if (request_enter(&early, 0, NULL) != 1 || !request_close(&early, &batch) ||
	    batch.ticket != 1)
		return 3;
	if (loads_do(&early))
		return 4;
	signal(SIGSEGV, on_write);
	request_enter(crowded_and_guarded(), 0, NULL);
	return 5;
}

static int close_a_crowd(void)
{
	struct request_batch batch;
	bool before = loads_do(&door);

	request_after_fork(&door);
	crowd(&door);
	return request_close(&door, &batch) && loads_do(&door) == before ? 0 : 1;
}

static int status_of_child(int (*work)(void))
{
	int status = -1;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0)
		leave_child(work());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

START_TEST(without_membarrier_every_request_writes)
{
	ck_assert_int_eq(status_of_child(ask_where_it_is_forbidden), 0);
}
END_TEST

START_TEST(p17_a_forked_child_has_barriers_of_its_own)
{
	open_door();
	crowd(&door);
	ck_assert_int_eq(status_of_child(close_a_crowd), 0);
	close(door.wake_fd);
}
END_TEST

SUITE("saturated", p5_at_a_saturated_door_a_request_writes_nothing,
      at_a_saturated_door_a_request_that_changes_something_still_writes,
      without_membarrier_every_request_writes, p17_a_forked_child_has_barriers_of_its_own)
