/* results.c - the lines and points of a run: printed as they come, and kept for JSON; see bench.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

#define RESULTS_MAX 256
#define POINTS_MAX 512

/* ---- repetitions ---- */

struct spread {
	double median, least, most;
};

void repeats_add(struct repeats *repeats, double value)
{
	if (repeats->count < REPEATS_MAX)
		repeats->values[repeats->count++] = value;
}

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct spread spread_of(const struct repeats *repeats)
{
	struct repeats sorted = *repeats;
	int n = sorted.count;

	if (n == 0)
		return (struct spread){0};
	qsort(sorted.values, (size_t)n, sizeof(sorted.values[0]), compare_values);
	return (struct spread){
		.median = (sorted.values[(n - 1) / 2] + sorted.values[n / 2]) / 2, .least = sorted.values[0], .most = sorted.values[n - 1]};
}

double repeats_median(const struct repeats *repeats)
{
	return spread_of(repeats).median;
}

/* ---- results ---- */

struct line {
	char figure[80];
	char unit[8];
	struct spread ours, floor, ratio;
	double limit;
	enum bar bar;
	char cannot[160]; /* what happened; "": it can */
};

struct point {
	char curve[64], series[64];
	char unit[8];
	double x, y;
};

static struct line lines[RESULTS_MAX];
static struct point points[POINTS_MAX];
static int line_count, point_count;

static double quotient(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static bool met(const struct line *line)
{
	switch (line->bar) {
	case BAR_RATIO_MOST: return line->floor.median > 0 && line->ratio.median <= line->limit;
	case BAR_RATIO_LEAST: return line->ratio.median >= line->limit;
	case BAR_ADDS_MOST: return line->ours.median - line->floor.median <= line->limit;
	case BAR_NONE: break;
	}
	return true;
}

static void bar_text(const struct line *line, char *text, size_t size)
{
	switch (line->bar) {
	case BAR_RATIO_MOST: snprintf(text, size, "<= %.2f", line->limit); return;
	case BAR_RATIO_LEAST: snprintf(text, size, ">= %.2f", line->limit); return;
	case BAR_ADDS_MOST: snprintf(text, size, "+ %.0f %s", line->limit, line->unit); return;
	case BAR_NONE: snprintf(text, size, "-"); return;
	}
}

static const char *verdict(const struct line *line)
{
	if (line->bar == BAR_NONE)
		return "-";
	return met(line) ? "met" : "missed";
}

void results_head(void)
{
	printf("%-52s %10s %10s %8s %-13s %-9s %s\n", "figure", "ours", "floor", "ratio", "spread", "bar", "met/missed");
}

/* NULL: there are too many. */
static struct line *new_line(const char *figure, const char *unit)
{
	struct line *line = &lines[line_count];

	if (line_count == RESULTS_MAX) {
		fprintf(stderr, "bench: no room for the line %s\n", figure);
		return NULL;
	}
	line_count++;
	*line = (struct line){0};
	snprintf(line->figure, sizeof(line->figure), "%s", figure);
	snprintf(line->unit, sizeof(line->unit), "%s", unit);
	return line;
}

static void print_line(const struct line *line)
{
	char name[96], text[32], spread[32] = "";

	if (line->cannot[0]) {
		printf("%-52s cannot: %s\n", line->figure, line->cannot);
		return;
	}
	snprintf(name, sizeof(name), *line->unit ? "%s (%s)" : "%s%s", line->figure, line->unit);
	if (line->ratio.least < line->ratio.most)
		snprintf(spread, sizeof(spread), "%.2f-%.2f", line->ratio.least, line->ratio.most);
	bar_text(line, text, sizeof(text));
	printf("%-52s %10.2f %10.2f %8.2f %-13s %-9s %s\n", name, line->ours.median, line->floor.median, line->ratio.median,
	       spread, text, verdict(line));
}

void result_repeated(const char *figure, const char *unit, const struct repeats *ours, const struct repeats *floor,
                     enum bar bar, double limit)
{
	struct line *line = new_line(figure, unit);
	struct repeats ratios = {0};

	if (!line)
		return;
	for (int i = 0; i < ours->count && i < floor->count; i++)
		repeats_add(&ratios, quotient(ours->values[i], floor->values[i]));
	line->ours = spread_of(ours);
	line->floor = spread_of(floor);
	line->ratio = spread_of(&ratios);
	line->bar = bar;
	line->limit = limit;
	print_line(line);
	fflush(stdout);
}

void result(const char *figure, const char *unit, double ours, double floor, enum bar bar, double limit)
{
	result_repeated(figure, unit, &(struct repeats){1, {ours}}, &(struct repeats){1, {floor}}, bar, limit);
}

void result_cannot(const char *figure, const char *what_happened)
{
	struct line *line = new_line(figure, "");

	if (!line)
		return;
	snprintf(line->cannot, sizeof(line->cannot), "%s", what_happened);
	for (char *c = line->cannot; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < 0x20)
			*c = '\'';
	print_line(line);
	fflush(stdout);
}

void result_point(const char *curve, const char *series, double x, const char *unit, double y)
{
	struct point *point = &points[point_count];

	if (point_count == POINTS_MAX) {
		fprintf(stderr, "bench: no room for a point of %s\n", curve);
		return;
	}
	point_count++;
	*point = (struct point){.x = x, .y = y};
	snprintf(point->curve, sizeof(point->curve), "%s", curve);
	snprintf(point->series, sizeof(point->series), "%s", series);
	snprintf(point->unit, sizeof(point->unit), "%s", unit);
	printf("%-52s %10.0f: %.2f %s\n", curve, x, y, series);
	fflush(stdout);
}

static void write_spread(FILE *file, const char *name, const struct spread *spread)
{
	fprintf(file, ", \"%s\": {\"median\": %.4f, \"least\": %.4f, \"most\": %.4f}", name, spread->median, spread->least,
	        spread->most);
}

static void write_line(FILE *file, const struct line *line)
{
	char text[32];

	fprintf(file, "{\"figure\": \"%s\"", line->figure);
	if (line->cannot[0]) {
		fprintf(file, ", \"cannot\": \"%s\"}", line->cannot);
		return;
	}
	bar_text(line, text, sizeof(text));
	fprintf(file, ", \"unit\": \"%s\"", line->unit);
	write_spread(file, "ours", &line->ours);
	write_spread(file, "floor", &line->floor);
	write_spread(file, "ratio", &line->ratio);
	fprintf(file, ", \"bar\": \"%s\", \"verdict\": \"%s\"}", text, verdict(line));
}

static void write_point(FILE *file, const struct point *point)
{
	fprintf(file, "{\"curve\": \"%s\", \"series\": \"%s\", \"x\": %.4f, \"unit\": \"%s\", \"y\": %.4f}", point->curve,
	        point->series, point->x, point->unit, point->y);
}

int results_write_json(const char *path)
{
	FILE *file = fopen(path, "we");
	double load = 0;

	if (!file) {
		perror(path);
		return -1;
	}
	if (getloadavg(&load, 1) < 1)
		load = 0;
	fprintf(file, "{\"time\": %lld, \"processors\": %ld, \"load\": %.2f, \"results\": [", (long long)time(NULL),
	        sysconf(_SC_NPROCESSORS_ONLN), load);
	for (int i = 0; i < line_count; i++) {
		fputs(i ? ",\n  " : "\n  ", file);
		write_line(file, &lines[i]);
	}
	fputs("\n], \"points\": [", file);
	for (int i = 0; i < point_count; i++) {
		fputs(i ? ",\n  " : "\n  ", file);
		write_point(file, &points[i]);
	}
	fputs("\n]}\n", file);
	if (fclose(file) == 0)
		return 0;
	perror(path);
	return -1;
}
