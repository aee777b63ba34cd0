// What the files of the layer share. The layer is a guest in its process: it never prints, exits or raises signals, does not change errno on
// success, and answers what it does not know by calling the original.
#ifndef MIRRORD_LAYER_H
#define MIRRORD_LAYER_H

#include <dirent.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"
#if defined(__APPLE__)
#include "sys_darwin.h"
#else
#include "sys.h"
#endif

static inline int option(int fd, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return sys_getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

// is_address says that p may be one: the first page is never mapped, and the upper half is the kernel's. It is for the kernel to refuse others.
static inline int is_address(const void *p) { return (intptr_t)p >= 4096; }

enum { LABEL = 512 }; // bytes for a tag with its zero

#define NOINLINE __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

// ---- the originals: on macOS symbols of their own (interpose_darwin.c)

#if !defined(__APPLE__)
// An exported function stands in for libc's of the same name.
#define EXPORT __attribute__((visibility("default")))
// Filled in by the constructor, by the table in hooks.def; a hook that another library's constructor calls earlier resolves its own.
// All are void *; ORIGINAL gives one its type.
#define HOOK(name) void *name;
#define ALIAS(name, of)
struct originals {
#include "hooks.def"
};
#undef HOOK
#undef ALIAS
extern struct originals originals;
void *resolve(void **slot, const char *name);
#define ORIGINAL(name)                                                                                                              \
    ((__typeof__(&name))(likely(originals.name != NULL) ? originals.name : resolve(&originals.name, #name)))
#endif

// ---- the session (session.c)

// What a process knows of its session. Written by the constructor, read-only afterwards.
extern struct session {
    int active;                    // 0: not in a session, every hook calls its original
    int light;                     // only children are followed: all else is this machine's
    uint8_t token[FRAME_TOKEN];    // proves to the broker that we belong to the session
    char socket[SOCKET_PATH];      // sun_path of the broker; on Linux abstract: starts with NUL
    unsigned socket_length;        // bytes of socket in use
    char variable[256];            // "MIRRORD_BROKER=…", as it is put into a child's environment
    char library[PATH_MAX];        // the layer's own path, as it stands in LD_PRELOAD or DYLD_INSERT_LIBRARIES
    char original[PATH_MAX];       // the program that this process runs a copy of; empty when it runs none
} session;

enum { ASK_LOST = -100 }; // ask: the broker is gone, or its answer makes no sense

// ask sends the request that f holds and reads the reply into the same buffer: f is then placed behind the status, which is returned
// (STATUS_OK, STATUS_LOCAL, an errno) or ASK_LOST. *fd, when fd is given, is a descriptor that came along (the caller's, with
// close-on-exec if cloexec) or -1. Each request has a connection of its own, so nothing is shared with other threads, signal
// handlers, parents or children.
int ask(struct frame *f, int *fd, int cloexec);
// ask_exec is ask for an Exec request with EXEC_ASK: as long as the broker says that it is at work, it waits; it sends argv when the broker wants it.
int ask_exec(struct frame *f, char *const argv[]);
// tell sends a request that has no reply. Lost silently when the broker is gone.
void tell(struct frame *f);

// ---- the system (system_linux.c, system_darwin.c)

// What a frame says of errnos are Linux's numbers.
int frame_errno(int err);
int host_errno(int err); // of a status > 0

// own_program puts the path of the running program into path, and returns what it was started as, or NULL.
const char *own_program(char path[PATH_MAX]);
// names_own_link says whether path is the kernel's link to this process's program; names_own_program does where that leads to a copy, and
// session.original is what it should lead to.
int names_own_link(const char *path);
int names_own_program(const char *path);
// local_path puts the path of this machine's directory that dirfd is (AT_FDCWD: the working directory) into path; its length, or minus an errno.
long local_path(int dirfd, char path[PATH_MAX]);
// read_label reads the tag of a descriptor that holds a file of the pod into label; 0 if it has none.
int read_label(int fd, char label[LABEL]);
// open_content opens what a directory's descriptor holds; -1 if that fails.
int open_content(int fd);
// socket_family is AF_INET and so on, -1 for what is no socket.
int socket_family(int fd);
int is_udp(int fd);
// is_connecting says whether connect was called on a TCP socket before: calling it again then only asks how that went.
int is_connecting(int fd);

// ---- rules (rules.c)

// The first page of the rules file, mapped read-only and shared with the broker; launcher/rules describes it.
struct rules {
    char magic[8];
    uint32_t size;
    uint32_t flags;
    uint32_t relay_net, relay_mask; // IPv4 in host order: the addresses of the broker's relay sockets
    _Atomic uint32_t live_dirs;     // directories of the pod opened so far in the whole session
    _Atomic uint32_t live_ports_n;
    uint8_t actions[16][2];
    uint32_t automata[8];
    _Atomic uint32_t live_local; // how many paths of the pod were written to, and are this machine's now
    uint32_t streams[4];         // automata for Unix sockets
    uint8_t writes[8];             // the broker's business
    _Atomic uint32_t live_changed; // how often this session has changed the pod's files
    char hostname[256];
    uint8_t reserved2[128];
    struct {
        uint16_t actual, requested;
    } live_ports[256];
};

enum {
    RULE_FILES = 1,
    RULE_NAMES = 2,
    RULE_OUTGOING = 4,
    RULE_INCOMING = 8,
    RULE_HOSTNAME = 16,
    RULE_IGNORE_LOCALHOST = 32,
    RULE_ASK_BIND = 64,
    RULE_UDP = 128,
    RULE_NO_IPV6 = 256,
    RULE_RELATIVE = 512,
    RULE_UNIX = 1024,
};

// rules returns the session's rules, fetching them at the first call. NULL when the process is in no session. When the broker cannot be
// reached they are the severed rules: what is surely of this machine stays local, everything else fails.
const struct rules *rules(void);
extern const struct rules severed;

enum action { ACTION_LOCAL = 0, ACTION_REMOTE = 1, ACTION_MISSING = 2 };
// classify says whose the absolute path is. Made without leaving the process.
enum action classify(const struct rules *r, const char *path, int writing);
// is_pod_stream says whether the Unix socket is the pod's: an absolute path, or '@' and an abstract name with '@' in the place of zeros.
int is_pod_stream(const struct rules *r, const char *name);
// clean writes path without empty, "." and ".." elements to out; 0 if it is too long. Symbolic links are not looked at.
int clean(const char *path, char out[PATH_MAX]);

// ---- paths (paths.c)

// locate says whose the path is, as seen from dirfd. A path that is relative to a directory of the pod is replaced by the absolute one, built in
// buffer, whatever the answer: the kernel would take it relative to somewhere else. So is any other that is not local.
// FOLLOWED in writing says that a link at the path's end is followed.
enum { FOLLOWED = 8 };
enum action locate(int dirfd, const char **path, int writing, char buffer[PATH_MAX]);
// folder puts the path of the directory that dirfd is, the pod's or this machine's, into path; 0 if it has none.
int folder(int dirfd, char path[PATH_MAX]);
// through_link puts into out where a path leads that begins with a link of proc's to something that this process has of the pod: an open directory or place, or the
// working directory. 0 for any other; *whole says that nothing stands behind the link.
int through_link(const char *path, char out[PATH_MAX], int *whole);
// linked_descriptor is the descriptor that a path names as proc does, or -1.
int linked_descriptor(const char *path);
// note_open says that this machine's path is opened, which may be a directory from which relative paths lead to the pod; note_chdir that the kernel's
// working directory has changed.
void note_open(const char *path);
void note_chdir(void);

// The working directory while it is one of the pod; empty otherwise (the kernel's own then counts).
extern char remote_cwd[PATH_MAX];
// 1 when the process has a root directory of its own: its paths are this machine's.
extern _Atomic int own_root;

// A tag is the name of a descriptor that holds a file of the pod: it carries what the descriptor itself cannot, and follows it through dup, fork,
// exec and SCM_RIGHTS; on macOS, where such a name cannot be read, an extended attribute does. read_tag returns 'f' or 'd', 'p' for what was opened with O_PATH and is
// good for nothing but saying which file or directory it is, 'l' for a file that the broker is asked about each time, 0 for any other descriptor; st may be NULL.
int read_tag(int fd, struct stat *st);
// tagged_directory puts the path of the pod's directory that fd holds into path; 0 if it holds none.
int tagged_directory(int fd, char path[PATH_MAX]);
// tagged_place does the same for what is no directory and was opened with O_PATH.
int tagged_place(int fd, char path[PATH_MAX]);
// read_stat takes the fields of a Stat reply.
void read_stat(struct frame *f, struct stat *st);

// ---- files (files.c)

enum { NOT_OURS = -2 };                 // the broker gave the path to this machine: call the original
enum { PATH_FRAME = PATH_MAX + 256 };   // a request with one path, and room for a reply with one
// fail sets errno and returns -1.
int fail(int err);
// settle turns what ask returned into what a function of libc returns: 0, -1 with errno, or NOT_OURS.
int settle(int status);
// remote_open opens a path of the pod: a descriptor, -1 with errno, or NOT_OURS.
int remote_open(const char *path, int flags, mode_t mode);
int remote_stat(const char *path, struct stat *st, int nofollow);
#if !defined(__APPLE__)
struct open_how;
// open_how is openat2.
int open_how(int dirfd, const char *path, const struct open_how *how, size_t size);
#endif

// ---- neighbours (neighbours.c)

enum { STAT_NEIGHBOURS = 2, STAT_DESCRIPTOR = 4 }; // flags of a Stat request beside 1 for lstat
// neighbour answers stat from what came with an earlier answer; 0 if it cannot.
int neighbour(const char *path, struct stat *st, int nofollow);
// ask_with_neighbours is remote_stat with room for more entries of the same directory in the answer. It returns 0 without having asked when that
// room is in use or not worth it, else 1 with *result.
int ask_with_neighbours(const char *path, struct stat *st, int nofollow, int *result);

// ---- directories (dirs.c)

// remote_fdopendir makes a directory stream of a tagged descriptor, which it then owns.
DIR *remote_fdopendir(int fd);

// ---- sockets (sockets.c)

struct sockaddr;
struct frame_addr frame_addr_of(const struct sockaddr *addr, unsigned length);

// ---- datagrams (datagrams.c)

// note_relay remembers what a datagram from an address of the broker's really comes from, so that the broker need not be asked.
void note_relay(const struct frame_addr *relay, const struct frame_addr *actual);

// ---- children (children.c)

// put_back makes sure that this process's own environment still names the session, for libc functions that start children with it.
void put_back(void);

// ARGUMENTS declares argv from a list of arguments that ends with NULL, and leaves list behind it (stdarg.h).
#define ARGUMENTS(argv, list, first)                                                                                                \
    va_list list;                                                                                                                   \
    size_t argv##_count = 1;                                                                                                        \
    va_start(list, first);                                                                                                          \
    for (const char *a = first; a != NULL; a = va_arg(list, const char *)) argv##_count++;                                          \
    va_end(list);                                                                                                                   \
    char **argv = __builtin_alloca(argv##_count * sizeof(char *));                                                                  \
    va_start(list, first);                                                                                                          \
    argv[0] = (char *)first;                                                                                                        \
    for (size_t i = 1; i < argv##_count; i++) argv[i] = va_arg(list, char *)

#endif
