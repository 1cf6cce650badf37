/*
 * tls.h - what a test needs for a server that speaks TLS.
 *
 * Must never: depend on a test framework.
 */
#ifndef TESTS_HARNESS_TLS_H
#define TESTS_HARNESS_TLS_H

/* A folder with ca.crt, and s.crt and s.key for localhost and 127.0.0.1, by openssl(1). The name is static; NULL: there
 * is no openssl. */
char *tls_certificates(void);
void tls_certificates_remove(const char *dir);

/* A port of 127.0.0.1 that nobody has at the moment. */
int tls_free_port(void);

#endif
