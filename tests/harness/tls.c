/* tls.c - see tls.h. */
#include "tests/harness/tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

char *tls_certificates(void)
{
	static char dir[] = "/tmp/dlock-tls.XXXXXX";
	char line[1024];

	if (!mkdtemp(dir))
		return NULL;
	snprintf(line, sizeof(line),
	         "cd %s && exec 2>/dev/null && "
	         "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca && "
	         "openssl req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost && "
	         "echo subjectAltName=DNS:localhost,IP:127.0.0.1 > ext && "
	         "openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out s.crt",
	         dir);
	if (system(line) == 0)
		return dir;
	tls_certificates_remove(dir);
	return NULL;
}

void tls_certificates_remove(const char *dir)
{
	char line[64];

	snprintf(line, sizeof(line), "rm -rf %s", dir);
	if (system(line) != 0)
		perror(line);
}

int tls_free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

	if (fd < 0)
		return 0;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&address, &length) == 0)
		port = ntohs(address.sin_port);
	close(fd);
	return port;
}
