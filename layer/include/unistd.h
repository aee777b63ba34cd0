// xnu bsd/sys/unistd.h, Libc include/unistd.h
#ifndef _UNISTD_H_
#define _UNISTD_H_
#include <sys/types.h>
#define F_OK 0
#define X_OK 1
#define W_OK 2
#define R_OK 4
#define SEEK_SET 0
#define SEEK_CUR 1
ssize_t read(int fd, void *data, size_t size);
ssize_t write(int fd, const void *data, size_t size);
ssize_t pread(int fd, void *data, size_t size, off_t offset);
off_t lseek(int fd, off_t offset, int whence);
int close(int fd);
int dup(int fd);
int dup2(int fd, int to);
int pipe(int fds[2]);
int access(const char *path, int mode);
int faccessat(int dirfd, const char *path, int mode, int flags);
ssize_t readlink(const char *path, char *out, size_t size);
ssize_t readlinkat(int dirfd, const char *path, char *out, size_t size);
long pathconf(const char *path, int name);
int chdir(const char *path);
int fchdir(int fd);
char *getcwd(char *out, size_t size);
int chroot(const char *path);
int unlink(const char *path);
int unlinkat(int dirfd, const char *path, int flags);
int rmdir(const char *path);
int link(const char *from, const char *to);
int linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags);
int symlink(const char *content, const char *path);
int symlinkat(const char *content, int dirfd, const char *path);
int chown(const char *path, uid_t uid, gid_t gid);
int fchown(int fd, uid_t uid, gid_t gid);
int lchown(const char *path, uid_t uid, gid_t gid);
int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags);
int truncate(const char *path, off_t length);
int ftruncate(int fd, off_t length);
int gethostname(char *out, size_t size);
pid_t getpid(void);
pid_t getppid(void);
pid_t fork(void);
pid_t vfork(void);
void _exit(int status) __attribute__((noreturn));
int execve(const char *path, char *const argv[], char *const envp[]);
int execv(const char *path, char *const argv[]);
int execvp(const char *file, char *const argv[]);
int execvP(const char *file, const char *search, char *const argv[]);
int execl(const char *path, const char *first, ...);
int execlp(const char *file, const char *first, ...);
int execle(const char *path, const char *first, ...);
#endif
