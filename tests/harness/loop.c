/* loop.c - see loop.h. */
#include "tests/harness/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

int loop_begin(struct loop *loop, const char *address)
{
	const char *colon = strrchr(address, ':');
	bool brackets = address[0] == '[';

	memset(loop, 0, sizeof(*loop));
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->config.node_timeout_us = 50000;
	loop->server.address = strdup(address);
	if (strncmp(address, "unix:", 5) == 0) {
		loop->server.kind = SERVER_UNIX;
		loop->server.path = strdup(address + 5);
	} else {
		loop->server.kind = SERVER_TCP;
		loop->server.host = strndup(address + brackets, (size_t)(colon - address) - (brackets ? 2 : 0));
		loop->server.port = (uint16_t)atoi(colon + 1);
	}
	return loop->epoll >= 0 && loop->server.address && (loop->server.path || loop->server.host) ? 0 : -1;
}

void loop_end(struct loop *loop)
{
	close(loop->epoll);
	free(loop->server.address);
	free(loop->server.path);
	free(loop->server.host);
}

int64_t loop_now_us(const struct loop *loop)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + loop->forward_us;
}

int loop_watch(void *context, struct node *node, int fd, uint32_t events)
{
	struct loop *loop = context;
	struct epoll_event event = {.events = events, .data.fd = fd};

	(void)node;
	loop->fd = fd;
	if (events == 0)
		return epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}
