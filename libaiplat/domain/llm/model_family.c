/*
 * The table of known model families (see model_family.h). A family is found in a model's name as a
 * word of it: "opus" in "claude-3-opus-20240229", but not "mini" in "gemini"; digits may follow
 * ("llama" in "llama3:70b"). The first row that is found wins, so that special ones stand before
 * general ones. To teach it a new family, add a row and a line to the test's table.
 */
#include "llm/model_family.h"
#include "macros.h"
#include <strings.h>

static const struct {
        const char *words;
        struct aip_model_rank rank;
} families[] = {
        /* small and fast ones, whatever their maker */
        {"haiku", {50, 90}},
        {"nano", {30, 100}},
        {"flash-lite", {35, 97}},
        {"flash", {50, 92}},
        {"gpt-3.5", {40, 95}},
        {"mini", {50, 88}},
        {"lite", {35, 90}},
        {"small", {40, 85}},
        {"tiny", {20, 98}},
        /* large ones, strongest first */
        {"opus", {100, 20}},
        {"gpt-5", {98, 40}},
        {"o3", {96, 15}},
        {"o1", {92, 10}},
        {"sonnet", {90, 60}},
        {"gpt-4.5", {88, 30}},
        {"gpt-4.1", {88, 60}},
        {"gpt-4o", {85, 70}},
        {"gpt-4-turbo", {82, 50}},
        {"gpt-4", {80, 35}},
        {"gemini", {80, 55}},
        {"deepseek", {75, 40}},
        {"mistral-large", {70, 50}},
        {"qwen", {65, 60}},
        {"llama", {60, 65}},
        {"mixtral", {55, 65}},
        {"mistral", {50, 75}},
        {"gemma", {40, 80}},
        {"phi", {35, 85}},
        {"claude", {60, 60}},
};

static int is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static int is_letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_word_at(struct aip_str name, const char *words, size_t n, size_t at)
{
        if (strncasecmp(name.p + at, words, n) != 0)
                return 0;
        if (at > 0 && (is_letter(name.p[at - 1]) || is_digit(name.p[at - 1])))
                return 0;
        return at + n == name.n || !is_letter(name.p[at + n]);
}

static int has_words(struct aip_str name, const char *words)
{
        size_t n = strlen(words);
        for (size_t at = 0; at + n <= name.n; at++) {
                if (is_word_at(name, words, n, at))
                        return 1;
        }
        return 0;
}

struct aip_model_rank aip_model_rank(struct aip_str model_name)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(families); i++) {
                if (has_words(model_name, families[i].words))
                        return families[i].rank;
        }
        return (struct aip_model_rank){0, 0};
}
