/*
 * loop.h - what a connection needs to be driven by a test: an epoll, a clock that can be put forward, an address.
 *
 * Owns: these, for one node. Must never: call back, or turn by itself; the tests do, each in its own way.
 */
#ifndef TESTS_HARNESS_LOOP_H
#define TESTS_HARNESS_LOOP_H

#include <stdint.h>

#include "config.h"
#include "node.h"

struct loop {
	int epoll;
	int fd;             /* last watched */
	int64_t forward_us; /* how far the clock was put forward */
	struct config config;
	struct server server;
};

/* For "unix:/path" or "host:port", with a node_timeout of 50 ms. 0 or -1. */
int loop_begin(struct loop *loop, const char *address);
void loop_end(struct loop *loop); /* once the node is freed */

int64_t loop_now_us(const struct loop *loop);

/* A node_owner's `watch`, where `context` begins with the loop. */
int loop_watch(void *context, struct node *node, int fd, uint32_t events);

#endif
