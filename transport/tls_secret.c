/* SPDX-License-Identifier: MIT */
#include "tls_secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "tls_library.h"

#define SECRET_LEAST 16u

void tls_secret_finish(struct tls_secret *secret)
{
    if (secret->key.data) {
        explicit_bzero(secret->key.data, secret->key.size);
        (*tls_library.free)(secret->key.data);
    }
    *secret = (struct tls_secret){0};
}

/* What is wrong with a line, or NULL. */
static const char *parse(char *line, const struct tls_secret *others, int count,
                         struct tls_secret *ret_secret)
{
    char *colon = strchr(line, ':');
    struct tls_secret secret = {0};
    gnutls_datum_t hex;

    if (!colon || colon == line || colon - line >= VD_PROOF_NAME_BYTES)
        return "not NAME:HEX";
    *colon = 0;
    for (const char *at = line; *at; at++) {
        if (iscntrl((unsigned char)*at))
            return "a name that is not text";
    }
    for (int i = 0; i < count; i++) {
        if (!strcmp(others[i].name, line))
            return "a second one of this name";
    }
    strcpy(secret.name, line);
    hex = (gnutls_datum_t){(unsigned char *)colon + 1, (unsigned)strlen(colon + 1)};
    if (tls_library.hex_decode2(&hex, &secret.key))
        return "not NAME:HEX";
    if (secret.key.size < SECRET_LEAST) {
        tls_secret_finish(&secret);
        return "fewer than 16 bytes";
    }
    *ret_secret = secret;
    return NULL;
}

int tls_secret_read(const char *path, struct tls_secret *ret_secrets, int room, int *ret_count)
{
    FILE *file = fopen(path, "re");
    const char *wrong = NULL;
    char line[1024];
    unsigned number = 0;
    int count = 0;

    if (!file) {
        log_error("TLS: secret %s: %s", path, strerror(errno));
        return VD_ERR_PARAMETER;
    }
    while (!wrong && !(room == 1 && count) && fgets(line, sizeof(line), file)) {
        char *end = line + strlen(line);

        number++;
        while (end > line && isspace((unsigned char)end[-1]))
            *--end = 0;
        if (!*line || *line == '#')
            continue;
        wrong = count == room ? "more lines than the limit"
                              : parse(line, ret_secrets, count, &ret_secrets[count]);
        count += !wrong;
    }
    fclose(file);
    explicit_bzero(line, sizeof(line));
    if (!wrong && !count)
        wrong = "no line NAME:HEX";
    if (wrong) {
        log_error("TLS: secret %s:%u: %s", path, number, wrong);
        while (count)
            tls_secret_finish(&ret_secrets[--count]);
        return VD_ERR_PARAMETER;
    }
    *ret_count = count;
    return 0;
}
