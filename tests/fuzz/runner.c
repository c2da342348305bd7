/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a fuzz target on files and directories, without libFuzzer: with every compiler, an input
 * that was found once is tried again. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned long executed;

static void run_file(const char *path)
{
	FILE *file = fopen(path, "re");
	uint8_t *data = NULL;
	size_t size = 0, room = 0, more;

	HOLD(file != NULL);
	do {
		room = room * 2 + 4096;
		data = realloc(data, room);
		HOLD(data != NULL);
		more = fread(data + size, 1, room - size, file);
		size += more;
	} while (more > 0);
	fclose(file);
	if (getenv("FUZZ_VERBOSE") != NULL)
		fprintf(stderr, "%s\n", path);
	/* A buffer of exactly this length: a read past its end must be seen. */
	data = realloc(data, size > 0 ? size : 1);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	executed++;
}

static void run_path(const char *path)
{
	struct stat status;

	HOLD(stat(path, &status) == 0);
	if (!S_ISDIR(status.st_mode)) {
		run_file(path);
		return;
	}
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort);
	HOLD(count >= 0);
	for (int i = 0; i < count; i++) {
		char file[4096];
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			run_path(file);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("%lu inputs\n", executed);
	return executed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
