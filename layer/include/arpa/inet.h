#ifndef _ARPA_INET_H_
#define _ARPA_INET_H_
#include <netinet/in.h>
int inet_aton(const char *text, struct in_addr *out);
const char *inet_ntop(int family, const void *address, char *out, socklen_t size);
int inet_pton(int family, const char *text, void *out);
#endif
