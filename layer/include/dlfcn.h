#ifndef _DLFCN_H_
#define _DLFCN_H_
typedef struct {
    const char *dli_fname;
    void *dli_fbase;
    const char *dli_sname;
    void *dli_saddr;
} Dl_info;
#define RTLD_DEFAULT ((void *)-2)
int dladdr(const void *address, Dl_info *out);
void *dlsym(void *handle, const char *name);
#endif
