// xnu bsd/netinet/tcp.h: the first byte of struct tcp_connection_info is tcpi_state, of which bsd/netinet/tcp_fsm.h names the values
#ifndef _NETINET_TCP_H_
#define _NETINET_TCP_H_
#define TCP_NODELAY 0x01
#define TCP_CONNECTION_INFO 0x106
#endif
