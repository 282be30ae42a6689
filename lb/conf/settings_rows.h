/* settings_rows: shorthand for the rows of settings_tables*.c, so that a key is one line and its help. */
#ifndef COX_CONF_SETTINGS_ROWS_H
#define COX_CONF_SETTINGS_ROWS_H

#include <stddef.h>

#include "conf/settings.h"

#define MS(n)  ((int64_t)(n))
#define SEC(n) ((int64_t)(n)*1000)
#define DAY    SEC(86400)
#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define TIB(n) ((int64_t)(n) << 40)

#define ROW_BOOL(key_, at_, def_, help_)                                                                     \
    {                                                                                                        \
        .key = (key_), .type = OPT_BOOL, .offset = (at_), .def = (def_), .help = (help_)                     \
    }
#define ROW_AUTO(key_, at_, help_)                                                                           \
    {                                                                                                        \
        .key = (key_), .type = OPT_AUTO, .offset = (at_), .help = (help_)                                    \
    }
#define ROW_NUMBER(type_, key_, at_, def_, min_, max_, help_)                                                \
    {                                                                                                        \
        .key = (key_), .type = (type_), .offset = (at_), .def = (def_), .min = (min_), .max = (max_),        \
        .help = (help_)                                                                                      \
    }
#define ROW_INT(...)      ROW_NUMBER(OPT_INT, __VA_ARGS__)
#define ROW_SIZE(...)     ROW_NUMBER(OPT_SIZE, __VA_ARGS__)
#define ROW_DURATION(...) ROW_NUMBER(OPT_DURATION, __VA_ARGS__)
#define ROW_TEXT(type_, key_, at_, def_, help_)                                                              \
    {                                                                                                        \
        .key = (key_), .type = (type_), .offset = (at_), .def = (def_), .help = (help_)                      \
    }
#define ROW_STRING(...)  ROW_TEXT(OPT_STRING, __VA_ARGS__)
#define ROW_PATH(...)    ROW_TEXT(OPT_PATH, __VA_ARGS__)
#define ROW_STRINGS(...) ROW_TEXT(OPT_STRINGS, __VA_ARGS__)
#define ROW_PATHS(...)   ROW_TEXT(OPT_PATHS, __VA_ARGS__)
#define ROW_NETS(...)    ROW_TEXT(OPT_NETS, __VA_ARGS__)
#define ROW_VARS(...)    ROW_TEXT(OPT_VARS, __VA_ARGS__)
#define ROW_REQUIRED(key_, at_, help_)                                                                       \
    {                                                                                                        \
        .key = (key_), .type = OPT_STRING, .offset = (at_), .required = true, .help = (help_)                \
    }
#define ROW_ENUM(key_, at_, def_, words_, help_)                                                             \
    {                                                                                                        \
        .key = (key_), .type = OPT_ENUM, .offset = (at_), .def = (def_), .words = (words_), .help = (help_)  \
    }
#define ROW_TABLE(type_, key_, at_, table_, help_)                                                           \
    {                                                                                                        \
        .key = (key_), .type = (type_), .offset = (at_), .table = (table_), .help = (help_)                  \
    }
#define ROW_GROUP(...)  ROW_TABLE(OPT_GROUP, __VA_ARGS__)
#define ROW_LIST(...)   ROW_TABLE(OPT_LIST, __VA_ARGS__)
#define ROW_INLINE(...) ROW_TABLE(OPT_INLINE, "", __VA_ARGS__)
#define ROW_RESERVED(key_, help_)                                                                            \
    {                                                                                                        \
        .key = (key_), .type = OPT_RESERVED, .help = (help_)                                                 \
    }
#define ROWS(rows_) .rows = (rows_), .count = sizeof(rows_) / sizeof *(rows_)

#endif
