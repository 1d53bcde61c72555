/*
 * A disk that refuses: while the file SHOAL_DISK_FAULT holds "<errno> <ops>", these operations of this process on
 * files below SHOAL_DISK_ROOT fail with that errno. Ops: w write and truncate, s sync.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = dlsym(RTLD_NEXT, #name)

static int is_below(int fd) {
  const char *root = getenv("SHOAL_DISK_ROOT");
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  return root && n > 0 && (size_t)n > strlen(root) && strncmp(path, root, strlen(root)) == 0;
}

/* Whether this operation is to fail; errno is set then. */
static int fails(int fd, char op) {
  const char *file = getenv("SHOAL_DISK_FAULT");
  char text[32] = "";
  int saved = errno, number = 0;
  char ops[16] = "";
  int handle = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
  if (handle >= 0) {
    if (syscall(SYS_read, handle, text, sizeof text - 1) < 0) text[0] = 0;
    syscall(SYS_close, handle);
  }
  errno = saved;
  if (sscanf(text, "%d %15s", &number, ops) != 2 || !strchr(ops, op) || !is_below(fd)) return 0;
  errno = number;
  return 1;
}

ssize_t write(int fd, const void *data, size_t count) {
  REAL(ssize_t, write, int, const void *, size_t);
  return fails(fd, 'w') ? -1 : real(fd, data, count);
}

#define PWRITE(name) \
  ssize_t name(int fd, const void *data, size_t count, off64_t at) { \
    REAL(ssize_t, name, int, const void *, size_t, off64_t); \
    return fails(fd, 'w') ? -1 : real(fd, data, count, at); \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name) \
  int name(int fd, off64_t size) { \
    REAL(int, name, int, off64_t); \
    return fails(fd, 'w') ? -1 : real(fd, size); \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name) \
  int name(int fd) { \
    REAL(int, name, int); \
    return fails(fd, 's') ? -1 : real(fd); \
  }
SYNC(fsync)
SYNC(fdatasync)
