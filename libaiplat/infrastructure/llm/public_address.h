/*
 * Which network addresses belong to the public Internet. Asked by the HTTP client before it connects for
 * somebody who must not reach this machine, its neighbours or a cloud's metadata service.
 */
#ifndef AIPLAT_LLM_PUBLIC_ADDRESS_H
#define AIPLAT_LLM_PUBLIC_ADDRESS_H

struct sockaddr;

/* 0 for what is private, local, reserved, multicast, or of another family than IPv4 and IPv6. An IPv6 address
 * that stands for one of IPv4 (mapped, NAT64, 6to4) is judged by that one. */
int aip_address_is_public(const struct sockaddr *address);

#endif
