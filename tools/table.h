/*
 * table.h - rows of cells, printed with their columns aligned.
 *
 * Owns: the cells. Cells are for people: text_shown() has been over them.
 */
#ifndef DLOCK_TOOLS_TABLE_H
#define DLOCK_TOOLS_TABLE_H

#include <stddef.h>
#include <stdio.h>

/* All zero but for the first two is an empty one. */
struct table {
	const char *const *head;
	size_t columns;
	char **cells; /* row after row */
	size_t count, room; /* rows */
};

/* A cell as printf(3) makes it. Ends the program when memory is out. */
char *table_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A new row: `columns` cells, all to be set to what table_text() or text_shown() gave. */
char **table_row(struct table *table);

/* The head, then the rows. */
void table_print(const struct table *table, FILE *out);

void table_clear(struct table *table);

#endif
