/* How long a provider asks to wait, in the many ways they say it (see provider_fault.h). */
#include "llm/provider_fault.h"
#include "macros.h"
#include <curl/curl.h>
#include <stdio.h>
#include <time.h>

/* Longer waits are taken for a day: nobody keeps a call open that long, and sums must not overflow.
 */
#define DAY_MS (24 * 3600 * INT64_C(1000))

/* A header's value as a C string; 0 when it is absent or absurdly long. */
static int header_text(const struct aip_http_response *response, const char *name, char *ret_text,
                       size_t bytes)
{
        struct aip_str value = aip_http_header_find(response, name);
        if (value.n == 0 || value.n >= bytes)
                return 0;
        memcpy(ret_text, value.p, value.n);
        ret_text[value.n] = '\0';
        return 1;
}

static int64_t clamp_ms(double ms)
{
        if (!(ms > 0))
                return 0;
        return ms > (double)DAY_MS ? DAY_MS : (int64_t)(ms + 0.999);
}

/* Digits with at most one point. Not strtod: it reads the locale, "inf" and hexadecimal too. */
static const char *read_number(const char *p, double *ret_number)
{
        double number = 0, place = 1;
        const char *start = p;
        for (; *p >= '0' && *p <= '9'; p++)
                number = number * 10 + (*p - '0');
        if (*p == '.' && p[1] >= '0' && p[1] <= '9') {
                for (p++; *p >= '0' && *p <= '9'; p++)
                        number += (*p - '0') * (place /= 10);
        }
        *ret_number = number;
        return p > start ? p : NULL;
}

static int64_t number_ms(const struct aip_http_response *response, const char *name, double unit_ms)
{
        char text[64];
        double number;
        if (!header_text(response, name, text, sizeof(text)))
                return 0;
        const char *end = read_number(text, &number);
        return end && !*end ? clamp_ms(number * unit_ms) : 0;
}

static int64_t until_ms(const struct aip_http_response *response, time_t when)
{
        return clamp_ms((double)when * 1000 - (double)response->wall_us / 1000);
}

/* Retry-After as a date of HTTP. */
static int64_t date_ms(const struct aip_http_response *response, const char *name)
{
        char text[64];
        if (!header_text(response, name, text, sizeof(text)) || (text[0] >= '0' && text[0] <= '9'))
                return 0;
        time_t when = curl_getdate(text, NULL);
        return when > 0 ? until_ms(response, when) : 0;
}

static double unit_ms(const char **p)
{
        static const struct {
                const char *unit;
                double ms;
        } units[] = {{"ms", 1},      {"us", 0.001}, {"µs", 0.001}, {"ns", 0.000001},
                     {"h", 3600000}, {"m", 60000},  {"s", 1000}};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(units); i++) {
                size_t n = strlen(units[i].unit);
                if (strncmp(*p, units[i].unit, n) == 0) {
                        *p += n;
                        return units[i].ms;
                }
        }
        return -1;
}

/* "12ms", "6m0s", "1h2m3.5s". */
static int64_t duration_ms(const char *p)
{
        double sum = 0;
        while (*p) {
                double number, unit;
                p = read_number(p, &number);
                if (!p || (unit = unit_ms(&p)) < 0)
                        return 0;
                sum += number * unit;
        }
        return clamp_ms(sum);
}

/* A duration (OpenAI) or a time of RFC 3339 (Anthropic). */
static int64_t reset_ms(const struct aip_http_response *response, const char *text)
{
        struct tm tm = {0};
        const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
        return rest ? until_ms(response, timegm(&tm)) : duration_ms(text);
}

static int is_used_up(const struct aip_http_response *response, const char *name)
{
        struct aip_str left = aip_http_header_find(response, name);
        return left.n == 0 || aip_str_eq(left, AIP_STR("0"));
}

/* The longest reset time among the limits of which nothing remains. */
static int64_t limits_ms(const struct aip_http_response *response)
{
        static const struct {
                const char *remaining, *reset;
        } limits[] = {
                {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
                {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
                {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
                {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
                {"anthropic-ratelimit-input-tokens-remaining",
                 "anthropic-ratelimit-input-tokens-reset"},
                {"anthropic-ratelimit-output-tokens-remaining",
                 "anthropic-ratelimit-output-tokens-reset"},
        };
        int64_t longest_ms = 0;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(limits); i++) {
                char text[64];
                if (header_text(response, limits[i].reset, text, sizeof(text)) &&
                    is_used_up(response, limits[i].remaining))
                        longest_ms = AIP_MAX(longest_ms, reset_ms(response, text));
        }
        return longest_ms;
}

int64_t aip_provider_retry_after_ms(const struct aip_http_response *response)
{
        int64_t ms = number_ms(response, "retry-after-ms", 1);
        if (ms == 0)
                ms = number_ms(response, "x-ms-retry-after-ms", 1);
        if (ms == 0)
                ms = number_ms(response, "retry-after", 1000);
        if (ms == 0)
                ms = date_ms(response, "retry-after");
        if (ms == 0 && response->status == 429)
                ms = limits_ms(response);
        return ms;
}
