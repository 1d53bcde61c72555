/*
 * Writes down every change that a process makes below one directory, in order, with its data: a preloaded library
 * between the process and libc. What a crash would leave is computed from it by crash-states.ts.
 *
 *   SHOAL_DISK_ROOT     the directory
 *   SHOAL_DISK_JOURNAL  where the journal goes
 *   SHOAL_DISK_MARKS    what is written to this file becomes marks in the journal
 *
 * An entry: "<op> <inode> <offset or size> <bytes of data> <path>\t<other path>\n", then the data. Ops: C create,
 * D mkdir, W write, T truncate, S sync, U unlink, R rename, L link, M mark.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 4096

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char *paths[FDS_MAX];
static int journal = -1;
static const char *root, *marks;

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = dlsym(RTLD_NEXT, #name)

static void begin(void) {
  pthread_mutex_lock(&lock);
  if (journal >= 0) return;
  root = getenv("SHOAL_DISK_ROOT");
  marks = getenv("SHOAL_DISK_MARKS");
  const char *file = getenv("SHOAL_DISK_JOURNAL");
  if (!root || !marks || !file) abort();
  journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) abort();
}

static void end(void) { pthread_mutex_unlock(&lock); }

static void all(const void *data, size_t count) {
  while (count > 0) {
    ssize_t n = syscall(SYS_write, journal, data, count);
    if (n <= 0) abort();
    data = (const char *)data + n;
    count -= n;
  }
}

static void tell(char op, unsigned long inode, long long at, size_t count, const void *data, const char *path,
                 const char *other) {
  char head[2 * PATH_MAX + 128];
  int n = snprintf(head, sizeof head, "%c %lu %lld %zu %s\t%s\n", op, inode, at, count, path, other);
  all(head, n);
  if (count > 0) all(data, count);
}

static int ours(const char *path) {
  size_t n = strlen(root);
  return strcmp(path, marks) == 0 || (strncmp(path, root, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static const char *path_of(int fd) { return fd >= 0 && fd < FDS_MAX ? paths[fd] : NULL; }

static unsigned long inode_of(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static unsigned long inode_at(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 ? st.st_ino : 0;
}

static int opened(int fd, const char *path, int flags, int was_there) {
  if (fd < 0 || fd >= FDS_MAX || !ours(path)) return fd;
  free(paths[fd]);
  paths[fd] = strdup(path);
  if (strcmp(path, marks) == 0) return fd;
  if (!was_there) tell('C', inode_of(fd), 0, 0, NULL, path, "");
  else if (flags & O_TRUNC) tell('T', inode_of(fd), 0, 0, NULL, path, "");
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list args; \
    va_start(args, flags); \
    mode_t mode = va_arg(args, mode_t); \
    va_end(args); \
    begin(); \
    int was_there = inode_at(path) != 0; \
    int fd = opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags, was_there); \
    end(); \
    return fd; \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int directory, const char *path, int flags, ...) { \
    va_list args; \
    va_start(args, flags); \
    mode_t mode = va_arg(args, mode_t); \
    va_end(args); \
    begin(); \
    int was_there = inode_at(path) != 0; \
    int fd = opened(syscall(SYS_openat, directory, path, flags, mode), path, flags, was_there); \
    end(); \
    return fd; \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  REAL(int, close, int);
  begin();
  if (path_of(fd)) {
    free(paths[fd]);
    paths[fd] = NULL;
  }
  int result = real(fd);
  end();
  return result;
}

static void wrote(int fd, long long at, ssize_t count, const void *data) {
  const char *path = path_of(fd);
  if (!path || count <= 0) return;
  if (strcmp(path, marks) == 0) tell('M', 0, 0, count, data, "", "");
  else tell('W', inode_of(fd), at, count, data, path, "");
}

ssize_t write(int fd, const void *data, size_t count) {
  REAL(ssize_t, write, int, const void *, size_t);
  if (!path_of(fd)) return real(fd, data, count);
  begin();
  long long at = lseek(fd, 0, SEEK_CUR);
  ssize_t n = real(fd, data, count);
  wrote(fd, at, n, data);
  end();
  return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, writev, int, const struct iovec *, int);
  if (!path_of(fd)) return real(fd, parts, count);
  ssize_t total = 0;
  for (int i = 0; i < count; i += 1) {
    ssize_t n = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (n < 0) return n;
    total += n;
  }
  return total;
}

#define PWRITE(name) \
  ssize_t name(int fd, const void *data, size_t count, off64_t at) { \
    REAL(ssize_t, name, int, const void *, size_t, off64_t); \
    if (!path_of(fd)) return real(fd, data, count, at); \
    begin(); \
    ssize_t n = real(fd, data, count, at); \
    wrote(fd, at, n, data); \
    end(); \
    return n; \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name) \
  int name(int fd, off64_t size) { \
    REAL(int, name, int, off64_t); \
    begin(); \
    int result = real(fd, size); \
    if (result == 0 && path_of(fd)) tell('T', inode_of(fd), size, 0, NULL, path_of(fd), ""); \
    end(); \
    return result; \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int truncate(const char *path, off_t size) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int result = ftruncate(fd, size);
  close(fd);
  return result;
}

#define SYNC(name) \
  int name(int fd) { \
    REAL(int, name, int); \
    begin(); \
    int result = real(fd); \
    if (result == 0 && path_of(fd)) tell('S', inode_of(fd), 0, 0, NULL, path_of(fd), ""); \
    end(); \
    return result; \
  }
SYNC(fsync)
SYNC(fdatasync)

static int unlinked(int result, const char *path, unsigned long inode) {
  if (result == 0 && ours(path)) tell('U', inode, 0, 0, NULL, path, "");
  return result;
}

int unlink(const char *path) {
  begin();
  unsigned long inode = inode_at(path);
  int result = unlinked(syscall(SYS_unlink, path), path, inode);
  end();
  return result;
}

int remove(const char *path) { return unlink(path); }

int unlinkat(int directory, const char *path, int flags) {
  begin();
  unsigned long inode = inode_at(path);
  int result = unlinked(syscall(SYS_unlinkat, directory, path, flags), path, inode);
  end();
  return result;
}

int rename(const char *path, const char *other) {
  begin();
  unsigned long inode = inode_at(path);
  int result = syscall(SYS_rename, path, other);
  if (result == 0 && ours(other)) tell('R', inode, 0, 0, NULL, path, other);
  end();
  return result;
}

int link(const char *path, const char *other) {
  begin();
  int result = syscall(SYS_link, path, other);
  if (result == 0 && ours(other)) tell('L', inode_at(path), 0, 0, NULL, path, other);
  end();
  return result;
}

int mkdir(const char *path, mode_t mode) {
  begin();
  int result = syscall(SYS_mkdir, path, mode);
  if (result == 0 && ours(path)) tell('D', inode_at(path), 0, 0, NULL, path, "");
  end();
  return result;
}
