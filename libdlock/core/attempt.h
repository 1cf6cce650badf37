/*
 * attempt.h - one attempt at a lock: one token, from its first request to the
 * last release.
 *
 * Owns: what each master may know of the token, and the duty to take it away
 * again. An attempt outlives the lock call, and even the lock, until every
 * master that may carry its token has confirmed the release or its lease has
 * ended there for certain. All memory that releasing needs is allocated here,
 * when the attempt begins: giving back can't fail for want of memory.
 *
 * Rules:
 *  1. A token is never used again after its attempt was closed.
 *  2. R goes to every master where the token may be: one that voted, or that has
 *     not answered the last A or E, or answered with an error, or was asked for a
 *     place in its queue. One that has answered each of them with a refusal
 *     carries nothing, and is left alone.
 *  3. R follows A and E on the same connection, so the order holds. After a
 *     reconnect it is sent again; the earlier connection has been killed.
 *  4. The tombstone is the highest proposal + 1 (exclusive attempts).
 *  5. What travels with an exclusive lock (struct cargo) goes with each A, and
 *     with an E to a master that has not confirmed its version, unless it is
 *     under way there already. It is never needed to take a token away.
 *  6. NOSCRIPT: sent again only if the attempt is open and nothing later was
 *     sent for it to that master, RESENT_MAX times in a row at most; a release
 *     is always sent again.
 *  7. What is known of a master is what it has said last by its own clock: answers
 *     and grants come on two connections. A grant counts only if it is later than
 *     the last answer, and an answer that is older than a grant tells nothing.
 *  8. A Y that was under way when its connection ended may be carried out late, unless that connection could be killed,
 *     and take away what was handed over since: such a master has no vote in this attempt any more.
 */
#ifndef DLOCK_ATTEMPT_H
#define DLOCK_ATTEMPT_H

#include "core/effect.h"
#include "core/quorum.h"
#include "token.h"

enum ballot {
	BALLOT_NONE,     /* not asked in this round */
	BALLOT_ASKED,
	BALLOT_YES,
	BALLOT_BUSY,     /* another has it */
	BALLOT_FREE,     /* to P: it could be taken */
	BALLOT_OUTBID,   /* rejected or outbid: a higher proposal may succeed */
	BALLOT_FAILED,   /* no vote: error, skew, epoch, broken, too late */
};

enum release {
	RELEASE_NONE, /* nothing there */
	RELEASE_OWED, /* to be sent as soon as it can be */
	RELEASE_SENT,
	RELEASE_DONE,
};

#define RESENT_MAX 3 /* rule 6, in a row */

/* What travels with an exclusive lock. The bytes are the lock's. */
struct cargo {
	void *bytes;
	size_t size;
	uint64_t version; /* higher with each change, over all attempts of a lock; 0: nothing travels */
};

struct vote {
	enum ballot ballot;
	enum release release;
	bool touched;         /* the token may be there: rule 2 */
	bool there;           /* so said the last answer that tells */
	bool proven;          /* it has been there without a gap since the grant */
	bool doubtful;        /* after a reconnect: the next 1 counts as 3 */
	uint32_t gap_serial;  /* of the attempt's last request when that was last found not to be so */
	uint32_t last_serial; /* of the last request sent */
	uint32_t heard_serial; /* of the last request answered; not of releases */
	uint32_t unanswered;  /* A and E without an answer */
	bool unsure;          /* the connection ended before an A or E was answered */
	bool queued;          /* it may be in the queue there */
	unsigned rank;        /* its place, as last told; 0: none */
	bool yielding;        /* a Y is not answered */
	bool missed;          /* a grant came that could not be judged: rule 7 */
	bool yield_lost;      /* a connection ended before a Y was answered: rule 8 */
	int64_t answered_us;  /* the master's clock with the last answer: rule 7 */
	int64_t granted_us;   /* and with the last grant that counted */
	uint32_t granted_serial; /* of the attempt's last request when that came */
	uint32_t resent;      /* rule 6, in a row */
	uint64_t version;     /* of the cargo, as last confirmed: while the token is there, this one or a later */
	uint64_t offered;     /* of the bytes that are under way; 0: none */
	bool laden;           /* cargo of this token may be there */
	uint32_t yes_serial;  /* of the last E that was answered 1 or 3 */
	uint64_t fence;       /* with BALLOT_YES */
	int64_t until_us;     /* the vote is good until then; 0: no vote */
	uint64_t holder_hash; /* BUSY */
	bool older;           /* BUSY: somebody with an older ticket, or with none, is in the way */
	bool foreign;         /* BUSY: the holder is none of ours */
	int64_t free_at_us;   /* BUSY: when the key there ends; NEVER_US */
	int64_t retry_us;     /* RELEASE_OWED: not before */
};

struct attempt {
	struct attempt *next, **link; /* in the list of closed ones; the shell's */
	struct lock *lock;        /* NULL once closed */
	struct lock *waiter;      /* closed: the lock whose unlock call waits for the releases */
	struct quorum *quorum;
	const char *key;          /* K; lives as long as the attempt */
	size_t key_length;
	char token[TOKEN_MAX];
	uint64_t ticket;          /* by which waiters are ordered */
	enum mode mode;
	enum mode waits_for;      /* as its place in the queue has it, whatever becomes of the mode */
	bool bid;                 /* it has proposed a fence for an exclusive lock */
	uint64_t highest;         /* proposal */
	uint64_t floor;
	uint64_t heir_fence;      /* closed: of who is handed the lock */
	bool granted;             /* some vote was given by a grant, which ends early */
	struct cargo cargo;
	bool laden;               /* some master was ever sent cargo */
	bool closed;
	uint32_t serial;          /* of the last request */
	uint32_t in_flight;       /* requests without an answer, of any kind */
	int64_t ttl_us;           /* how long keys live: ttl + lock_delay */
	int64_t until_us;         /* closed: when the last owed release is given up */
	struct vote votes[];      /* one a master */
};

/* NULL: out of memory. `key` is copied. */
struct attempt *attempt_new(struct quorum *quorum, const char *key, size_t key_length, const char *token,
                            uint64_t ticket, int64_t ttl_us);
void attempt_free(struct attempt *attempt);

/* Rule 8. */
bool attempt_may_count(const struct attempt *attempt, unsigned master);

/* The lock was handed to it with this fence: the tombstone (rule 4) has to be above that, too. */
void attempt_granted(struct attempt *attempt, unsigned master, uint64_t fence);

/* What it proposes next: `wanted`, but never less than before. The median of the clocks may fall when a master is not heard
 * any more, and the tombstone (rule 4) has to be above all that was proposed. */
void attempt_propose(struct attempt *attempt, uint64_t wanted);

/* Anything but a release was answered: what that tells of where the token is (rule 2), and its cargo. False: the answer
 * is older than what is known (rule 7), and says no more. */
bool attempt_voted(struct attempt *attempt, const struct request *request, const struct answer *answer);

/* Ask one master. */
void attempt_send(struct attempt *attempt, struct request request, unsigned master, int64_t now_us,
                  struct effects *effects);

/* Rule 6, for the answer to anything but a release: true if the request was sent again, and its next
 * answer counts instead of this one. To begin the row anew is the caller's: vote.resent. */
bool attempt_resend(struct attempt *attempt, const struct request *request, const struct answer *answer,
                    int64_t now_us, struct effects *effects);

/* A request of an effect did not leave, for want of memory: nothing will answer it. */
void attempt_not_sent(struct attempt *attempt, const struct request *request);

/* Masters that have confirmed the cargo as it is now. */
unsigned attempt_carriers(const struct attempt *attempt);

/* Give the token up everywhere. The attempt is its own from here: see
 * attempt_is_finished(). Who is handed the lock is to have a fence of `above` at least. */
void attempt_close(struct attempt *attempt, uint64_t above, int64_t now_us, struct effects *effects);

/* What a proposal, or the fence of who is next, is to be above all that is known: the median of the clocks now, if that
 * is more. */
uint64_t attempt_next_fence(const struct attempt *attempt, uint64_t above, int64_t now_us);

/* The answer to a release, or any answer of a closed attempt. */
void attempt_answered_closed(struct attempt *attempt, const struct request *request, const struct answer *answer,
                             int64_t now_us, struct effects *effects);

/* Send what is owed to masters that are connected. */
void attempt_tick(struct attempt *attempt, int64_t now_us, struct effects *effects);
int64_t attempt_next_us(const struct attempt *attempt);
/* A master's connection has ended. */
void attempt_disconnected(struct attempt *attempt, unsigned master, int64_t now_us);

/* Nothing is in flight and nothing is owed (any more): may be freed. */
bool attempt_is_finished(const struct attempt *attempt, int64_t now_us);
/* Masters on which the token is certainly not (any more). */
unsigned attempt_released(const struct attempt *attempt);
/* Some release is on its way. */
bool attempt_awaits_release(const struct attempt *attempt, int64_t now_us);

#endif
