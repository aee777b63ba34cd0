// libpthread include/pthread/pthread.h
#ifndef _PTHREAD_H_
#define _PTHREAD_H_
#include <sys/types.h>
typedef struct _opaque_pthread_t *pthread_t;
typedef struct {
    long sig;
    char opaque[56];
} pthread_attr_t;
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int pthread_join(pthread_t thread, void **result);
#endif
