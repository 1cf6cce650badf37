/*
 * test_lease.c - the arithmetic of validity.
 */
#include <criterion/criterion.h>

#include "core/lease.h"

Test(lease, drift_is_one_percent_and_two_milliseconds)
{
	cr_assert_eq(lease_drift_us(0), 2000);
	cr_assert_eq(lease_drift_us(1000000), 12000);
	cr_assert_eq(lease_drift_us(30000000), 302000);
}

Test(lease, vote_counts_from_the_moment_of_sending)
{
	cr_assert_eq(lease_vote_until_us(5000000, 1000000), 5988000);
	/* Nothing is left of a lease that is shorter than its drift. */
	cr_assert(lease_vote_until_us(5000000, 2000) < 5000000);
}

Test(lease, renewal_is_at_a_third)
{
	cr_assert_eq(lease_renew_us(5000000, 3000000), 6000000);
	cr_assert_eq(lease_renew_us(0, 1000000), 333333);
}

Test(lease, quorum_is_the_qth_largest)
{
	int64_t five[] = {30, 10, 50, 20, 40}, equal[] = {7, 7, 7}, one[] = {9};

	cr_assert_eq(lease_quorum_us(five, 5, 3), 30);
	cr_assert_eq(lease_quorum_us(five, 5, 1), 50);
	cr_assert_eq(lease_quorum_us(five, 5, 5), 10);
	cr_assert_eq(lease_quorum_us(equal, 3, 2), 7);
	cr_assert_eq(lease_quorum_us(one, 1, 1), 9);
}

Test(lease, without_a_quorum_nothing_is_valid)
{
	int64_t two[] = {30, 10};

	cr_assert_eq(lease_quorum_us(two, 2, 3), 0);
	cr_assert_eq(lease_quorum_us(two, 0, 1), 0);
	cr_assert_eq(lease_quorum_us(two, 2, 0), 0);
}

/* Against sorting, for all arrangements of four times. */
Test(lease, order_of_the_times_does_not_matter)
{
	for (unsigned n = 0; n < 256; n++) {
		int64_t times[] = {n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3};

		for (size_t q = 1; q <= 4; q++) {
			int64_t found = lease_quorum_us(times, 4, q);
			size_t above = 0, not_below = 0;

			for (size_t i = 0; i < 4; i++) {
				above += times[i] > found;
				not_below += times[i] >= found;
			}
			cr_assert(above < q && not_below >= q, "%u: %zu", n, q);
		}
	}
}
