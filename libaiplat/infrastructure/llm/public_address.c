/* Tables of IANA's special-purpose address registries; see public_address.h. It must never answer "public"
 * for what it does not know. */
#include "llm/public_address.h"
#include "macros.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct range4 {
        uint8_t network[4];
        int bits;
};

struct range6 {
        uint8_t network[16];
        int bits;
};

static const struct range4 special4[] = {
        {{0, 0, 0, 0}, 8},       /* this network */
        {{10, 0, 0, 0}, 8},      /* private */
        {{100, 64, 0, 0}, 10},   /* shared by carriers' customers */
        {{127, 0, 0, 0}, 8},     /* loopback */
        {{169, 254, 0, 0}, 16},  /* link-local; clouds' metadata */
        {{172, 16, 0, 0}, 12},   /* private */
        {{192, 0, 0, 0}, 24},    /* protocol assignments */
        {{192, 0, 2, 0}, 24},    /* documentation */
        {{192, 88, 99, 0}, 24},  /* 6to4 relays, given up */
        {{192, 168, 0, 0}, 16},  /* private */
        {{198, 18, 0, 0}, 15},   /* benchmarks */
        {{198, 51, 100, 0}, 24}, /* documentation */
        {{203, 0, 113, 0}, 24},  /* documentation */
        {{224, 0, 0, 0}, 3},     /* multicast, reserved, broadcast */
};

/* Within 2000::/3, the only part of IPv6 that is given to hosts. */
static const struct range6 special6[] = {
        {{0x20, 0x01, 0x00}, 23},       /* protocol assignments, Teredo, ORCHID */
        {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
        {{0x3f, 0xff}, 20},             /* documentation */
};

static int is_within(const uint8_t *address, const uint8_t *network, int bits)
{
        int whole = bits / 8, rest = bits % 8;
        uint8_t mask = (uint8_t)(0xff00 >> rest);
        return memcmp(address, network, (size_t)whole) == 0 &&
               (rest == 0 || (address[whole] & mask) == (network[whole] & mask));
}

static int is_public4(const uint8_t *address)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(special4); i++)
                if (is_within(address, special4[i].network, special4[i].bits))
                        return 0;
        return 1;
}

static int is_public6(const uint8_t *address)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
        static const uint8_t six_to_four[2] = {0x20, 0x02};
        static const uint8_t global[1] = {0x20};

        if (is_within(address, mapped, 96) || is_within(address, nat64, 96))
                return is_public4(address + 12);
        if (is_within(address, six_to_four, 16))
                return is_public4(address + 2);
        if (!is_within(address, global, 3))
                return 0;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(special6); i++)
                if (is_within(address, special6[i].network, special6[i].bits))
                        return 0;
        return 1;
}

int aip_address_is_public(const struct sockaddr *address)
{
        struct sockaddr_in in;
        struct sockaddr_in6 in6;

        if (address->sa_family == AF_INET) {
                memcpy(&in, address, sizeof(in));
                return is_public4((const uint8_t *)&in.sin_addr);
        }
        if (address->sa_family == AF_INET6) {
                memcpy(&in6, address, sizeof(in6));
                return is_public6(in6.sin6_addr.s6_addr);
        }
        return 0;
}
