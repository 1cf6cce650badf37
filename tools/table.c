/*
 * table.c - see table.h.
 */
#include "table.h"
#include "say.h"
#include "text.h"

#include <stdarg.h>
#include <stdlib.h>

char *table_text(const char *format, ...)
{
	va_list arguments;
	char *result;
	int length;

	va_start(arguments, format);
	length = vasprintf(&result, format, arguments);
	va_end(arguments);
	if (length < 0)
		say_no_memory();
	return result;
}

static void grow(struct table *table)
{
	void *more;

	if (table->count < table->room)
		return;
	table->room = table->room ? table->room * 2 : 64;
	more = reallocarray(table->cells, table->room, table->columns * sizeof(*table->cells));
	if (!more)
		say_no_memory();
	table->cells = more;
}

char **table_row(struct table *table)
{
	grow(table);
	return table->cells + table->count++ * table->columns;
}

static void print_row(const char *const *row, const size_t *widths, size_t columns, FILE *out)
{
	for (size_t column = 0; column < columns; column++) {
		int padding = column < columns - 1 ? (int)(widths[column] - text_width(row[column])) + 2 : 0;

		fprintf(out, "%s%*s", row[column], padding, "");
	}
	putc('\n', out);
}

void table_print(const struct table *table, FILE *out)
{
	size_t columns = table->columns, widths[columns];

	for (size_t column = 0; column < columns; column++) {
		widths[column] = text_width(table->head[column]);
		for (size_t i = 0; i < table->count; i++) {
			size_t width = text_width(table->cells[i * columns + column]);

			if (width > widths[column])
				widths[column] = width;
		}
	}
	print_row(table->head, widths, columns, out);
	for (size_t i = 0; i < table->count; i++)
		print_row((const char *const *)table->cells + i * columns, widths, columns, out);
}

void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->count * table->columns; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->count = table->room = 0;
}
