/* A disk that fails to read: preloaded into a real process, it refuses to read an outbox while the
   file named by BAD_READS is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int refused(int file) {
    char link[32], path[4096];
    const char *while_there = getenv("BAD_READS");
    if (!while_there || access(while_there, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    const char *end = strstr(path, ".db");
    return end && (!strcmp(end, ".db") || !strcmp(end, ".db-wal") || !strcmp(end, ".db.seq"));
}

#define READS(name, offset)                                                     \
    ssize_t name(int file, void *data, size_t count, offset at) {               \
        static ssize_t (*real)(int, void *, size_t, offset);                    \
        if (!real) real = (ssize_t(*)(int, void *, size_t, offset))dlsym(RTLD_NEXT, #name); \
        if (refused(file)) { errno = EIO; return -1; }                          \
        return real(file, data, count, at);                                     \
    }

READS(pread, off_t)
READS(pread64, off64_t)

ssize_t read(int file, void *data, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    if (refused(file)) { errno = EIO; return -1; }
    return real(file, data, count);
}
