/* lease.c - see lease.h. */
#include "core/lease.h"

int64_t lease_drift_us(int64_t span_us)
{
	return span_us / 100 + 2000;
}

int64_t lease_vote_until_us(int64_t sent_us, int64_t ttl_us)
{
	return sent_us + ttl_us - lease_drift_us(ttl_us);
}

int64_t lease_renew_us(int64_t round_us, int64_t ttl_us)
{
	return round_us + ttl_us / 3;
}

int64_t lease_quorum_us(int64_t *times, size_t count, size_t q)
{
	if (q == 0 || count < q)
		return 0;
	/* Select the q largest, one after the other: there are never many. */
	for (size_t i = 0; i < q; i++) {
		size_t largest = i;

		for (size_t j = i + 1; j < count; j++)
			if (times[j] > times[largest])
				largest = j;
		int64_t swap = times[i];

		times[i] = times[largest];
		times[largest] = swap;
	}
	return times[q - 1];
}
