#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <arpa/inet.h>

// Asks libc's resolver for the A and SRV records of names.
int main(int argc, char **argv) {
    unsigned char answer[4096];
    for (int i = 1; i < argc; i++) {
        int srv = argv[i][0] == '_', n = res_query(argv[i], ns_c_in, srv ? ns_t_srv : ns_t_a, answer, sizeof answer);
        ns_msg m;
        ns_rr r;
        if (n < 0 || ns_initparse(answer, n, &m) != 0 || ns_parserr(&m, ns_s_an, 0, &r) != 0) printf("%s: none\n", argv[i]);
        else if (srv) printf("%d\n", ns_get16(ns_rr_rdata(r) + 4));
        else printf("%s\n", inet_ntoa(*(struct in_addr *)ns_rr_rdata(r)));
    }
}
