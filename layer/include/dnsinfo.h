// configd dnsinfo/dnsinfo.h
#ifndef _DNSINFO_H_
#define _DNSINFO_H_
#include <netinet/in.h>
#include <stdint.h>
#pragma pack(4)
typedef struct {
    char *domain;
    int32_t n_nameserver;
    struct sockaddr **nameserver;
    uint16_t port;
    int32_t n_search;
    char **search;
    int32_t n_sortaddr;
    void **sortaddr;
    char *options;
    uint32_t timeout, search_order, if_index, flags, reach_flags, service_identifier;
    char *cid, *if_name;
} dns_resolver_t;
typedef struct {
    int32_t n_resolver;
    dns_resolver_t **resolver;
    int32_t n_scoped_resolver;
    dns_resolver_t **scoped_resolver;
    uint64_t generation;
    int32_t n_service_specific_resolver;
    dns_resolver_t **service_specific_resolver;
    uint32_t version;
} dns_config_t;
#pragma pack()
dns_config_t *dns_configuration_copy(void);
void dns_configuration_free(dns_config_t *config);
#endif
