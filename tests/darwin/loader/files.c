// The table of files: what Linux cannot store of a Mac's files (flags), and files whose bytes lie somewhere else, so that a test has its own /bin/sh.
// One file a line: PATH FLAGS [BACKING], where FLAGS are "-" or "restricted", "setuid" joined by commas.
#include "loader.h"

#include <fcntl.h>

enum { MAX_FILES = 512 };
static struct file_entry entries[MAX_FILES];
static int entry_count;

static void read_line(char *line) {
    char *save, *path = strtok_r(line, " \t", &save), *flags = strtok_r(NULL, " \t", &save), *backing = strtok_r(NULL, " \t", &save);
    if (path == NULL || path[0] == '#') return;
    if (flags == NULL || entry_count == MAX_FILES) unmodelled("table of files: a line without flags, or too many");
    struct file_entry *e = &entries[entry_count++];
    *e = (struct file_entry){.path = strdup(path), .backing = backing == NULL ? NULL : strdup(backing)};
    for (char *flag = strtok_r(flags, ",", &save); flag != NULL; flag = strtok_r(NULL, ",", &save)) {
        if (strcmp(flag, "restricted") == 0) e->flags |= SF_RESTRICTED;
        else if (strcmp(flag, "setuid") == 0) e->setuid = true;
        else if (strcmp(flag, "-") != 0) unmodelled("table of files: flag %s", flag);
    }
}

void files_read(const char *table) {
    FILE *f = fopen(table, "re");
    if (f == NULL) unmodelled("table of files %s: %m", table);
    char line[PATH_MAX * 2 + 64];
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = 0;
        read_line(line);
    }
    fclose(f);
}

void files_clean(const char *path, char buffer[PATH_MAX]) {
    size_t length = 0;
    if (path[0] != '/') {
        if (getcwd(buffer, PATH_MAX) == NULL) strcpy(buffer, "/");
        length = strlen(buffer);
        if (length == 1) length = 0;
    }
    while (*path != 0) {
        size_t part = strcspn(path, "/");
        if (part == 2 && memcmp(path, "..", 2) == 0) {
            while (length > 0 && buffer[--length] != '/') continue;
        } else if (part > 0 && !(part == 1 && *path == '.')) {
            if (length + part + 2 > PATH_MAX) break;
            buffer[length++] = '/';
            memcpy(buffer + length, path, part);
            length += part;
        }
        path += part;
        while (*path == '/') path++;
    }
    if (length == 0) buffer[length++] = '/';
    buffer[length] = 0;
}

const struct file_entry *files_find(const char *path) {
    if (entry_count == 0) return NULL;
    char clean[PATH_MAX];
    files_clean(path, clean);
    for (int i = 0; i < entry_count; i++)
        if (strcmp(entries[i].path, clean) == 0) return &entries[i];
    return NULL;
}

const char *files_real(const char *path, char buffer[PATH_MAX]) {
    if (path == NULL || path[0] == 0) return path;
    const struct file_entry *e = files_find(path);
    if (e == NULL || e->backing == NULL) return path;
    snprintf(buffer, PATH_MAX, "%s", e->backing);
    return buffer;
}
