/* doc: a JSON or libconfig file as one tree of JSON values, for plugins that read files of settings.
 *
 * libconfig groups become objects, its arrays and lists become arrays. Blocks: call it from host->offload. The file
 * is bounded; @include is refused. */
#ifndef COXSWAIN_COMMON_DOC_H
#define COXSWAIN_COMMON_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DOC_BYTES_MAX (16u << 20)
#define DOC_WHY_BYTES 512

/* Reads the whole file; *out_text is malloc'ed, NUL-terminated. False with "PATH: what" in why. */
bool doc_read(const char *path, char **out_text, size_t *out_bytes, char why[DOC_WHY_BYTES]);
/* By the file's name: .cfg and .conf are libconfig, all else is JSON. NULL with "PATH:LINE: what" in why. The caller
 * releases it with json_decref. */
json_t *doc_parse(const char *path, const char *text, size_t bytes, char why[DOC_WHY_BYTES]);

#endif
