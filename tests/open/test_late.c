/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program that loads the library late, by dlopen(), when it has so many keys that a thread needs
 * memory for the next one: a first read allocates there. So each thread reads once, as the header
 * says, and then a signal handler of it may read whatever it interrupts, such as malloc().
 * usage: test_late LIBRARY */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <safestart/safestart.h>

#define KEYS 40 /* libc has room for 32 in each thread */
#define THREADS 200

static __typeof__(safestart_read_lock) *read_lock;
static __typeof__(safestart_read_unlock) *read_unlock;
static struct safestart *handle;
static _Atomic bool ready, handled;

static void read_once(int signal)
{
	(void)signal;
	read_lock(handle);
	read_unlock(handle);
	atomic_store(&handled, true);
}

static void *allocate_until_handled(void *argument)
{
	(void)argument;
	read_once(0);
	atomic_store(&handled, false);
	atomic_store(&ready, true);
	for (size_t size = 200000; !atomic_load(&handled); size = 200000 + (size + 1) % 3000) {
		volatile char *memory = malloc(size);
		if (memory != NULL)
			memory[0] = 1;
		free((void *)memory);
	}
	return NULL;
}

static void *find(void *library, const char *name)
{
	void *function = dlsym(library, name);

	if (function == NULL)
		exit((fprintf(stderr, "FAILED: no %s: %s\n", name, dlerror()), 1));
	return function;
}

int main(int argc, char **argv)
{
	__typeof__(safestart_open) *open_handle;
	__typeof__(safestart_close) *close_handle;
	pthread_key_t key;
	pthread_t thread;
	char why[256];

	for (int i = 0; i < KEYS; i++)
		pthread_key_create(&key, NULL);
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	if (library == NULL)
		return fprintf(stderr, "FAILED: cannot load the library: %s\n", dlerror()), 1;
	*(void **)&open_handle = find(library, "safestart_open");
	*(void **)&close_handle = find(library, "safestart_close");
	*(void **)&read_lock = find(library, "safestart_read_lock");
	*(void **)&read_unlock = find(library, "safestart_read_unlock");
	if (open_handle(&handle, NULL, why, sizeof(why)) < 0)
		return fprintf(stderr, "FAILED: %s\n", why), 1;
	signal(SIGUSR1, read_once);
	alarm(120); /* a handler that hangs */
	for (int i = 0; i < THREADS; i++) {
		atomic_store(&ready, false);
		if (pthread_create(&thread, NULL, allocate_until_handled, NULL) != 0)
			return fprintf(stderr, "FAILED: no thread\n"), 1;
		while (!atomic_load(&ready))
			sched_yield();
		pthread_kill(thread, SIGUSR1);
		pthread_join(thread, NULL);
	}
	return close_handle(handle) == 0 ? 0 : 1;
}
