/*
 * keeper.h - the shell around the core: the only epoll, clock, timer, mutex and thread.
 *
 * Owns: one keeper a process. It carries out the core's effects, feeds replies
 * and time back as events, and holds the other end of every descriptor.
 * Must never: decide what the protocol decides, or call the user's code.
 *
 * How it works. One mutex guards everything. A public call takes it, steps the
 * core in its own thread (requests leave from there, without a hop), and waits
 * on a semaphore of its own outside the mutex. The thread waits in epoll for
 * replies, descriptors that were closed, and one timerfd for the earliest
 * timer, takes the mutex, and steps the core.
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
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "core/lock.h"
#include "node.h"
#include "timers.h"

struct cluster;
struct handle;

/* A public call under way. Lives on the caller's stack, until `finished`. */
enum call_kind { CALL_KIND_LOCK, CALL_KIND_UNLOCK, CALL_KIND_VERIFY, CALL_KIND_DATA };

struct user_call {
	struct user_call *next; /* in the handle's queue; the first one is under way */
	enum call_kind kind;
	enum mode mode;
	int64_t timeout_us;
	void *data;    /* DATA: from malloc(); the lock's once the call has begun, and NULL here */
	size_t data_size;
	bool finished; /* protected by the keeper's mutex */
	int error;
	int64_t deadline_us; /* of the lock when the call ended */
	sem_t done;
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
