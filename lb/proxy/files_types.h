/* files_types: the media type of a file by its suffix. Pure. */
#ifndef COX_PROXY_FILES_TYPES_H
#define COX_PROXY_FILES_TYPES_H

#include "base/str.h"

/* Value of Content-Type; text is taken to be UTF-8. "application/octet-stream" for what is not known:
 * guessing from the content is how uploads become scripts. */
struct str files_type(struct str path);

#endif
