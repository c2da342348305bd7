/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hostile: the filters of seccomp. */
#include "hostile.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)(error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))

static bool add_filter(struct sock_filter *steps, size_t count)
{
	struct sock_fprog program = {.len = (unsigned short)count, .filter = steps};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool forbid_call(long call, int error)
{
	struct sock_filter steps[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
		REFUSE(error),
		ALLOW,
	};

	return add_filter(steps, sizeof(steps) / sizeof(steps[0]));
}

bool forbid_threads(void)
{
	/* clone3 has its flags in memory, which a filter cannot see: libc takes clone then. The low
	 * half of the first argument is at its beginning: little-endian. */
	struct sock_filter steps[] = {
		LOAD(nr),       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)SYS_clone, 0, 3),
		LOAD(args[0]),  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
		REFUSE(EAGAIN), ALLOW,
	};

	return forbid_call(SYS_clone3, ENOSYS) &&
	       add_filter(steps, sizeof(steps) / sizeof(steps[0]));
}
