/* Generators: the seeded one repeats itself, the system's does not, not even across a fork. */
#include <aiplat/loops.h>
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

Test(random, equal_seeds_give_equal_numbers)
{
        struct aip_seeded_random a, b, c;
        struct aip_random x = aip_random_seeded(&a, 7), y = aip_random_seeded(&b, 7),
                          z = aip_random_seeded(&c, 8);
        int n_equal = 0;
        for (int i = 0; i < 1000; i++) {
                uint64_t number = aip_random_u64(x);
                cr_assert_eq(number, aip_random_u64(y));
                n_equal += number == aip_random_u64(z);
        }
        cr_assert_eq(n_equal, 0);
}

/* Numbers of the authors' xoshiro256** over a state seeded by their splitmix64 from 0. */
Test(random, is_the_published_generator)
{
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 0);
        cr_assert_eq(generator.state[0], UINT64_C(0xe220a8397b1dcdaf));
        cr_assert_eq(generator.state[1], UINT64_C(0x6e789e6aa1b965f4));
        cr_assert_eq(aip_random_u64(random), UINT64_C(0x99ec5f36cb75f2b4));
}

Test(random, the_system_fills_any_length)
{
        struct aip_random random = aip_random_system();
        static unsigned char bytes[1000], zero[1000];
        random.ops->fill(random.self, bytes, sizeof(bytes));
        for (size_t i = 0; i + 16 <= sizeof(bytes); i += 16)
                cr_assert_neq(memcmp(bytes + i, zero, 16), 0);
        random.ops->fill(random.self, bytes, 0);
}

Test(random, a_child_draws_numbers_of_its_own)
{
        struct aip_random random = aip_random_system();
        int ends[2];
        uint64_t of_child;
        aip_random_u64(random);
        cr_assert_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
                of_child = aip_random_u64(random);
                _exit(write(ends[1], &of_child, sizeof(of_child)) != sizeof(of_child));
        }
        cr_assert_eq(read(ends[0], &of_child, sizeof(of_child)), (ssize_t)sizeof(of_child));
        cr_assert_neq(of_child, aip_random_u64(random));
        waitpid(child, NULL, 0);
}
