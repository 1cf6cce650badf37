/*
 * fsprobe.c - system calls on files, one after the other, and how each ended.
 *
 *   fsprobe CALL ARGUMENT... [CALL ARGUMENT...]...
 *
 * Every call takes a fixed number of arguments (see the table at the end) and
 * prints one line: what it found out, "ok", or the name of its errno. A program of
 * the shell's tells neither the errno nor which call it was, makes several calls
 * where one is meant, and asks stat(2) before it dares.
 *
 * Ends with 0 whatever the calls have said, with 2 when the command line is wrong,
 * and is ended by SIGALRM when a call does not come back.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "dlock.h"

#define LIMIT_S 60

/* The descriptor that the calls without a path are about: the last one opened. */
static int fd = -1;
static bool timed;

__attribute__((noreturn, format(printf, 1, 2))) static void usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("fsprobe: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(2);
}

static long long number(const char *text)
{
	char *end;
	long long value = strtoll(text, &end, 0);

	if (end == text || *end)
		usage("\"%s\" is no number", text);
	return value;
}

/* "UID:GID" */
static void parse_owner(const char *text, uid_t *ret_uid, gid_t *ret_gid)
{
	if (sscanf(text, "%u:%u", ret_uid, ret_gid) != 2)
		usage("\"%s\" is no UID:GID", text);
}

struct word {
	const char *text;
	int value;
};

static const struct word open_flags[] = {
    {"rdonly", O_RDONLY},       {"wronly", O_WRONLY},       {"rdwr", O_RDWR},         {"creat", O_CREAT},
    {"excl", O_EXCL},           {"trunc", O_TRUNC},         {"nonblock", O_NONBLOCK}, {"append", O_APPEND},
    {"directory", O_DIRECTORY}, {"nofollow", O_NOFOLLOW},   {"tmpfile", O_TMPFILE},   {"noctty", O_NOCTTY},
    {"path", O_PATH},           {NULL, 0},
};

static const struct word rename_flags[] = {
    {"plain", 0}, {"noreplace", RENAME_NOREPLACE}, {"exchange", RENAME_EXCHANGE}, {"whiteout", RENAME_WHITEOUT}, {NULL, 0},
};

static const struct word node_types[] = {
    {"file", S_IFREG},   {"fifo", S_IFIFO}, {"socket", S_IFSOCK}, {"char", S_IFCHR},
    {"block", S_IFBLK}, {NULL, 0},
};

static const struct word flock_operations[] = {
    {"ex", LOCK_EX}, {"sh", LOCK_SH}, {"un", LOCK_UN}, {"nb", LOCK_NB}, {NULL, 0},
};

static const struct word range_types[] = {
    {"read", F_RDLCK}, {"write", F_WRLCK}, {"unlock", F_UNLCK}, {NULL, 0},
};

static int value_of(const struct word *words, const char *text, size_t length)
{
	for (; words->text; words++)
		if (strlen(words->text) == length && memcmp(words->text, text, length) == 0)
			return words->value;
	usage("\"%.*s\" is not known here", (int)length, text);
}

/* A comma-separated list. */
static int values_of(const struct word *words, const char *text)
{
	int values = 0;

	for (;;) {
		size_t length = strcspn(text, ",");

		values |= value_of(words, text, length);
		if (!text[length])
			return values;
		text += length + 1;
	}
}

/*
 * The calls. Each gives 0 for "ok", -1 with errno, or 1 when it has printed what it
 * found out (without the end of the line).
 */
typedef int call_fn(char **arguments);

/* ---- who, where and when ---- */

static int call_in(char **arguments)
{
	return chdir(arguments[0]);
}

static int call_as(char **arguments)
{
	uid_t uid;
	gid_t gid;

	parse_owner(arguments[0], &uid, &gid);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0)
		return -1;
	return setresuid(uid, uid, uid);
}

static int call_umask(char **arguments)
{
	umask((mode_t)strtoul(arguments[0], NULL, 8));
	return 0;
}

/* Until that moment, in ms since 1970: so several processes begin together. */
static int call_at(char **arguments)
{
	long long at_ms = number(arguments[0]);
	struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};

	return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL) ? -1 : 0;
}

/* Until a line comes by standard input; what was printed can be read meanwhile. */
static int call_pause(char **arguments)
{
	char line[256];

	(void)arguments;
	fflush(stdout);
	alarm(0);
	if (!fgets(line, sizeof(line), stdin))
		exit(0);
	alarm(LIMIT_S);
	return 0;
}

/* From now on every line ends with the milliseconds that the call took. */
static int call_timed(char **arguments)
{
	(void)arguments;
	timed = true;
	return 0;
}

/* ---- open files ---- */

static int call_open(char **arguments)
{
	int opened = open(arguments[0], values_of(open_flags, arguments[1]) | O_CLOEXEC, 0666);

	if (opened >= 0)
		fd = opened;
	return opened < 0 ? -1 : 0;
}

static int call_close(char **arguments)
{
	(void)arguments;
	return close(fd);
}

static int call_read(char **arguments)
{
	char buffer[65536];
	long long size = number(arguments[0]);
	ssize_t count = read(fd, buffer, (size_t)size < sizeof(buffer) ? (size_t)size : sizeof(buffer));

	if (count < 0)
		return -1;
	fwrite(buffer, 1, (size_t)count, stdout);
	return 1;
}

static int call_seek(char **arguments)
{
	return lseek(fd, number(arguments[0]), SEEK_SET) < 0 ? -1 : 0;
}

static int written(ssize_t count, size_t size)
{
	if (count < 0)
		return -1;
	if ((size_t)count == size)
		return 0;
	printf("%zd of %zu", count, size);
	return 1;
}

static int call_write(char **arguments)
{
	size_t size = strlen(arguments[0]);

	return written(write(fd, arguments[0], size), size);
}

/* That many bytes of no meaning. */
static int call_fill(char **arguments)
{
	size_t size = (size_t)number(arguments[0]);
	char *bytes = malloc(size + 1);
	ssize_t count;

	if (!bytes)
		return -1;
	memset(bytes, 'x', size);
	count = write(fd, bytes, size);
	free(bytes);
	return written(count, size);
}

static int call_truncate(char **arguments)
{
	return truncate(arguments[0], number(arguments[1]));
}

static int call_ftruncate(char **arguments)
{
	return ftruncate(fd, number(arguments[0]));
}

static int call_fsync(char **arguments)
{
	(void)arguments;
	return fsync(fd);
}

/* The links, and the size. */
static int call_fstat(char **arguments)
{
	struct stat stat;

	(void)arguments;
	if (fstat(fd, &stat) < 0)
		return -1;
	printf("%ju links, %jd bytes", (uintmax_t)stat.st_nlink, (intmax_t)stat.st_size);
	return 1;
}

static int call_fchmod(char **arguments)
{
	return fchmod(fd, (mode_t)strtoul(arguments[0], NULL, 8));
}

/* ---- names ---- */

static int call_mkdir(char **arguments)
{
	return mkdir(arguments[0], 0777);
}

static int call_rmdir(char **arguments)
{
	return rmdir(arguments[0]);
}

static int call_unlink(char **arguments)
{
	return unlink(arguments[0]);
}

static int call_symlink(char **arguments)
{
	return symlink(arguments[0], arguments[1]);
}

static int call_readlink(char **arguments)
{
	char target[8192];
	ssize_t count = readlink(arguments[0], target, sizeof(target));

	if (count < 0)
		return -1;
	fwrite(target, 1, (size_t)count, stdout);
	return 1;
}

static int call_link(char **arguments)
{
	return link(arguments[0], arguments[1]);
}

static int call_rename(char **arguments)
{
	return renameat2(AT_FDCWD, arguments[0], AT_FDCWD, arguments[1], (unsigned)values_of(rename_flags, arguments[2]));
}

static int call_mknod(char **arguments)
{
	int type = values_of(node_types, arguments[1]);

	return mknod(arguments[0], (mode_t)(type | 0666), type == S_IFCHR || type == S_IFBLK ? makedev(1, 3) : 0);
}

/* The address of a unix socket is short: the directory is named by its descriptor. */
static int call_bind(char **arguments)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *name = strrchr(arguments[0], '/');
	char directory[4096];
	int bound, error, inside;

	if (!name)
		usage("bind: \"%s\" has no directory", arguments[0]);
	snprintf(directory, sizeof(directory), "%.*s", (int)(name - arguments[0]), arguments[0]);
	inside = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (inside < 0 || bound < 0)
		return -1;
	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d%s", inside, name) >=
	    sizeof(address.sun_path))
		usage("\"%s\" is too long for a socket", arguments[0]);
	error = bind(bound, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	close(bound);
	close(inside);
	errno = error;
	return error ? -1 : 0;
}

/* ---- many names: the first failure ends it ---- */

static int many(char **arguments, int (*call)(const char *path))
{
	long long count = number(arguments[1]);

	for (long long i = 1; i <= count; i++) {
		char path[4096];

		alarm(LIMIT_S);
		snprintf(path, sizeof(path), "%s%lld", arguments[0], i);
		if (call(path) < 0) {
			printf("%s: %s", path, strerrorname_np(errno));
			return 1;
		}
	}
	return 0;
}

static int make_directory(const char *path)
{
	return mkdir(path, 0777);
}

static int make_file(const char *path)
{
	int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	return made < 0 ? -1 : close(made);
}

static int make_and_remove(const char *path)
{
	return mkdir(path, 0777) < 0 ? -1 : rmdir(path);
}

/* mkdirs PREFIX COUNT makes PREFIX1 to PREFIXCOUNT, and so on. */
static int call_mkdirs(char **arguments)
{
	return many(arguments, make_directory);
}

static int call_rmdirs(char **arguments)
{
	return many(arguments, rmdir);
}

static int call_creats(char **arguments)
{
	return many(arguments, make_file);
}

static int call_unlinks(char **arguments)
{
	return many(arguments, unlink);
}

static int call_cycles(char **arguments)
{
	return many(arguments, make_and_remove);
}

/* ---- what is there ---- */

static int call_stat(char **arguments)
{
	struct stat stat_now;

	return stat(arguments[0], &stat_now);
}

static int call_lstat(char **arguments)
{
	struct stat stat_now;

	return lstat(arguments[0], &stat_now);
}

static int call_access(char **arguments)
{
	return access(arguments[0], F_OK);
}

static int call_statfs(char **arguments)
{
	struct statfs stat;

	if (statfs(arguments[0], &stat) < 0)
		return -1;
	printf("type %jx, names of %jd bytes", (uintmax_t)stat.f_type, (intmax_t)stat.f_namelen);
	return 1;
}

static int not_a_dot(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* How many names are in a directory; none of them may come twice. */
static int call_list(char **arguments)
{
	struct dirent **entries;
	int count = scandir(arguments[0], &entries, not_a_dot, alphasort);
	const char *twice = NULL;

	if (count < 0)
		return -1;
	for (int i = 1; i < count; i++)
		if (strcmp(entries[i - 1]->d_name, entries[i]->d_name) == 0)
			twice = entries[i]->d_name;
	if (twice)
		printf("twice: %s", twice);
	else
		printf("%d", count);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	return 1;
}

/* ---- attributes ---- */

static int call_chmod(char **arguments)
{
	return chmod(arguments[0], (mode_t)strtoul(arguments[1], NULL, 8));
}

static int call_chown(char **arguments)
{
	uid_t uid;
	gid_t gid;

	parse_owner(arguments[1], &uid, &gid);
	return lchown(arguments[0], uid, gid);
}

/* "now", or SECONDS.NANOSECONDS with nine digits behind the point. */
static void parse_time(const char *text, struct timespec *ret)
{
	long long seconds;
	long nanoseconds = 0;

	if (strcmp(text, "now") == 0) {
		ret->tv_nsec = UTIME_NOW;
		return;
	}
	if (sscanf(text, "%lld.%9ld", &seconds, &nanoseconds) < 1)
		usage("\"%s\" is no time", text);
	*ret = (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
}

static int call_utimens(char **arguments)
{
	struct timespec times[2];

	parse_time(arguments[1], &times[0]);
	times[1] = times[0];
	return utimensat(AT_FDCWD, arguments[0], times, AT_SYMLINK_NOFOLLOW);
}

static int call_futimens(char **arguments)
{
	struct timespec times[2];

	parse_time(arguments[0], &times[0]);
	times[1] = times[0];
	return futimens(fd, times);
}

static int call_getxattr(char **arguments)
{
	char value[4096];
	ssize_t count = lgetxattr(arguments[0], arguments[1], value, sizeof(value));

	if (count < 0)
		return -1;
	fwrite(value, 1, (size_t)count, stdout);
	return 1;
}

static int call_listxattr(char **arguments)
{
	char names[4096];
	ssize_t count = llistxattr(arguments[0], names, sizeof(names));

	if (count < 0)
		return -1;
	for (char *name = names; name < names + count; name += strlen(name) + 1)
		printf("%s%s", name == names ? "" : " ", name);
	return 1;
}

static int call_setxattr(char **arguments)
{
	return lsetxattr(arguments[0], arguments[1], arguments[2], strlen(arguments[2]), 0);
}

/* ---- locks ---- */

static int call_flock(char **arguments)
{
	return flock(fd, values_of(flock_operations, arguments[0]));
}

static int range(int command, const char *type)
{
	struct flock lock = {.l_type = (short)values_of(range_types, type), .l_whence = SEEK_SET, .l_len = 1};

	return fcntl(fd, command, &lock);
}

static int call_setlk(char **arguments)
{
	return range(F_SETLK, arguments[0]);
}

static int call_setlkw(char **arguments)
{
	return range(F_SETLKW, arguments[0]);
}

static int call_getlk(char **arguments)
{
	return range(F_GETLK, arguments[0]);
}

static int call_ofd_setlk(char **arguments)
{
	return range(F_OFD_SETLK, arguments[0]);
}

static int lock = -1;

static void give_back(void)
{
	dlock_close(lock);
}

/* The library's own door; what was locked stays so until the process ends. One name at a time. */
static int call_trylock(char **arguments)
{
	if (lock < 0)
		atexit(give_back);
	else
		dlock_close(lock);
	lock = dlock_open(arguments[0], DLOCK_CLOEXEC);
	return lock < 0 ? -1 : dlock_trylock(lock);
}

/* ---- the command line ---- */

static const struct call {
	const char *name;
	int arguments;
	call_fn *function;
} calls[] = {
    {"access", 1, call_access},       {"as", 1, call_as},             {"at", 1, call_at},
    {"bind", 1, call_bind},           {"chmod", 2, call_chmod},       {"chown", 2, call_chown},
    {"close", 0, call_close},         {"creats", 2, call_creats},     {"cycles", 2, call_cycles},
    {"fchmod", 1, call_fchmod},       {"fill", 1, call_fill},         {"flock", 1, call_flock},
    {"fstat", 0, call_fstat},         {"fsync", 0, call_fsync},       {"ftruncate", 1, call_ftruncate},
    {"futimens", 1, call_futimens},   {"getlk", 1, call_getlk},       {"getxattr", 2, call_getxattr},
    {"in", 1, call_in},               {"link", 2, call_link},         {"list", 1, call_list},
    {"listxattr", 1, call_listxattr}, {"lstat", 1, call_lstat},       {"mkdir", 1, call_mkdir},
    {"mkdirs", 2, call_mkdirs},       {"mknod", 2, call_mknod},       {"ofd_setlk", 1, call_ofd_setlk},
    {"open", 2, call_open},           {"pause", 0, call_pause},       {"read", 1, call_read},
    {"readlink", 1, call_readlink},   {"rename", 3, call_rename},     {"rmdir", 1, call_rmdir},
    {"rmdirs", 2, call_rmdirs},       {"seek", 1, call_seek},         {"setlk", 1, call_setlk},
    {"setlkw", 1, call_setlkw},       {"setxattr", 3, call_setxattr}, {"stat", 1, call_stat},
    {"statfs", 1, call_statfs},       {"symlink", 2, call_symlink},   {"timed", 0, call_timed},
    {"truncate", 2, call_truncate},   {"trylock", 1, call_trylock},   {"umask", 1, call_umask},
    {"unlink", 1, call_unlink},       {"unlinks", 2, call_unlinks},   {"utimens", 2, call_utimens},
    {"write", 1, call_write},         {NULL, 0, NULL},
};

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void perform(const struct call *call, char **arguments)
{
	long long start_ms = now_ms();
	bool tell_time = timed;
	int result = call->function(arguments);
	const char *name = result < 0 ? strerrorname_np(errno) : NULL;

	if (result < 0 && !name)
		printf("errno %d", errno);
	else if (result <= 0)
		fputs(name ? name : "ok", stdout);
	if (tell_time)
		printf(" %lld", now_ms() - start_ms);
	putchar('\n');
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	alarm(LIMIT_S);
	for (int i = 1; i < argc;) {
		const struct call *call = calls;

		while (call->name && strcmp(call->name, argv[i]) != 0)
			call++;
		if (!call->name)
			usage("no call \"%s\"", argv[i]);
		if (i + call->arguments >= argc)
			usage("%s takes %d arguments", call->name, call->arguments);
		perform(call, &argv[i + 1]);
		i += 1 + call->arguments;
	}
	return 0;
}
