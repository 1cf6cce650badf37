/*
 * dlock.h - flock(2) for a fleet of machines.
 *
 * A lock has a name. dlock_open() gives a descriptor for a name, dlock_flock()
 * takes and gives back the lock as flock(2) does on a file, and the lock holds
 * on every machine that is configured with the same Redis (or Valkey) masters.
 *
 * Conventions for every function here:
 *  - Failure is -1 (0 for dlock_token(), 0 for dlock_remaining(), NULL for
 *    dlock_options_new()) with errno set. A longer sentence about the last
 *    failure in the calling thread is in dlock_error_detail().
 *  - All functions are thread-safe; any thread may use any descriptor.
 *  - The library starts one thread, at the first dlock_open() (or the first
 *    dlock_query(), dlock_list(), dlock_who(), dlock_looks_new(),
 *    dlock_break(), dlock_masters() or dlock_init()), and none before. That
 *    thread blocks all signals.
 *  - After fork(2) the child may poll and close the descriptors that it
 *    inherited; any other call on them fails with ECHILD. New descriptors
 *    opened in the child work. The parent is not affected.
 *  - Nothing is printed (unless the environment variable DLOCK_DEBUG asks for
 *    it), no signal handler is installed, and the process is never ended.
 *
 * Since 0.1.0 unless a function says otherwise.
 */
#ifndef DLOCK_H
#define DLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/file.h> /* LOCK_SH, LOCK_EX, LOCK_UN, LOCK_NB */

#ifdef __cplusplus
extern "C" {
#endif

/* The longest name of a lock, in bytes, without the terminating NUL. */
#define DLOCK_NAME_MAX 1024

/* Flags of dlock_open(). */
#define DLOCK_CLOEXEC 0x1  /* set close-on-exec on the descriptor */
#define DLOCK_NONBLOCK 0x2 /* lock calls give EINPROGRESS instead of waiting */

/* Settings by key and value; see dlock_options_set(). */
struct dlock_options;

/*
 * dlock_open - a descriptor for the lock NAME
 *
 * name   1 to DLOCK_NAME_MAX bytes, any byte but NUL; copied.
 * flags  0 or an OR of DLOCK_CLOEXEC and DLOCK_NONBLOCK.
 *
 * The result is a real file descriptor (>= 0). It holds no lock yet. It may be
 * polled: it becomes readable when a lock that it held was lost, or when a lock
 * call on a DLOCK_NONBLOCK descriptor has finished. Never read or write it.
 * It may be duplicated and inherited; the lock goes when the last copy closes.
 * Two descriptors opened on one name contend, in one process too.
 *
 * Does not block on the network: connections are made in the background.
 * The settings come from the environment and the configuration file; see
 * dlock.conf(5).
 *
 * Errors: EINVAL (name empty or reserved, unknown flag, or a setting is wrong:
 * dlock_error_detail() names file, line and key), ENAMETOOLONG (name longer
 * than DLOCK_NAME_MAX), ENOMEM, EMFILE, ENFILE, EAGAIN (no thread could be
 * started).
 */
int dlock_open(const char *name, int flags);

/*
 * dlock_open_with - dlock_open() with settings of the caller's
 *
 * options  settings that come before environment and configuration file; NULL
 *          for none. Only read, and only during the call: it stays the
 *          caller's, and later changes of it do not touch open descriptors.
 *
 * Errors: as dlock_open().
 */
int dlock_open_with(const char *name, int flags, const struct dlock_options *options);

/*
 * dlock_flock - take, convert or give back the lock, as flock(2)
 *
 * operation  LOCK_SH (shared), LOCK_EX (exclusive) or LOCK_UN, each with or
 *            without LOCK_NB.
 *
 * 0 means that the lock is held in that mode (or, for LOCK_UN, not held). A
 * call in the mode already held returns 0 at once. The lease behind the lock is
 * renewed in the background until LOCK_UN, close, or loss.
 *
 * Conversion: LOCK_EX to LOCK_SH happens in place. LOCK_SH to LOCK_EX succeeds
 * in place when this descriptor is the only reader. Otherwise, with LOCK_NB, it
 * fails with EWOULDBLOCK and the shared lock is KEPT (Linux' own flock(2)
 * may lose it); without LOCK_NB the shared lock is given back and the
 * exclusive one waited for, so another holder may come between, as flock(2)
 * permits.
 *
 * LOCK_UN waits until a majority of the masters has confirmed, or did not
 * answer within node_timeout; it succeeds in either case.
 *
 * With DLOCK_NONBLOCK a call that cannot finish at once fails with EINPROGRESS;
 * the descriptor polls readable when it has, and dlock_result() tells how.
 *
 * Signals: a wait without a time-out is restarted after a handler installed
 * with SA_RESTART, as flock(2) is; else it ends with EINTR and nothing is left
 * behind.
 *
 * Errors: EWOULDBLOCK (held by another, and LOCK_NB was given), ENOLCK (no
 * quorum of masters could be reached: within node_timeout with LOCK_NB, within
 * quorum_timeout without), ESTALE (the lease of the lock that this descriptor
 * held was lost; LOCK_UN clears it), EINTR, EINPROGRESS, EALREADY
 * (DLOCK_NONBLOCK: another call is under way on this descriptor), ECHILD
 * (inherited through fork), EBADF (not a descriptor of dlock_open(), or closed
 * by another thread during the wait), EINVAL (operation; or ttl and lock_delay
 * are together longer than the max_ttl of the masters), ENOMEM.
 */
int dlock_flock(int fd, int operation);

/* dlock_lock - dlock_flock(fd, LOCK_EX). Errors: the same. */
int dlock_lock(int fd);

/* dlock_trylock - dlock_flock(fd, LOCK_EX | LOCK_NB). Errors: the same. */
int dlock_trylock(int fd);

/* dlock_unlock - dlock_flock(fd, LOCK_UN). Errors: the same. */
int dlock_unlock(int fd);

/*
 * dlock_timedlock - dlock_flock() that waits a bounded time
 *
 * operation   as dlock_flock(); LOCK_NB is the same as a time-out of 0.
 * timeout_ms  milliseconds to wait at most; 0 tries once; -1 waits for ever.
 *
 * Errors: as dlock_flock(), and ETIMEDOUT (the time passed while another held
 * it; with 0 it is EWOULDBLOCK), EINVAL (timeout_ms below -1). If the time
 * passes without a quorum the error is ENOLCK.
 */
int dlock_timedlock(int fd, int operation, int timeout_ms);

/*
 * dlock_close - give the lock back and close the descriptor
 *
 * Releases the lock now, also where copies of the descriptor are open, waits
 * until a majority of the masters has confirmed or did not answer within
 * node_timeout, and at most 20 ms for the others (a master may not read what a
 * process sent that has ended), and closes. The descriptor is closed in every case but EBADF.
 * A wait in another thread on this descriptor ends with EBADF. In a child of
 * fork only the child's copy is closed.
 *
 * Plain close(2) works too: the lock is released in the background when the
 * last copy has been closed.
 *
 * Errors: EBADF (not a descriptor of dlock_open(); nothing was closed).
 */
int dlock_close(int fd);

/*
 * dlock_result - how the last call on a DLOCK_NONBLOCK descriptor ended
 *
 * Call it when the descriptor polls readable. 0: the last call has succeeded
 * (or there was none), and nothing was lost. Takes the readable state away.
 *
 * Errors: EINPROGRESS (still under way), ESTALE (the lock was lost), and every
 * error of dlock_timedlock() as the outcome of the call.
 */
int dlock_result(int fd);

/* What dlock_stat() tells. `state` is one of these. */
#define DLOCK_STATE_IDLE 0    /* no lock, none asked for */
#define DLOCK_STATE_WAITING 1 /* a lock call is under way */
#define DLOCK_STATE_HELD 2    /* held */
#define DLOCK_STATE_LOST 3    /* was held; the lease was lost */

struct dlock_stat {
	uint64_t token;        /* fencing token; 0 when not held */
	int64_t remaining_ns;  /* certain validity left, nanoseconds; 0 when not held */
	int32_t mode;          /* LOCK_SH, LOCK_EX, or LOCK_UN when not held */
	int32_t state;         /* DLOCK_STATE_* */
	uint32_t masters_held; /* masters whose vote for this lock is live */
	uint32_t masters_up;   /* masters that may vote now */
	uint32_t masters;      /* masters configured */
	uint32_t masters_released; /* masters that are known to have the lock back when LOCK_UN ended: a majority,
	                            * unless too few answered in time; those that never had it count, too */
};

/*
 * dlock_stat - what is known of the descriptor's lock; asks no master
 *
 * stat  filled on success, untouched on failure.
 * size  sizeof(*stat) as the caller was compiled; fields beyond it are left
 *       out, fields that this library does not know are set to 0.
 *
 * Errors: EBADF, ECHILD, EINVAL (stat NULL, size 0).
 */
int dlock_stat(int fd, struct dlock_stat *stat, size_t size);

/*
 * dlock_token - the fencing token of the lock now held
 *
 * Grows strictly with every exclusive grant of the same name, over all clients
 * and machines; a shared grant's token lies above that of the exclusive grant
 * before it and below that of the one after it, and readers that overlap may
 * share one. Give it to the resource that the lock protects, and have the
 * resource refuse a token smaller than the largest that it has seen.
 *
 * 0 and errno when none is held. Errors: ENOLCK (not held), ESTALE (lost),
 * EBADF, ECHILD.
 */
uint64_t dlock_token(int fd);

/*
 * dlock_remaining - nanoseconds of validity that are certain
 *
 * Counted on CLOCK_BOOTTIME from before the request was sent, less drift (1 % of the
 * lease and 2 ms). Asks no master. 0 and errno when not held. Errors: ENOLCK (not held), ESTALE
 * (lost), EBADF, ECHILD.
 */
int64_t dlock_remaining(int fd);

/*
 * dlock_verify - prove that the lock was held without a gap until now
 *
 * One renewal round. 0 only when a majority of the masters has answered, after
 * this call began, that it never lost the lock: for the moment before a commit.
 * Waits at most node_timeout.
 *
 * Errors: ESTALE (lost, or the masters' answers are no proof), ENOLCK (not
 * held, or too few masters answered: it may still be held, dlock_remaining()
 * tells how long for certain), EINTR, EBADF, ECHILD, EALREADY (another call is
 * under way on a DLOCK_NONBLOCK descriptor), EINPROGRESS (DLOCK_NONBLOCK:
 * dlock_result() tells).
 */
int dlock_verify(int fd);

/* The most that can travel with a lock, in bytes; see dlock_set_data(). */
#define DLOCK_DATA_MAX (512 * 1024)

/*
 * dlock_set_data - bytes of the holder's that travel with an exclusive lock
 *
 * data  copied; may be NULL when size is 0 (then nothing travels any more).
 * size  0 to DLOCK_DATA_MAX bytes.
 *
 * Whoever asks with dlock_query() or dlock_looks_start() is told the bytes with
 * the holder. They live on the masters beside the lock: a master that gives its
 * vote has them in the same step, they end with the lock (given back, lost,
 * broken, expired) and are renewed and repaired with it. A shared lock carries
 * none; converting LOCK_EX to LOCK_SH drops them on the masters.
 *
 * While no exclusive lock is held this returns 0 at once, and the next exclusive
 * lock on this descriptor carries the bytes. While one is held it is a call that
 * ends when a majority of the masters has the new bytes: from then on every
 * dlock_query() in which a majority names this holder tells them, or later ones.
 * The bytes stay with the descriptor through LOCK_UN, until they are set anew.
 *
 * With DLOCK_NONBLOCK it fails with EINPROGRESS where it would wait; the
 * descriptor polls readable when it has ended, and dlock_result() tells how.
 *
 * Errors: EINVAL (data NULL with a size), E2BIG (size; nothing was changed),
 * ESTALE (the lock was lost), ENOLCK (fewer than a majority of the masters took
 * them within node_timeout: they may have them already or get them with a later
 * renewal; the lock is still held), EINTR (as with ENOLCK), EINPROGRESS,
 * EALREADY (DLOCK_NONBLOCK: another call is under way), EBADF, ECHILD, ENOMEM.
 */
int dlock_set_data(int fd, const void *data, size_t size);

/* One holder of a lock, as dlock_query() and dlock_list() tell it. Later
 * versions may add fields at the end. Strings belong to the library and live
 * until the callback returns. */
struct dlock_holder {
	const char *name;     /* name of the lock, NUL-terminated */
	const char *host;     /* host of the holder; "" when it is a foreign client */
	const char *program;  /* program of the holder; "" when foreign */
	const char *owner;    /* the whole value on the masters */
	int64_t pid;          /* process id on that host; 0 when foreign */
	int64_t since_us;     /* when the holder asked for it, µs since 1970; 0 when unknown */
	int64_t ttl_ms;       /* longest time on a master until the lease ends, unless renewed */
	uint64_t token;       /* fencing token; 0 when unknown */
	int32_t mode;         /* LOCK_EX or LOCK_SH */
	uint32_t masters;     /* masters that name this holder */
	uint32_t quorum;      /* masters needed; with fewer the lock is being taken or given back */
	uint32_t waiters;     /* how many wait for the lock: the largest number that a quorum of the masters reaches, so
	                       * that many wait at least; a master that did not answer counts none, and neither do
	                       * those that hold it */
	const void *data;     /* what dlock_set_data() gave to the lock; NULL when nothing. dlock_list() and a look
	                       * at all names tell only the first 128 bytes */
	size_t data_size;     /* bytes at `data` */
	uint32_t unheard;     /* masters that did not answer: with them `masters` may be a quorum */
	uint32_t reserved;    /* 0 */
};

/*
 * A callback of dlock_query() and dlock_list(). A result other than 0 ends the
 * enumeration. It runs in the calling thread, without a lock of the library's
 * held, and may call any function of the library.
 */
typedef int dlock_holder_fn(const struct dlock_holder *holder, void *arg);

/*
 * dlock_query - who holds NAME
 * dlock_list  - every held lock with the configured prefix, sorted by name
 *
 * each  called once a holder; may be NULL for dlock_query(), to count only.
 *
 * The result is the number of holders told (0: free). Only a snapshot: it may
 * have changed when you read it. Waits at most node_timeout; dlock_list() that
 * long for each part of what a master has to tell. Names whose
 * masters' keys were made by other Redlock clients are told as well.
 *
 * Errors: ENOLCK (fewer than a majority of the masters answered), EINVAL,
 * ENAMETOOLONG, ENOMEM, EMFILE, EAGAIN as dlock_open().
 */
int dlock_query(const char *name, dlock_holder_fn *each, void *arg);
int dlock_query_with(const char *name, dlock_holder_fn *each, void *arg, const struct dlock_options *options);
int dlock_list(dlock_holder_fn *each, void *arg);
int dlock_list_with(dlock_holder_fn *each, void *arg, const struct dlock_options *options);

/* What dlock_who() tells of one: `state` is one of these. */
#define DLOCK_WHO_HOLDER 0
#define DLOCK_WHO_WAITER 1

/* One that holds a lock or waits for it, as dlock_who() tells it. Later versions
 * may add fields at the end. Strings belong to the library and live until the
 * callback returns. */
struct dlock_who {
	const char *name;    /* name of the lock, NUL-terminated */
	const char *host;    /* host; "" when it is a foreign client */
	const char *program; /* program; "" when foreign */
	const char *owner;   /* the token by which the masters know it, whole */
	int64_t pid;         /* process id on that host; 0 when foreign */
	int64_t since_us;    /* when it asked for the lock, µs since 1970; 0 when unknown. Waiters stand in this order */
	int64_t ttl_ms;      /* holder: longest time on a master until the lease ends, unless renewed; waiter: 0 */
	uint64_t token;      /* holder: fencing token, 0 when unknown; waiter: 0 */
	int32_t mode;        /* LOCK_EX or LOCK_SH: that is held, or waited for */
	int32_t state;       /* DLOCK_WHO_HOLDER or DLOCK_WHO_WAITER */
	uint32_t position;   /* waiter: its place, 1 for who comes next; holder: 0 */
	uint32_t masters;    /* masters that name it in this state */
	uint32_t quorum;     /* masters needed to hold the lock; a holder with fewer is taking it or giving it back */
	uint32_t unheard;    /* masters that did not answer */
	uint32_t waiters;    /* how many wait in all; may be more than are told */
	uint32_t reserved;   /* 0 */
};

/* A callback of dlock_who(); as dlock_holder_fn. */
typedef int dlock_who_fn(const struct dlock_who *who, void *arg);

/*
 * dlock_who - who holds NAME, and who waits for it, in the order of the queue
 *
 * name  1 to DLOCK_NAME_MAX bytes; only read.
 * each  called once for each that holds the lock, then once for each that waits
 *       for it, who comes next first; may be NULL, to count only.
 *
 * The result is the number of those told, holders and waiters together: 0 when the
 * lock is free and nobody waits. Waiters are told too where nobody holds the lock.
 *
 * A waiter is told when a majority of the masters that were heard names it, and it
 * does not hold the lock. Those that wait stand in the order in which they asked,
 * which is the order in which they get the lock; readers that follow each other
 * get it together. One whose token tells no time comes last. Each master tells the
 * first 1,000 of its queue: of more than that only those are told, and `waiters`
 * says how many there are (as `waiters` of struct dlock_holder, or as many as are
 * told, if that is more). Callers that try once and those that cannot be told when
 * it is their turn are in no queue; one that has died stays in it until its turn.
 *
 * Only a snapshot: it may have changed when you read it. It ends as dlock_query()
 * does, when the answers of a majority agree, on the waiters too; else 50 ms after
 * a majority has answered. Waits at most node_timeout.
 *
 * Threads, fork and signals: may be called from any thread at any time, and in a
 * child of fork. A signal does not end it early. The callback runs in the calling
 * thread, without a lock of the library's held, and may call any function of the
 * library; a result other than 0 ends the enumeration.
 *
 * Errors: as dlock_query().
 */
int dlock_who(const char *name, dlock_who_fn *each, void *arg);
int dlock_who_with(const char *name, dlock_who_fn *each, void *arg, const struct dlock_options *options);

/*
 * Look-ups that do not wait, for programs with a loop of their own.
 *
 * dlock_looks_new()   a set of look-ups. `options` as for dlock_open_with();
 *                     settings are read once, now. NULL and errno on failure.
 * dlock_looks_free()  gives it back, with whatever is under way; NULL is fine.
 * dlock_looks_fd()    a descriptor that polls readable while dlock_looks_next()
 *                     has something to tell. It belongs to the set: only poll it.
 * dlock_looks_start() asks who holds `name` (NULL: all names, as dlock_list()).
 *                     `tag` comes back with the answer. Never waits.
 * dlock_looks_next()  the next look-up that has ended, in no certain order: sets
 *                     *ret_tag, calls `each` as dlock_query() does and returns
 *                     the number of holders.
 *
 * A look-up ends when a majority has answered and those answers agree (each
 * holder that is named is named by a majority, or nobody is named; only masters
 * that vote can agree on that); else 50 ms after a majority has answered, or when
 * all have; at the latest after node_timeout. A set may be used by one thread at
 * a time; any number of look-ups may be under way. After fork only
 * dlock_looks_free() may be called in the child.
 *
 * Errors of dlock_looks_new(): as dlock_open(). Of dlock_looks_start(): EINVAL,
 * ENAMETOOLONG, ENOMEM, ECHILD. Of dlock_looks_next(): EAGAIN (none has ended;
 * *ret_tag is untouched); ENOLCK (the look-up with *ret_tag has failed: fewer
 * than a majority answered), ENOMEM (the same), ECHILD.
 */
struct dlock_looks;
struct dlock_looks *dlock_looks_new(const struct dlock_options *options);
void dlock_looks_free(struct dlock_looks *looks);
int dlock_looks_fd(const struct dlock_looks *looks);
int dlock_looks_start(struct dlock_looks *looks, const char *name, uint64_t tag);
int dlock_looks_next(struct dlock_looks *looks, uint64_t *ret_tag, dlock_holder_fn *each, void *arg);

/*
 * dlock_break - an operator's removal of whoever holds NAME
 *
 * The holder is told (its descriptor is lost) no later than its next renewal,
 * but another client may have the lock before that: only for a holder that is
 * known to be dead or stuck.
 *
 * 0 when a majority of the masters has removed it, also if nobody held it.
 * Errors: as dlock_query().
 */
int dlock_break(const char *name);
int dlock_break_with(const char *name, const struct dlock_options *options);

/* Why a master may vote or not: `state` of struct dlock_master. */
#define DLOCK_MASTER_VOTING 0      /* it votes */
#define DLOCK_MASTER_UNREACHED 1   /* no connection, or no answer in time */
#define DLOCK_MASTER_QUARANTINED 2 /* it started anew: waits until old leases have ended */
#define DLOCK_MASTER_REFUSED 3     /* wrong role, settings, version, cluster, clock, or not Redis */

/* One configured master, as dlock_masters() tells it. Later versions may add
 * fields at the end. Strings live until the callback returns. */
struct dlock_master {
	const char *address;     /* as configured, without user and password */
	const char *version;     /* "7.0.15", "8.1.1 (valkey)"; "" when unknown */
	const char *role;        /* "master", "slave", ...; "" when unknown */
	const char *persistence; /* "always", "everysec", "rdb", "none", ...; "" when unknown */
	const char *eviction;    /* maxmemory policy; "" when unknown */
	const char *run_id;      /* "" when unknown */
	const char *problem;     /* a sentence: what is wrong; "" when nothing is */
	const char *remedy;      /* a sentence: why it matters and what to do; "" when nothing */
	int64_t latency_us;      /* of the last answer; -1 when none */
	int64_t clock_offset_us; /* against the median of the masters */
	int64_t quarantine_ms;   /* quarantine left; 0 when none */
	int64_t max_ttl_ms;      /* M of the cluster that it belongs to; 0 when unknown */
	int32_t state;           /* DLOCK_MASTER_* */
	int32_t warning;         /* 1: `problem` does not keep it from voting */
};

/* A callback of dlock_masters(); as dlock_holder_fn. */
typedef int dlock_master_fn(const struct dlock_master *master, void *arg);

/*
 * dlock_masters - the state of every configured master
 *
 * Connects where needed and waits at most node_timeout for those that have not
 * answered. Calls `each` once a master, in the order configured. The result is
 * the number of masters that vote now: locks can be taken while it is a
 * majority of those configured.
 *
 * Errors: EINVAL (each NULL, or a setting), ENOMEM, EMFILE, EAGAIN.
 */
int dlock_masters(dlock_master_fn *each, void *arg);
int dlock_masters_with(dlock_master_fn *each, void *arg, const struct dlock_options *options);

/*
 * dlock_init - an operator's word that these masters are new
 *
 * Waives the quarantine of all configured masters that are reached and writes
 * the cluster's settings (number of masters, max_ttl) to them. Only when no
 * lease given by them before can still be relied on. The result is the number
 * of masters reached.
 *
 * flags  0, or DLOCK_INIT_FORCE: also masters that locks have been taken on, or
 *        that belong to another cluster; without it those are an error.
 *
 * Errors: EEXIST (a master was used before and DLOCK_INIT_FORCE was not given;
 * nothing was changed), ENOLCK (fewer than a majority reached), EINVAL, ENOMEM,
 * EMFILE, EAGAIN.
 */
#define DLOCK_INIT_FORCE 0x1
int dlock_init(int flags);
int dlock_init_with(int flags, const struct dlock_options *options);

/*
 * dlock_options_new  - an empty set of options; NULL and ENOMEM on failure
 * dlock_options_free - gives it back; NULL is fine
 * dlock_options_set  - sets KEY to VALUE, both copied
 *
 * Keys and values are those of the configuration file, dlock.conf(5): servers,
 * ttl, prefix, node_timeout, quorum_timeout, quarantine, max_ttl, lock_delay,
 * password_file, tls_ca, tls_cert, tls_key. A value NULL takes the setting
 * back. An options object may be shared by threads as long as none sets.
 *
 * dlock_options_resolve - looks everything else up now: environment,
 *                      configuration file, defaults. From then on what is opened
 *                      with this object reads neither of them, so that a program
 *                      that opens many descriptors keeps to the same masters and
 *                      settings, whatever becomes of the file. dlock_options_set()
 *                      takes that back until it is resolved again.
 * dlock_options_get - the value of KEY as text in the notation of the
 *                      configuration file: of a resolved object the value that
 *                      is in force (servers without user and password), else
 *                      what was set; NULL and ENOENT when nothing was set, EINVAL
 *                      for an unknown key. Belongs to the object, until it is
 *                      next set or resolved.
 *
 * Errors of dlock_options_set(): EINVAL (unknown key, or a value out of range:
 * dlock_error_detail() names both; the object is unchanged), ENOMEM. Of
 * dlock_options_resolve(): EINVAL (a setting is wrong: dlock_error_detail()
 * names file, line and key; the object is as it was), ENOMEM, EMFILE, ENFILE.
 */
struct dlock_options *dlock_options_new(void);
void dlock_options_free(struct dlock_options *options);
int dlock_options_set(struct dlock_options *options, const char *key, const char *value);
int dlock_options_resolve(struct dlock_options *options);
const char *dlock_options_get(const struct dlock_options *options, const char *key);

/*
 * dlock_error_detail - a sentence about the last failure in this thread
 *
 * Never NULL; "" if there was none. With ENOLCK it names each master and its
 * error. Valid until the next call of the library in this thread.
 */
const char *dlock_error_detail(void);

/*
 * dlock_strerror - what an errno value means when this library sets it
 *
 * A static string in English; for a value that the library gives no meaning of
 * its own, what strerror(3) of the C locale says, or "unknown error".
 */
const char *dlock_strerror(int error);

/* dlock_version - the version of the library that is loaded, "0.1.0". Static. */
const char *dlock_version(void);

#ifdef __cplusplus
}
#endif

#endif /* DLOCK_H */
