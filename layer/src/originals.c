// Finding the originals: what dlsym(RTLD_NEXT) would find, without its cost. Every process of the session pays for this at its start, and a hundred
// calls of dlsym take ten times as long as these look-ups in the libraries' hash tables (measured: 45 µs against 4 µs for /bin/true).
#define _GNU_SOURCE
#include "layer.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

struct originals originals;

void *resolve(void **slot, const char *name) {
    *slot = dlsym(RTLD_NEXT, name);
    return *slot;
}

// A loaded library's symbols; see "GNU hash ELF sections" for the layout of its table.
struct library {
    ElfW(Addr) base;
    const ElfW(Sym) *symbols;
    const char *names;
    const uint16_t *versions; // NULL: the library has none
    uint32_t buckets_n, first, bloom_n, bloom_shift;
    const ElfW(Addr) *bloom;
    const uint32_t *buckets, *chains;
};

enum { MAX_LIBRARIES = 32, HIDDEN_VERSION = 0x8000 };

// read_library reads the dynamic section; 0 when it has no hash table of this kind.
static int read_library(const struct link_map *map, struct library *out) {
    const uint32_t *hash = NULL;
    *out = (struct library){.base = map->l_addr};
    for (const ElfW(Dyn) *d = map->l_ld; d != NULL && d->d_tag != DT_NULL; d++) {
        // glibc has relocated these in place, except for the vDSO; musl never does.
        ElfW(Addr) at = d->d_un.d_ptr < map->l_addr ? d->d_un.d_ptr + map->l_addr : d->d_un.d_ptr;
        switch (d->d_tag) {
        case DT_GNU_HASH: hash = (const uint32_t *)at; break;
        case DT_SYMTAB: out->symbols = (const ElfW(Sym) *)at; break;
        case DT_STRTAB: out->names = (const char *)at; break;
        case DT_VERSYM: out->versions = (const uint16_t *)at; break;
        }
    }
    if (hash == NULL || out->symbols == NULL || out->names == NULL || hash[0] == 0) return 0;
    out->buckets_n = hash[0];
    out->first = hash[1];
    out->bloom_n = hash[2];
    out->bloom_shift = hash[3];
    out->bloom = (const ElfW(Addr) *)(hash + 4);
    out->buckets = (const uint32_t *)(out->bloom + out->bloom_n);
    out->chains = out->buckets + out->buckets_n;
    return 1;
}

static void *find_in(const struct library *l, const char *name, uint32_t hash) {
    enum { WORD = 8 * sizeof(ElfW(Addr)) };
    ElfW(Addr) word = l->bloom[(hash / WORD) % l->bloom_n];
    if (!((word >> (hash % WORD)) & (word >> ((hash >> l->bloom_shift) % WORD)) & 1)) return NULL;
    uint32_t i = l->buckets[hash % l->buckets_n];
    if (i < l->first) return NULL;
    for (;; i++) {
        uint32_t h = l->chains[i - l->first];
        const ElfW(Sym) *symbol = &l->symbols[i];
        if ((h | 1) == (hash | 1) && symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
            (l->versions == NULL || !(l->versions[i] & HIDDEN_VERSION)) && strcmp(l->names + symbol->st_name, name) == 0)
            return (void *)(l->base + symbol->st_value);
        if (h & 1) return NULL;
    }
}

static uint32_t gnu_hash(const char *name) {
    uint32_t h = 5381;
    for (; *name != 0; name++) h = h * 33 + (uint8_t)*name;
    return h;
}

// libraries_behind_us lists the libraries after this one in the order of loading, in which symbols are searched for.
static int libraries_behind_us(struct library out[MAX_LIBRARIES]) {
    int n = 0, seen = 0;
    extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));
    for (const struct link_map *map = _r_debug.r_map; map != NULL && n < MAX_LIBRARIES; map = map->l_next) {
        if (seen && read_library(map, &out[n])) n++;
        seen |= map->l_ld == _DYNAMIC;
    }
    return n;
}

// find_originals fills the table; what it leaves empty, ORIGINAL resolves at its first use.
static void find_originals(void) {
    static const char *const names[] = {
#define HOOK(name) #name,
#define ALIAS(name, of)
#include "hooks.def"
#undef HOOK
#undef ALIAS
    };
    struct library libraries[MAX_LIBRARIES];
    int n = libraries_behind_us(libraries);
    void **slot = (void **)&originals;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t hash = gnu_hash(names[i]);
        for (int j = 0; j < n && slot[i] == NULL; j++) slot[i] = find_in(&libraries[j], names[i], hash);
    }
}
