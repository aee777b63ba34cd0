// The protocol between the layer and the broker. layer/frame/frame.go is its description; this is the C side of it.
#ifndef MIRRORD_FRAME_H
#define MIRRORD_FRAME_H

#include <stdint.h>
#include <string.h>

enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_OPEN = 2,
    FRAME_STAT = 3,
    FRAME_ACCESS = 4,
    FRAME_READLINK = 5,
    FRAME_REALPATH = 6,
    FRAME_CHANGE = 7,
    FRAME_LOOKUP = 8,
    FRAME_REVERSE = 9,
    FRAME_CONNECT = 10,
    FRAME_CONNECTED = 11,
    FRAME_ENDPOINT = 12,
    FRAME_SOCKERROR = 13,
    FRAME_BIND = 14,
    FRAME_LISTEN = 15,
    FRAME_EXEC = 16,
    FRAME_DATAGRAM = 17,
    FRAME_ARGV = 18,
    FRAME_UNIX = 19,
    FRAME_STATFS = 20,
    FRAME_UNIX_PEER = 21,
    FRAME_SUPERVISE = 22,
    FRAME_LISTENER = 23,
    FRAME_OPEN_HOW = 40,
    FRAME_FSTATFS = 41,
};

enum frame_change {
    CHANGE_UNLINK = 1,
    CHANGE_RMDIR = 2,
    CHANGE_RENAME = 3,
    CHANGE_MKDIR = 4,
    CHANGE_CHMOD = 5,
    CHANGE_CHOWN = 6,
    CHANGE_TRUNCATE = 7,
    CHANGE_UTIMES = 8,
    CHANGE_LINK = 9,
    CHANGE_SYMLINK = 10,
    CHANGE_MKNOD = 11,
    CHANGE_SETATTR = 12,
    CHANGE_LOCK = 40,
};
enum { // flags of a Change request
    CHANGE_NOFOLLOW = 1,
    CHANGE_FOLLOW = 2,
    CHANGE_NOREPLACE = 4,
    CHANGE_EXCHANGE = 8,
    CHANGE_ATIME_NOW = 16,
    CHANGE_ATIME_OMIT = 32,
    CHANGE_MTIME_NOW = 64,
    CHANGE_MTIME_OMIT = 128,
    CHANGE_HELD_FILE = 256,
};

enum { FRAME_HEADER = 16, FRAME_TOKEN = 16, FRAME_MAX = 64 << 10 };
enum { STATUS_OK = 0, STATUS_LOCAL = -1, STATUS_WAIT = -2, STATUS_ARGV = -3 };
enum { EXEC_SEARCH = 1, EXEC_ASK = 2 }; // flags of an Exec request
enum { EXEC_LIGHT = 1, EXEC_ARM64E = 2 }; // of its reply
enum { VERDICT_OUTSIDE = 2, VERDICT_COPY = 4, VERDICT_SUPERVISE = 6 }; // of its reply
enum { EXEC_PATIENCE = 2000 };          // milliseconds after which who asked about an exec gives up, unless a STATUS_WAIT comes
enum { LOOKUP_NOT_FOUND = 1, LOOKUP_AGAIN = 2, LOOKUP_FAIL = 3, LOOKUP_NO_DATA = 4 };
enum { CONNECT_NONBLOCK = 1, CONNECT_V6ONLY = 2, CONNECT_DATAGRAM = 4, CONNECT_NEVER = 8 };
enum { HOW_EXEC = 0, HOW_FORK = 1 };

// An IP address and port; family is 0 (none), 4 or 6, port in host order.
struct frame_addr {
    uint8_t family;
    uint16_t port;
    uint8_t ip[16];
};

// A frame being written or read, in a buffer of the caller. Once something does not fit (writing) or is not there (reading), broken
// stays set and every further field is a no-op or zero: callers check once, at the end.
struct frame {
    uint8_t *data;
    uint32_t size; // of the buffer when writing, of the payload when reading
    uint32_t at;
    int broken;
};

// All machines that the layer is built for are little-endian, as the protocol is.
static inline void put(struct frame *f, const void *data, uint32_t size) {
    if (f->broken || size > f->size - f->at) {
        f->broken = 1;
        return;
    }
    memcpy(f->data + f->at, data, size);
    f->at += size;
}
static inline void put_u8(struct frame *f, uint8_t v) { put(f, &v, 1); }
static inline void put_u16(struct frame *f, uint16_t v) { put(f, &v, 2); }
static inline void put_u32(struct frame *f, uint32_t v) { put(f, &v, 4); }
static inline void put_u64(struct frame *f, uint64_t v) { put(f, &v, 8); }
static inline void put_str(struct frame *f, const char *s) {
    size_t n = s ? strlen(s) : 0;
    if (n > UINT16_MAX) {
        f->broken = 1;
        return;
    }
    put_u16(f, (uint16_t)n);
    put(f, s, (uint32_t)n);
}
static inline void put_addr(struct frame *f, const struct frame_addr *a) {
    put_u8(f, a->family);
    put_u16(f, a->port);
    put(f, a->ip, 16);
}

static inline void get(struct frame *f, void *out, uint32_t size) {
    if (f->broken || size > f->size - f->at) {
        f->broken = 1;
        memset(out, 0, size);
        return;
    }
    memcpy(out, f->data + f->at, size);
    f->at += size;
}
static inline uint8_t get_u8(struct frame *f) { uint8_t v; get(f, &v, 1); return v; }
static inline uint16_t get_u16(struct frame *f) { uint16_t v; get(f, &v, 2); return v; }
static inline uint32_t get_u32(struct frame *f) { uint32_t v; get(f, &v, 4); return v; }
static inline uint64_t get_u64(struct frame *f) { uint64_t v; get(f, &v, 8); return v; }
// get_str returns the string's place in the frame (not terminated) and its length.
static inline const char *get_str(struct frame *f, uint16_t *length) {
    *length = get_u16(f);
    if (f->broken || *length > f->size - f->at) {
        f->broken = 1;
        *length = 0;
        return "";
    }
    const char *s = (const char *)f->data + f->at;
    f->at += *length;
    return s;
}
static inline void get_addr(struct frame *f, struct frame_addr *a) {
    a->family = get_u8(f);
    a->port = get_u16(f);
    get(f, a->ip, 16);
}

// frame_begin starts a request in buffer; frame_end fills in its length and returns its size, 0 if it did not fit.
static inline struct frame frame_begin(uint8_t *buffer, uint32_t size, enum frame_kind kind, const uint8_t token[16]) {
    struct frame f = {buffer, size, 0, 0};
    put_u32(&f, 0);
    put_u16(&f, (uint16_t)kind);
    put_u16(&f, 0);
    put_u64(&f, 0);
    put(&f, token, FRAME_TOKEN);
    return f;
}
static inline uint32_t frame_end(struct frame *f) {
    if (f->broken) return 0;
    uint32_t length = f->at - FRAME_HEADER;
    memcpy(f->data, &length, 4);
    return f->at;
}

#endif
