#include "common/doc.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NESTING_MAX 16

static bool read_fd(int fd, size_t bytes, char *to, size_t *out_bytes)
{
    size_t at = 0;
    while (at < bytes) {
        const ssize_t n = read(fd, to + at, bytes - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    to[at] = 0;
    *out_bytes = at;
    return true;
}

bool doc_read(const char *path, char **out_text, size_t *out_bytes, char why[DOC_WHY_BYTES])
{
    struct stat st;
    const char *wrong = NULL;
    /* O_NONBLOCK: a fifo in its place must not hang the reader. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *out_text = NULL;
    if (fd < 0 || fstat(fd, &st) < 0)
        wrong = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        wrong = "not a regular file";
    else if (st.st_size > (off_t)DOC_BYTES_MAX)
        wrong = "larger than 16 MiB";
    else if (!(*out_text = malloc((size_t)st.st_size + 1)))
        wrong = "out of memory";
    else if (!read_fd(fd, (size_t)st.st_size, *out_text, out_bytes))
        wrong = strerror(errno);
    if (wrong)
        (void)snprintf(why, DOC_WHY_BYTES, "%s: %s", path, wrong);
    if (fd >= 0)
        close(fd);
    if (!wrong)
        return true;
    free(*out_text);
    *out_text = NULL;
    return false;
}

static json_t *convert(const config_setting_t *s, int depth);

static json_t *convert_items(const config_setting_t *s, int depth)
{
    const bool is_group = config_setting_is_group(s);
    json_t *to = is_group ? json_object() : json_array();
    for (int i = 0; to && i < config_setting_length(s); i++) {
        const config_setting_t *item = config_setting_get_elem((config_setting_t *)(uintptr_t)s, (unsigned)i);
        json_t *value = convert(item, depth + 1);
        const int failed = !value || (is_group ? json_object_set_new(to, config_setting_name(item), value)
                                               : json_array_append_new(to, value));
        if (!failed)
            continue;
        json_decref(to);
        to = NULL;
    }
    return to;
}

static json_t *convert(const config_setting_t *s, int depth)
{
    if (depth > NESTING_MAX)
        return NULL;
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return json_integer(config_setting_get_int64(s));
    case CONFIG_TYPE_FLOAT:
        return json_real(config_setting_get_float(s));
    case CONFIG_TYPE_BOOL:
        return json_boolean(config_setting_get_bool(s));
    case CONFIG_TYPE_STRING:
        return json_string(config_setting_get_string(s));
    default:
        return convert_items(s, depth);
    }
}

static json_t *parse_libconfig(const char *path, const char *text, char why[DOC_WHY_BYTES])
{
    config_t config;
    json_t *root = NULL;
    if (strstr(text, "@include")) {
        (void)snprintf(why, DOC_WHY_BYTES, "%s: @include is not allowed here", path);
        return NULL;
    }
    config_init(&config);
    if (config_read_string(&config, text) != CONFIG_TRUE) {
        (void)snprintf(why, DOC_WHY_BYTES, "%s:%d: %s", path, config_error_line(&config),
                       config_error_text(&config));
    } else {
        root = convert(config_root_setting(&config), 0);
        if (!root)
            (void)snprintf(why, DOC_WHY_BYTES, "%s: nested too deeply, or text that is not UTF-8", path);
    }
    config_destroy(&config);
    return root;
}

static bool has_tail(const char *path, const char *tail)
{
    const size_t n = strlen(path), t = strlen(tail);
    return n > t && strcmp(path + n - t, tail) == 0;
}

json_t *doc_parse(const char *path, const char *text, size_t bytes, char why[DOC_WHY_BYTES])
{
    if (has_tail(path, ".cfg") || has_tail(path, ".conf"))
        return parse_libconfig(path, text, why);
    json_error_t error;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        (void)snprintf(why, DOC_WHY_BYTES, "%s:%d: %s", path, error.line, error.text);
    return root;
}
