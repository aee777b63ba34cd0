// The pointers of an image: rebased by its slide, bound to the symbols of others. Two encodings: opcodes (LC_DYLD_INFO) and chains (LC_DYLD_CHAINED_FIXUPS);
// arm64e images of old mix the two ("threaded": opcodes name the symbols, chains the places).
#include "loader.h"

struct cursor {
    const struct image *image;
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct cursor *c) {
    if (c->at >= c->end) die("malformed: %s: fixups end too early", c->image->path);
    return *c->at++;
}

static uint64_t next_uleb(struct cursor *c) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = next_byte(c);
        if (shift > 63) die("malformed: %s: a number too long", c->image->path);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return value;
    }
}

static int64_t next_sleb(struct cursor *c) {
    int64_t value = 0;
    for (int shift = 0;;) {
        uint8_t byte = next_byte(c);
        if (shift > 63) die("malformed: %s: a number too long", c->image->path);
        value |= (int64_t)(byte & 0x7f) << shift;
        shift += 7;
        if ((byte & 0x80) != 0) continue;
        return (byte & 0x40) != 0 && shift < 64 ? value | (int64_t)(UINT64_MAX << shift) : value;
    }
}

static const char *next_text(struct cursor *c) {
    const char *text = (const char *)c->at;
    while (next_byte(c) != 0) continue;
    return text;
}

static struct cursor cursor_at(const struct image *image, uint32_t offset, uint32_t size) {
    const uint8_t *at = image_bytes(image, offset, size);
    return (struct cursor){image, at, at + size};
}

static uint64_t segment_address(const struct image *image, int index) {
    if (index < 0 || index >= image->segment_count) die("malformed: %s: fixups name segment %d", image->path, index);
    return image->segments[index].vmaddr;
}

static void rebase_at(struct image *image, uint64_t address) { *(uintptr_t *)image_address(image, address, 8) += (uintptr_t)image->slide; }

static void rebase_opcodes(struct image *image) {
    struct cursor c = cursor_at(image, image->info.rebase_off, image->info.rebase_size);
    uint64_t address = 0, count, skip;
    while (c.at < c.end) {
        uint8_t byte = next_byte(&c), immediate = byte & 0xf;
        switch (byte & 0xf0) {
        case 0x00: return;
        case 0x10: break; // the type: always a pointer
        case 0x20: address = segment_address(image, immediate) + next_uleb(&c); break;
        case 0x30: address += next_uleb(&c); break;
        case 0x40: address += immediate * 8u; break;
        case 0x50:
            for (int i = 0; i < immediate; i++, address += 8) rebase_at(image, address);
            break;
        case 0x60:
            for (count = next_uleb(&c); count > 0; count--, address += 8) rebase_at(image, address);
            break;
        case 0x70:
            rebase_at(image, address);
            address += 8 + next_uleb(&c);
            break;
        case 0x80:
            count = next_uleb(&c);
            for (skip = next_uleb(&c); count > 0; count--, address += 8 + skip) rebase_at(image, address);
            break;
        default: die("malformed: %s: bad rebase opcode 0x%02X", image->path, byte);
        }
    }
}

// target is what a fixup puts into memory instead of what lay there.
struct target {
    uintptr_t address;
    int64_t addend;
};

static bool is_arm64e(const struct image *image) {
    return image->file_header->cputype == CPU_ARM64 && (image->file_header->cpusubtype & SUBTYPE_MASK) == SUBTYPE_ARM64E;
}

// one_chain follows a chain of pointers from the first to the one whose distance to the next is 0.
static void one_chain(struct image *image, uint16_t format, uint64_t address, const struct target *targets, size_t count) {
    bool arm64e = format == PTR_ARM64E || format == PTR_ARM64E_USERLAND || format == PTR_ARM64E_USERLAND24;
    for (;;) {
        uintptr_t *where = image_address(image, address, 8);
        uint64_t raw = *where;
        bool bind = arm64e ? raw >> 62 & 1 : raw >> 63;
        bool sign = arm64e && raw >> 63;
        uint64_t next = (arm64e ? raw >> 51 & 0x7ff : raw >> 51 & 0xfff) * (arm64e ? 8 : 4);
        if (bind) {
            uint64_t ordinal = format == PTR_ARM64E_USERLAND24 || !arm64e ? raw & 0xffffff : raw & 0xffff;
            int64_t addend = 0;
            if (!arm64e) addend = raw >> 24 & 0xff;
            else if (!sign) addend = (int64_t)(raw << 13) >> 45; // 19 bits from bit 32
            if (ordinal >= count) die("malformed: %s: a chain names import %llu of %zu", image->path, (unsigned long long)ordinal, count);
            image_bound(image, where, targets[ordinal].address, targets[ordinal].addend + addend);
        } else if (sign) {
            *where = (uintptr_t)image->base + (raw & 0xffffffff);
        } else {
            uint64_t value = raw & (arm64e ? 0x7ffffffffffull : 0xfffffffffull);
            uint64_t high = (arm64e ? raw >> 43 & 0xff : raw >> 36 & 0xff) << 56;
            bool by_address = format == PTR_ARM64E || format == PTR_64;
            *where = (by_address ? value + (uintptr_t)image->slide : value + (uintptr_t)image->base) | high;
        }
        if (next == 0) return;
        address += next;
    }
}

struct bind_state {
    int segment, ordinal, type;
    uint64_t offset;
    const char *symbol;
    bool weak;
    int64_t addend;
    struct target *threaded;
    size_t threaded_count, threaded_room;
};

static uintptr_t resolve(struct image *image, const struct bind_state *s) {
    if (s->symbol == NULL) die("malformed: %s: a bind without a symbol", image->path);
    return symbols_bind(image, s->ordinal, s->symbol, s->weak);
}

static void bind_here(struct image *image, struct bind_state *s, uint64_t advance) {
    if (s->threaded != NULL) {
        if (s->threaded_count == s->threaded_room) die("malformed: %s: more threaded binds than announced", image->path);
        s->threaded[s->threaded_count++] = (struct target){resolve(image, s), s->addend};
        return;
    }
    uint64_t address = segment_address(image, s->segment) + s->offset;
    image_bound(image, image_address(image, address, 8), resolve(image, s), s->addend);
    s->offset += 8 + advance;
}

static void bind_threaded(struct image *image, struct bind_state *s, struct cursor *c, uint8_t sub) {
    if (sub == 0) {
        s->threaded_room = next_uleb(c);
        if (s->threaded_room > 0xffff) die("malformed: %s: too many threaded binds", image->path);
        s->threaded = calloc(s->threaded_room + 1, sizeof *s->threaded);
        s->threaded_count = 0;
    } else if (sub == 1) {
        one_chain(image, PTR_ARM64E, segment_address(image, s->segment) + s->offset, s->threaded, s->threaded_count);
    } else {
        die("malformed: %s: bad threaded opcode", image->path);
    }
}

enum stream { BINDS, LAZY, WEAK };

static void bind_opcodes(struct image *image, uint32_t offset, uint32_t size, enum stream stream) {
    struct cursor c = cursor_at(image, offset, size);
    struct bind_state s = {.type = 1, .ordinal = stream == WEAK ? ORDINAL_WEAK : ORDINAL_SELF};
    uint64_t count, skip;
    while (c.at < c.end) {
        uint8_t byte = next_byte(&c), immediate = byte & 0xf;
        switch (byte & 0xf0) {
        case 0x00:
            if (stream != LAZY) goto done; // between lazy binds it only separates them
            break;
        case 0x10: s.ordinal = immediate; break;
        case 0x20: s.ordinal = (int)next_uleb(&c); break;
        case 0x30: s.ordinal = immediate == 0 ? 0 : (int8_t)(0xf0 | immediate); break;
        case 0x40:
            s.symbol = next_text(&c);
            s.weak = immediate & 1;
            break;
        case 0x50: s.type = immediate; break;
        case 0x60: s.addend = next_sleb(&c); break;
        case 0x70:
            s.segment = immediate;
            s.offset = next_uleb(&c);
            break;
        case 0x80: s.offset += next_uleb(&c); break;
        case 0x90: bind_here(image, &s, 0); break;
        case 0xa0: bind_here(image, &s, next_uleb(&c)); break;
        case 0xb0: bind_here(image, &s, immediate * 8u); break;
        case 0xc0:
            count = next_uleb(&c);
            for (skip = next_uleb(&c); count > 0; count--) bind_here(image, &s, skip);
            break;
        case 0xd0: bind_threaded(image, &s, &c, immediate); break;
        default: die("malformed: %s: bad bind opcode 0x%02X", image->path, byte);
        }
    }
done:
    free(s.threaded);
}

// dyld takes every arm64e image with opcodes for a threaded one. Ordinary opcodes in it end the process, with this text.
static void expect_threaded(const struct image *image) {
    struct cursor c = cursor_at(image, image->info.bind_off, image->info.bind_size);
    if (is_arm64e(image) && c.at < c.end && (c.at[0] & 0xf0) != 0xd0) die("%s: bad bind opcode 0x00", image->path);
}

static struct target *imports(struct image *image, const struct chained_header *header, uint64_t size) {
    const uint8_t *blob = (const void *)header;
    static const size_t sizes[] = {0, 4, 8, 16};
    if (header->imports_format < 1 || header->imports_format > 3 || header->symbols_format != 0) die("malformed: %s: unknown format of imports", image->path);
    size_t each = sizes[header->imports_format];
    if (header->imports_offset > size || header->imports_count > (size - header->imports_offset) / each || header->symbols_offset > size)
        die("malformed: %s: imports outside the fixups", image->path);
    struct target *targets = calloc(header->imports_count + 1, sizeof *targets);
    for (uint32_t i = 0; i < header->imports_count; i++) {
        const uint8_t *at = blob + header->imports_offset + i * each;
        uint64_t first, name;
        int ordinal;
        bool weak;
        if (each == 16) {
            memcpy(&first, at, 8);
            memcpy(&targets[i].addend, at + 8, 8);
            ordinal = (int16_t)first, weak = first >> 16 & 1, name = first >> 32;
        } else {
            uint32_t word;
            memcpy(&word, at, 4);
            int32_t addend = 0;
            if (each == 8) memcpy(&addend, at + 4, 4);
            targets[i].addend = addend;
            ordinal = (int8_t)word, weak = word >> 8 & 1, name = word >> 9;
        }
        const char *text = (const char *)blob + header->symbols_offset + name;
        if (name >= size - header->symbols_offset || memchr(text, 0, size - header->symbols_offset - name) == NULL)
            die("malformed: %s: an import without a name", image->path);
        targets[i].address = symbols_bind(image, ordinal, text, weak);
    }
    return targets;
}

static void chains(struct image *image) {
    uint64_t size = image->chained.size;
    const struct chained_header *header = image_bytes(image, image->chained.offset, size);
    const uint8_t *blob = (const void *)header;
    if (size < sizeof *header || header->starts_offset > size - 4) die("malformed: %s: short fixups", image->path);
    struct target *targets = imports(image, header, size);
    uint32_t segments;
    memcpy(&segments, blob + header->starts_offset, 4);
    if (segments > (size - header->starts_offset - 4) / 4) die("malformed: %s: starts outside the fixups", image->path);
    for (uint32_t i = 0; i < segments; i++) {
        uint32_t offset;
        memcpy(&offset, blob + header->starts_offset + 4 + i * 4, 4);
        if (offset == 0) continue;
        const struct chained_starts *starts = (const void *)(blob + header->starts_offset + offset);
        if (header->starts_offset + (uint64_t)offset + sizeof *starts > size ||
            sizeof *starts + starts->page_count * 2u > size - header->starts_offset - offset)
            die("malformed: %s: starts outside the fixups", image->path);
        uint16_t f = starts->pointer_format;
        if (f != PTR_ARM64E && f != PTR_64 && f != PTR_64_OFFSET && f != PTR_ARM64E_USERLAND && f != PTR_ARM64E_USERLAND24)
            die("%s: unknown format of chained pointers %d", image->path, f);
        for (uint16_t page = 0; page < starts->page_count; page++)
            if (starts->page_start[page] != 0xffff)
                one_chain(image, f, image->preferred + starts->segment_offset + (uint64_t)page * starts->page_size + starts->page_start[page], targets,
                          header->imports_count);
    }
    free(targets);
}

void image_bound(struct image *image, uintptr_t *where, uintptr_t target, int64_t addend) {
    if (image->bound_count == image->bound_room) {
        image->bound_room = image->bound_room * 2 + 64;
        image->bounds = realloc(image->bounds, image->bound_room * sizeof *image->bounds);
    }
    image->bounds[image->bound_count++] = (struct bound){where, target, addend};
    *where = target == 0 ? 0 : target + (uintptr_t)addend;
}

void image_fix(struct image *image) {
    if (image->chained.size > 0) {
        chains(image);
        return;
    }
    if (image->info.cmd == 0) return;
    expect_threaded(image);
    rebase_opcodes(image);
    bind_opcodes(image, image->info.bind_off, image->info.bind_size, BINDS);
    bind_opcodes(image, image->info.lazy_bind_off, image->info.lazy_bind_size, LAZY);
    bind_opcodes(image, image->info.weak_bind_off, image->info.weak_bind_size, WEAK);
}
