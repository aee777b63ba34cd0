// Addresses and families of sockets, for those that get them from elsewhere.
#ifndef SOCKETS_H
#define SOCKETS_H

#include <sys/socket.h>

enum { D_AF_INET6 = 30, D_SOL_SOCKET = 0xffff };
int family_to_linux(int family); // -1: none that is modelled
int family_to_darwin(int family);
socklen_t address_to_linux(const void *from, socklen_t length, struct sockaddr_storage *to);
void address_to_darwin(const struct sockaddr_storage *from, socklen_t length, void *to, socklen_t *room);

#endif
