/*
 * model_survey.h - what Q and L tell of who holds what, as text.
 *
 * Owns: the form of the text, in which the real reply and the model's are compared,
 * and the model's reply. The model master itself does not know Q and L: nothing in
 * the core asks them.
 */
#ifndef TESTS_INTEGRATION_MODEL_SURVEY_H
#define TESTS_INTEGRATION_MODEL_SURVEY_H

#include "tests/unit/model_master.h"

#define SURVEY_MAX 8192

/* A line for each key: its elements and how many wait for it, of Q another for who waits; after each a '|', with other
 * bytes than letters in hex. */
struct survey {
	char *text;
	size_t size, length;
	size_t lines[MODEL_KEYS]; /* where they begin */
	unsigned count;
};

void survey_line(struct survey *survey);
void survey_number(struct survey *survey, int64_t number);
void survey_word(struct survey *survey, const char *word, size_t length);
/* Sorts the lines: L tells keys in any order. */
void survey_end(struct survey *survey);

void model_survey(struct model_master *master, const struct model_call *call, int64_t world_us,
                  struct model_reply *reply, char text[SURVEY_MAX]);

#endif
