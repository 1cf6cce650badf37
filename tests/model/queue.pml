/*
 * queue.pml - the queue of docs/protocol.md for one lock, as a Promela model.
 *
 * Three masters, two or three attempts, in the order of their tickets: the lower number waits
 * longer. README.md tells what was left out, and why nothing is lost by that.
 *
 * Configurations, by -D:
 *   ATTEMPTS=n      how many attempts there are, each of a client of its own
 *   AGAIN           the last attempt is the second one of the client of attempt 1
 *   HELD            the last attempt has the lock already
 *   SHARED=m        a bit an attempt that reads: 1 for attempt 1, 2, 4
 *   NB=m            a bit an attempt that never queues
 *   LATE            CLIENT KILL is not permitted: requests of a closed connection may be
 *                   executed at any later time
 *   PROPOSALS=n     how many proposals an attempt makes at most
 *   TOP=n           no hand-over goes beyond this fence
 *   YIELDS=n        how many votes are yielded
 *   FAULTS=n        how often something ends before it was given back: an attempt without the lock, a vote, a
 *                   key, a Y that was under way; without it, as often as it likes
 *   LOSSES=n        how often a master may lose its memory
 *   CALM            clients follow the rules to the letter and messages arrive, but for FAULTS
 *                   of them: what is checked is that everybody gets the lock, and in their order
 *   IN_TURN         CALM: of faults only that a holder dies; whoever began while another waited in the
 *                   queue of a majority must not get the lock before
 *   TOGETHER        CALM: all begin at the same moment
 *   UNSORTED        masters keep their places: for reading counter-examples
 *   PROBE=n         the probe n is an error: shows how that point is reached
 *   MUTANT_...      one rule is broken
 *
 * The network: what was sent for an attempt may be executed at any later time, or never, in order on
 * one connection. A grant comes over another connection: at any time, any number of
 * times, or never. It is kept until its master's clock makes it worthless: when the key has ended, or an
 * answer has told something later.
 *
 * Time: a key ends when nobody counts the vote any more that it was; a vote ends at any time.
 */
#define N 3
#define Q 2

#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef SHARED
#define SHARED 0
#endif
#ifndef NB
#define NB 0
#endif
#ifndef PROPOSALS
#define PROPOSALS 2
#endif
#ifndef TOP
#define TOP 4
#endif
#ifndef YIELDS
#define YIELDS 1
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef PROBE
#define PROBE 0
#endif

#define BIT(a) (1 << ((a) - 1))
#define READER(a) ((SHARED & BIT(a)) != 0)
#define QUEUES(a) ((NB & BIT(a)) == 0)
#define MAX(x, y) ((x) > (y) -> (x) : (y))

/* ---- rules that a mutant breaks ---- */

#ifdef MUTANT_FEWER_VOTES
#define NEEDED (Q - 1)
#else
#define NEEDED Q
#endif

/* Grants that come while a Y is unanswered are ignored. */
#ifdef MUTANT_UNANSWERED
#define MAY_COUNT(a, n) true
#else
#define MAY_COUNT(a, n) (YIELDING(a, n) == NOTHING)
#endif

/* A repair where the earlier connection could not be killed: only where no later attempt has left its fence. */
#ifdef LATE
#define MAY_REPAIR(a, n) (fence[n] <= own[a])
#else
#define MAY_REPAIR(a, n) true
#endif

/* A grant for a closed attempt is ignored, and so is what an answer has made old. */
#ifdef MUTANT_CLOSED_GRANT
#define KEEPS_CLOSED(a) (state[a] == CLOSED)
#else
#define KEEPS_CLOSED(a) false
#endif
#ifdef MUTANT_STALE
#define KEEPS_STALE true
#else
#define KEEPS_STALE false
#endif

#ifdef MUTANT_YIELDS_TO_ANYBODY
#define YOUNGER_THAN(a) 9
#else
#define YOUNGER_THAN(a) (a)
#endif

/* Who must not vote hands over nothing. */
#ifdef MUTANT_QUARANTINED
#define HANDS_OVER(n) true
#else
#define HANDS_OVER(n) (!quarantined[n])
#endif

/* ---- the masters ---- */

byte key[N];            /* the attempt that holds the key exclusively; 0: none */
byte readers[N];        /* a bit an attempt that holds it shared */
byte fence[N];          /* the highest accepted; where none is stored, what "now - S" is at least */
byte queue[N];          /* a bit an attempt that waits: the lowest is the head */
bool quarantined[N];

#define HEAD(n) ((queue[n] & 1) -> 1 : ((queue[n] & 2) -> 2 : ((queue[n] & 4) -> 3 : 9)))
#define FREE(n) (key[n] == 0 && readers[n] == 0)
#define MINE(a, n) (key[n] == (a) || (readers[n] & BIT(a)) != 0)

/* ---- the attempts ---- */

mtype = { UNBORN, WAITS, HOLDS, CLOSED, DEAD, DEAD_HOST };

mtype state[ATTEMPTS + 1];
byte bid[ATTEMPTS + 1];       /* the highest proposal; of a reader, the fence that it asks for at least */
byte own[ATTEMPTS + 1];       /* the fence that it was held with; 0: it was not, so no E was ever sent */
byte vote[(ATTEMPTS + 1) * N];     /* 0: none that counts. Else its fence; while held, ALIVE */
byte grant[(ATTEMPTS + 1) * N];    /* the fence of a grant that may still come, and is worth something then */
byte yielding[(ATTEMPTS + 1) * N]; /* what has become of the Y that was sent */
byte passed[(ATTEMPTS + 1) * N];   /* what this master does not execute any more of it */

#define AT(a, n) ((a) * N + (n))
#define VOTE(a, n) vote[AT(a, n)]
#define GRANT(a, n) grant[AT(a, n)]
#define YIELDING(a, n) yielding[AT(a, n)]
#define PASSED(a, n) passed[AT(a, n)]

#define ALIVE 1
#define LIVE(a) ((VOTE(a, 0) > 0) + (VOTE(a, 1) > 0) + (VOTE(a, 2) > 0))
#define EQUAL(a, f) ((VOTE(a, 0) == (f)) + (VOTE(a, 1) == (f)) + (VOTE(a, 2) == (f)))

#define NOTHING 0
#define Y_NOBODY 1            /* Y was sent, and hands to nobody: another has a majority */
#define Y_OLDER 2             /* Y was sent, and hands to who is older */

#define ALL 0
#define RELEASED 1            /* nothing any more: R was executed */
#define VOID 2                /* it lost its memory, and refuses by its epoch what was sent before */
#define VOID_RELEASED 3

/* ---- what the assertions need to remember ---- */

byte losses = LOSSES;
byte yields = YIELDS;
byte highest;                 /* the highest fence that was ever accepted anywhere */
byte newest;                  /* the highest fencing token that was ever claimed: 2F, 2F + 1 */
#if SHARED
byte newest_exclusive;        /* the same of exclusive claims: two readers need no order among them */
#endif

#ifdef FAULTS
byte faults = FAULTS;
#ifdef IN_TURN
#define MAY_FAIL false
#else
#define MAY_FAIL (faults > 0)
#endif
inline fail() { faults-- }
#else
#define MAY_FAIL true
inline fail() { skip }
#endif

#define TOKEN(a, f) (2 * (f) + READER(a))

/* What must hold. Hidden variables are no part of the state: here they give the assertion its name. */
hidden byte exclusion, order, zombie, single, progress, turn;
inline must(property, holds) { property = (holds); assert(property) }

/* Points that must be reached, or the model shows nothing. Each tells it once: pan does not say which parts of a step
 * it has not reached. (What is hidden is not undone when the search goes back.) */
#define PROBE_GRANTED 1
#define PROBE_SUCCESSION 2
#define PROBE_LATE 3
#define PROBE_BARRED 4
#define PROBE_YIELDED 5
#define PROBE_PASSED_ON 6
#define PROBE_RACED 7
#define PROBE_OFFER_ENDED 8
#define PROBE_REPAIRED 9
#define PROBE_LOST 10
#define PROBE_FORGOTTEN 11
#define PROBE_READERS 12
#define PROBE_RUN 13
#define PROBE_SECOND_ATTEMPT 14
#define PROBE_HEIR 15
hidden int seen_probes;
inline reach(probe)
{
	assert(PROBE != probe);
	if
	:: (seen_probes & (1 << probe)) == 0 -> seen_probes = seen_probes | (1 << probe); printf("reached %d\n", probe)
	:: else
	fi
}

/* For use within one step only. */
hidden byte head, handed, above, i;

/* ---- what a master does ---- */

#ifdef CALM
#define REMEMBERS true        /* proposals are above all that was seen */
#define WITHIN_TOP(n) true
#else
#define REMEMBERS (losses > 0)
#define WITHIN_TOP(n) (fence[n] < TOP)
#endif
inline raise(n, f)
{
	if :: (f) > fence[n] -> fence[n] = (f) :: else fi;
	if :: REMEMBERS && fence[n] > highest -> highest = fence[n] :: else fi
}

/* Another counts the vote of this master: then nobody else may be handed its key. */
#define BESIDE(a, b, n) ((a) != (b) && VOTE(b, n) > 0 && !(READER(a) && READER(b)))
#if ATTEMPTS > 2
#define COUNTED_BY_ANOTHER(a, n) (BESIDE(a, 1, n) || BESIDE(a, 2, n) || BESIDE(a, 3, n))
#else
#define COUNTED_BY_ANOTHER(a, n) (BESIDE(a, 1, n) || BESIDE(a, 2, n))
#endif

inline leave(a, n) { queue[n] = queue[n] & ~BIT(a) }
inline enqueue(a, n) { if :: QUEUES(a) -> queue[n] = queue[n] | BIT(a) :: else fi }

/* Whom the head's mode lets in. */
#if defined(MUTANT_TAKEN)
#define LETS_IN(h, n) true
#elif defined(MUTANT_WRITER_BESIDE)
#define LETS_IN(h, n) (key[n] == 0)
#else
#define LETS_IN(h, n) (key[n] == 0 && (readers[n] == 0 || READER(h)))
#endif
/* The fence of a hand-over: what was told, if that is above all before; the same on all masters. */
#define ABOVE(h, n, to) ((to) > fence[n] -> (to) : (READER(h) -> fence[n] : fence[n] + 1))

inline give(h, n, to)
{
	must(single, key[n] == 0 && (readers[n] == 0 || READER(h)) && !COUNTED_BY_ANOTHER(h, n));
#ifndef LATE
	must(zombie, PASSED(h, n) != RELEASED);
#endif
	handed = ABOVE(h, n, to);
#ifdef CALM
	must(progress, handed <= TOP);
#endif
	if
	:: READER(h) -> readers[n] = readers[n] | BIT(h); if :: readers[n] != BIT(h) -> reach(PROBE_RUN) :: else fi
	:: else -> key[n] = h
	fi;
	if :: state[h] == WAITS || KEEPS_CLOSED(h) -> GRANT(h, n) = handed :: else fi;
#ifndef MUTANT_UNRAISED
	raise(n, handed)
#endif
}

/* Hands the key to the head of the queue, and to all that read, as long as those are first; with `before`, to who is
 * older only. (Beyond TOP nobody is there.) */
inline hand_over(n, to, before)
{
	head = HEAD(n);
	do
	:: HANDS_OVER(n) && head < before && LETS_IN(head, n) && WITHIN_TOP(n) ->
		leave(head, n);
		if
		:: state[head] == DEAD
		:: else -> give(head, n, to)
		fi;
		head = HEAD(n)
	:: else -> break
	od
}

/* What an operation answers. */
#define YES 1
#define BUSY 2
#define REJECTED 3
#define NOT_TAKEN 4
hidden byte answer, told;

/* A token that this master has released must never come back. */
inline accepted(a, n)
{
	must(zombie, PASSED(a, n) != RELEASED);
	if :: state[a] == CLOSED -> reach(PROBE_LATE) :: else fi
}

/* Somebody who waits longer goes first; a writer that waits behind readers keeps later readers off. */
#ifdef MUTANT_BARGES
#define GOES_FIRST(a, n) false
#else
#define GOES_FIRST(a, n) (!MINE(a, n) && (FREE(n) || (READER(a) && key[n] == 0)) && HEAD(n) < (a))
#endif
#ifdef MUTANT_PASSES_WRITER
#define AHEAD(a, n) false
#else
#define AHEAD(a, n) (GOES_FIRST(a, n) && readers[n] != 0)
#endif
#define LETS(a, n) (READER(a) -> key[n] == 0 && !AHEAD(a, n) : readers[n] == 0 && (key[n] == 0 || key[n] == (a)))

inline acquire(a, n, p)
{
	if
	:: GOES_FIRST(a, n) ->
		reach(PROBE_BARRED);
		hand_over(n, p, a)
	:: else
	fi;
	if
	:: !LETS(a, n) ->
		answer = BUSY;
		enqueue(a, n)
	:: LETS(a, n) && READER(a) ->
		accepted(a, n);
		raise(n, p);
		told = fence[n];
		readers[n] = readers[n] | BIT(a);
		leave(a, n);
		answer = YES
	:: LETS(a, n) && !READER(a) && (p > fence[n] || (key[n] == a && p == fence[n])) ->
		accepted(a, n);
		raise(n, p);
		told = p;
		key[n] = a;
		leave(a, n);
		answer = YES
	:: else -> answer = REJECTED; told = fence[n]
	fi
}

/* P: takes nothing. */
inline poll(a, n)
{
	if
	:: MINE(a, n) -> answer = YES; told = fence[n]
	:: else ->
		enqueue(a, n);
		answer = (FREE(n) || (READER(a) && key[n] == 0 && !AHEAD(a, n)) -> NOT_TAKEN : BUSY)
	fi
}

inline take_away(a, n)
{
	if :: key[n] == a -> key[n] = 0 :: else fi;
	readers[n] = readers[n] & ~BIT(a)
}

/* Y. The highest number of the attempt + 1 is the next fence. */
#define HIGHEST_OF(a) MAX(bid[a], own[a])

inline yield(a, n, how)
{
	take_away(a, n);
	enqueue(a, n);
	above = HIGHEST_OF(a) + 1;
	if
	:: how == Y_OLDER -> hand_over(n, above, YOUNGER_THAN(a))
	:: else
	fi
}

/* E: 1 if the key is there, and set again where it is gone. */
#define EXTENDS(a, n) (own[a] > 0 && (MINE(a, n) || ((FREE(n) || (READER(a) && key[n] == 0)) && MAY_REPAIR(a, n))))

inline extend(a, n)
{
	if
	:: !MINE(a, n) ->
		accepted(a, n);
		raise(n, own[a]);
		if :: READER(a) -> readers[n] = readers[n] | BIT(a) :: else -> key[n] = a fi;
		reach(PROBE_REPAIRED)
	:: else
	fi
}

/* R. The tombstone refuses what may still come: above all that was proposed, and above what was handed over. */
#ifdef LATE
#define ABOVE_LATE 1
#else
#define ABOVE_LATE 0
#endif
#if defined(MUTANT_NO_TOMBSTONE)
#define TOMBSTONE(a) 0
#elif defined(MUTANT_LOW_TOMBSTONE)
#define TOMBSTONE(a) (bid[a] + ABOVE_LATE)
#else
#define TOMBSTONE(a) (HIGHEST_OF(a) + ABOVE_LATE)
#endif

inline release(a, n)
{
	take_away(a, n);
#ifndef MUTANT_STAYS
	leave(a, n);
#endif
	above = TOMBSTONE(a);
	if :: !READER(a) && HIGHEST_OF(a) > 0 && !quarantined[n] -> raise(n, above) :: else fi;
	PASSED(a, n) = PASSED(a, n) | RELEASED;
	above = HIGHEST_OF(a) + 1 + ABOVE_LATE;
	hand_over(n, above, 9)
}

/* ---- what an attempt decides ---- */

inline forget_votes(a) { VOTE(a, 0) = 0; VOTE(a, 1) = 0; VOTE(a, 2) = 0 }
inline forget_grants(a) { GRANT(a, 0) = 0; GRANT(a, 1) = 0; GRANT(a, 2) = 0 }

#define HOLDS_BESIDE(a, b) ((a) != (b) && state[b] == HOLDS && !(READER(a) && READER(b)))
#if ATTEMPTS > 2
#define ANOTHER_HOLDS(a) (HOLDS_BESIDE(a, 1) || HOLDS_BESIDE(a, 2) || HOLDS_BESIDE(a, 3))
#else
#define ANOTHER_HOLDS(a) (HOLDS_BESIDE(a, 1) || HOLDS_BESIDE(a, 2))
#endif

#define READS_BESIDE(a, b) ((a) != (b) && state[b] == HOLDS && READER(b))
#if ATTEMPTS > 2
#define READERS_BESIDE(a) (READS_BESIDE(a, 1) || READS_BESIDE(a, 2) || READS_BESIDE(a, 3))
#else
#define READERS_BESIDE(a) (READS_BESIDE(a, 1) || READS_BESIDE(a, 2))
#endif

/* The lock is granted: nobody may have it beside us, and no later claim may have a smaller token. */
inline granted(a, f)
{
	must(exclusion, !ANOTHER_HOLDS(a));
#if SHARED
	if
	:: READER(a) -> must(order, TOKEN(a, f) > newest_exclusive)
	:: else ->
		must(order, TOKEN(a, f) > newest);
		newest_exclusive = TOKEN(a, f)
	fi;
#else
	must(order, TOKEN(a, f) > newest);
#endif
	if :: newest > 0 -> reach(PROBE_SUCCESSION) :: else fi;
	if :: TOKEN(a, f) > newest -> newest = TOKEN(a, f) :: else fi
}

/* A claim needs q live votes with the same fence. */
#ifdef MUTANT_MIXED
#define LARGEST(x, y, z) ((x) >= (y) && (x) >= (z) -> (x) : ((y) >= (z) -> (y) : (z)))
#define AGREED(a, f) (LIVE(a) >= NEEDED && (f) == LARGEST(VOTE(a, 0), VOTE(a, 1), VOTE(a, 2)))
#define CARRIES(a, n, f) (VOTE(a, n) > 0)
#else
#define AGREED(a, f) (EQUAL(a, f) >= NEEDED)
#define CARRIES(a, n, f) (VOTE(a, n) == (f))
#endif

/* From here on the votes are only alive or not, and grants say nothing new. */
inline claim(a, f)
{
	own[a] = f;
	granted(a, own[a]);
	VOTE(a, 0) = (CARRIES(a, 0, own[a]) -> ALIVE : 0);
	VOTE(a, 1) = (CARRIES(a, 1, own[a]) -> ALIVE : 0);
	VOTE(a, 2) = (CARRIES(a, 2, own[a]) -> ALIVE : 0);
	forget_grants(a);
	state[a] = HOLDS;
	if :: READER(a) && READERS_BESIDE(a) -> reach(PROBE_READERS) :: else fi;
	if :: bid[a] != own[a] -> reach(PROBE_GRANTED) :: else fi
}

#ifdef CALM
/* One request is under way between an attempt and a master. */
byte op[(ATTEMPTS + 1) * N];
byte view[(ATTEMPTS + 1) * N];     /* what was told last: who is in the way, FREE_THERE, or nothing */
#define OP(a, n) op[AT(a, n)]
#define VIEW(a, n) view[AT(a, n)]
#define OP_A 1
#define OP_P 2
#define OP_E 3
#define OP_R 4
#define OP_Y 4                /* + Y_NOBODY or Y_OLDER */
#define FREE_THERE 7
#endif

/* The masters are alike: what differs by their numbers only is one state. */
#define EXCHANGE(m, n, array) i = array[m]; array[m] = array[n]; array[n] = i
inline exchange_of(a, m, n)
{
	EXCHANGE(AT(a, m), AT(a, n), vote);
	EXCHANGE(AT(a, m), AT(a, n), grant);
	EXCHANGE(AT(a, m), AT(a, n), yielding);
#ifdef CALM
	EXCHANGE(AT(a, m), AT(a, n), op);
	EXCHANGE(AT(a, m), AT(a, n), view);
#endif
	EXCHANGE(AT(a, m), AT(a, n), passed)
}

#ifdef CALM
#define WEIGHT_OF(a, n) (((VOTE(a, n) * 16 + GRANT(a, n)) * 8 + OP(a, n)) * 8 + VIEW(a, n))
#else
#define WEIGHT_OF(a, n) (((VOTE(a, n) * 8 + GRANT(a, n)) * 4 + YIELDING(a, n)) * 4 + PASSED(a, n))
#endif
#define WEIGHT(n) ((((key[n] * 16 + readers[n]) * 16 + fence[n]) * 16 + queue[n]) * 2 + quarantined[n])
#define ABOVE_IT(m, n) (WEIGHT(m) > WEIGHT(n) || (WEIGHT(m) == WEIGHT(n) && \
	(WEIGHT_OF(1, m) > WEIGHT_OF(1, n) || (WEIGHT_OF(1, m) == WEIGHT_OF(1, n) && WEIGHT_OF(2, m) > WEIGHT_OF(2, n)))))

inline sort_two(m, n)
{
	if
	:: ABOVE_IT(m, n) ->
		EXCHANGE(m, n, key);
		EXCHANGE(m, n, readers);
		EXCHANGE(m, n, fence);
		EXCHANGE(m, n, queue);
		EXCHANGE(m, n, quarantined);
		exchange_of(1, m, n);
		exchange_of(2, m, n);
#if ATTEMPTS > 2
		exchange_of(3, m, n);
#endif
#if ATTEMPTS > 3
		exchange_of(4, m, n);
#endif
	:: else
	fi
}
#ifdef UNSORTED
inline sort() { skip }
#else
inline sort() { sort_two(0, 1); sort_two(1, 2); sort_two(0, 1) }
#endif

inline give_first(n)
{
	VOTE(ATTEMPTS, n) = ALIVE;
	fence[n] = 1;
	if :: READER(ATTEMPTS) -> readers[n] = BIT(ATTEMPTS) :: else -> key[n] = ATTEMPTS fi
}

inline begin_held()
{
	state[ATTEMPTS] = HOLDS;
	own[ATTEMPTS] = 1;
	newest = TOKEN(ATTEMPTS, 1);
#if SHARED
	if :: !READER(ATTEMPTS) -> newest_exclusive = newest :: else fi;
#endif
	highest = 1;
	give_first(0);
	give_first(1)
}

#ifndef CALM

/* What happens when all are done shows nothing. */
#define OPEN(a) (state[a] == WAITS || state[a] == HOLDS)
#if ATTEMPTS > 2
#define ANYBODY (OPEN(1) || OPEN(2) || OPEN(3) || state[3] == UNBORN)
#else
#define ANYBODY (OPEN(1) || OPEN(2))
#endif

#define MAY_BEGIN(a) (state[a] == UNBORN && state[1] == CLOSED)

/* R is under way to all masters. What is still on its way of before is executed before it, or never. */
inline close(a)
{
	state[a] = CLOSED;
	forget_votes(a);
#ifndef MUTANT_CLOSED_GRANT
	forget_grants(a);
#endif
	YIELDING(a, 0) = NOTHING; YIELDING(a, 1) = NOTHING; YIELDING(a, 2) = NOTHING
}

#define MAY_YIELD(a, n) (state[a] == WAITS && yields > 0 && QUEUES(a) && VOTE(a, n) > 0)
inline send_yield(a, n, how)
{
	yields--;
	VOTE(a, n) = 0;
	YIELDING(a, n) = how
}

proctype Attempt(byte a)
{
end:	do
	:: atomic {
		if
#ifdef AGAIN
		:: d_step { MAY_BEGIN(a) ->
			state[a] = WAITS; bid[a] = 1;
			reach(PROBE_SECOND_ATTEMPT) }
#endif
		/* Any proposal above the one before: the votes before count no more. */
		:: d_step { state[a] == WAITS && bid[a] < PROPOSALS ->
			bid[a]++;
			forget_votes(a) }
		:: d_step { state[a] == WAITS && VOTE(a, 0) > 0 && AGREED(a, VOTE(a, 0)) ->
			claim(a, VOTE(a, 0)) }
		:: d_step { state[a] == WAITS && VOTE(a, 1) > 0 && AGREED(a, VOTE(a, 1)) ->
			claim(a, VOTE(a, 1)) }
		:: d_step { state[a] == WAITS && VOTE(a, 2) > 0 && AGREED(a, VOTE(a, 2)) ->
			claim(a, VOTE(a, 2)) }
		/* Unlock, time-out, signal, close: at any time. */
		:: d_step { state[a] == WAITS && MAY_FAIL ->
			fail();
			if :: GRANT(a, 0) > 0 || GRANT(a, 1) > 0 || GRANT(a, 2) > 0 -> reach(PROBE_RACED) :: else fi;
			close(a) }
		:: d_step { state[a] == HOLDS ->
			close(a) }
		fi;
		d_step { sort() } }
	od
}

/* What was sent before R may be executed before it, and in no other order; unless LATE. */
#ifdef LATE
#define IN_ORDER(a, n) (PASSED(a, n) != VOID && PASSED(a, n) != VOID_RELEASED)
#define CLOSED_LATE(a) (ANYBODY && state[a] == CLOSED)
#else
#define CLOSED_LATE(a) false
#define IN_ORDER(a, n) (PASSED(a, n) == ALL)
#endif
#ifdef MUTANT_LATE_YIELD
#define ASKS(a, n) true
#else
#define ASKS(a, n) (YIELDING(a, n) == NOTHING)
#endif
#define SENT(a, n) (!quarantined[n] && IN_ORDER(a, n))

inline vote_ends(a, n)
{
	VOTE(a, n) = 0;
	GRANT(a, n) = 0;
	if
	:: state[a] == HOLDS && LIVE(a) < Q ->
		close(a);
		reach(PROBE_LOST)
	:: else
	fi
}

/* (What would change nothing is left out.) */
#define REGISTERS(a, n) (QUEUES(a) && (queue[n] & BIT(a)) == 0)

/* Everything between one attempt and one master. */
proctype Path(byte a; byte n)
{
end:	do
	:: atomic {
		if
		/* A, and its answer. */
		:: d_step { state[a] == WAITS && SENT(a, n) && ASKS(a, n) && VOTE(a, n) != bid[a] && (LETS(a, n) || REGISTERS(a, n)) ->
			acquire(a, n, bid[a]);
			if :: answer == YES -> VOTE(a, n) = told :: else fi;
			if :: !KEEPS_STALE -> GRANT(a, n) = 0 :: else fi }
#ifdef LATE
		:: d_step { ANYBODY && state[a] == CLOSED && SENT(a, n) ->
			acquire(a, n, bid[a]) }
#if PROPOSALS > 1
		:: d_step { ANYBODY && state[a] == CLOSED && bid[a] > 1 && SENT(a, n) ->
			acquire(a, n, 1) }
#endif
#endif
		/* P. */
		:: d_step { state[a] == WAITS && SENT(a, n) && ASKS(a, n) && (MINE(a, n) -> VOTE(a, n) != fence[n] : REGISTERS(a, n)) ->
			poll(a, n);
			if :: answer == YES -> VOTE(a, n) = told :: else fi;
			if :: !KEEPS_STALE -> GRANT(a, n) = 0 :: else fi }
#ifdef LATE
		:: d_step { ANYBODY && state[a] == CLOSED && SENT(a, n) ->
			poll(a, n) }
#endif
		/* Y. Grants of before are older than its answer. */
		:: d_step { MAY_YIELD(a, n) ->
			send_yield(a, n, Y_NOBODY) }
		:: d_step { MAY_YIELD(a, n) ->
			send_yield(a, n, Y_OLDER) }
		:: d_step { YIELDING(a, n) != NOTHING && SENT(a, n) ->
			yield(a, n, YIELDING(a, n));
			reach(PROBE_YIELDED);
			if :: !KEEPS_STALE -> GRANT(a, n) = 0 :: else fi;
			YIELDING(a, n) = NOTHING }
#ifndef LATE
		/* The connection was lost, and the next one has killed it: it will not be executed, and an answer tells what is. */
		:: d_step { YIELDING(a, n) != NOTHING && MAY_FAIL ->
			fail();
			GRANT(a, n) = 0;
			YIELDING(a, n) = NOTHING }
#endif
		/* A grant arrives, again and again. */
		:: d_step { state[a] == WAITS && GRANT(a, n) > 0 && VOTE(a, n) != GRANT(a, n) && MAY_COUNT(a, n) ->
			VOTE(a, n) = GRANT(a, n) }
#if defined(MUTANT_CLOSED_GRANT) && defined(AGAIN)
		:: d_step { a == 1 && state[1] == CLOSED && GRANT(1, n) > 0 && state[ATTEMPTS] == WAITS ->
			VOTE(ATTEMPTS, n) = GRANT(1, n) }
#endif
		/* E. Whoever is confirmed is the newest. */
		:: d_step { (state[a] == HOLDS || CLOSED_LATE(a)) && SENT(a, n) && ASKS(a, n) && EXTENDS(a, n) &&
				(!MINE(a, n) || (state[a] == HOLDS && VOTE(a, n) == 0)) ->
			extend(a, n);
			if
			:: state[a] == HOLDS ->
				VOTE(a, n) = ALIVE;
				must(order, READER(a) || TOKEN(a, own[a]) >= newest)
			:: else
			fi }
		/* R. */
		:: d_step { ANYBODY && state[a] == CLOSED && (PASSED(a, n) & RELEASED) == 0 ->
			release(a, n);
#ifndef LATE
			if
			:: (PASSED(a, 0) & PASSED(a, 1) & PASSED(a, 2) & RELEASED) != 0 -> bid[a] = 0; own[a] = 0
			:: else
			fi;
#endif
			skip }
		/* The key ends, and a grant of it is worth nothing any more. */
		:: d_step { ANYBODY && MINE(a, n) && VOTE(a, n) == 0 && MAY_FAIL ->
			fail();
			take_away(a, n);
			if :: GRANT(a, n) > 0 -> reach(PROBE_OFFER_ENDED) :: else fi;
#ifndef MUTANT_FROM_RECEIPT
			GRANT(a, n) = 0;
#endif
			skip }
		:: d_step { VOTE(a, n) > 0 && MAY_FAIL ->
			fail();
			vote_ends(a, n) }
		fi;
		d_step { sort() } }
	od
}

/* ---- amnesia ---- */

inline forget(a, n) { YIELDING(a, n) = NOTHING; PASSED(a, n) = PASSED(a, n) | VOID }

/* With an open attempt, a client asks anew once the master votes again. A grant of before is of another epoch. */
inline ask_anew(a, n)
{
	if :: state[a] != CLOSED -> PASSED(a, n) = ALL :: else fi;
#ifndef MUTANT_OLD_EPOCH
	GRANT(a, n) = 0
#endif
}

inline lose_memory(n)
{
	losses--;
	key[n] = 0;
	readers[n] = 0;
	/* When it votes again "now - S" is above all that was accepted anywhere before it forgot; no more is certain. */
	fence[n] = highest;
	if :: losses == 0 -> highest = 0 :: else fi;
	forget(1, n); forget(2, n);
#if ATTEMPTS > 2
	forget(3, n);
#endif
	quarantined[n] = true;
	reach(PROBE_FORGOTTEN)
}

#if ATTEMPTS > 2
#define COUNTED(n) (VOTE(1, n) > 0 || VOTE(2, n) > 0 || VOTE(3, n) > 0)
#else
#define COUNTED(n) (VOTE(1, n) > 0 || VOTE(2, n) > 0)
#endif

proctype Master(byte n)
{
end:	do
	:: atomic {
		if
		/* An old snapshot brings the queue back. */
		:: d_step { losses > 0 && !quarantined[n] ->
			lose_memory(n) }
		:: d_step { losses > 0 && !quarantined[n] && queue[n] != 0 ->
			lose_memory(n);
			queue[n] = 0 }
		/* It lasts until every vote that it gave has ended. */
		:: d_step { quarantined[n] && !COUNTED(n) ->
			ask_anew(1, n); ask_anew(2, n);
#if ATTEMPTS > 2
			ask_anew(3, n);
#endif
			quarantined[n] = false }
		fi;
		d_step { sort() } }
	od
}

init {
	atomic {
		state[1] = WAITS; state[2] = WAITS; bid[1] = 1; bid[2] = 1;
		run Attempt(1); run Attempt(2);
		run Path(1, 0); run Path(1, 1); run Path(1, 2);
		run Path(2, 0); run Path(2, 1); run Path(2, 2);
#if ATTEMPTS > 2
#ifdef AGAIN
		state[3] = UNBORN;
#else
		state[3] = WAITS; bid[3] = 1;
#endif
		run Attempt(3);
		run Path(3, 0); run Path(3, 1); run Path(3, 2);
#endif
#ifdef HELD
		begin_held();
#endif
#if LOSSES > 0
		run Master(0); run Master(1); run Master(2);
#endif
	}
}

#else /* CALM */

#ifndef FAULTS
#error CALM needs FAULTS
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif

byte before[ATTEMPTS + 1];    /* a bit each that was in the queue of a majority when this one began */
byte rounds;                  /* of polls, while nobody has the lock */
hidden byte asked, pending, same, vacant, rival, oldest;

#define LOWEST(mask) ((mask & 1) -> 1 : ((mask & 2) -> 2 : 3))
#define EACH(a, what) (what(a, 0) + what(a, 1) + what(a, 2))
#define PENDING(a, n) (OP(a, n) != NOTHING)
#define FREE_AT(a, n) (VOTE(a, n) == 0 && VIEW(a, n) == FREE_THERE)
#define AT_ALL(a, n) (MINE(a, n) || (queue[n] & BIT(a)) != 0)
#define SAME_WAY(a, h) ((VIEW(a, 0) == (h)) + (VIEW(a, 1) == (h)) + (VIEW(a, 2) == (h)))

inline send(a, what) { OP(a, 0) = what; OP(a, 1) = what; OP(a, 2) = what }
inline forget_views(a) { VIEW(a, 0) = 0; VIEW(a, 1) = 0; VIEW(a, 2) = 0 }

inline propose(a)
{
	bid[a] = MAX(highest, bid[a]) + 1;
	must(progress, bid[a] <= TOP);
	forget_votes(a);
	forget_views(a);
	send(a, OP_A)
}

#define OVERTAKES(a, b) ((before[a] & BIT(b)) != 0 && state[b] == WAITS && !(READER(a) && READER(b)))
#if ATTEMPTS > 2
#define OVERTAKES_ANY(a) (OVERTAKES(a, 1) || OVERTAKES(a, 2) || OVERTAKES(a, 3))
#else
#define OVERTAKES_ANY(a) (OVERTAKES(a, 1) || OVERTAKES(a, 2))
#endif

#define DIED(a) (state[a] == DEAD || state[a] == DEAD_HOST)

inline succeed(a, f)
{
	claim(a, f);
	if :: DIED(1) || DIED(2) || DIED(ATTEMPTS) -> reach(PROBE_HEIR) :: else fi;
#ifdef IN_TURN
	must(turn, !OVERTAKES_ANY(a));
#endif
	before[a] = 0;
	forget_views(a);
	send(a, OP_E)
}

/* R to all. What was not executed yet is not any more. */
inline give_back(a)
{
	state[a] = CLOSED;
	before[a] = 0;
	forget_votes(a);
	forget_grants(a);
	forget_views(a);
	send(a, OP_R)
}

inline yield_at(a, n, how)
{
	if :: VOTE(a, n) > 0 -> VOTE(a, n) = 0; OP(a, n) = OP_Y + how :: else fi
}

inline yield_all(a, how) { yield_at(a, 0, how); yield_at(a, 1, how); yield_at(a, 2, how) }

inline look_at(a, n)
{
	if :: VOTE(a, n) > 0 && EQUAL(a, VOTE(a, n)) > same -> same = EQUAL(a, VOTE(a, n)) :: else fi;
	if :: VOTE(a, n) == 0 && VIEW(a, n) > 0 && VIEW(a, n) < oldest -> oldest = VIEW(a, n) :: else fi;
	if :: VIEW(a, n) > 0 && VIEW(a, n) < FREE_THERE && SAME_WAY(a, VIEW(a, n)) >= Q -> rival = VIEW(a, n) :: else fi
}

#ifdef MUTANT_KEEPS
#define YIELDS_TO_OLDER(a) false
#else
#define YIELDS_TO_OLDER(a) (oldest < (a))
#endif
#ifdef MUTANT_YIELDS_TO_ANYBODY
#define Y_RIVAL Y_OLDER
#else
#define Y_RIVAL Y_NOBODY
#endif

/* What follows from what is known. */
inline judge(a)
{
	pending = EACH(a, PENDING);
	vacant = EACH(a, FREE_AT);
	same = 0; rival = 0; oldest = 9;
	look_at(a, 0); look_at(a, 1); look_at(a, 2);
	if
	:: VOTE(a, 0) > 0 && AGREED(a, VOTE(a, 0)) -> succeed(a, VOTE(a, 0))
	:: !(VOTE(a, 0) > 0 && AGREED(a, VOTE(a, 0))) && VOTE(a, 1) > 0 && AGREED(a, VOTE(a, 1)) -> succeed(a, VOTE(a, 1))
	:: same < Q && same + pending >= Q
	:: same < Q && same + pending < Q && LIVE(a) + vacant >= Q -> propose(a)
	:: same < Q && same + pending < Q && LIVE(a) + vacant < Q ->
		if
		:: !QUEUES(a) -> give_back(a)
		:: QUEUES(a) && LIVE(a) > 0 && rival > 0 -> yield_all(a, Y_RIVAL); reach(PROBE_YIELDED)
		:: QUEUES(a) && LIVE(a) > 0 && rival == 0 && YIELDS_TO_OLDER(a) -> yield_all(a, Y_OLDER); reach(PROBE_PASSED_ON)
		:: else
		fi
	fi
}

/* Who is in the way: the holder, the oldest that reads, or the writer that waits before us. */
inline note_busy(a, n)
{
	VOTE(a, n) = 0;
	head = HEAD(n);
	VIEW(a, n) = (key[n] > 0 -> key[n] : (AHEAD(a, n) -> head : LOWEST(readers[n])))
}

inline note(a, n)
{
	GRANT(a, n) = 0;
	if
	:: answer == YES || (answer == REJECTED && MINE(a, n)) -> VOTE(a, n) = told; VIEW(a, n) = 0
	:: answer == NOT_TAKEN || (answer == REJECTED && !MINE(a, n)) -> VOTE(a, n) = 0; VIEW(a, n) = FREE_THERE
	:: answer == BUSY -> note_busy(a, n)
	fi
}

/* One that does not vote is not counted, and tells nothing. */
inline execute(a, n)
{
	asked = OP(a, n);
	OP(a, n) = NOTHING;
	if
	:: asked == OP_R -> release(a, n)
	:: quarantined[n] && asked != OP_R ->
		GRANT(a, n) = 0;
		if :: state[a] == WAITS -> VOTE(a, n) = 0; VIEW(a, n) = 0; judge(a) :: else fi
	:: !quarantined[n] && asked == OP_A -> acquire(a, n, bid[a]); note(a, n); judge(a)
	:: !quarantined[n] && asked == OP_P -> poll(a, n); note(a, n); judge(a)
	:: !quarantined[n] && asked == OP_E -> if :: EXTENDS(a, n) -> extend(a, n) :: else fi
	:: !quarantined[n] && asked > OP_Y ->
		yield(a, n, asked - OP_Y);
		GRANT(a, n) = 0;
		VIEW(a, n) = 0
	fi
}

inline is_before(a, b)
{
	if :: b < a && state[b] == WAITS && QUEUES(b) && EACH(b, AT_ALL) >= Q -> before[a] = before[a] | BIT(b) :: else fi
}

inline die(a, how)
{
	fail();
	state[a] = how;
	before[a] = 0;
	forget_votes(a);
	forget_grants(a);
	forget_views(a);
	send(a, NOTHING)
}

inline begin_now(a)
{
	if :: state[a] == UNBORN -> state[a] = WAITS; bid[a] = 1; send(a, OP_A) :: else fi
}

#ifdef IN_TURN
#define MAY_DIE(a) (state[a] == HOLDS)
#else
#define MAY_DIE(a) (state[a] == WAITS || state[a] == HOLDS)
#endif

proctype Attempt(byte a)
{
end:	do
	:: atomic {
		if
		:: d_step { state[a] == UNBORN ->
			state[a] = WAITS;
#ifdef IN_TURN
			is_before(a, 1); is_before(a, 2);
#endif
			propose(a) }
		:: d_step { state[a] == HOLDS ->
			give_back(a) }
		/* A signal, a time-out. */
		:: d_step { state[a] == WAITS && MAY_FAIL ->
			fail();
			give_back(a) }
		/* A process ends; a host is cut off: its channel still seems to be there. */
		:: d_step { MAY_DIE(a) && faults > 0 ->
			die(a, DEAD) }
		:: d_step { MAY_DIE(a) && faults > 0 ->
			die(a, DEAD_HOST) }
		fi;
		d_step { sort() } }
	od
}

proctype Path(byte a; byte n)
{
end:	do
	:: atomic {
		if
		:: d_step { OP(a, n) != NOTHING ->
			execute(a, n) }
		:: d_step { GRANT(a, n) > 0 ->
			if
			:: OP(a, n) <= OP_E -> VOTE(a, n) = GRANT(a, n); VIEW(a, n) = 0; GRANT(a, n) = 0; judge(a)
			:: else -> GRANT(a, n) = 0
			fi }
		:: d_step { GRANT(a, n) > 0 && MAY_FAIL ->
			fail();
			GRANT(a, n) = 0 }
		fi;
		d_step { sort() } }
	od
}

/* Nothing is under way, and nobody has the lock. */
#define QUIET_AT(a, n) (OP(a, n) == NOTHING && GRANT(a, n) == 0)
#define QUIET(a) (state[a] != HOLDS && QUIET_AT(a, 0) && QUIET_AT(a, 1) && QUIET_AT(a, 2))
#if ATTEMPTS > 2
#define ALL_QUIET (QUIET(1) && QUIET(2) && QUIET(3))
#define SOMEBODY_WAITS (state[1] == WAITS || state[2] == WAITS || state[3] == WAITS)
#else
#define ALL_QUIET (QUIET(1) && QUIET(2))
#define SOMEBODY_WAITS (state[1] == WAITS || state[2] == WAITS)
#endif
/* A key that nobody counts. */
#define LEFT(a, n) (MINE(a, n) && VOTE(a, n) == 0)
#define LEFT_BY_DEAD(a, n) (LEFT(a, n) && state[a] != WAITS)
#if ATTEMPTS > 2
#define LEFT_BEHIND(n) (LEFT_BY_DEAD(1, n) || LEFT_BY_DEAD(2, n) || LEFT_BY_DEAD(3, n))
#else
#define LEFT_BEHIND(n) (LEFT_BY_DEAD(1, n) || LEFT_BY_DEAD(2, n))
#endif

#ifdef MUTANT_NO_POLL
inline poll_all(a) { skip }
#else
inline poll_all(a) { if :: state[a] == WAITS -> send(a, OP_P) :: else fi }
#endif

/* Time: it passes where nothing else happens. */
proctype Clock()
{
end:	do
	:: d_step { ALL_QUIET && SOMEBODY_WAITS && !LEFT_BEHIND(0) && !LEFT_BEHIND(1) && !LEFT_BEHIND(2) &&
			!quarantined[0] && !quarantined[1] && !quarantined[2] ->
		rounds++;
		must(progress, rounds <= ROUNDS);
		poll_all(1); poll_all(2);
#if ATTEMPTS > 2
		poll_all(3);
#endif
		sort() }
	od
}

inline ends(a, n) { if :: LEFT(a, n) -> take_away(a, n) :: else fi }

proctype Master(byte n)
{
end:	do
	:: atomic {
		if
		/* Leases and offers end. */
		:: d_step { ALL_QUIET && SOMEBODY_WAITS && !FREE(n) ->
			ends(1, n); ends(2, n);
#if ATTEMPTS > 2
			ends(3, n);
#endif
			skip }
		:: d_step { losses > 0 && !quarantined[n] ->
			losses--;
			key[n] = 0;
			readers[n] = 0;
			queue[n] = 0;
			fence[n] = highest;
			quarantined[n] = true;
			reach(PROBE_FORGOTTEN) }
		:: d_step { quarantined[n] && ALL_QUIET ->
			VOTE(1, n) = 0; VOTE(2, n) = 0;
#if ATTEMPTS > 2
			VOTE(3, n) = 0;
#endif
			quarantined[n] = false }
		fi;
		d_step { sort() } }
	od
}

init {
	atomic {
		state[1] = UNBORN; state[2] = UNBORN;
		run Clock();
		run Master(0); run Master(1); run Master(2);
		run Attempt(1); run Attempt(2);
		run Path(1, 0); run Path(1, 1); run Path(1, 2);
		run Path(2, 0); run Path(2, 1); run Path(2, 2);
#if ATTEMPTS > 2
		state[3] = UNBORN;
		run Attempt(3);
		run Path(3, 0); run Path(3, 1); run Path(3, 2);
#endif
#ifdef HELD
		begin_held();
#endif
#ifdef TOGETHER
		begin_now(1); begin_now(2);
#if ATTEMPTS > 2
		begin_now(3)
#endif
#endif
	}
}
#endif
