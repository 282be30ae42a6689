/* TLS in the metrics: failures by reason, and certificates. */
#include "admin/metrics_tls.h"
#include "admin/metrics_text.h"

bool metrics_is_of_tls(unsigned reason)
{
    return reason >= REASON_TLS_TIMEOUT && reason <= REASON_TLS_OTHER;
}

static void open_certificate(struct buf *b, const char *name, const struct survey_certificate *c)
{
    buf_printf(b, "coxswain_%s{listener=\"", name);
    metrics_put_escaped(b, c->listener);
    metrics_put_text(b, "\",host=\"");
    metrics_put_escaped(b, c->host);
    metrics_put_text(b, "\",file=\"");
    metrics_put_escaped(b, c->file);
    metrics_put_text(b, "\"");
}

static void put_failures(const struct survey *v, struct buf *b)
{
    uint64_t counts[REASON_COUNT];
    survey_reasons(v, LEDGER_NO_SLOT, counts);
    metrics_family(b, "tls_failures_total", "counter",
                   "TLS with clients that failed, by the id of the reason.");
    for (unsigned k = REASON_TLS_TIMEOUT; k <= REASON_TLS_OTHER; k++)
        buf_printf(b, "coxswain_tls_failures_total{reason=\"%s\"} %llu\n", reason_id((enum reason)k),
                   (unsigned long long)counts[k]);
}

void metrics_put_tls(const struct survey *v, struct buf *b)
{
    const struct survey_certificate *all = v->certificates;
    put_failures(v, b);
    metrics_family(b, "tls_certificate_end_seconds", "gauge",
                   "When a certificate ends, in seconds since 1970.");
    for (size_t i = 0; i < v->certificate_count; i++) {
        open_certificate(b, "tls_certificate_end_seconds", &all[i]);
        metrics_close_number(b, all[i].end_s);
    }
    metrics_family(b, "tls_certificate_days", "gauge",
                   "Days until a certificate ends; negative once it has.");
    for (size_t i = 0; i < v->certificate_count; i++) {
        open_certificate(b, "tls_certificate_days", &all[i]);
        buf_printf(b, "} %.2f\n", ((double)all[i].end_s - (double)v->now_wall_ns / 1e9) / 86400);
    }
    metrics_family(b, "tls_certificate_broken", "gauge",
                   "1 when the files of a certificate are no good now, and the one before is in use.");
    for (size_t i = 0; i < v->certificate_count; i++) {
        open_certificate(b, "tls_certificate_broken", &all[i]);
        metrics_close_number(b, all[i].is_kept);
    }
}
