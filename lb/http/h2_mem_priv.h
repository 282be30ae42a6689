/* h2_mem_priv: what h2_mem is to those who hand it to nghttp2. */
#ifndef COX_HTTP_H2_MEM_PRIV_H
#define COX_HTTP_H2_MEM_PRIV_H

#include <nghttp2/nghttp2.h>

#include "http/h2_mem.h"

/* For nghttp2_session_..._new3; NULL for NULL. */
nghttp2_mem *h2_mem_of(struct h2_mem *mem);
/* Around the creation of a server's session: its frame buffer is the shared one. h2_mem_end returns the page
 * that the session has its table of streams in, all zero while there are none; NULL when that is no page. */
void h2_mem_begin(struct h2_mem *mem);
void *h2_mem_end(struct h2_mem *mem);
/* The page that is looked after from now on, or NULL; returns the one that was, NULL when it was freed.
 * nghttp2 may free a session's page while it reads: with more streams than the table in it holds it takes a
 * larger. */
void *h2_mem_watch(struct h2_mem *mem, void *page) __attribute__((warn_unused_result));

#define H2_PAGE_BYTES 4096
/* Gives the page's memory back when all of it is zero; it stays readable as such. NULL is harmless. */
void h2_page_rest(void *page);

#endif
