// Names of symbols to addresses, and interposing, which works on addresses only.
#include "loader.h"

struct trie {
    const uint8_t *start, *end;
};

static bool trie_uleb(const struct trie *trie, const uint8_t **at, uint64_t *value) {
    *value = 0;
    for (int shift = 0; *at < trie->end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return true;
    }
    return false;
}

// child_of is the node that the edge for the first part of rest leads to; rest is moved behind that part. NULL when there is none.
static const uint8_t *child_of(const struct trie *trie, const uint8_t *children, const char **rest) {
    if (children >= trie->end) return NULL;
    int count = *children++;
    for (int i = 0; i < count; i++) {
        const char *edge = (const char *)children;
        const uint8_t *stop = memchr(children, 0, (size_t)(trie->end - children));
        if (stop == NULL) return NULL;
        children = stop + 1;
        uint64_t offset;
        if (!trie_uleb(trie, &children, &offset)) return NULL;
        size_t length = strlen(edge);
        if (length == 0 || strncmp(edge, *rest, length) != 0) continue;
        *rest += length;
        return offset < (uint64_t)(trie->end - trie->start) ? trie->start + offset : NULL;
    }
    return NULL;
}

static uintptr_t of_library(const struct dependency *library, const char *name) {
    if (library->image != NULL) return symbols_export(library->image, name);
    return library->absent ? 0 : stub_of(name);
}

enum { EXPORT_KIND = 0x3, EXPORT_ABSOLUTE = 0x2, EXPORT_REEXPORT = 0x8, EXPORT_RESOLVER = 0x10 };

static uintptr_t terminal(struct image *image, const struct trie *trie, const uint8_t *at, const char *name) {
    uint64_t flags, value;
    if (!trie_uleb(trie, &at, &flags) || !trie_uleb(trie, &at, &value)) return 0;
    if ((flags & EXPORT_REEXPORT) != 0) {
        if (value == 0 || value > (uint64_t)image->dependency_count || memchr(at, 0, (size_t)(trie->end - at)) == NULL) return 0;
        return of_library(&image->dependencies[value - 1], *at != 0 ? (const char *)at : name);
    }
    if ((flags & EXPORT_KIND) == EXPORT_ABSOLUTE) return value;
    uintptr_t address = (uintptr_t)image_address(image, image->preferred + value, 1);
    if ((flags & EXPORT_RESOLVER) != 0) return ((uintptr_t(*)(void))address)();
    return address;
}

static uintptr_t own_export(struct image *image, const char *name) {
    uint32_t offset = image->exports.size > 0 ? image->exports.offset : image->info.export_off;
    uint32_t size = image->exports.size > 0 ? image->exports.size : image->info.export_size;
    if (size == 0) return 0;
    struct trie trie = {image_bytes(image, offset, size), NULL};
    trie.end = trie.start + size;
    const uint8_t *node = trie.start;
    for (const char *rest = name;;) {
        uint64_t length;
        if (!trie_uleb(&trie, &node, &length) || length > (uint64_t)(trie.end - node)) return 0;
        if (*rest == 0) return length > 0 ? terminal(image, &trie, node, name) : 0;
        node = child_of(&trie, node + length, &rest);
        if (node == NULL) return 0;
    }
}

uintptr_t symbols_export(struct image *image, const char *name) {
    uintptr_t address = own_export(image, name);
    for (int i = 0; address == 0 && i < image->dependency_count; i++)
        if (image->dependencies[i].reexport) address = of_library(&image->dependencies[i], name);
    return address;
}

static uintptr_t flat(const char *name) {
    for (struct image *image = images; image != NULL; image = image->next) {
        uintptr_t address = own_export(image, name);
        if (address != 0) return address;
    }
    return stub_of(name);
}

// A symbol of the system that has no shim is not missing on a Mac, so a strong one is bound to what ends the process when it is called.
uintptr_t symbols_bind(struct image *image, int ordinal, const char *name, bool weak) {
    const char *library = "flat namespace";
    uintptr_t address;
    bool of_system = true;
    if (ordinal == ORDINAL_SELF || ordinal == ORDINAL_MAIN) {
        struct image *from = ordinal == ORDINAL_SELF ? image : main_image;
        address = symbols_export(from, name);
        library = from->path;
        of_system = false;
    } else if (ordinal == ORDINAL_FLAT || ordinal == ORDINAL_WEAK) {
        address = flat(name);
    } else {
        if (ordinal < 1 || ordinal > image->dependency_count) die("malformed: %s: %s is bound to library %d", image->path, name, ordinal);
        const struct dependency *d = &image->dependencies[ordinal - 1];
        address = of_library(d, name);
        library = d->name;
        of_system = d->image == NULL && !d->absent;
    }
    if (address == 0 && weak && options.unknown && of_system) fprintf(stderr, "no shim: %s, which may be absent\n", name);
    if (address != 0 || weak || ordinal == ORDINAL_WEAK) return address;
    const char *suffix = strrchr(name, '$');
    if (HOST_CPU == CPU_ARM64 && suffix != NULL && strcmp(suffix, "$INODE64") == 0) of_system = false; // there is no such name on arm64
    if (of_system) return stub_unknown(name);
    die("Symbol not found: %s\n  Referenced from: %s\n  Expected in: %s", name, image->path, library);
}

// ---- interposing
//
// A tuple {replacement, replacee} of a library that is loaded at launch holds for every image but its own. With several for one replacee the last library's
// replacement is what everybody gets, and that library itself gets the one before: so they form a chain (dyld, DyldRuntimeState.cpp).

struct tuple {
    const struct image *only; // NULL: for all images
    uintptr_t replacee, replacement;
};
static struct tuple *tuples;
static size_t tuple_count, tuple_room;

static void add_tuple(struct tuple tuple) {
    if (tuple_count == tuple_room) {
        tuple_room = tuple_room * 2 + 64;
        tuples = realloc(tuples, tuple_room * sizeof *tuples);
    }
    tuples[tuple_count++] = tuple;
}

static struct tuple *tuple_for(const struct image *only, uintptr_t replacee) {
    for (size_t i = 0; i < tuple_count; i++)
        if (tuples[i].only == only && tuples[i].replacee == replacee) return &tuples[i];
    return NULL;
}

static void collect_section(struct image *image, const struct section *section, void *unused) {
    (void)unused;
    bool named = strncmp(section->sectname, "__interpose", 16) == 0 &&
                 (strncmp(section->segname, "__DATA", 6) == 0 || strncmp(section->segname, "__AUTH", 6) == 0);
    if (!named && (section->flags & SECTION_TYPE) != S_INTERPOSING) return;
    const uintptr_t(*pairs)[2] = image_address(image, section->addr, section->size);
    for (uint64_t i = 0; i < section->size / sizeof *pairs; i++) {
        uintptr_t replacement = pairs[i][0], replacee = pairs[i][1];
        if (replacee == 0) continue; // a weak import that is absent
        struct tuple *all = tuple_for(NULL, replacee);
        uintptr_t before = all != NULL ? all->replacement : replacee;
        if (all != NULL) all->replacement = replacement;
        else add_tuple((struct tuple){NULL, replacee, replacement});
        if (tuple_for(image, replacee) == NULL) add_tuple((struct tuple){image, replacee, before});
    }
}

void interpose_collect(struct image *image) { image_sections(image, collect_section, NULL); }

uintptr_t interpose_for(const struct image *image, uintptr_t target) {
    const struct tuple *tuple = image == NULL ? NULL : tuple_for(image, target);
    if (tuple == NULL) tuple = tuple_for(NULL, target);
    return tuple == NULL ? target : tuple->replacement;
}

void interpose_apply(struct image *image, size_t first) {
    for (size_t i = first; i < image->bound_count; i++) {
        struct bound *b = &image->bounds[i];
        uintptr_t replacement = interpose_for(image, b->target);
        if (b->target != 0 && replacement != b->target) *b->where = replacement + (uintptr_t)b->addend;
    }
}
