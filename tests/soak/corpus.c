/* SPDX-License-Identifier: MIT */
#include "corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns that are read. */
enum { COLUMN_FILE, COLUMN_CODEC, COLUMN_FRAMES, COLUMN_STATUS, COLUMNS };

static int cut(char *line, char **fields, int room)
{
    int count = 0;

    line[strcspn(line, "\r\n")] = '\0';
    for (char *field; count < room && (field = strsep(&line, "\t"));)
        fields[count++] = field;
    return count;
}

int corpus_add(struct corpus *corpus, const char *folder, const char *name)
{
    char **paths = realloc(corpus->paths, sizeof(*paths) * ((size_t)corpus->count + 1));

    if (!paths)
        return -1;
    corpus->paths = paths;
    if (asprintf(&paths[corpus->count], "%s%s%s", folder, *folder ? "/" : "", name) < 0)
        return -1;
    corpus->count++;
    corpus->left++;
    return 0;
}

int corpus_load(const char *folder, struct corpus *ret_corpus)
{
    static const char *const names[COLUMNS] = {"file", "codec", "frames", "status"};
    int place[COLUMNS] = {-1, -1, -1, -1}, count, err = -1;
    struct corpus corpus = {0};
    char path[4096], *line = NULL, *fields[64];
    size_t room = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/manifest.tsv", folder);
    file = fopen(path, "re");
    if (!file || getline(&line, &room, file) < 0)
        goto out;
    count = cut(line, fields, 64);
    for (int i = 0; i < count; i++) {
        for (int c = 0; c < COLUMNS; c++) {
            if (!strcmp(fields[i], names[c]))
                place[c] = i;
        }
    }
    for (int c = 0; c < COLUMNS; c++) {
        if (place[c] < 0)
            goto out;
    }
    while (getline(&line, &room, file) >= 0) {
        if (cut(line, fields, 64) < count || strcmp(fields[place[COLUMN_STATUS]], "clean") ||
            !*fields[place[COLUMN_CODEC]] || atoi(fields[place[COLUMN_FRAMES]]) < 2)
            continue;
        if (corpus_add(&corpus, folder, fields[place[COLUMN_FILE]]))
            goto out;
    }
    *ret_corpus = corpus;
    corpus = (struct corpus){0};
    err = 0;
out:
    free(line);
    if (file)
        fclose(file);
    corpus_finish(&corpus);
    return err;
}

void corpus_drop(struct corpus *corpus, int index)
{
    if (!corpus->paths[index])
        return;
    free(corpus->paths[index]);
    corpus->paths[index] = NULL;
    corpus->left--;
}

void corpus_finish(struct corpus *corpus)
{
    for (int i = 0; i < corpus->count; i++)
        free(corpus->paths[i]);
    free(corpus->paths);
    *corpus = (struct corpus){0};
}
