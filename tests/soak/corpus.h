/* SPDX-License-Identifier: MIT */
#ifndef SOAK_CORPUS_H
#define SOAK_CORPUS_H

/* Paths of streams; NULL where one was taken out. */
struct corpus {
    char **paths;
    int count;
    int left; /* that are not NULL */
};

/* The clean streams of FOLDER/manifest.tsv that hold more than one frame; 0 or -1. */
int corpus_load(const char *folder, struct corpus *ret_corpus);
int corpus_add(struct corpus *corpus, const char *folder, const char *name);
/* Takes one out, if it is still there. */
void corpus_drop(struct corpus *corpus, int index);
void corpus_finish(struct corpus *corpus);

#endif
