/* What HTTP tools may call: hosts, URL templates, addresses. */
#include "tools/tool_url.h"
#include "llm/public_address.h"
#include "macros.h"
#include "tools/tool_hosts.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static int allows(const char *hosts, const char *host, int port, int is_default)
{
        cr_assert_eq(aip_tool_hosts_check(hosts, NULL), 0, "%s", hosts);
        return aip_tool_hosts_allow(hosts, aip_str_of(host), port, is_default);
}

Test(tool_hosts, only_what_is_named)
{
        cr_expect(!allows(NULL, "a.example", 443, 1));
        cr_expect(!allows("", "a.example", 443, 1));
        cr_expect(allows("a.example", "A.Example", 443, 1));
        cr_expect(!allows("a.example", "b.example", 443, 1));
        cr_expect(!allows("a.example", "a.example", 8443, 0));
        cr_expect(!allows("a.example", "evil-a.example", 443, 1));
        cr_expect(allows("b.example , a.example:8443", "a.example", 8443, 0));
        cr_expect(!allows("b.example, a.example:8443", "a.example", 443, 1));
}

Test(tool_hosts, domains_and_addresses)
{
        cr_expect(allows("*.example.com", "x.example.com", 443, 1));
        cr_expect(allows("*.example.com", "x.y.example.com", 80, 1));
        cr_expect(!allows("*.example.com", "example.com", 443, 1));
        cr_expect(!allows("*.example.com", "xexample.com", 443, 1));
        cr_expect(!allows("*.example.com", "x.example.com.evil", 443, 1));
        cr_expect(allows("[::1]:80", "::1", 80, 1));
        cr_expect(allows("127.0.0.1:8000", "127.0.0.1", 8000, 0));
        cr_expect(allows("*", "anything", 1, 0));
}

Test(tool_hosts, refuses_what_is_no_list)
{
        static const char *const bad[] = {"a b",      "a:0", "a:70000", "a:x",  "https://a",
                                          "a,,b",     ",a",  "*.",      "a/b",  "[::1",
                                          "[::1]x:1", "a:",  "*a",      "a:1:2"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++)
                cr_expect_eq(aip_tool_hosts_check(bad[i], NULL), AIP_EINVAL, "%s", bad[i]);
}

static aip_value *parsed(const char *json)
{
        aip_value *value = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of(json), &value, NULL), 0, "%s", json);
        return value;
}

static int check(const char *url, const char *hosts)
{
        _cleanup_(aip_value_unref_p) aip_value *parameters =
                parsed("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}");
        _cleanup_(aip_error_free_p) aip_error *err = NULL;
        int r = aip_tool_url_check(url, parameters, hosts, &err);
        cr_expect(r == 0 || strncmp(aip_error_message(err), "url: ", 5) == 0, "%s",
                  aip_error_message(err));
        return r;
}

Test(tool_url, templates)
{
        static const char *const good[] = {"https://h.example/{a}", "http://h.example",
                                           "https://h.example?x={a}&y={b}",
                                           "https://h.example/x{a}y/{a}.json?z=1"};
        static const char *const bad[] = {"https://other.example/",
                                          "https://h.example:8443/",
                                          "https://{a}.example/",
                                          "https://h.example{a}/",
                                          "https://u@h.example/",
                                          "https://h.example@other.example/",
                                          "https://other.example/@h.example/",
                                          "ftp://h.example/",
                                          "https://h.example/{c}",
                                          "https://h.example/{a",
                                          "https://h.example/a}",
                                          "https://h.example/{a}#{b}",
                                          "https://h.example/a b",
                                          "https://h.example\\@other.example/",
                                          "//h.example/",
                                          "https:///h.example",
                                          "https://h.example%2eother.example/"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(good); i++)
                cr_expect_eq(check(good[i], "h.example"), 0, "%s", good[i]);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++)
                cr_expect_eq(check(bad[i], "h.example"), AIP_EINVAL, "%s", bad[i]);
}

static void expands(const char *url, const char *arguments, int is_query, const char *expected)
{
        _cleanup_(aip_value_unref_p) aip_value *value = parsed(arguments);
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(1024);
        int r = aip_tool_url_expand(url, value, is_query, &out, NULL);
        cr_expect_eq(r, expected ? 0 : AIP_EINVAL, "%s", arguments);
        if (expected)
                cr_expect_str_eq(out.p, expected);
}

Test(tool_url, arguments_stay_where_they_stand)
{
        expands("https://h/{a}/x", "{\"a\":\"Z\\u00fcrich/../&?#\"}", 0,
                "https://h/Z%C3%BCrich%2F..%2F%26%3F%23/x");
        expands("https://h/x?q={a}&r={b}", "{\"a\":\"1&r=2\",\"b\":3.5}", 0,
                "https://h/x?q=1%26r%3D2&r=3.5");
        expands("https://h/{a}{b}", "{\"b\":[1,\"x\"]}", 0, "https://h/%5B1%2C%22x%22%5D");
        expands("https://h/{a}", "{\"a\":\"...\"}", 0, "https://h/...");
        expands("https://h/v1/{a}/x", "{\"a\":\"..\"}", 0, NULL);
        expands("https://h/v1/{a}{b}", "{\"a\":\".\",\"b\":\".\"}", 0, NULL);
        expands("https://h/v1/{a}?x", "{\"a\":\".\"}", 0, NULL);
}

Test(tool_url, the_rest_becomes_the_query)
{
        expands("https://h/{a}", "{\"a\":1,\"b\":\"x y\",\"c\":null,\"d\":[1,2],\"e\":true}", 1,
                "https://h/1?b=x%20y&d=1&d=2&e=true");
        expands("https://h/?k=1", "{\"b&\":2}", 1, "https://h/?k=1&b%26=2");
        expands("https://h/", "{\"b\":2}", 0, "https://h/");
}

Test(tool_url, has_a_limit)
{
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(40);
        _cleanup_(aip_value_unref_p) aip_value *value =
                parsed("{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
        cr_expect_eq(aip_tool_url_expand("https://h/{a}", value, 0, &out, NULL), AIP_EINVAL);
}

static int is_public(const char *text)
{
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
                return aip_address_is_public((struct sockaddr *)&in);
        cr_assert_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1, "%s", text);
        return aip_address_is_public((struct sockaddr *)&in6);
}

Test(public_address, private_and_public)
{
        static const char *const private[] = {"0.0.0.0",
                                              "10.1.2.3",
                                              "100.64.0.1",
                                              "100.127.255.255",
                                              "127.0.0.1",
                                              "127.255.0.1",
                                              "169.254.169.254",
                                              "172.16.0.1",
                                              "172.31.255.255",
                                              "192.0.0.1",
                                              "192.168.1.1",
                                              "198.18.0.1",
                                              "198.19.255.255",
                                              "203.0.113.9",
                                              "224.0.0.1",
                                              "240.0.0.1",
                                              "255.255.255.255",
                                              "::",
                                              "::1",
                                              "fe80::1",
                                              "fc00::1",
                                              "fdff::1",
                                              "ff02::1",
                                              "::ffff:127.0.0.1",
                                              "::ffff:10.0.0.1",
                                              "64:ff9b::a00:1",
                                              "64:ff9b:1::1",
                                              "2002:7f00:1::",
                                              "2001::1",
                                              "2001:db8::1",
                                              "3fff::1",
                                              "::127.0.0.1",
                                              "4000::1"};
        static const char *const public[] = {
                "1.1.1.1",          "8.8.8.8",         "100.63.255.255", "100.128.0.1",
                "172.15.0.1",       "172.32.0.1",      "198.17.0.1",     "198.20.0.1",
                "223.255.255.255",  "2606:4700::1111", "2a00:1450::1",   "::ffff:8.8.8.8",
                "64:ff9b::808:808", "2002:808:808::1"};
        struct sockaddr other = {.sa_family = AF_UNIX};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(private); i++)
                cr_expect(!is_public(private[i]), "%s", private[i]);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(public); i++)
                cr_expect(is_public(public[i]), "%s", public[i]);
        cr_expect(!aip_address_is_public(&other));
}
