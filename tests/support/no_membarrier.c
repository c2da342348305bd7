/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a program as if the kernel had no membarrier(): liburcu's readers then need fences.
 * usage: no_membarrier PROGRAM… */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SKIPPED = 77
}; /* what meson takes for it */

int main(int argc, char **argv)
{
	struct sock_filter instructions[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						      offsetof(struct seccomp_data, nr)),
					     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0,
						      1),
					     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
					     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {.len = sizeof(instructions) / sizeof(instructions[0]),
				     .filter = instructions};

	if (argc < 2)
		return 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 ||
	    syscall(__NR_membarrier, 0, 0) != -1) {
		perror("SKIPPED, and so not tested here: without membarrier()");
		return SKIPPED;
	}
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 1;
}
