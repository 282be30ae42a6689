#include "conf/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/panic.h"

/* The scan of one file. Strings and comments may span lines; an include within them is text. */
struct scan {
    struct source *source;
    int file, line, depth; /* depth: of includes */
    bool can_include;
    struct str text;
    size_t at;
};

static bool scan_file(struct source *s, const char *path, int depth, const char *from_file, int from_line);

void source_init(struct source *s, struct buf *errors)
{
    *s = (struct source){.errors = errors};
}

void source_fini(struct source *s)
{
    for (int i = 0; i < s->file_count; i++)
        free(s->files[i]);
    free(s->files);
    free(s->lines);
    buf_fini(&s->text);
}

void source_place(const struct source *s, int line, const char **out_file, int *out_line)
{
    if (s->line_count == 0) {
        *out_file = s->file_count ? s->files[0] : "config";
        *out_line = 1;
        return;
    }
    size_t i = line < 1 ? 0 : (size_t)line - 1;
    if (i >= s->line_count)
        i = s->line_count - 1;
    *out_file = s->files[s->lines[i].file];
    *out_line = s->lines[i].line;
}

static bool fail(struct source *s, const char *file, int line, const char *what, const char *detail)
{
    if (line > 0)
        buf_printf(s->errors, "%s:%d: %s%s\n", file, line, what, detail);
    else
        buf_printf(s->errors, "%s: %s%s\n", file, what, detail);
    s->error_count++;
    return false;
}

static bool scan_fail(struct scan *c, const char *what)
{
    return fail(c->source, c->source->files[c->file], c->line, what, "");
}

/* Text at the beginning of a line says where that line is from. */
static void mark_line(struct scan *c)
{
    struct source *s = c->source;
    if (s->line_count == s->line_cap) {
        s->line_cap = s->line_cap ? s->line_cap * 2 : 256;
        s->lines = must(realloc(s->lines, s->line_cap * sizeof *s->lines));
    }
    s->lines[s->line_count++] = (struct source_line){c->file, c->line};
}

/* Copies n bytes, keeping count of lines. */
static void copy(struct scan *c, size_t n)
{
    for (; n; n--, c->at++) {
        char ch = c->text.p[c->at];
        buf_put(&c->source->text, &ch, 1);
        if (ch == '\n') {
            c->line++;
            mark_line(c);
        }
    }
}

static bool ahead(const struct scan *c, struct str what)
{
    return str_starts(str_make(c->text.p + c->at, c->text.n - c->at), what);
}

static void copy_line(struct scan *c)
{
    while (c->at < c->text.n && c->text.p[c->at] != '\n')
        copy(c, 1);
}

static void copy_comment(struct scan *c)
{
    copy(c, 2);
    while (c->at < c->text.n && !ahead(c, STR("*/")))
        copy(c, 1);
    copy(c, c->at < c->text.n ? 2 : 0);
}

/* An end that is missing is said here: libconfig would say it at the end of the file, and lose memory over
 * it. */
static bool copy_string(struct scan *c)
{
    int line = c->line;
    copy(c, 1);
    while (c->at < c->text.n && c->text.p[c->at] != '"')
        copy(c, c->text.p[c->at] == '\\' && c->at + 1 < c->text.n ? 2 : 1);
    if (c->at == c->text.n) {
        c->line = line;
        return scan_fail(c, "string without an end");
    }
    copy(c, 1);
    return true;
}

static bool is_word_char(char ch)
{
    return (ch >= '0' && ch <= '9') || (char_lower(ch) >= 'a' && char_lower(ch) <= 'z') || ch == '_' ||
           ch == '-' || ch == '.' || ch == '*' || ch == '+';
}

static bool hex_parse(struct str digits, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < digits.n; i++) {
        char ch = char_lower(digits.p[i]);
        if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f')) || *out >> 60)
            return false;
        *out = *out << 4 | (uint64_t)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
    }
    return digits.n > 0;
}

/* A name or a number. libconfig 1.5 reads 4294967297 as 1 without a word: we put the L there ourselves. */
static bool copy_word(struct scan *c)
{
    size_t n = 1;
    while (c->at + n < c->text.n && is_word_char(c->text.p[c->at + n]))
        n++;
    struct str word = str_make(c->text.p + c->at, n);
    copy(c, n);
    bool negative = word.p[0] == '-';
    if (negative || word.p[0] == '+')
        word = str_make(word.p + 1, word.n - 1);
    bool hex = str_starts(word, STR("0x")) || str_starts(word, STR("0X"));
    struct str digits = hex ? str_make(word.p + 2, word.n - 2) : word;
    bool has_suffix = str_ends(digits, STR("L"));
    while (str_ends(digits, STR("L")))
        digits.n--;
    bool numeric = digits.n > 0;
    for (size_t i = 0; i < digits.n && numeric; i++)
        numeric = hex || (digits.p[i] >= '0' && digits.p[i] <= '9');
    uint64_t value;
    if (!numeric)
        return true;
    if (!(hex ? hex_parse(digits, &value) : str_to_u64(digits, &value)) || value > INT64_MAX)
        return scan_fail(c, "integer too large");
    if (value > INT32_MAX && !has_suffix)
        buf_put(&c->source->text, "L", 1);
    return true;
}

/* Path of an included file: relative to the folder of the including one. Owned by the caller. */
static char *beside(const char *file, struct str path)
{
    const char *slash = strrchr(file, '/');
    struct buf b;
    buf_init(&b);
    if (slash && path.p[0] != '/')
        buf_put(&b, file, (size_t)(slash - file) + 1);
    buf_put_str(&b, path);
    buf_put(&b, "", 1);
    return b.p;
}

/* @include "path": the line is replaced by the file; what follows on the line stays. */
static bool copy_include(struct scan *c)
{
    struct str rest = str_make(c->text.p + c->at + 8, c->text.n - c->at - 8);
    size_t i = 0, start;
    while (i < rest.n && (rest.p[i] == ' ' || rest.p[i] == '\t'))
        i++;
    if (i >= rest.n || rest.p[i] != '"')
        return scan_fail(c, "expected a path in quotes after @include");
    for (start = ++i; i < rest.n && rest.p[i] != '"' && rest.p[i] != '\n';)
        i++;
    if (i >= rest.n || rest.p[i] != '"' || i == start)
        return scan_fail(c, "expected a path in quotes after @include");
    if (!c->can_include)
        return scan_fail(c, "@include is not allowed here");
    char *path = beside(c->source->files[c->file], str_make(rest.p + start, i - start));
    c->at += 8 + i + 1;
    bool ok = scan_file(c->source, path, c->depth + 1, c->source->files[c->file], c->line);
    free(path);
    buf_put(&c->source->text, "\n", 1); /* the rest of this line is of this file again */
    mark_line(c);
    return ok;
}

/* Only white space before `at` on its line. */
static bool is_line_start(const struct scan *c)
{
    size_t i = c->at;
    while (i > 0 && (c->text.p[i - 1] == ' ' || c->text.p[i - 1] == '\t'))
        i--;
    return i == 0 || c->text.p[i - 1] == '\n';
}

static bool scan_token(struct scan *c, int *nesting)
{
    char ch = c->text.p[c->at];
    if (ch == '"') {
        return copy_string(c);
    } else if (ch == '#' || ahead(c, STR("//"))) {
        copy_line(c);
    } else if (ahead(c, STR("/*"))) {
        copy_comment(c);
    } else if (ahead(c, STR("@include")) && is_line_start(c)) {
        return copy_include(c);
    } else if (is_word_char(ch)) {
        return copy_word(c);
    } else {
        *nesting += ch == '{' || ch == '(' || ch == '[' ? 1 : ch == '}' || ch == ')' || ch == ']' ? -1 : 0;
        if (*nesting > SOURCE_NESTING_MAX)
            return scan_fail(c, "groups are nested too deeply");
        copy(c, 1);
    }
    return true;
}

static bool scan_text(struct source *s, const char *name, struct str text, int depth, bool can_include)
{
    s->files = must(realloc(s->files, ((size_t)s->file_count + 1) * sizeof *s->files));
    s->files[s->file_count] = must(str_dup(str_of(name)));
    struct scan c = {.source = s, .file = s->file_count++, .line = 1, .depth = depth, .text = text};
    c.can_include = can_include;
    int nesting = 0;
    if (text.n && memchr(text.p, 0, text.n))
        return scan_fail(&c, "NUL byte in a text file");
    /* The first line replaces the place of the line that included it, if that had nothing before. */
    if (s->line_count == 0) {
        mark_line(&c);
    } else {
        buf_put(&s->text, "\n", 1);
        mark_line(&c);
    }
    bool ok = true;
    while (ok && c.at < text.n) {
        ok = scan_token(&c, &nesting);
        if (s->text.len > 2 * SOURCE_TOTAL_MAX)
            return scan_fail(&c, "the configuration is larger than 4 MiB");
    }
    return ok;
}

/* Everything of a regular file; fd is closed. */
static bool read_all(int fd, size_t size, struct buf *out)
{
    buf_init(out);
    ssize_t n = 1;
    while (n > 0 && out->len <= size) {
        n = read(fd, buf_reserve(out, 65536), 65536);
        if (n > 0)
            out->len += (size_t)n;
    }
    close(fd);
    return n >= 0 && out->len <= SOURCE_TOTAL_MAX;
}

static bool scan_file(struct source *s, const char *path, int depth, const char *from_file, int from_line)
{
    struct buf what;
    struct stat st;
    buf_init(&what);
    buf_printf(&what, "cannot read \"%s\": ", path);
    buf_put(&what, "", 1);
    int fd = -1;
    const char *why = NULL;
    if (depth > SOURCE_INCLUDE_MAX)
        why = "more than 10 files include each other";
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    else if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0 || fstat(fd, &st) != 0)
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        why = "not a regular file";
    else if (st.st_size > SOURCE_TOTAL_MAX || s->text.len > SOURCE_TOTAL_MAX)
        why = "the configuration is larger than 4 MiB";
    if (why) {
        if (fd >= 0)
            close(fd);
        fail(s, from_file, from_line, what.p, why);
        buf_fini(&what);
        return false;
    }
    struct buf text;
    bool ok = read_all(fd, (size_t)st.st_size, &text);
    ok = ok ? scan_text(s, path, buf_str(&text), depth, true)
            : fail(s, from_file, from_line, what.p, "read error");
    buf_fini(&what);
    buf_fini(&text);
    return ok;
}

bool source_load(struct source *s, const char *file)
{
    return scan_file(s, file, 0, file, 0);
}

bool source_load_text(struct source *s, const char *name, struct str text)
{
    if (text.n > SOURCE_TOTAL_MAX)
        return fail(s, name, 0, "the configuration is larger than 4 MiB", "");
    return scan_text(s, name, text, 0, false);
}
