#include "proxy/files_types.h"

#define SUFFIX_MAX 12
#define TEXT       "; charset=utf-8"

/* Sorted by suffix: looked up by halves. */
static const struct {
    char suffix[SUFFIX_MAX];
    const char *type;
} types[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"css", "text/css" TEXT},
    {"csv", "text/csv" TEXT},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"glb", "model/gltf-binary"},
    {"gltf", "model/gltf+json"},
    {"gz", "application/gzip"},
    {"heic", "image/heic"},
    {"htm", "text/html" TEXT},
    {"html", "text/html" TEXT},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar" TEXT},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript" TEXT},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown" TEXT},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript" TEXT},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpd", "application/dash+xml"},
    {"mpeg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"ts", "video/mp2t"},
    {"ttc", "font/collection"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain" TEXT},
    {"vcf", "text/vcard" TEXT},
    {"vtt", "text/vtt" TEXT},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

/* Suffix of the last segment in lower case, without its dot; 0 when there is none, or a longer one than we
 * know. */
static size_t lower_suffix(struct str path, char *to)
{
    size_t n = 0;
    while (n < path.n && path.p[path.n - 1 - n] != '.') {
        if (path.p[path.n - 1 - n] == '/' || ++n >= SUFFIX_MAX)
            return 0;
    }
    if (n == path.n)
        return 0;
    for (size_t i = 0; i < n; i++)
        to[i] = char_lower(path.p[path.n - n + i]);
    to[n] = 0;
    return n;
}

struct str files_type(struct str path)
{
    char suffix[SUFFIX_MAX + 1];
    size_t low = 0, high = lower_suffix(path, suffix) ? sizeof types / sizeof *types : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strncmp(suffix, types[middle].suffix, SUFFIX_MAX);
        if (order == 0)
            return str_of(types[middle].type);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return STR("application/octet-stream");
}
