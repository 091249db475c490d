/*
 * Percent-encoding in the parts of a URL. Called by the parsers of the adapters' URLs, after they have
 * cut the URL into its parts.
 */
#ifndef AIPLAT_INFRASTRUCTURE_PERCENT_H
#define AIPLAT_INFRASTRUCTURE_PERCENT_H

static inline int percent_hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; -1 when it is malformed or holds a NUL. */
static inline int percent_decode(char *text)
{
        char *to = text;
        for (const char *from = text; *from; from++) {
                if (*from != '%') {
                        *to++ = *from;
                        continue;
                }
                int high = percent_hex_digit(from[1]);
                int low = high < 0 ? -1 : percent_hex_digit(from[2]);
                if (low < 0 || high + low == 0)
                        return -1;
                *to++ = (char)(high * 16 + low);
                from += 2;
        }
        *to = '\0';
        return 0;
}

#endif
