// What would change the pod's files. It is refused, or made on this machine, which the session tells. All paths are below a folder that is not here, so nothing is changed
// when a hook is missing.
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

static int descriptor(void) { return open(MOTD, O_RDONLY); }

RESULT(unlink, unlink(MOTD))
RESULT(unlinkat, unlinkat(AT_FDCWD, MOTD, 0))
RESULT(rmdir, rmdir("/srv/data/sub"))
RESULT(remove, remove(MOTD))
RESULT(rename, rename(MOTD, "/srv/data/other"))
RESULT(renameat, renameat(AT_FDCWD, MOTD, AT_FDCWD, "/srv/data/other"))
RESULT(renamex_np, renamex_np(MOTD, "/srv/data/other", 0))
RESULT(renameatx_np, renameatx_np(AT_FDCWD, MOTD, AT_FDCWD, "/srv/data/other", 0))
RESULT(link, link(MOTD, "/srv/data/other"))
RESULT(linkat, linkat(AT_FDCWD, MOTD, AT_FDCWD, "/srv/data/other", 0))
RESULT(symlink, symlink("x", MOTD))
RESULT(symlinkat, symlinkat("x", AT_FDCWD, MOTD))
RESULT(mkdir, mkdir("/srv/data/sub", 0755))
RESULT(mkdirat, mkdirat(AT_FDCWD, "/srv/data/sub", 0755))
RESULT(mkfifo, mkfifo("/srv/data/fifo", 0600))
RESULT(mknod, mknod("/srv/data/node", S_IFIFO | 0600, 0))

// A temporary file of a folder of the pod is made in that folder: on this machine, which has none, in this mode. Without the hook it would be made where the kernel has the process.
#define TEMPORARY(name, template, call)                                                                                             \
    STEP(name) {                                                                                                                    \
        char file[] = template;                                                                                                     \
        chdir("/srv/data");                                                                                                         \
        say("%d", call);                                                                                                            \
    }
TEMPORARY(mkstemp, "f_XXXXXX", mkstemp(file) >= 0)
TEMPORARY(mkostemp, "f_XXXXXX", mkostemp(file, O_CLOEXEC) >= 0)
TEMPORARY(mkstemps, "fXXXXXX_", mkstemps(file, 1) >= 0)
TEMPORARY(mkostemps, "fXXXXXX_", mkostemps(file, 1, O_CLOEXEC) >= 0)
TEMPORARY(mkdtemp, "f_XXXXXX", mkdtemp(file) != NULL)

RESULT(chmod, chmod(MOTD, 0600))
RESULT(lchmod, lchmod(MOTD, 0600))
RESULT(chflags, chflags(MOTD, 0))
RESULT(lchflags, lchflags(MOTD, 0))
RESULT(fchmodat, fchmodat(AT_FDCWD, MOTD, 0600, 0))
RESULT(chown, chown(MOTD, (uid_t)-1, (gid_t)-1))
RESULT(lchown, lchown(MOTD, (uid_t)-1, (gid_t)-1))
RESULT(fchownat, fchownat(AT_FDCWD, MOTD, (uid_t)-1, (gid_t)-1, 0))
RESULT(truncate, truncate(MOTD, 0))
RESULT(utime, utime(MOTD, NULL))
RESULT(utimes, utimes(MOTD, NULL))
RESULT(lutimes, lutimes(MOTD, NULL))
RESULT(utimensat, utimensat(AT_FDCWD, MOTD, NULL, 0))
RESULT(setxattr, setxattr(MOTD, "user.x", "", 0, 0, 0))
RESULT(removexattr, removexattr(MOTD, "user.x", 0))
RESULT(fchmod, fchmod(descriptor(), 0600))
RESULT(fchflags, fchflags(descriptor(), 0))
RESULT(fchown, fchown(descriptor(), (uid_t)-1, (gid_t)-1))
RESULT(futimens, futimens(descriptor(), NULL))
RESULT(futimes, futimes(descriptor(), NULL))
RESULT(fsetxattr, fsetxattr(descriptor(), "user.x", "", 0, 0, 0))
