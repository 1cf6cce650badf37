/*
 * keeper.h - the shell around the core: the only epoll, clock, timer, mutex and thread.
 *
 * Owns: one keeper a process. It carries out the core's effects, feeds replies
 * and time back as events, and holds the other end of every descriptor.
 * Must never: decide what the protocol decides, or call the user's code.
 *
 * How it works. One mutex guards everything. A public call takes it, steps the
 * core in its own thread (requests leave from there), and waits outside the
 * mutex. Replies, descriptors that were closed, and one timerfd for the earliest
 * timer are in one epoll; whoever drives waits for that, takes the mutex, and steps
 * the core. That is the first thread that waits (drive.c), so that its answer
 * comes without a hop; other threads wait on a semaphore behind it. When none
 * waits it is the keeper's own thread, for renewals and closed descriptors.
 *
 * A cluster has one connection a master, and once somebody had to wait for a
 * lock, a second one on which the masters tell what they hand over (grants.c).
 *
 * Lock order: the mutex is the only lock. Nothing blocks while it is held.
 *
 * fork(2): the mutex is held across fork, so that the child's copy is whole. In
 * the child the keeper's descriptors are closed and it starts from nothing;
 * the descriptors known before are remembered, to be answered with ECHILD.
 */
#ifndef DLOCK_KEEPER_H
#define DLOCK_KEEPER_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "core/lock.h"
#include "node.h"
#include "timers.h"

struct cluster;
struct handle;

/* Somebody who waits, on the stack. */
struct waiting {
	bool finished; /* protected by the keeper's mutex */
	sem_t done;    /* unless it drives */
};

/* A public call under way. Lives on the caller's stack, until `finished`. */
enum call_kind { CALL_KIND_LOCK, CALL_KIND_UNLOCK, CALL_KIND_VERIFY, CALL_KIND_DATA };

struct user_call {
	struct user_call *next; /* in the handle's queue; the first one is under way */
	enum call_kind kind;
	enum mode mode;
	int64_t timeout_us;
	void *data;    /* DATA: from malloc(); the lock's once the call has begun, and NULL here */
	size_t data_size;
	struct waiting waiting;
	int error;
	int64_t deadline_us; /* of the lock when the call ended */
};

struct handle {
	struct handle *next_in_table, *next_in_routes;
	struct handle *next, **link; /* in the cluster's list */
	uint64_t cookie;             /* of the user's end */
	uint64_t route;              /* of all tokens of its lock */
	int keeper_fd;
	bool nonblock;
	bool closing;
	struct cluster *cluster;
	struct lock lock;
	struct timer timer;
	struct user_call *calls;
	struct user_call async;      /* DLOCK_NONBLOCK: the call under way, if async_pending */
	bool async_pending;
	int result;                  /* DLOCK_NONBLOCK: errno of the last call */
};

/* A question to all masters, besides the locks. See survey.h. */
struct survey;

struct survey_list {
	struct survey *first, *last;
	size_t count;
};

/* A command whose answer is awaited, as the node's tag. */
struct sent {
	struct sent *next; /* free list, or the list of those that could not be sent */
	struct sent *next_made;
	struct request request;
	struct survey *survey; /* NULL: the request is the core's */
};

struct cluster {
	struct cluster *next;
	struct config config;
	struct quorum quorum;
	struct node *nodes[SERVERS_MAX];
	struct timer node_timers[SERVERS_MAX];
	char problems[SERVERS_MAX][256];       /* why it is not connected */
	struct node_facts facts[SERVERS_MAX];
	bool listens;                          /* grants are wanted */
	struct node *listeners[SERVERS_MAX];   /* where they come; NULL: none yet */
	struct timer listener_timers[SERVERS_MAX];
	uint32_t mute;                         /* masters that may not publish for this user, as far as was asked */
	uint32_t dirty;                        /* nodes with commands to write */
	struct handle *handles;
	unsigned users;                        /* handles and surveys */
	struct attempt *closed;                /* attempts whose releases are not finished */
	int64_t closed_next_us;                /* none of them has anything to do before */
	struct timer timer;                    /* quorum and closed attempts */
	struct timer idle_timer;
	struct sent *made_sent; /* all there are: some may be without an answer when the cluster is freed */
	struct sent *free_sent, *failed_sent;
	struct sent *failed_last;
	struct survey_list surveys;            /* under way */
	struct survey_list surveys_waiting;    /* for their turn */
	bool begins_surveys;
};

struct watch {
	uint32_t generation;
	enum { WATCH_NONE, WATCH_NODE, WATCH_LISTENER, WATCH_HANDLE } kind;
	void *object;
	struct cluster *cluster;
};

struct keeper {
	bool running;
	unsigned forks; /* how many lie between the first process and this one */
	pthread_mutex_t mutex;
	pthread_t thread;
	int epoll_fd, timer_fd;
	/* Who drives: drive.c. */
	int thread_epoll_fd;      /* where the thread waits: for epoll_fd, and for resume_fd */
	int resume_fd;            /* a timer: the thread watches again */
	int signal_fd;            /* signals that a thread which drives has blocked; -1: not made yet */
	sigset_t signals, signals_without; /* which ones, and which not */
	bool thread_watches;      /* epoll_fd wakes the thread */
	bool resumes;             /* resume_fd is armed */
	bool driven;              /* a thread that waits drives */
	const struct waiting *polling; /* it is outside the mutex */
	unsigned calls;           /* public calls under way */
	bool uses_tls;
	int64_t armed_us; /* what timer_fd is set to; INT64_MAX: nothing */
	struct watch *watches;
	size_t watch_count;
	struct timers timers;
	size_t timer_count;
	struct cluster *clusters;
	struct handle **table, **routes; /* by cookie, by route; of the same size */
	size_t table_size, handle_count;
	/* Descriptors of the parent, in a child of fork. */
	uint64_t *inherited;
	size_t inherited_count;
	struct keeper *parent; /* in a copy that is kept of what was left behind */
};

extern struct keeper keeper;

int64_t keeper_now_us(void);

/* Take the mutex of a keeper that runs (starting it if need be). 0 or -errno, then nothing is held. */
int keeper_enter(void);
/* The same for what was made with the keeper that ran when there had been so many `forks`: false, and nothing
 * is held, if that was another process'. */
bool keeper_enter_again(unsigned forks);
/* Arm the timer, give the mutex back. */
void keeper_leave(void);

/* What is ready now and due now, until `until` (or NULL) has finished; returns with the mutex. Without it before. */
void keeper_step(const struct waiting *until);
/* Whoever drives looks at once. */
void keeper_poke(void);

/* ---- drive.c: waiting ---- */

void waiting_init(struct waiting *waiting);
void waiting_clear(struct waiting *waiting);
/* With the mutex. */
void waiting_finish(struct waiting *waiting);
/* Wait until it has finished. Needs the mutex, and gives it back. False: a signal has interrupted that. */
bool keeper_wait(struct waiting *waiting);
/* The same whatever signals come, for what is bounded by its own time; with the mutex afterwards, and cleared. */
void keeper_wait_out(struct waiting *waiting);
/* Takes away a SIGPIPE that is blocked and pending: of a write of a TLS library. */
void keeper_drop_sigpipe(void);
/* A call or a survey is under way. */
bool keeper_is_awaited(void);
/* Whether what is ready wakes the keeper's thread. */
void drive_thread_watches(bool watches);

int keeper_watch(int fd, uint32_t events, struct watch watch);
/* Room for the timers of a cluster or handle. 0 or -ENOMEM. */
int keeper_reserve_timers(size_t more);

enum timer_kind { TIMER_NODE, TIMER_LISTENER, TIMER_CLUSTER, TIMER_IDLE, TIMER_HANDLE, TIMER_SURVEY };

/* ---- cluster.c: masters and the locks on them ---- */

/* The cluster for `config`, made if there is none; takes `config` over in every case. 0 or -errno. */
int cluster_get(struct config *config, struct cluster **ret);
void cluster_put(struct cluster *cluster);
void cluster_abandon_after_fork(struct cluster *cluster);
/* Carry out what a step of the core has left. `handle` is the one it was about, or NULL. */
void cluster_run(struct cluster *cluster, struct handle *handle, struct effects *effects);
/* After any step: deliver what could not be sent, write, set timers, forget what is finished. */
void cluster_settle(struct cluster *cluster, struct handle *handle);
void cluster_timer(struct cluster *cluster, struct timer *timer, int64_t now_us);
/* The answer to V, I or N: what a master knows of itself. */
void cluster_viewed(struct cluster *cluster, unsigned master, enum node_answer kind, const struct value *value,
                    int64_t now_us);
/* Ask one master something for a survey. 0 or -errno. */
struct wire_command;
int cluster_send_survey(struct cluster *cluster, unsigned master, const struct wire_command *command,
                        struct survey *survey, int64_t now_us);

/* ---- grants.c: what masters hand over to who waits ---- */

/* The channel of this process for this cluster. 0 or -EIO. */
int grants_channel(char *out, size_t size, bool quarantine);
/* Listen to all masters from now on, if that is not so already. */
void grants_listen(struct cluster *cluster);
/* Some master is reached, and whether it may be listened to is not known yet, but will be. */
bool grants_unknown(const struct cluster *cluster);
void grants_ready(struct cluster *cluster, struct node *listener, int fd, uint32_t events, int64_t now_us);
void grants_timer(struct cluster *cluster, struct timer *timer, int64_t now_us);
void grants_free(struct cluster *cluster);
void grants_abandon_after_fork(struct cluster *cluster);

/* ---- survey.c: questions to all masters ---- */

void survey_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value,
                     const char *text);
/* Something has become of a master: known, voting, gone. */
void survey_masters_changed(struct cluster *cluster);
void survey_tick(struct survey *survey, int64_t now_us);

/* ---- handle.c: descriptors and the calls on them ---- */

struct handle *handle_find(uint64_t cookie);
/* Whose lock made `token`, which token_parse() accepts; NULL: none of this process. */
struct handle *handle_find_token(const char *token);
/* The core has ended the call under way. */
void handle_done(struct handle *handle, int error);
void handle_lost(struct handle *handle);
void handle_tick(struct handle *handle, int64_t now_us);
void handle_free_all_after_fork(void);
void handle_hung_up(struct handle *handle, int64_t now_us);

#endif
