/* Error objects: making, wrapping, copying, reading, and running out of memory. */
#include "alloc_fail.h"
#include <aiplat/error.h>
#include <criterion/criterion.h>

Test(error, carries_code_and_formatted_message)
{
        aip_error *err = NULL;
        cr_assert_eq(aip_error_set(&err, AIP_ENOTFOUND, "no job %d", 7), AIP_ENOTFOUND);
        cr_assert_eq(aip_error_code(err), AIP_ENOTFOUND);
        cr_assert_str_eq(aip_error_message(err), "no job 7");
        cr_assert_str_eq(aip_error_kind(err), "not_found");
        cr_assert_null(aip_error_cause(err));
        aip_error_free(err);
}

Test(error, long_messages_are_kept_whole)
{
        char text[5000];
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        aip_error *err = NULL;
        aip_error_set(&err, AIP_EINVAL, "%s", text);
        cr_assert_str_eq(aip_error_message(err), text);
        aip_error_free(err);
}

Test(error, nobody_listening_makes_nothing)
{
        cr_assert_eq(aip_error_set(NULL, AIP_EIO, "x"), AIP_EIO);
        cr_assert_eq(aip_error_set_nomem(NULL), AIP_ENOMEM);
        aip_error *cause = NULL;
        aip_error_set(&cause, AIP_EIO, "cause");
        cr_assert_eq(aip_error_wrap(NULL, cause, AIP_EINTERNAL, "x"), AIP_EINTERNAL);
}

Test(error, readers_accept_null)
{
        cr_assert_eq(aip_error_code(NULL), 0);
        cr_assert_str_eq(aip_error_message(NULL), "");
        cr_assert_str_eq(aip_error_kind(NULL), "");
        cr_assert_null(aip_error_cause(NULL));
        cr_assert_eq(aip_error_is_retryable(NULL), 0);
        cr_assert_eq(aip_error_retry_after_ms(NULL), 0);
        cr_assert_eq(aip_error_provider_status(NULL), 0);
        cr_assert_null(aip_error_copy(NULL));
        aip_error_free(NULL);
        aip_error_set_kind(NULL, "x");
        aip_error_set_retryable(NULL, 1, 1);
        aip_error_set_provider_status(NULL, 1);
}

Test(error, every_code_has_a_name_of_its_own)
{
        for (int a = AIP_EINTERNAL; a <= 0; a++) {
                cr_assert_str_neq(aip_error_code_name(a), "unknown");
                for (int b = AIP_EINTERNAL; b < a; b++)
                        cr_assert_str_neq(aip_error_code_name(a), aip_error_code_name(b));
        }
        cr_assert_str_eq(aip_error_code_name(1), "unknown");
        cr_assert_str_eq(aip_error_code_name(AIP_EINTERNAL - 1), "unknown");
}

Test(error, only_unavailability_is_retryable_unless_said)
{
        for (int code = AIP_EINTERNAL; code < 0; code++) {
                aip_error *err = NULL;
                aip_error_set(&err, code, "x");
                cr_assert_eq(aip_error_is_retryable(err), code == AIP_EUNAVAILABLE);
                aip_error_free(err);
        }
}

static aip_error *rate_limited(void)
{
        aip_error *err = NULL;
        aip_error_set(&err, AIP_EUPSTREAM, "slow down");
        aip_error_set_kind(err, "provider_rate_limited");
        aip_error_set_retryable(err, 1, 2500);
        aip_error_set_provider_status(err, 429);
        return err;
}

static void assert_rate_limited(const aip_error *err)
{
        cr_assert_str_eq(aip_error_kind(err), "provider_rate_limited");
        cr_assert_eq(aip_error_is_retryable(err), 1);
        cr_assert_eq(aip_error_retry_after_ms(err), 2500);
        cr_assert_eq(aip_error_provider_status(err), 429);
}

Test(error, a_wrapper_of_the_same_code_keeps_what_the_peer_said)
{
        aip_error *err = NULL;
        aip_error_wrap(&err, rate_limited(), AIP_EUPSTREAM, "asking the model");
        assert_rate_limited(err);
        cr_assert_str_eq(aip_error_message(err), "asking the model");
        cr_assert_str_eq(aip_error_message(aip_error_cause(err)), "slow down");
        aip_error_free(err);
}

Test(error, a_wrapper_of_another_code_speaks_for_itself)
{
        aip_error *err = NULL;
        aip_error_wrap(&err, rate_limited(), AIP_ETIMEOUT, "no time left");
        cr_assert_str_eq(aip_error_kind(err), "timeout");
        cr_assert_eq(aip_error_is_retryable(err), 0);
        assert_rate_limited(aip_error_cause(err));
        aip_error_free(err);
}

Test(error, copies_are_deep)
{
        aip_error *err = NULL;
        aip_error_wrap(&err, rate_limited(), AIP_EUPSTREAM, "outer");
        aip_error *copy = aip_error_copy(err);
        aip_error_free(err);
        cr_assert_str_eq(aip_error_message(copy), "outer");
        assert_rate_limited(copy);
        assert_rate_limited(aip_error_cause(copy));
        aip_error_free(copy);
}

Test(error, propagation_moves_or_frees)
{
        aip_error *err = NULL;
        cr_assert_eq(aip_error_propagate(&err, NULL), 0);
        cr_assert_null(err);
        cr_assert_eq(aip_error_propagate(&err, rate_limited()), AIP_EUPSTREAM);
        assert_rate_limited(err);
        cr_assert_eq(aip_error_propagate(NULL, err), AIP_EUPSTREAM);
}

Test(error, the_out_of_memory_object_cannot_be_changed_or_freed)
{
        aip_error *err = NULL;
        cr_assert_eq(aip_error_set_nomem(&err), AIP_ENOMEM);
        aip_error_set_kind(err, "x");
        aip_error_set_retryable(err, 1, 1);
        aip_error_set_provider_status(err, 1);
        aip_error_free(err);
        cr_assert_str_eq(aip_error_message(err), "out of memory");
        cr_assert_str_eq(aip_error_kind(err), "out_of_memory");
        cr_assert_eq(aip_error_is_retryable(err), 0);
        cr_assert_eq(aip_error_copy(err), err);
}

static int set_wrap_copy(void *user, aip_error **err)
{
        (void)user;
        aip_error *cause = NULL, *outer = NULL;
        int set = aip_error_set(&cause, AIP_EIO, "cause");
        int wrapped = aip_error_wrap(&outer, cause, AIP_EIO, "outer");
        aip_error *copy = aip_error_copy(outer);
        int copied = aip_error_code(copy);
        aip_error_free(outer);
        aip_error_free(copy);
        if (set == AIP_ENOMEM || wrapped == AIP_ENOMEM || copied == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        return 0;
}

Test(error, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(set_wrap_copy, NULL);
}
