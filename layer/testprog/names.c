// Every way to ask for a name: inventory is 10.96.0.7 in the pod and nothing on this machine.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

static int is_inventory(const struct hostent *h) {
    char text[INET_ADDRSTRLEN];
    return h != NULL && h->h_addrtype == AF_INET && h->h_length == 4 && h->h_addr_list[0] != NULL && h->h_addr_list[1] == NULL &&
           h->h_aliases[0] == NULL && strcmp(h->h_name, "inventory") == 0 &&
           strcmp(inet_ntop(AF_INET, h->h_addr_list[0], text, sizeof text), "10.96.0.7") == 0;
}

static void modern(void) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *found;
    int err = getaddrinfo("inventory", "80", &hints, &found);
    CHECK(err == 0, "getaddrinfo: %s", gai_strerror(err));
    CHECK(found->ai_family == AF_INET && found->ai_next == NULL && found->ai_socktype == SOCK_STREAM, "one IPv4 address");
    CHECK(found->ai_canonname != NULL && strcmp(found->ai_canonname, "inventory") == 0, "canonical name");
    const struct sockaddr_in *addr = (const struct sockaddr_in *)found->ai_addr;
    CHECK(ntohl(addr->sin_addr.s_addr) == 0x0a600007 && ntohs(addr->sin_port) == 80, "address");

    char host[256], service[32];
    err = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICSERV);
    CHECK(err == 0 && strcmp(host, "inventory") == 0 && strcmp(service, "80") == 0, "getnameinfo: %s %s", gai_strerror(err), host);
    err = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    CHECK(err == 0 && strcmp(host, "10.96.0.7") == 0, "NI_NUMERICHOST: %s", host);
    CHECK(getnameinfo(found->ai_addr, found->ai_addrlen, host, 4, NULL, 0, 0) == EAI_OVERFLOW, "no room for the name");
    freeaddrinfo(found);

    hints.ai_family = AF_INET6;
    err = getaddrinfo("inventory", NULL, &hints, &found);
    CHECK(err == EAI_NODATA || err == EAI_NONAME, "an IPv4 name asked for IPv6: %s", gai_strerror(err));
    CHECK(getaddrinfo("nowhere.invalid", NULL, NULL, &found) == EAI_NONAME, "an unknown name");
    CHECK(getaddrinfo("127.0.0.1", "80", NULL, &found) == 0, "a number");
    freeaddrinfo(found);
    CHECK(getaddrinfo("localhost", "80", NULL, &found) == 0, "localhost");
    freeaddrinfo(found);
    CHECK(getaddrinfo(NULL, "80", NULL, &found) == 0, "no name");
    freeaddrinfo(found);
}

static void reentrant(void) {
    struct hostent entry, *result;
    char buffer[512];
    int h_err;
    CHECK(gethostbyname_r("inventory", &entry, buffer, sizeof buffer, &result, &h_err) == 0 && is_inventory(result), "gethostbyname_r");
    CHECK(gethostbyname_r("inventory", &entry, buffer, 16, &result, &h_err) == ERANGE && result == NULL, "without room");
    CHECK(gethostbyname2_r("inventory", AF_INET, &entry, buffer + 1, sizeof buffer - 1, &result, &h_err) == 0 && is_inventory(result),
          "gethostbyname2_r with an odd buffer");
    CHECK(gethostbyname_r("nowhere.invalid", &entry, buffer, sizeof buffer, &result, &h_err) == 0 && result == NULL &&
              h_err == HOST_NOT_FOUND,
          "unknown: %d", h_err);
    struct in_addr addr = {htonl(0x0a600007)};
    CHECK(gethostbyaddr_r(&addr, sizeof addr, AF_INET, &entry, buffer, sizeof buffer, &result, &h_err) == 0 && result != NULL &&
              strcmp(result->h_name, "inventory") == 0,
          "gethostbyaddr_r");
}

int main(void) {
    modern();
    CHECK(is_inventory(gethostbyname("inventory")), "gethostbyname");
    CHECK(is_inventory(gethostbyname2("inventory", AF_INET)), "gethostbyname2");
    CHECK(gethostbyname("nowhere.invalid") == NULL && h_errno == HOST_NOT_FOUND, "unknown: %d", h_errno);
    CHECK(gethostbyname("127.0.0.1") != NULL, "a number");
    struct in_addr addr = {htonl(0x0a600007)};
    struct hostent *h = gethostbyaddr(&addr, sizeof addr, AF_INET);
    CHECK(h != NULL && strcmp(h->h_name, "inventory") == 0, "gethostbyaddr");
    reentrant();

    char name[256];
    struct utsname uts;
    CHECK(gethostname(name, sizeof name) == 0 && strcmp(name, "cart-7d9f") == 0, "gethostname: %s", name);
    CHECK(gethostname(name, 4) < 0 && errno == ENAMETOOLONG, "gethostname without room");
    CHECK(uname(&uts) == 0 && strcmp(uts.nodename, "cart-7d9f") == 0 && strcmp(uts.sysname, "Linux") == 0, "uname: %s", uts.nodename);
    puts("ok");
    return 0;
}
