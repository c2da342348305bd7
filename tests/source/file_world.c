/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "source/file_world.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

/* More than two blocks of the source: an edit may come between them. */
#define SIZE 40000

/* ---- The world: a directory w/ with a node file in it, reached in one of three ways ---- */

struct world world;

const char *world_path(void)
{
	return world.layout == LINKED ? "w/d/l/n.json" : "w/d/n.json";
}

/* Where the file itself is. */
static const char *target(void)
{
	static const char *const targets[] = {"w/d/n.json", "w/d/..v1/n.json", "w/e/n.json"};

	return targets[world.layout];
}

/* Many of these fail, in one layout or another, or because an earlier step was another one: then
 * there is simply less of an edit. */
static void move(const char *from, const char *to)
{
	(void)!renameat(world.directory, from, world.directory, to);
}

static void drop(const char *name)
{
	if (unlinkat(world.directory, name, 0) < 0)
		(void)unlinkat(world.directory, name, AT_REMOVEDIR);
}

static void make(const char *name)
{
	(void)mkdirat(world.directory, name, 0755);
}

static void point(const char *name, const char *at)
{
	(void)!symlinkat(at, world.directory, name);
}

/* Every version is as long as every other, and has its number at the beginning and at the end. */
static const char *text_of(int version)
{
	static char text[SIZE + 1];

	memset(text, ' ', SIZE);
	char head[64], tail[64];
	int length = snprintf(head, sizeof(head), "[{\"targets\":[\"v%08d:80\"]},", version);
	memcpy(text, head, (size_t)length);
	length = snprintf(tail, sizeof(tail), "{\"targets\":[\"w%08d:80\"]}]\n", version);
	memcpy(text + SIZE - length, tail, (size_t)length);
	return text;
}

static void put(const char *name, int flags, int version)
{
	int fd = openat(world.directory, name, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	(void)!pwrite(fd, text_of(version), SIZE, 0);
	close(fd);
}

static void create(const char *name, int version)
{
	put(name, O_WRONLY | O_CREAT | O_TRUNC, version);
}

static void overwrite(const char *name, int version)
{
	put(name, O_WRONLY | O_NONBLOCK, version);
}

static void replace(const char *name, int version)
{
	create("w/x/t", version);
	move("w/x/t", name);
}

static void store(const char *name, int version)
{
	int fd = openat(world.directory, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	void *memory =
		fd < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory != MAP_FAILED) {
		memcpy(memory, text_of(version), SIZE);
		munmap(memory, SIZE);
	}
	if (fd >= 0)
		close(fd);
}

/* A directory that could stand in the place of w/d. */
static void make_another(const char *directory, int version)
{
	char name[64];

	make(directory);
	snprintf(name, sizeof(name), "%s/n.json", directory);
	create(name, version);
	snprintf(name, sizeof(name), "%s/l", directory);
	make(name);
	snprintf(name, sizeof(name), "%s/l/n.json", directory);
	create(name, version);
}

static int remove_one(const char *name, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(name);
}

void world_make(int version)
{
	(void)nftw(scratch_path("w"), remove_one, 8, FTW_DEPTH | FTW_PHYS);
	(void)nftw(scratch_path("w.moved"), remove_one, 8, FTW_DEPTH | FTW_PHYS);
	make("w");
	make("w/d");
	make("w/x");
	if (world.layout == CONFIG_MAP) {
		make("w/d/..v1");
		point("w/d/..data", "..v1");
		point("w/d/n.json", "..data/n.json");
	} else if (world.layout == LINKED) {
		make("w/e");
		point("w/d/l", "../e");
	}
	create(target(), version);
	(void)linkat(world.directory, target(), world.directory, "w/x/hard", 0);
}

/* ---- Edits, each in two steps ---- */

static void truncate_and_write(int step, int version)
{
	put(world_path(), O_WRONLY | O_NONBLOCK | (step == 0 ? O_TRUNC : 0), version);
}

static void rename_over(int step, int version)
{
	replace(step == 0 ? target() : world_path(), version);
}

static void remove_and_create(int step, int version)
{
	if (step == 0)
		drop(target());
	else
		create(target(), version);
}

static void store_by_memory(int step, int version)
{
	(void)step;
	store(world_path(), version);
}

/* As the kubelet does it; then the old one is removed, and the new one edited. */
static void swap_link(int step, int version)
{
	if (step == 0) {
		make("w/d/..v2");
		create("w/d/..v2/n.json", version);
		point("w/d/..tmp", "..v2");
		move("w/d/..tmp", world.layout == LINKED       ? "w/d/l"
				  : world.layout == CONFIG_MAP ? "w/d/..data"
							       : "w/d/n.json");
	} else {
		drop("w/d/..v1/n.json");
		drop("w/d/..v1");
		overwrite("w/d/..v2/n.json", version);
	}
}

static void make_directory_anew(int step, int version)
{
	if (step == 0)
		move("w/d", "w/d.old");
	else
		make_another("w/d", version);
}

static void move_away_edit_and_back(int step, int version)
{
	if (step == 0) {
		move("w/d", "w/x/d");
		overwrite("w/x/d/n.json", version);
		overwrite("w/x/d/l/n.json", version);
		overwrite("w/x/d/..v1/n.json", version);
	} else {
		move("w/x/d", "w/d");
	}
}

static void move_file_edit_and_back(int step, int version)
{
	if (step == 0) {
		move(target(), "w/x/m");
		overwrite("w/x/m", version);
	} else {
		move("w/x/m", target());
	}
}

static void fifo_meanwhile(int step, int version)
{
	if (step == 0) {
		drop(world_path());
		(void)mkfifoat(world.directory, world_path(), 0644);
	} else {
		replace(world_path(), version);
	}
}

static void write_by_another_name(int step, int version)
{
	(void)step;
	overwrite("w/x/hard", version);
}

static void directory_becomes_a_link(int step, int version)
{
	if (step == 0) {
		make_another("w/y", version);
		move("w/d", "w/d.old");
	} else {
		point("w/d", "y");
	}
}

static void directory_is_another_link(int step, int version)
{
	if (step == 0) {
		move("w/d", "w/d.old");
		point("w/d", "x");
	} else {
		drop("w/d");
		make_another("w/x", version);
		point("w/d", "x");
	}
}

static void file_becomes_a_dangling_link(int step, int version)
{
	if (step == 0) {
		replace(world_path(), version);
	} else {
		drop(world_path());
		point(world_path(), "../x/t2");
		create("w/x/t2", version);
	}
}

static void swap_directories_and_edit(int step, int version)
{
	if (step == 0) {
		move("w/d", "w/d1");
		make("w/d");
	} else {
		move("w/d", "w/d2");
		move("w/d1", "w/d");
		overwrite(world_path(), version);
	}
}

static void link_before_its_target(int step, int version)
{
	if (step == 0) {
		drop(world_path());
		point(world_path(), "n2");
	} else {
		create(world.layout == LINKED ? "w/d/l/n2" : "w/d/n2", version);
	}
}

static void directory_in_its_place(int step, int version)
{
	drop(world_path());
	if (step == 0)
		make(world_path());
	else
		create(world_path(), version);
}

static void hard_link_takes_over(int step, int version)
{
	if (step == 0) {
		overwrite(world_path(), version);
	} else {
		drop(target());
		overwrite("w/x/hard", version);
		move("w/x/hard", target());
	}
}

static void chain_of_links(int step, int version)
{
	bool linked = world.layout == LINKED;

	if (step == 0) {
		point("w/d/zz", "w/x/q");
		drop(world_path());
		point(world_path(), "../d/zz");
	} else {
		drop("w/d/zz");
		create("w/x/q", version);
		point("w/d/zz", "../x/q");
		point("w/d/yy", linked ? "../../x/q" : "../x/q");
		move("w/d/yy", world_path());
	}
}

static void whole_world_moves(int step, int version)
{
	if (step == 0) {
		move("w", "w.moved");
	} else {
		move("w.moved", "w");
		overwrite(world_path(), version);
	}
}

static void exchange_directories(int step, int version)
{
	if (step == 0)
		make_another("w/z", version);
	else
		(void)renameat2(world.directory, "w/z", world.directory, "w/d", RENAME_EXCHANGE);
}

void (*const world_edits[])(int step, int version) = {
	truncate_and_write,
	rename_over,
	remove_and_create,
	store_by_memory,
	swap_link,
	make_directory_anew,
	move_away_edit_and_back,
	move_file_edit_and_back,
	fifo_meanwhile,
	write_by_another_name,
	directory_becomes_a_link,
	directory_is_another_link,
	file_becomes_a_dangling_link,
	swap_directories_and_edit,
	link_before_its_target,
	directory_in_its_place,
	hard_link_takes_over,
	chain_of_links,
	whole_world_moves,
	exchange_directories,
};
const size_t world_edit_count = sizeof(world_edits) / sizeof(world_edits[0]);

/* ---- What is there ---- */

int world_version(void)
{
	char text[64] = "";
	int fd = openat(world.directory, world_path(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	ssize_t length = read(fd, text, sizeof(text) - 1);
	close(fd);
	const char *at = length > 0 ? strstr(text, "\"v") : NULL;
	return at != NULL ? atoi(at + 2) : -1;
}
