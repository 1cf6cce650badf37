/*
 * lock.pml - the protocol of docs/protocol.md for one lock, as a Promela model.
 *
 * Three masters, two clients. A client makes one or two attempts, each with a
 * token of its own. README.md tells what was left out, and why that is sound;
 * check-model.sh runs all configurations, probes and mutants.
 *
 * Configurations, by -D:
 *   SHARED=m   shared locks, and the conversion of locks in both directions; a bit of m for
 *              each client that begins with a shared one
 *   LATE       CLIENT KILL is not permitted: requests of a closed connection may be
 *              executed at any later time, also after the release
 *   WILD       keys of the client 0 may end at any time, whatever their expiry says: clocks
 *              jump, hands delete. What is left is the proof (dlock_verify) and the order
 *              of the fences
 *   FIRST, SECOND   how many attempts each client makes
 *   PROPOSALS       how many different proposals there are
 *   LOSSES          how often a master may lose its memory
 *   PROBE=n         the probe n is an error: shows how that point is reached
 *   MUTANT_...      one rule is broken
 *
 * The network: whatever was sent for an attempt may be executed at any later time, any
 * number of times, or never. So no message is kept: that it was sent is known from the
 * attempt itself. On one connection the order holds, and the next connection kills
 * the one before: a master that has executed a request of a later stage of an attempt
 * executes none of an earlier one any more (unless LATE).
 *
 * Time: a key ends when nobody counts the vote any more that it was (the client counts
 * from before it sent, and allows for drift); a vote ends at any time.
 *
 * Fences: only their order matters. Proposals are the even numbers 2, 4 ...; a tombstone, the
 * highest proposal + 1, lies between it and the next.
 */
#ifndef STEP
#define STEP atomic
#endif
#define N 3
#define Q 2

#ifndef FIRST
#define FIRST 1
#endif
#ifndef SECOND
#define SECOND 1
#endif
#ifndef PROPOSALS
#define PROPOSALS 2
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef PROBE
#define PROBE 0
#endif
#define ATTEMPTS (FIRST + SECOND)

/* Attempts are numbered from 1; the first client has the lower ones. */
#define CLIENT_OF(a) ((a) > FIRST)
#define OTHER(c) (1 - (c))
#define BIT(i) (1 << (i))

/* ---- rules that a mutant breaks ---- */

#ifdef MUTANT_FEWER_VOTES
#define NEEDED (Q - 1)
#else
#define NEEDED Q
#endif

#if defined(LATE) || defined(MUTANT_UNORDERED)
#define IN_ORDER(a, n, stage) true
#else
#define IN_ORDER(a, n, stage) (AT(a, n) <= (stage))
#endif

/* A repair where the earlier connection could not be killed: only where no later attempt has left its fence. */
#if defined(LATE) && !defined(MUTANT_UNGUARDED_REPAIR)
#define MAY_REPAIR(a, n) (absent[n] || fence[n] <= own[a])
#else
#define MAY_REPAIR(a, n) true
#endif

#ifdef WILD
#define MAY_EXPIRE(a, n) (CLIENT_OF(a) == 0 || !COUNTS(a, n))
#else
#define MAY_EXPIRE(a, n) (!COUNTS(a, n))
#endif

/* ---- the masters ---- */

byte key[N];          /* the attempt that holds the key exclusively; 0: none */
byte readers[N];      /* a bit an attempt that holds it shared */
byte fence[N];        /* the highest accepted; where absent: what "now - S" is at least */
bool absent[N];       /* no fence is stored */
bool quarantined[N];

/* ---- the attempts ---- */

/* How far an attempt has come: what was sent for it last. And per master, what that has executed. */
#define STAGE_NONE 0
#define STAGE_SHARED 1      /* A and E in shared mode */
#define STAGE_EXCLUSIVE 2   /* A and E in exclusive mode */
#define STAGE_SHARED_AGAIN 3 /* E in shared mode: converted down, or a conversion undone */
#define STAGE_RELEASED 4    /* R */
#define STAGE_VOID 5        /* per master: it lost its memory, and refuses by its epoch what was sent before */

byte stage[ATTEMPTS + 1];
byte executed[(ATTEMPTS + 1) * N];
byte bid[ATTEMPTS + 1];     /* the highest proposal for an exclusive lock; all below may have been sent before */
byte own[ATTEMPTS + 1];     /* the fence that it was held with; 0: it was not, so no E was ever sent */
#ifdef SHARED
byte ask[ATTEMPTS + 1];     /* the proposal of a reader that has not been granted yet */
byte floor[ATTEMPTS + 1];   /* the fence that a reader has asked for at least */
bool read[ATTEMPTS + 1];    /* it began shared, and was held: E in shared mode was sent */
#endif
#ifdef MUTANT_TOKEN_REUSED
bool reused[ATTEMPTS + 1];
#endif

#define AT(a, n) executed[(a) * N + (n)]

/* ---- the clients ---- */

mtype = { IDLE, TRY_EXCLUSIVE, TRY_SHARED, HELD_EXCLUSIVE, HELD_SHARED, CONVERTING };

mtype state[2];
byte current[2];            /* the open attempt */
byte begun[2];              /* attempts so far */
byte vote[2 * N];           /* 0: none that counts. Else its fence; while held ALIVE, or CONVERTED */
#ifdef SHARED
byte seen[2];               /* the largest fence that a reader was told */
#endif

#define VOTE(c, n) vote[(c) * N + (n)]
#define ALIVE 1
#define CONVERTED 2         /* is also a vote for the exclusive lock that is to be */
#define LIVE(c) ((VOTE(c, 0) > 0) + (VOTE(c, 1) > 0) + (VOTE(c, 2) > 0))
#define EQUAL(c, f) ((VOTE(c, 0) == (f)) + (VOTE(c, 1) == (f)) + (VOTE(c, 2) == (f)))
#define COUNTS(a, n) (current[CLIENT_OF(a)] == (a) && VOTE(CLIENT_OF(a), n) > 0)

#ifdef MUTANT_REVIVED
#define ENOUGH(c) (LIVE(c) >= Q)
#else
#define ENOUGH(c) true      /* a client that has too few is not in these states any more */
#endif
#define HOLDS_EXCLUSIVE(c) (state[c] == HELD_EXCLUSIVE && ENOUGH(c))
#define HOLDS_SHARED(c) ((state[c] == HELD_SHARED || state[c] == CONVERTING) && ENOUGH(c))

/* ---- what the assertions need to remember ---- */

byte losses = LOSSES;
byte highest;               /* the highest fence that was ever accepted anywhere */
byte newest;                /* the highest fencing token that was ever claimed: 2F, 2F + 1 */
#ifdef SHARED
byte newest_exclusive;      /* the same of exclusive claims: two readers need no order among them */
#endif
#ifdef WILD
byte before[2];             /* `newest` when the attempt began */
/* The client 0 renews, and proves: a bit a master. The other one only takes, and gives back. */
byte proven, answered, mended, doubtful;
bool overtaken;             /* another has claimed with a higher fence */
bool overtaken_before;      /* the same, when the round began */
#endif

#define TOKEN_EXCLUSIVE(f) (2 * (f))
#define TOKEN_SHARED(f) (2 * (f) + 1)

/* Points that must be reached, or the model shows nothing. pan lists what it did not reach. */
#define PROBE_SUCCESSION 1
#define PROBE_REPAIRED 2
#define PROBE_VOTED_AGAIN 3
#define PROBE_LATE 4
#define PROBE_OUTBID 5
#define PROBE_LOST 6
#define PROBE_READERS 7
#define PROBE_CONVERTED_UP 8
#define PROBE_CONVERTED_DOWN 9
#define PROBE_UNDONE 10
#define PROBE_FLOOR 11
#define PROBE_PROVEN 12
#define PROBE_UNPROVEN 13
#define PROBE_FORGOTTEN 14
#define PROBE_SECOND_ATTEMPT 15
#define PROBE_PROMOTED 16
hidden byte probed; /* (pan does not list assert() among what it has not reached) */
inline reach(probe) { assert(PROBE != probe); probed = probe }

/* ---- a client's decisions ---- */

inline forget_votes(c) { VOTE(c, 0) = 0; VOTE(c, 1) = 0; VOTE(c, 2) = 0 }

/* R is under way to all masters. */
inline close(c)
{
	stage[current[c]] = STAGE_RELEASED;
	current[c] = 0;
	state[c] = IDLE;
	forget_votes(c);
#ifdef SHARED
	seen[c] = 0;
#endif
#ifdef WILD
	before[c] = 0;
	if
	:: c == 0 -> proven = 0; answered = 0; mended = 0; doubtful = 0; overtaken = false; overtaken_before = false
	:: else
	fi
#endif
}

/* A new token for each attempt: rule 1 of attempt.h. */
inline begin(c)
{
#ifdef MUTANT_TOKEN_REUSED
	current[c] = 1 + c * FIRST;
	if :: begun[c] > 0 -> reused[current[c]] = true :: else fi;
#else
	current[c] = 1 + c * FIRST + begun[c];
#endif
	if :: begun[c] > 0 -> reach(PROBE_SECOND_ATTEMPT) :: else fi;
	begun[c]++;
#ifndef MUTANT_QUARANTINE_IGNORED
	/* A master in quarantine is not asked. */
	if :: quarantined[0] -> AT(current[c], 0) = STAGE_VOID :: else fi;
	if :: quarantined[1] -> AT(current[c], 1) = STAGE_VOID :: else fi;
#endif
#ifdef WILD
	before[c] = newest;
#endif
}

/* Any proposal above the one before: clients' clocks and what they have seen may differ. */
inline draw(p, above)
{
	if
	:: above < 2 -> p = 2
#if PROPOSALS > 1
	:: above < 4 -> p = 4
#endif
#if PROPOSALS > 2
	:: above < 6 -> p = 6
#endif
	fi
}
#define CAN_DRAW(above) ((above) < 2 * PROPOSALS)

/* The lock is granted: nobody may have it beside us, and no later claim may have a smaller token. */
inline granted(c, token)
{
#ifdef WILD
	assert(token > before[c]);
	if
	:: c == 1 && state[0] == HELD_EXCLUSIVE && token > TOKEN_EXCLUSIVE(own[current[0]]) -> overtaken = true
	:: else
	fi;
#else
	assert(!HOLDS_EXCLUSIVE(OTHER(c)));
#ifdef SHARED
	if
	:: token % 2 == 1 ->
		assert(token > newest_exclusive);
		if :: HOLDS_SHARED(OTHER(c)) -> reach(PROBE_READERS) :: else fi
	:: else ->
		assert(!HOLDS_SHARED(OTHER(c)));
		assert(token > newest)
	fi;
#else
	assert(token > newest);
#endif
#endif
	if :: newest > 0 && begun[OTHER(c)] > 0 -> reach(PROBE_SUCCESSION) :: else fi;
	if :: token > newest -> newest = token :: else fi;
#ifdef SHARED
	if :: token % 2 == 0 -> newest_exclusive = token :: else fi
#endif
}

/* A claim needs q live votes with the same fence: rule 1 of lock.h. */
#ifdef MUTANT_MAXIMUM
#define LARGEST(x, y, z) ((x) >= (y) && (x) >= (z) -> (x) : ((y) >= (z) -> (y) : (z)))
#define AGREED(c, f) (LIVE(c) >= NEEDED && (f) == LARGEST(VOTE(c, 0), VOTE(c, 1), VOTE(c, 2)))
#define CARRIES(c, n, f) (VOTE(c, n) > 0)
#else
#define AGREED(c, f) (EQUAL(c, f) >= NEEDED)
#define CARRIES(c, n, f) (VOTE(c, n) == (f))
#endif

/* From here on the votes are only alive or not. */
inline hold(c, f)
{
	own[current[c]] = f;
	VOTE(c, 0) = (CARRIES(c, 0, own[current[c]]) -> ALIVE : 0);
	VOTE(c, 1) = (CARRIES(c, 1, own[current[c]]) -> ALIVE : 0);
	VOTE(c, 2) = (CARRIES(c, 2, own[current[c]]) -> ALIVE : 0)
}

inline claim_exclusive(c)
{
	granted(c, TOKEN_EXCLUSIVE(bid[current[c]]));
	if :: bid[current[c]] > 2 -> reach(PROBE_OUTBID) :: else fi;
	hold(c, bid[current[c]]);
#ifdef WILD
	if :: c == 0 -> forget_votes(c) :: else fi;
#endif
	state[c] = HELD_EXCLUSIVE
}

inline claim_shared(c, f)
{
	granted(c, TOKEN_SHARED(f));
	if :: floor[current[c]] > 0 -> reach(PROBE_FLOOR) :: else fi;
	hold(c, f);
	/* From here on a late A does what a late E does. */
	read[current[c]] = true;
	ask[current[c]] = 0; floor[current[c]] = 0; seen[c] = 0;
	state[c] = HELD_SHARED
}

/* Votes that were only shared keep no other reader out: they count no more. */
inline convert_up(c)
{
	granted(c, TOKEN_EXCLUSIVE(bid[current[c]]));
	own[current[c]] = bid[current[c]];
#ifdef MUTANT_SHARED_VOTES_KEPT
	VOTE(c, 0) = (VOTE(c, 0) > 0 -> ALIVE : 0);
	VOTE(c, 1) = (VOTE(c, 1) > 0 -> ALIVE : 0);
	VOTE(c, 2) = (VOTE(c, 2) > 0 -> ALIVE : 0);
#else
	VOTE(c, 0) = (VOTE(c, 0) == CONVERTED -> ALIVE : 0);
	VOTE(c, 1) = (VOTE(c, 1) == CONVERTED -> ALIVE : 0);
	VOTE(c, 2) = (VOTE(c, 2) == CONVERTED -> ALIVE : 0);
#endif
	state[c] = HELD_EXCLUSIVE;
	reach(PROBE_CONVERTED_UP)
}

inline unconvert(c)
{
	VOTE(c, 0) = (VOTE(c, 0) > 0 -> ALIVE : 0);
	VOTE(c, 1) = (VOTE(c, 1) > 0 -> ALIVE : 0);
	VOTE(c, 2) = (VOTE(c, 2) > 0 -> ALIVE : 0)
}

/* Clients are alike: where they make as many attempts, the first to begin is 0. */
#ifdef SHARED
#define READER(c) ((SHARED >> (c)) & 1)
#else
#define READER(c) false
#endif
#define ALIKE (FIRST == SECOND && READER(0) == READER(1))
#define MAY_BEGIN(c) (begun[c] < (c == 0 -> FIRST : SECOND) && (!ALIKE || c == 0 || begun[0] > 0))

/* What happens once both are done shows nothing that can't happen just before the last one ends. */
#define BUSY (state[0] != IDLE || state[1] != IDLE || begun[0] < FIRST || begun[1] < SECOND)

proctype Client(byte c)
{
	byte p = 0;

end:	do
	:: atomic { state[c] == IDLE && MAY_BEGIN(c) ->
		begin(c);
#ifdef SHARED
		if
		:: !READER(c) ->
			bid[current[c]] = 2;
			stage[current[c]] = STAGE_EXCLUSIVE;
			state[c] = TRY_EXCLUSIVE
		:: READER(c) ->
			draw(p, 0);
			ask[current[c]] = p;
			stage[current[c]] = STAGE_SHARED;
			state[c] = TRY_SHARED
		fi;
#else
		bid[current[c]] = 2;
		stage[current[c]] = STAGE_EXCLUSIVE;
		state[c] = TRY_EXCLUSIVE;
#endif
		p = 0 }
	/* Propose again: the votes before count no more. */
	:: atomic { state[c] == TRY_EXCLUSIVE && CAN_DRAW(bid[current[c]]) ->
		draw(p, bid[current[c]]);
		bid[current[c]] = p;
#ifndef MUTANT_MAXIMUM
		forget_votes(c);
#endif
		p = 0 }
	:: atomic { state[c] == TRY_EXCLUSIVE && AGREED(c, bid[current[c]]) ->
		claim_exclusive(c) }
	/* Unlock, time-out, close: at any time. */
	:: atomic { state[c] != IDLE ->
		close(c) }
#ifdef WILD
	/* A renewal round: E is under way to all masters. */
	:: atomic { c == 0 && state[0] == HELD_EXCLUSIVE && (answered != 0 || mended != 0 || overtaken_before != overtaken) ->
		answered = 0;
		mended = 0;
		overtaken_before = overtaken }
#endif
#ifdef SHARED
	:: atomic { state[c] == TRY_SHARED && seen[c] > floor[current[c]] ->
		floor[current[c]] = seen[c];
		forget_votes(c) }
	:: atomic { state[c] == TRY_SHARED && VOTE(c, 0) > 0 && AGREED(c, VOTE(c, 0)) ->
		claim_shared(c, VOTE(c, 0)) }
	:: atomic { state[c] == TRY_SHARED && VOTE(c, 1) > 0 && AGREED(c, VOTE(c, 1)) ->
		claim_shared(c, VOTE(c, 1)) }
	:: atomic { state[c] == HELD_SHARED && stage[current[c]] == STAGE_SHARED && CAN_DRAW(own[current[c]]) ->
		draw(p, own[current[c]]);
		bid[current[c]] = p;
		stage[current[c]] = STAGE_EXCLUSIVE;
		state[c] = CONVERTING;
		p = 0 }
	:: atomic { state[c] == CONVERTING && CAN_DRAW(bid[current[c]]) ->
		draw(p, bid[current[c]]);
		bid[current[c]] = p;
		unconvert(c);
		p = 0 }
	:: atomic { state[c] == CONVERTING && EQUAL(c, CONVERTED) >= NEEDED ->
		convert_up(c) }
	:: atomic { state[c] == CONVERTING ->
		unconvert(c);
		stage[current[c]] = STAGE_SHARED_AGAIN;
		state[c] = HELD_SHARED;
		reach(PROBE_UNDONE) }
	:: atomic { state[c] == HELD_EXCLUSIVE ->
		stage[current[c]] = STAGE_SHARED_AGAIN;
		state[c] = HELD_SHARED;
		reach(PROBE_CONVERTED_DOWN) }
#endif
	od
}

/* ---- what a master does with an attempt's requests ---- */

#define FREE(n) (key[n] == 0 && readers[n] == 0)
#ifdef MUTANT_READERS_IGNORED
#define ALONE(a, n) ((readers[n] & BIT(a)) != 0)
#else
#define ALONE(a, n) (readers[n] == BIT(a))
#endif
#define HAS(a, n) (key[n] == (a) || (readers[n] & BIT(a)) != 0)

/* Requests of stage s were sent, and this master may execute one now. */
#ifdef MUTANT_QUARANTINE_IGNORED
#define MAY_VOTE(n) true
#else
#define MAY_VOTE(n) (!quarantined[n])
#endif
#define ARRIVES(a, n, s) (stage[a] >= (s) && MAY_VOTE(n) && AT(a, n) != STAGE_VOID && IN_ORDER(a, n, s))

/* What was executed is noted only where it keeps something out: an attempt that began exclusive, or that
 * goes on in any order, has nothing earlier. */
inline advance(a, n, s)
{
#if defined(SHARED) && !defined(LATE)
	if
	:: AT(a, n) < s && s > STAGE_SHARED && (s == STAGE_SHARED_AGAIN || read[a]) -> AT(a, n) = s
	:: else
	fi
#else
	skip
#endif
}

/* A token that this master has released must never come back. */
inline accepted(a, n, s)
{
	assert(AT(a, n) != STAGE_RELEASED);
	if :: stage[a] == STAGE_RELEASED -> reach(PROBE_LATE) :: else fi;
	if :: LOSSES > 0 && losses < LOSSES && n == 0 && LIVE(CLIENT_OF(a)) > 0 -> reach(PROBE_VOTED_AGAIN) :: else fi;
	advance(a, n, s)
}

inline remember(f) { if :: f > highest && losses > 0 -> highest = f :: else fi }

/* The master's raise(). */
inline raise(n, f)
{
	if :: absent[n] || f > fence[n] -> fence[n] = f; absent[n] = false :: else fi;
	remember(f)
}

/* A in exclusive mode. Only answers to the last proposal count. */
#ifdef MUTANT_MAXIMUM
#define LAST_BID(a, p) true
#else
#define LAST_BID(a, p) (bid[a] == (p))
#endif
#ifdef WILD
#define KEEPS_VOTES(c) ((c) == 1)    /* what client 0 counts is worth nothing here */
#else
#define KEEPS_VOTES(c) true
#endif
#define WANTS_VOTE(a, n, p) (current[CLIENT_OF(a)] == (a) && LAST_BID(a, p) && \
	((state[CLIENT_OF(a)] == TRY_EXCLUSIVE && VOTE(CLIENT_OF(a), n) != (p)) || \
	 (state[CLIENT_OF(a)] == HELD_EXCLUSIVE && VOTE(CLIENT_OF(a), n) == 0 && KEEPS_VOTES(CLIENT_OF(a))) || \
	 (state[CLIENT_OF(a)] == CONVERTING && VOTE(CLIENT_OF(a), n) != CONVERTED)))
#define ACCEPTS(a, n, p) ((FREE(n) || ALONE(a, n) || key[n] == (a)) && \
	((p) > fence[n] || (key[n] == (a) && (p) == fence[n] && WANTS_VOTE(a, n, p))))

inline acquire_exclusive(a, n, p)
{
	accepted(a, n, STAGE_EXCLUSIVE);
	key[n] = a;
	readers[n] = 0;
	raise(n, p);
	if
	:: WANTS_VOTE(a, n, p) ->
		VOTE(CLIENT_OF(a), n) = (state[CLIENT_OF(a)] == TRY_EXCLUSIVE -> p :
			(state[CLIENT_OF(a)] == CONVERTING -> CONVERTED : ALIVE));
#ifdef WILD
		if
		:: CLIENT_OF(a) == 0 ->
			proven = proven | BIT(n);
			doubtful = doubtful & ~BIT(n)
		:: else
		fi
#endif
	:: else
	fi
}

/* E reaches the vote of a client that holds the lock in this mode. Whoever is confirmed is the newest. */
inline extended(a, n, mode)
{
	if
	:: current[CLIENT_OF(a)] == a && (state[CLIENT_OF(a)] == mode ||
			(mode == HELD_SHARED && state[CLIENT_OF(a)] == CONVERTING && VOTE(CLIENT_OF(a), n) == 0)) ->
		VOTE(CLIENT_OF(a), n) = ALIVE;
#ifndef WILD
		assert(!HOLDS_EXCLUSIVE(CLIENT_OF(a)) || TOKEN_EXCLUSIVE(own[a]) >= newest)
#endif
	:: else
	fi
}

inline repaired(a, n, s)
{
	accepted(a, n, s);
	/* (After a conversion a late E carries the fence of before, which raises less: nothing here.) */
	if :: s != STAGE_SHARED || own[a] != bid[a] -> raise(n, own[a]) :: else fi;
	reach(PROBE_REPAIRED)
}

#ifdef WILD
#define PROVES(a) (current[0] == (a) && state[0] == HELD_EXCLUSIVE)
#define WAS_EXCLUSIVE(a) (own[a] > 0 && stage[a] == STAGE_RELEASED && CLIENT_OF(a) == 0)
#else
#define WAS_EXCLUSIVE(a) (own[a] > 0 && own[a] == bid[a])
#endif
#define EXTENDS_EXCLUSIVE(a, n) (WAS_EXCLUSIVE(a) && \
	((key[n] == (a) && current[CLIENT_OF(a)] == (a) && VOTE(CLIENT_OF(a), n) == 0) || \
	 ((FREE(n) || ALONE(a, n)) && MAY_REPAIR(a, n))))

inline extend_exclusive(a, n)
{
	if
	:: key[n] != a ->
		repaired(a, n, STAGE_EXCLUSIVE);
		key[n] = a;
		readers[n] = 0
	:: else
	fi;
	extended(a, n, HELD_EXCLUSIVE)
}

#ifdef WILD
/* How a round stands after an answer: a majority has vouched that never lost the key. */
#define BITS(x) (((x) & 1) + (((x) >> 1) & 1) + (((x) >> 2) & 1))

/* A majority of unbroken ones vouches for what was repaired before the round, and for nothing that came after. */
inline judge()
{
	if
	:: BITS(answered & proven) >= Q ->
		assert(!overtaken_before);
		reach(PROBE_PROVEN);
		if :: (answered & ~mended & ~proven) != 0 -> reach(PROBE_PROMOTED) :: else fi;
		proven = proven | (answered & ~mended)
	:: else
	fi
}

inline gap(n)
{
	proven = proven & ~BIT(n);
	answered = answered | BIT(n);
#ifndef MUTANT_PROMOTED_AT_ONCE
	mended = mended | BIT(n)
#endif
}

/* E: a key that is there is vouched for, one that is gone is set again. If the answer is lost the connection has
 * ended, and the next 1 is no proof. */
inline extend_unanswered(a, n)
{
	doubtful = doubtful | BIT(n);
	if
	:: key[n] == 0 ->
		repaired(a, n, STAGE_EXCLUSIVE);
		key[n] = a
	:: else
	fi
}

inline extend_answered(a, n)
{
	if
	:: key[n] == a ->
#ifdef MUTANT_NO_DOUBT
		answered = answered | BIT(n);
#else
		if :: doubtful & BIT(n) -> gap(n) :: else -> answered = answered | BIT(n) fi;
#endif
#ifdef MUTANT_PROVEN_AT_ONCE
		if :: !(doubtful & BIT(n)) -> proven = proven | BIT(n) :: else fi;
#endif
		doubtful = doubtful & ~BIT(n);
		judge()
	:: key[n] == 0 ->
		repaired(a, n, STAGE_EXCLUSIVE);
		key[n] = a;
		doubtful = doubtful & ~BIT(n);
#ifdef MUTANT_REPAIR_PROVES
		answered = answered | BIT(n);
#else
		gap(n);
#endif
		judge()
	:: else -> /* another has it */
		proven = proven & ~BIT(n);
		answered = answered & ~BIT(n);
		reach(PROBE_UNPROVEN)
	fi
}
#endif

#ifdef SHARED
#define MAX(x, y) ((x) > (y) -> (x) : (y))
/* What a reader is told: an absent fence counts as its proposal, but not less than "now - S". */
#define READ_FENCE(a, n) MAX(floor[a], (absent[n] -> MAX(ask[a], fence[n]) : fence[n]))
#define WANTS_READ(a, n) (current[CLIENT_OF(a)] == (a) && state[CLIENT_OF(a)] == TRY_SHARED)
#define WAS_READER(a) (ask[a] > 0)

inline acquire_shared(a, n, g)
{
	accepted(a, n, STAGE_SHARED);
	g = READ_FENCE(a, n);
	key[n] = 0;
	readers[n] = readers[n] | BIT(a);
#ifndef MUTANT_READ_UNSTORED
	raise(n, g);
#endif
	if
	:: WANTS_READ(a, n) ->
		VOTE(CLIENT_OF(a), n) = g;
		if :: g > seen[CLIENT_OF(a)] -> seen[CLIENT_OF(a)] = g :: else fi
	:: else
	fi;
	g = 0
}

/* E in shared mode: converts an exclusive key, and repairs beside other readers. */
#define EXTENDS_SHARED(a, n) (own[a] > 0 && (key[n] == 0 || key[n] == (a)) && \
	((readers[n] & BIT(a)) == 0 || (current[CLIENT_OF(a)] == (a) && VOTE(CLIENT_OF(a), n) == 0)) && \
	(HAS(a, n) || MAY_REPAIR(a, n)))

inline extend_shared(a, n, s)
{
	if
	:: !HAS(a, n) -> repaired(a, n, s)
	:: else -> advance(a, n, s)
	fi;
	key[n] = 0;
	readers[n] = readers[n] | BIT(a);
	extended(a, n, HELD_SHARED)
}
#endif

/* R. The tombstone refuses what may still come. */
inline release(a, n)
{
	if :: key[n] == a -> key[n] = 0 :: else fi;
	readers[n] = readers[n] & ~BIT(a);
#ifdef MUTANT_NO_TOMBSTONE
	skip;
#elif defined(MUTANT_LOW_TOMBSTONE)
	if :: bid[a] > 0 -> raise(n, bid[a] + 1) :: else fi;
#else
	/* Where no fence is stored, "now - S" counts: the tombstone must not be less than that. While the master is
	 * quarantined even that is not certain to be above all; but nothing late can come there, so none is needed. */
	if
	:: bid[a] > 0 && !absent[n] -> raise(n, bid[a] + 1)
	:: bid[a] > 0 && absent[n] && !quarantined[n] ->
		if :: bid[a] + 1 > fence[n] -> raise(n, bid[a] + 1) :: else -> absent[n] = false fi
	:: else
	fi;
#endif
	if :: AT(a, n) < STAGE_RELEASED -> AT(a, n) = STAGE_RELEASED :: else fi;
#if !defined(LATE) && !defined(MUTANT_UNORDERED) && !defined(MUTANT_TOKEN_REUSED)
	/* Nothing of it can come any more but R. */
	if
	:: AT(a, 0) >= STAGE_RELEASED && AT(a, 1) >= STAGE_RELEASED && AT(a, 2) >= STAGE_RELEASED ->
		own[a] = 0;
#ifdef SHARED
		ask[a] = 0; floor[a] = 0; read[a] = false
#endif
	:: else
	fi
#endif
}

#ifdef MUTANT_TOKEN_REUSED
#define RELEASES(a) (stage[a] == STAGE_RELEASED || reused[a])
#else
#define RELEASES(a) (stage[a] == STAGE_RELEASED)
#endif

/* A vote ends: with too few the lock is lost, for good. */
inline vote_ends(a, n, c)
{
	VOTE(c, n) = 0;
#if !defined(MUTANT_NO_DEADLINE) && !defined(MUTANT_REVIVED)
	if
	:: (state[c] == HELD_EXCLUSIVE || state[c] == HELD_SHARED || state[c] == CONVERTING) && LIVE(c) < Q ->
		close(c);
		reach(PROBE_LOST)
	:: else
	fi
#endif
}

/* Everything between one attempt and one master. */
proctype Path(byte a; byte n) provided (BUSY)
{
	byte g = 0;

end:	do
	:: STEP { ARRIVES(a, n, STAGE_EXCLUSIVE) && bid[a] >= 2 && ACCEPTS(a, n, 2) ->
		acquire_exclusive(a, n, 2) }
#if PROPOSALS > 1
	:: STEP { ARRIVES(a, n, STAGE_EXCLUSIVE) && bid[a] >= 4 && ACCEPTS(a, n, 4) ->
		acquire_exclusive(a, n, 4) }
#endif
#if PROPOSALS > 2
	:: STEP { ARRIVES(a, n, STAGE_EXCLUSIVE) && bid[a] >= 6 && ACCEPTS(a, n, 6) ->
		acquire_exclusive(a, n, 6) }
#endif
#ifdef WILD
	:: STEP { PROVES(a) && (key[n] == 0 || (key[n] == a && (doubtful & BIT(n)) == 0)) ->
		extend_unanswered(a, n) }
	:: STEP { PROVES(a) && (key[n] != a || (doubtful & BIT(n)) != 0 || (answered & BIT(n)) == 0) &&
			(key[n] == 0 || key[n] == a || ((proven | answered) & BIT(n)) != 0) ->
		extend_answered(a, n) }
#endif
	:: STEP { ARRIVES(a, n, STAGE_EXCLUSIVE) && EXTENDS_EXCLUSIVE(a, n) ->
		extend_exclusive(a, n) }
#ifdef SHARED
	:: STEP { ARRIVES(a, n, STAGE_SHARED) && WAS_READER(a) && (key[n] == 0 || key[n] == a) &&
			((readers[n] & BIT(a)) == 0 || (WANTS_READ(a, n) && VOTE(CLIENT_OF(a), n) != READ_FENCE(a, n))) ->
		acquire_shared(a, n, g) }
	:: STEP { ARRIVES(a, n, STAGE_SHARED) && read[a] && EXTENDS_SHARED(a, n) ->
		extend_shared(a, n, STAGE_SHARED) }
	:: STEP { ARRIVES(a, n, STAGE_SHARED_AGAIN) && EXTENDS_SHARED(a, n) ->
		extend_shared(a, n, STAGE_SHARED_AGAIN) }
#endif
	:: STEP { RELEASES(a) ->
		release(a, n) }
	/* The key ends. */
	:: STEP { key[n] == a && MAY_EXPIRE(a, n) ->
		key[n] = 0 }
#ifdef SHARED
	:: STEP { (readers[n] & BIT(a)) != 0 && MAY_EXPIRE(a, n) ->
		readers[n] = readers[n] & ~BIT(a) }
#endif
	:: STEP { COUNTS(a, n) && KEEPS_VOTES(CLIENT_OF(a)) ->
		vote_ends(a, n, CLIENT_OF(a)) }
	od
}

/* ---- amnesia ---- */

/* What was sent before is refused by its epoch from now on. */
inline forget(a, n)
{
#ifdef MUTANT_NO_EPOCH
	skip
#else
	if :: stage[a] != STAGE_NONE -> AT(a, n) = STAGE_VOID :: else fi
#endif
}

/* A client with an open attempt may ask anew, once the master votes again. */
inline ask_anew(a, n)
{
	if :: AT(a, n) == STAGE_VOID && stage[a] != STAGE_RELEASED -> AT(a, n) = stage[a] :: else fi
}

inline ask_again(n)
{
	ask_anew(1, n); ask_anew(2, n);
#if ATTEMPTS > 2
	ask_anew(3, n);
#endif
#if ATTEMPTS > 3
	ask_anew(4, n);
#endif
}

inline lose_memory(n)
{
	losses--;
	key[n] = 0;
	readers[n] = 0;
	/* When it votes again "now - S" is above all that was accepted anywhere before it forgot; no more is certain. */
#ifdef MUTANT_NO_FLOOR
	fence[n] = 0;
#else
	fence[n] = highest;
#endif
	absent[n] = true;
	if :: losses == 0 -> highest = 0 :: else fi;
	forget(1, n); forget(2, n);
#if ATTEMPTS > 2
	forget(3, n);
#endif
#if ATTEMPTS > 3
	forget(4, n);
#endif
#ifdef MUTANT_NO_QUARANTINE
	ask_again(n);
#else
	quarantined[n] = true;
#ifdef MUTANT_QUARANTINE_IGNORED
	ask_again(n);
#endif
#endif
	reach(PROBE_FORGOTTEN)
}

/* The masters are alike: without loss of generality the first to forget is 0, the next 0 or 1. */
proctype Master(byte n) provided (BUSY)
{
end:	do
	:: atomic { losses > 0 && n <= LOSSES - losses && !quarantined[n] ->
		lose_memory(n) }
	/* It lasts until every vote that it gave has ended. */
	:: atomic { quarantined[n] && VOTE(0, n) == 0 && VOTE(1, n) == 0 ->
		ask_again(n);
		quarantined[n] = false }
	od
}

init {
	atomic {
		state[0] = IDLE; state[1] = IDLE;
		absent[0] = true; absent[1] = true; absent[2] = true;
		run Client(0); run Client(1);
#if LOSSES > 0
		run Master(0);
#endif
#if LOSSES > 1
		run Master(1);
#endif
		run Path(1, 0); run Path(1, 1); run Path(1, 2);
		run Path(2, 0); run Path(2, 1); run Path(2, 2);
#if ATTEMPTS > 2
		run Path(3, 0); run Path(3, 1); run Path(3, 2);
#endif
#if ATTEMPTS > 3
		run Path(4, 0); run Path(4, 1); run Path(4, 2);
#endif
	}
}
