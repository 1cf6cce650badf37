/*
 * config.h - the settings behind one descriptor, resolved.
 *
 * Owns: the look-up order (options object, environment, configuration files,
 * a running local quorum, the default) and the check of every value.
 * Must never: talk to a server, print, or keep process-wide state.
 */
#ifndef DLOCK_CONFIG_H
#define DLOCK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVERS_MAX 31 /* more masters than this are refused */

enum server_kind { SERVER_TCP, SERVER_UNIX };

/* One configured master. Strings are owned; NULL where there is none. */
struct server {
	enum server_kind kind;
	bool tls;
	uint16_t port;
	int db;
	char *host; /* TCP: name or number, IPv6 without brackets */
	char *path; /* UNIX */
	char *user;
	char *password;
	char *address; /* for people and for the cluster's fingerprint: normalised
	                * ("host:port", "[v6]:port", "unix:/path", "/db" appended if
	                * not 0), without user, password or TLS */
};

struct config {
	struct server *servers;
	unsigned server_count;
	int64_t ttl_us;            /* lease */
	int64_t node_timeout_us;   /* default ttl/20, at least 50 ms */
	int64_t quorum_timeout_us; /* -1: for ever */
	int64_t max_ttl_us;        /* M as configured; 0: take the cluster's, else the larger of ttl and 10 s */
	int64_t lock_delay_us;     /* default 0 */
	bool quarantine;           /* false: `quarantine = off` */
	char *prefix;              /* owned; may be "" */
	char *tls_ca, *tls_cert, *tls_key;
	char *source; /* for people: where `servers` came from */
};

struct dlock_options;
struct settings;

/* The settings that hold now; of an options object that was resolved, those that held then: it costs a copy, and
 * no file and no variable is looked at. 0, or a negative errno with a sentence in `why` (file, line, key, what is
 * accepted); *ret_config is untouched on failure. */
int config_resolve(const struct dlock_options *options, struct config *ret_config, char *why, size_t why_size);

/* For resolving an options object: the same, but all places are looked at in any case; and the values that hold,
 * as text without users and passwords. Both outputs are untouched on failure. */
int config_look_up(const struct dlock_options *options, struct config *ret_config, struct settings *ret_settings,
                   char *why, size_t why_size);

/*
 * The places that do not come from the environment, so that tests can have
 * their own. The environment's are $DLOCK_CONFIG, $XDG_CONFIG_HOME or
 * $HOME/.config, and $XDG_RUNTIME_DIR; all are read with secure_getenv().
 */
struct config_places {
	const char *system_file;        /* /etc/dlock.conf */
	const char *root_run_directory; /* /run/dlock: where euid 0 looks for a local quorum; others look
	                                 * in $XDG_RUNTIME_DIR/dlock */
	unsigned euid;                  /* whose files a local quorum's may be, beside root's */
};

/* config_resolve() with other places; `why` may not be NULL. */
int config_resolve_at(const struct config_places *places, const struct dlock_options *options,
                      struct config *ret_config, char *why, size_t why_size);

/* A copy of all of it. 0, or -ENOMEM with *ret untouched. */
int config_copy(const struct config *config, struct config *ret);

/* Wipes the passwords. The struct may be all zero. */
void config_clear(struct config *config);

/* Hands everything over to *ret_masters, for what takes it (a cluster), and leaves in `config` what a handle or a
 * look-up goes on using: the plain values, and a prefix of its own; every other pointer is NULL. Both are to be
 * cleared. 0, or -ENOMEM with both untouched. */
int config_hand_over(struct config *config, struct config *ret_masters);

/* Whether two configurations reach the same masters in the same way, so that
 * they can share connections (servers, credentials, TLS, max_ttl, quarantine). */
bool config_same_masters(const struct config *a, const struct config *b);

#endif
