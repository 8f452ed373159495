/* Preloaded into the writer: logs syncs and writes of BOARD_FILE and its log, and lets the n-th
   sync fail once with EIO, as the kernel does: a second try would be told that all is well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_board(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    const char *board = getenv("BOARD_FILE");
    return name && board && strncmp(name + 1, board, strlen(board)) == 0 && !strstr(name, "-shm");
}

static void note(const char *what) {
    const char *log = getenv("SYSCALL_LOG");
    if (!log) return;
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0) return;
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    real(fd, what, strlen(what));
    close(fd);
}

static int synced(int fd, const char *name) {
    static int count;
    const char *at = getenv("FAIL_SYNC_AT");
    if (is_board(fd)) {
        count++;
        if (at && atoi(at) == count) {
            note("sync-failed\n");
            errno = EIO;
            return -1;
        }
        note("sync\n");
    }
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

#define WRITES(name, parameters, arguments, result)                    \
    result name parameters {                                           \
        if (is_board(fd)) note("write\n");                             \
        result(*real) parameters = dlsym(RTLD_NEXT, #name);            \
        return real arguments;                                         \
    }
WRITES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), ssize_t)
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), ssize_t)
WRITES(ftruncate, (int fd, off_t size), (fd, size), int)
WRITES(ftruncate64, (int fd, off64_t size), (fd, size), int)
