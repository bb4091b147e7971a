/* Loaded before the C library (LD_PRELOAD), it counts the calls that change something below a
 * folder, and makes one of them fail: as a full disk, a folder that may not be written, a broken
 * disk, or the end of the process.
 *
 * What to do is read from a file that every process maps, named by FAULTS: the test writes it,
 * and the command and its workers count in it together. See shim.py for the same fields there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { ONCE, SHORT, FULL, KILL, KILL_HALF };
enum verdict { PASS, FAIL, HALF };

struct faults {
    long at;    /* the call that is struck, from 1 on; 0: none */
    long count; /* calls so far */
    int kind, error;
    int halved; /* a write was cut short: the next call fails */
    int unused;
    char folder[PATH_MAX];
    char hit[PATH_MAX + 64]; /* the first call that was struck, and its path */
    char writes[1 << 15];    /* for each call: does it write bytes, so that it can be cut short? */
};

static struct faults *faults;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULTS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    faults = page == MAP_FAILED ? NULL : page;
}

/* Write the absolute path of a name as a call got it; an empty one is that of the folder. */
static void absolute(int folder, const char *name, char *path)
{
    char link[64];
    ssize_t length = 0;
    if (name[0] != '/') {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
                 folder);
        length = readlink(link, path, PATH_MAX - 1);
        length = length < 0 ? 0 : length;
        path[length] = 0;
    }
    if (name[0])
        snprintf(path + length, PATH_MAX - length, "%s%s", name[0] == '/' ? "" : "/", name);
}

/* Count a call, and say what becomes of it. `space`: it needs some on the disk. */
static enum verdict judge(const char *call, int folder, const char *name, int space, int writes)
{
    char path[PATH_MAX];
    int before = errno;
    if (!faults || !faults->folder[0] || !name)
        return PASS;
    absolute(folder, name, path);
    errno = before;
    size_t length = strlen(faults->folder);
    if (strncmp(path, faults->folder, length) || (path[length] && path[length] != '/'))
        return PASS;
    long number = __atomic_add_fetch(&faults->count, 1, __ATOMIC_SEQ_CST);
    faults->writes[number % sizeof faults->writes] = writes;
    if (!faults->at || number < faults->at)
        return PASS;
    int first = number == faults->at;
    if (first)
        snprintf(faults->hit, sizeof faults->hit, "%s %s", call, path);
    switch (faults->kind) {
    case ONCE:
        return first ? FAIL : PASS;
    case SHORT:
        if (first && writes)
            return faults->halved = 1, HALF;
        return first || (faults->halved && number == faults->at + 1) ? FAIL : PASS;
    case FULL:
        return !space ? PASS : first && writes ? HALF : FAIL;
    case KILL:
    case KILL_HALF:
        if (first && writes && faults->kind == KILL_HALF)
            return HALF;
        if (first)
            kill(0, SIGKILL);
    }
    return PASS;
}

static int fails(const char *call, int folder, const char *name, int space)
{
    if (judge(call, folder, name, space, 0) != FAIL)
        return 0;
    errno = faults->error;
    return 1;
}

static int grows(int file, off64_t size)
{
    struct stat status;
    return fstat(file, &status) || status.st_size < size;
}

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (!real)                                                                                     \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define CHANGES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))

#define OPEN(name, folder, path, parameters, ...)                                                  \
    int name parameters                                                                            \
    {                                                                                              \
        REAL(name);                                                                                \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                     \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
        }                                                                                          \
        if (CHANGES(flags) && fails(#name, folder, path, (flags & O_CREAT) != 0))                  \
            return -1;                                                                             \
        return real(__VA_ARGS__, flags, mode);                                                     \
    }

OPEN(open, AT_FDCWD, path, (const char *path, int flags, ...), path)
OPEN(open64, AT_FDCWD, path, (const char *path, int flags, ...), path)
OPEN(openat, folder, path, (int folder, const char *path, int flags, ...), folder, path)
OPEN(openat64, folder, path, (int folder, const char *path, int flags, ...), folder, path)

/* C and C++ streams open files inside the C library, where nobody can step in between. */
#define FOPEN(name)                                                                                \
    FILE *name(const char *path, const char *mode)                                                 \
    {                                                                                              \
        REAL(name);                                                                                \
        if (strpbrk(mode, "wa+") && fails(#name, AT_FDCWD, path, 1))                               \
            return NULL;                                                                           \
        return real(path, mode);                                                                   \
    }

FOPEN(fopen)
FOPEN(fopen64)

/* Calls that write `size` bytes: `shorter` is the same call for half of them. */
#define WRITE(name, file, size, shorter, parameters, ...)                                          \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        REAL(name);                                                                                \
        enum verdict verdict = judge(#name, file, "", 1, 1);                                       \
        if (verdict == FAIL || (verdict == HALF && (size) < 2 && faults->kind < KILL)) {           \
            errno = faults->error;                                                                 \
            return -1;                                                                             \
        }                                                                                          \
        if (verdict == PASS)                                                                       \
            return real(__VA_ARGS__);                                                              \
        ssize_t written = shorter;                                                                 \
        if (faults->kind == KILL_HALF)                                                             \
            kill(0, SIGKILL);                                                                      \
        return written;                                                                            \
    }

WRITE(write, file, size, real(file, bytes, size / 2), (int file, const void *bytes, size_t size),
      file, bytes, size)
WRITE(pwrite, file, size, real(file, bytes, size / 2, offset),
      (int file, const void *bytes, size_t size, off_t offset), file, bytes, size, offset)
WRITE(pwrite64, file, size, real(file, bytes, size / 2, offset),
      (int file, const void *bytes, size_t size, off64_t offset), file, bytes, size, offset)
WRITE(writev, file, parts[0].iov_len,
      real(file, &(struct iovec){parts[0].iov_base, parts[0].iov_len / 2}, 1),
      (int file, const struct iovec *parts, int number), file, parts, number)
WRITE(sendfile, to, size, real(to, from, offset, size / 2),
      (int to, int from, off_t *offset, size_t size), to, from, offset, size)
WRITE(sendfile64, to, size, real(to, from, offset, size / 2),
      (int to, int from, off64_t *offset, size_t size), to, from, offset, size)
WRITE(copy_file_range, to, size, real(from, start, to, there, size / 2, flags),
      (int from, off64_t *start, int to, off64_t *there, size_t size, unsigned flags), from, start,
      to, there, size, flags)

#define CALL(name, folder, path, space, parameters, ...)                                           \
    int name parameters                                                                            \
    {                                                                                              \
        REAL(name);                                                                                \
        return fails(#name, folder, path, space) ? -1 : real(__VA_ARGS__);                         \
    }

CALL(creat, AT_FDCWD, path, 1, (const char *path, mode_t mode), path, mode)
CALL(fsync, file, "", 1, (int file), file)
CALL(fdatasync, file, "", 1, (int file), file)
CALL(ftruncate, file, "", grows(file, size), (int file, off_t size), file, size)
CALL(ftruncate64, file, "", grows(file, size), (int file, off64_t size), file, size)
CALL(truncate, AT_FDCWD, path, 0, (const char *path, off_t size), path, size)
CALL(rename, AT_FDCWD, to, 0, (const char *from, const char *to), from, to)
CALL(renameat, there, to, 0, (int here, const char *from, int there, const char *to), here, from,
     there, to)
CALL(renameat2, there, to, 0,
     (int here, const char *from, int there, const char *to, unsigned flags), here, from, there,
     to, flags)
CALL(mkdir, AT_FDCWD, path, 1, (const char *path, mode_t mode), path, mode)
CALL(mkdirat, folder, path, 1, (int folder, const char *path, mode_t mode), folder, path, mode)
CALL(rmdir, AT_FDCWD, path, 0, (const char *path), path)
CALL(unlink, AT_FDCWD, path, 0, (const char *path), path)
CALL(unlinkat, folder, path, 0, (int folder, const char *path, int flags), folder, path, flags)
CALL(link, AT_FDCWD, to, 1, (const char *from, const char *to), from, to)
CALL(linkat, there, to, 1,
     (int here, const char *from, int there, const char *to, int flags), here, from, there, to,
     flags)
CALL(symlink, AT_FDCWD, path, 1, (const char *target, const char *path), target, path)
CALL(symlinkat, folder, path, 1, (const char *target, int folder, const char *path), target,
     folder, path)

/* These return the error in place of setting errno. */
int posix_fallocate(int file, off_t offset, off_t size)
{
    REAL(posix_fallocate);
    return fails("posix_fallocate", file, "", 1) ? faults->error : real(file, offset, size);
}

int posix_fallocate64(int file, off64_t offset, off64_t size)
{
    REAL(posix_fallocate64);
    return fails("posix_fallocate64", file, "", 1) ? faults->error : real(file, offset, size);
}
