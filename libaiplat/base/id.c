/*
 * UUIDs: making version 7 (RFC 9562), reading, writing, comparing. libuuid does the text form.
 * Called wherever something gets a name. Reads no clock: the caller says what time it is.
 */
#include <aiplat/id.h>
#include <uuid/uuid.h>

#define ID_TEXT_CHARACTERS (AIP_ID_TEXT_BYTES - 1)
#define COUNTER_MAX        0xfffu
#define COUNTER_SEED_MASK  0x7ffu /* the top bit clear: a millisecond has room for 2048 ids */

void aip_id_source_init(struct aip_id_source *source, struct aip_random random)
{
        source->random = random;
        source->last_ms = -1;
        source->counter = 0;
}

static void start_millisecond(struct aip_id_source *source, int64_t ms, uint64_t noise)
{
        source->last_ms = ms;
        source->counter = (uint32_t)noise & COUNTER_SEED_MASK;
}

/* The time and counter of the next id, always greater than the ones before. */
static void advance(struct aip_id_source *source, int64_t now_ms, uint64_t noise)
{
        if (now_ms > source->last_ms)
                start_millisecond(source, now_ms, noise);
        else if (source->counter == COUNTER_MAX)
                start_millisecond(source, source->last_ms + 1, noise);
        else
                source->counter++;
}

struct aip_id aip_id_next(struct aip_id_source *source, int64_t now_us)
{
        struct {
                uint64_t tail, noise;
        } random;
        source->random.ops->fill(source->random.self, &random, sizeof(random));
        advance(source, now_us / 1000, random.noise);

        struct aip_id id;
        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(source->last_ms >> (40 - 8 * i));
        id.bytes[6] = (uint8_t)(0x70 | source->counter >> 8);
        id.bytes[7] = (uint8_t)source->counter;
        memcpy(id.bytes + 8, &random.tail, 8);
        id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
        return id;
}

struct aip_id aip_id_from_name(const struct aip_id *space, struct aip_str name)
{
        struct aip_id id;

        uuid_generate_sha1(id.bytes, space->bytes, name.p ? name.p : "", name.n);
        return id;
}

int aip_id_parse(struct aip_str text, struct aip_id *ret_id, aip_error **err)
{
        char copy[AIP_ID_TEXT_BYTES];
        uuid_t uuid;
        if (text.n != ID_TEXT_CHARACTERS)
                return aip_error_set(err, AIP_EINVAL, "not a UUID: %zu characters instead of %d",
                                     text.n, ID_TEXT_CHARACTERS);
        memcpy(copy, text.p, text.n);
        copy[text.n] = '\0';
        if (uuid_parse(copy, uuid) != 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "not a UUID: expected hexadecimal digits as 8-4-4-4-12");
        memcpy(ret_id->bytes, uuid, sizeof(ret_id->bytes));
        return 0;
}

char *aip_id_format(const struct aip_id *id, char ret_text[AIP_ID_TEXT_BYTES])
{
        uuid_unparse_lower(id->bytes, ret_text);
        return ret_text;
}

int64_t aip_id_time_us(const struct aip_id *id)
{
        if (id->bytes[6] >> 4 != 7)
                return 0;
        int64_t ms = 0;
        for (int i = 0; i < 6; i++)
                ms = ms << 8 | id->bytes[i];
        return ms * 1000;
}

int aip_id_is_nil(const struct aip_id *id)
{
        return uuid_is_null(id->bytes);
}

int aip_id_compare(const struct aip_id *a, const struct aip_id *b)
{
        return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int aip_id_equal(const struct aip_id *a, const struct aip_id *b)
{
        return aip_id_compare(a, b) == 0;
}

/* The finaliser of MurmurHash3. */
static uint64_t mix(uint64_t x)
{
        x ^= x >> 33;
        x *= 0xff51afd7ed558ccdu;
        x ^= x >> 33;
        x *= 0xc4ceb9fe1a85ec53u;
        return x ^ x >> 33;
}

uint64_t aip_id_hash(const struct aip_id *id)
{
        uint64_t words[2];
        memcpy(words, id->bytes, sizeof(words));
        return mix(words[0] ^ mix(words[1]));
}
