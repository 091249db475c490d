/*
 * A disk that is full or slow on demand, for PostgreSQL alone: a shared object that is loaded before
 * libc (LD_PRELOAD) by tests/fault/stage.py. The server's own calls fail as they do on such a disk.
 *
 * In the folder $AIPLAT_DISK_FAULTS, looked at with each call:
 *      data-full       files of tables and indexes cannot grow: ENOSPC
 *      log-full        nothing of the write-ahead log can be written: ENOSPC
 *      sync-ms         holds a number: each flush of the write-ahead log takes that much longer
 *
 * It must never change what a call does that it lets through.
 */
#undef _FILE_OFFSET_BITS /* both names of each call are to be defined, not one for the other */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Opens a flag of the folder; -1 when it is not there. */
static int open_flag(const char *name)
{
        const char *folder = getenv("AIPLAT_DISK_FAULTS");
        char path[PATH_MAX];

        if (!folder || snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
                return -1;
        return open(path, O_RDONLY | O_CLOEXEC);
}

static bool is_set(const char *name)
{
        int saved = errno, fd = open_flag(name);

        if (fd >= 0)
                close(fd);
        errno = saved;
        return fd >= 0;
}

static bool is_in(int fd, const char *folder)
{
        char link[32], path[PATH_MAX];
        ssize_t length;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        length = readlink(link, path, sizeof(path) - 1);
        if (length < 0)
                return false;
        path[length] = '\0';
        return strstr(path, folder) != NULL;
}

/* Whether a write up to this end of the file has no room. */
static bool is_full(int fd, off_t end)
{
        struct stat state;

        if (is_set("data-full") && fstat(fd, &state) == 0 && end > state.st_size &&
            is_in(fd, "/base/"))
                return true;
        return is_set("log-full") && is_in(fd, "/pg_wal/");
}

static ssize_t refuse(void)
{
        errno = ENOSPC;
        return -1;
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
        static ssize_t (*real)(int, const void *, size_t, off_t);

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
        return is_full(fd, at + (off_t)size) ? refuse() : real(fd, data, size, at);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
        return pwrite64(fd, data, size, at);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
        static ssize_t (*real)(int, const struct iovec *, int, off_t);
        size_t size = 0;

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "pwritev64");
        for (int i = 0; i < count; i++)
                size += parts[i].iov_len;
        return is_full(fd, at + (off_t)size) ? refuse() : real(fd, parts, count, at);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
        return pwritev64(fd, parts, count, at);
}

EXPORT int posix_fallocate64(int fd, off_t at, off_t size)
{
        static int (*real)(int, off_t, off_t);

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "posix_fallocate64");
        return is_full(fd, at + size) ? ENOSPC : real(fd, at, size);
}

EXPORT int posix_fallocate(int fd, off_t at, off_t size)
{
        return posix_fallocate64(fd, at, size);
}

/* Waits as long as the slow disk needs. */
static void linger(int fd)
{
        int saved = errno, flag = open_flag("sync-ms");
        char text[16] = "";

        if (flag >= 0 && is_in(fd, "/pg_wal/") && read(flag, text, sizeof(text) - 1) > 0) {
                long ms = strtol(text, NULL, 10);
                struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

                while (nanosleep(&left, &left) && errno == EINTR)
                        ;
        }
        if (flag >= 0)
                close(flag);
        errno = saved;
}

EXPORT int fdatasync(int fd)
{
        static int (*real)(int);

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
        linger(fd);
        return real(fd);
}

EXPORT int fsync(int fd)
{
        static int (*real)(int);

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "fsync");
        linger(fd);
        return real(fd);
}
