// Reads and checks the code signature of a slice: the strongest CodeDirectory, the hash of every page and of the special slots that are filled, and the two
// entitlements that decide about insertion. Certificates are not checked: whoever signed, a hash that holds is taken as good.
#include "loader.h"

enum { MAGIC_SUPERBLOB = 0xfade0cc0, MAGIC_DIRECTORY = 0xfade0c02, MAGIC_ENTITLEMENTS = 0xfade7171, MAGIC_CMS = 0xfade0b01 };
enum { SLOT_DIRECTORY = 0, SLOT_ENTITLEMENTS = 5, SLOT_ALTERNATE = 0x1000, SLOT_CMS = 0x10000 };
enum { HASH_SHA256 = 2, HASH_SHA256_SHORT = 3 };

struct directory { // as in the file, big endian
    uint32_t magic, length, version, flags, hash_offset, identifier_offset, special_slots, code_slots, code_limit;
    uint8_t hash_size, hash_type, platform, page_shift;
    uint32_t spare, scatter_offset, team_offset, spare3;
    uint64_t code_limit_64;
};

static uint32_t be32(uint32_t v) { return __builtin_bswap32(v); }

struct blob {
    const uint8_t *at;
    size_t size;
};

static struct blob blob_at(struct blob outer, uint32_t offset) {
    if (offset > outer.size || outer.size - offset < 8) return (struct blob){NULL, 0};
    uint32_t length;
    memcpy(&length, outer.at + offset + 4, 4);
    length = be32(length);
    if (length < 8 || length > outer.size - offset) return (struct blob){NULL, 0};
    return (struct blob){outer.at + offset, length};
}

static uint32_t magic_of(struct blob b) {
    uint32_t magic = 0;
    if (b.at != NULL) memcpy(&magic, b.at, 4);
    return be32(magic);
}

static struct blob slot(struct blob super, uint32_t wanted) {
    uint32_t count, entry[2];
    memcpy(&count, super.at + 8, 4);
    count = be32(count);
    for (uint32_t i = 0; i < count && 12 + (i + 1) * 8 <= super.size; i++) {
        memcpy(entry, super.at + 12 + i * 8, 8);
        if (be32(entry[0]) == wanted) return blob_at(super, be32(entry[1]));
    }
    return (struct blob){NULL, 0};
}

static bool is_sha256(struct blob b) {
    if (magic_of(b) != MAGIC_DIRECTORY || b.size < 44) return false;
    uint8_t type = ((const struct directory *)b.at)->hash_type;
    return type == HASH_SHA256 || type == HASH_SHA256_SHORT;
}

static void copy_text(struct blob b, uint32_t offset, char *to, size_t room) {
    if (offset == 0 || offset >= b.size || memchr(b.at + offset, 0, b.size - offset) == NULL) return;
    snprintf(to, room, "%s", (const char *)b.at + offset);
}

// granted tells whether the key is there with <true/>. The key alone is not enough: some of Apple's tools carry it as false.
static bool granted(struct blob entitlements, const char *key) {
    char wanted[128];
    int length = snprintf(wanted, sizeof wanted, "<key>%s</key>", key);
    const char *at = memmem(entitlements.at + 8, entitlements.size - 8, wanted, (size_t)length);
    if (at == NULL) return false;
    const char *end = (const char *)entitlements.at + entitlements.size;
    for (at += length; at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'); at++) continue;
    return end - at >= 7 && memcmp(at, "<true/>", 7) == 0;
}

static bool hash_is(const void *data, size_t size, const uint8_t *wanted, uint8_t hash_size) {
    uint8_t digest[32];
    sha256(data, size, digest);
    return memcmp(digest, wanted, hash_size) == 0;
}

static const char *check_hashes(const uint8_t *slice, size_t size, struct blob super, struct blob directory, size_t signature_at) {
    const struct directory *d = (const void *)directory.at;
    uint32_t hash_offset = be32(d->hash_offset), specials = be32(d->special_slots), pages = be32(d->code_slots);
    uint64_t limit = be32(d->code_limit);
    if (be32(d->version) >= 0x20300 && directory.size >= sizeof *d && d->code_limit_64 != 0) limit = __builtin_bswap64(d->code_limit_64);
    if (d->hash_size != (d->hash_type == HASH_SHA256 ? 32 : 20)) return "the size of its hashes is wrong";
    if (d->page_shift != 12 && d->page_shift != 14) return "the size of its pages is neither 4096 nor 16384";
    if (limit > size || limit < signature_at) return "it does not cover the file up to itself";
    uint64_t page = 1ull << d->page_shift;
    if (pages != (limit + page - 1) / page) return "the number of its pages is wrong";
    if (hash_offset > directory.size || (uint64_t)specials * d->hash_size > hash_offset || (uint64_t)pages * d->hash_size > directory.size - hash_offset)
        return "its hashes lie outside";
    for (uint32_t i = 0; i < pages; i++) {
        uint64_t from = i * page, to = from + page < limit ? from + page : limit;
        if (!hash_is(slice + from, to - from, directory.at + hash_offset + (size_t)i * d->hash_size, d->hash_size)) return "the hash of a page is wrong";
    }
    static const uint8_t none[32];
    for (uint32_t i = 1; i <= specials; i++) {
        if (i == 1 || i == 3) continue; // Info.plist and the resources of a bundle: other files
        struct blob content = slot(super, i);
        const uint8_t *wanted = directory.at + hash_offset - (size_t)i * d->hash_size;
        bool empty = memcmp(wanted, none, d->hash_size) == 0;
        if (content.at == NULL ? !empty : empty || !hash_is(content.at, content.size, wanted, d->hash_size)) return "the hash of a special slot is wrong";
    }
    return NULL;
}

static const struct linkedit_command *find_command(const uint8_t *slice, size_t size) {
    const struct mach_header *header = (const void *)slice;
    if (size < sizeof *header || header->magic != MH_MAGIC_64 || header->sizeofcmds > size - sizeof *header) return NULL;
    const uint8_t *at = slice + sizeof *header, *end = at + header->sizeofcmds;
    for (uint32_t i = 0; i < header->ncmds && (size_t)(end - at) >= sizeof(struct linkedit_command); i++) {
        const struct linkedit_command *command = (const void *)at;
        if (command->cmdsize < 8 || command->cmdsize > (size_t)(end - at)) return NULL;
        if (command->cmd == LC_CODE_SIGNATURE) return command;
        at += command->cmdsize;
    }
    return NULL;
}

void signature_read(const uint8_t *slice, size_t size, struct signature *out) {
    *out = (struct signature){0};
    const struct linkedit_command *command = find_command(slice, size);
    if (command == NULL) return;
    out->present = true;
    out->fault = "it is no signature";
    if (command->offset > size || command->size > size - command->offset || command->size < 12) return;
    struct blob super = blob_at((struct blob){slice + command->offset, command->size}, 0);
    if (magic_of(super) != MAGIC_SUPERBLOB || super.size < 12) return;
    struct blob directory = slot(super, SLOT_DIRECTORY);
    for (uint32_t i = 0; i < 5 && !is_sha256(directory); i++) directory = slot(super, SLOT_ALTERNATE + i);
    out->fault = "no CodeDirectory with SHA-256";
    if (!is_sha256(directory)) return;
    const struct directory *d = (const void *)directory.at;
    out->flags = be32(d->flags);
    out->platform = d->platform;
    copy_text(directory, be32(d->identifier_offset), out->identifier, sizeof out->identifier);
    if (be32(d->version) >= 0x20200 && directory.size >= offsetof(struct directory, spare3))
        copy_text(directory, be32(d->team_offset), out->team, sizeof out->team);
    struct blob cms = slot(super, SLOT_CMS);
    out->cms = magic_of(cms) == MAGIC_CMS && cms.size > 8;
    struct blob entitlements = slot(super, SLOT_ENTITLEMENTS);
    if (magic_of(entitlements) == MAGIC_ENTITLEMENTS) {
        out->allow_dyld = granted(entitlements, "com.apple.security.cs.allow-dyld-environment-variables");
        out->disable_lv = granted(entitlements, "com.apple.security.cs.disable-library-validation");
    }
    out->fault = check_hashes(slice, size, super, directory, command->offset);
}
