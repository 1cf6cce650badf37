/* mountpoint.c - see mountpoint.h. */
#include "mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

/* A dead mount answers every call with ENOTCONN. Its end was not the daemon's to make; starting a new one is the
 * operator's word that it may go. */
static int take_dead_mount_away(const char *path)
{
	pid_t child;
	int status = 0, error;

	log_warning("%s: the mount of a dlockfs that has died is taken away", path);
	if (umount2(path, MNT_DETACH) == 0)
		return 0;
	error = errno;
	/* As a user only fusermount3 may. */
	child = fork();
	if (child == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", path, (char *)NULL);
		_exit(127);
	}
	if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
		return 0;
	log_error("%s: a dead mount is there, and can't be taken away: %s", path, strerror(error));
	return -error;
}

static int open_directory(const char *path, int *ret_fd)
{
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0 && errno == ENOTCONN) {
		int error = take_dead_mount_away(path);

		if (error)
			return error;
		*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (*ret_fd >= 0)
		return 0;
	log_error("the mount point %s: %s", path, strerror(errno));
	return -errno;
}

static int check_empty(const char *path, int fd)
{
	struct statfs system;
	const struct dirent *entry;
	DIR *directory;
	int error = 0;

	if (fstatfs(fd, &system) == 0 && system.f_type == FUSE_SUPER_MAGIC) {
		log_error("%s: a FUSE file system is mounted there already", path);
		return -EBUSY;
	}
	directory = fdopendir(dup(fd));
	if (!directory) {
		log_error("the mount point %s: %s", path, strerror(errno));
		return -errno;
	}
	while (!error && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			log_error("the mount point %s is not empty: it holds \"%s\"; what programs have created there "
			          "while nothing was mounted were no locks",
			          path, entry->d_name);
			error = -ENOTEMPTY;
		}
	closedir(directory);
	return error;
}

static void make_immutable(const char *path, int fd)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		if (flags & FS_IMMUTABLE_FL)
			return;
		flags |= FS_IMMUTABLE_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
			log_info("%s is immutable from now on, so that nothing can be created there while it is not "
			         "mounted; chattr -i takes that back, -o noprotect declines it",
			         path);
			return;
		}
	}
	log_warning("%s could not be made immutable (%s): while nothing is mounted there, whatever programs create looks "
	            "like a lock and is none; -o noprotect silences this",
	            path, strerror(errno));
}

int mountpoint_prepare(const char *path, bool protect)
{
	int fd = -1, error = open_directory(path, &fd);

	if (!error)
		error = check_empty(path, fd);
	if (!error && protect)
		make_immutable(path, fd);
	if (fd >= 0)
		close(fd);
	return error;
}

static long read_setting(const char *path)
{
	FILE *file = fopen(path, "re");
	long number = 0;

	if (!file)
		return 0; /* an older kernel */
	if (fscanf(file, "%ld", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

int mountpoint_check_kernel(void)
{
	static const char *const names[] = {"default_request_timeout", "max_request_timeout"};
	char path[64];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/sys/fs/fuse/%s", names[i]);
		if (read_setting(path) > 0) {
			log_error("fs.fuse.%s is %ld: the kernel would end the mount under the first program that waits "
			          "longer than that for a lock; set it to 0 (sysctl fs.fuse.%s=0)",
			          names[i], read_setting(path), names[i]);
			return -EINVAL;
		}
	}
	return 0;
}
