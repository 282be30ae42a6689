/* What a reader remembers: where each value stood, and how many errors there were. */
#include "conf/reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/panic.h"

void reader_init(struct reader *r, struct buf *errors)
{
    *r = (struct reader){.errors = errors};
    source_init(&r->source, errors);
}

void reader_fini(struct reader *r)
{
    source_fini(&r->source);
    free(r->places);
}

void reader_error_at_line(struct reader *r, int line, const char *fmt, va_list ap)
{
    const char *file;
    int file_line;
    r->error_count++;
    if (r->error_count > READER_ERRORS_MAX)
        return;
    source_place(&r->source, line, &file, &file_line);
    buf_printf(r->errors, "%s:%d: ", file, file_line);
    buf_vprintf(r->errors, fmt, ap);
    buf_put(r->errors, "\n", 1);
    if (r->error_count == READER_ERRORS_MAX)
        buf_printf(r->errors, "%s: further errors are left out\n", file);
}

void reader_record(struct reader *r, const void *at, int line)
{
    if (r->place_count == r->place_cap) {
        r->place_cap = r->place_cap ? r->place_cap * 2 : 256;
        r->places = must(realloc(r->places, r->place_cap * sizeof *r->places));
    }
    r->places[r->place_count++] = (struct place){at, line};
    r->sorted = false;
}

static int by_address(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->at, q = (uintptr_t)y->at;
    if (p != q)
        return p < q ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line; /* the member after the item that it begins */
}

/* The last place at or before the address, or NULL. */
static const struct place *find_place(struct reader *r, const void *at)
{
    if (!r->sorted && r->place_count)
        qsort(r->places, r->place_count, sizeof *r->places, by_address);
    r->sorted = true;
    size_t low = 0, high = r->place_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if ((uintptr_t)r->places[mid].at <= (uintptr_t)at)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &r->places[low - 1] : NULL;
}

bool reader_has(struct reader *r, const void *at)
{
    const struct place *p = find_place(r, at);
    return p && p->at == at;
}

void reader_place(struct reader *r, const void *at, const char **out_file, int *out_line)
{
    const struct place *p = find_place(r, at);
    source_place(&r->source, p ? p->line : 1, out_file, out_line);
}

void reader_error(struct reader *r, const void *at, const char *fmt, ...)
{
    const struct place *p = find_place(r, at);
    va_list ap;
    va_start(ap, fmt);
    reader_error_at_line(r, p ? p->line : 1, fmt, ap);
    va_end(ap);
}
