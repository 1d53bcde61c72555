/*
 * A disk that refuses: while the file SHOAL_DISK_FAULT holds "<errno> <ops>", these operations of this process on
 * files below SHOAL_DISK_ROOT fail with that errno. Ops: w write and truncate, s sync, r read. "<errno> <ops> <from>
 * <to> <inode>" refuses only reads that touch these bytes of that file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static int is_file(int fd, unsigned long inode) {
  struct stat status;
  return fstat(fd, &status) == 0 && status.st_ino == inode;
}

/* Whether this operation on `count` bytes is to fail; errno is set then. */
static int fails_at(int fd, char op, off64_t at, size_t count) {
  const char *file = getenv("SHOAL_DISK_FAULT");
  char text[128] = "";
  int saved = errno, number = 0;
  char ops[16] = "";
  long from = 0, to = 0;
  unsigned long inode = 0;
  int handle = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
  if (handle >= 0) {
    if (syscall(SYS_read, handle, text, sizeof text - 1) < 0) text[0] = 0;
    syscall(SYS_close, handle);
  }
  errno = saved;
  int n = sscanf(text, "%d %15s %ld %ld %lu", &number, ops, &from, &to, &inode);
  if (n < 2 || !strchr(ops, op) || !is_below(fd)) return 0;
  if (n == 5 && op == 'r' && (at >= to || at + (off64_t)count <= from || !is_file(fd, inode))) return 0;
  errno = number;
  return 1;
}

static int fails(int fd, char op) {
  return fails_at(fd, op, 0, 0);
}

ssize_t read(int fd, void *data, size_t count) {
  REAL(ssize_t, read, int, void *, size_t);
  off64_t at = lseek64(fd, 0, SEEK_CUR);
  return fails_at(fd, 'r', at < 0 ? 0 : at, count) ? -1 : real(fd, data, count);
}

#define PREAD(name) \
  ssize_t name(int fd, void *data, size_t count, off64_t at) { \
    REAL(ssize_t, name, int, void *, size_t, off64_t); \
    return fails_at(fd, 'r', at, count) ? -1 : real(fd, data, count, at); \
  }
PREAD(pread)
PREAD(pread64)

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
