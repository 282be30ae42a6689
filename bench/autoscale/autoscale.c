/* autoscale: simulates a set of members that a policy scales, and prints what came of it as CSV.
 *
 *   bench/autoscale/autoscale --load trace:FILE --mean 1000 --policy scale_target --set utilization=0.7
 *
 * One line for each value of --sweep and each seed. See README.md for what the columns mean, --help for the
 * options, autoscale.py for whole comparisons. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"
#include "optimum.h"
#include "run.h"

#define SETTINGS_MAX 24
#define SWEEP_MAX    64

struct job {
    struct load_spec spec;
    struct run_config config;
    const char *policy, *plugins;
    const char *settings[SETTINGS_MAX];
    size_t setting_count;
    char *sweep_key;
    char *sweep[SWEEP_MAX];
    size_t sweep_count;
    uint64_t seeds;
    bool has_header, has_progress;
    struct over_table table;
    struct load *load;
    uint64_t began_ns;
};

enum {
    ARG_LOAD = 1000,
    ARG_MEAN,
    ARG_NOISE,
    ARG_NOISE_CV,
    ARG_SHUFFLE,
    ARG_POLICY,
    ARG_SET,
    ARG_SWEEP,
    ARG_PLUGINS,
    ARG_DELAY,
    ARG_DELAY_CV,
    ARG_TICK,
    ARG_EXACT,
    ARG_LEAD,
    ARG_NEED,
    ARG_SEED,
    ARG_SEEDS,
    ARG_SLOTS,
    ARG_SERVICE,
    ARG_SERVICE_CV,
    ARG_OBJECTIVE,
    ARG_SHARE,
    ARG_PATIENCE,
    ARG_MIN,
    ARG_MAX,
    ARG_INITIAL,
    ARG_WARMUP,
    ARG_TIMELINE,
    ARG_DECISIONS,
    ARG_HEADER,
    ARG_PROGRESS,
    ARG_HELP
};

static const struct {
    const char *name;
    bool has_value;
    int code;
} arguments[] = {{"load", true, ARG_LOAD},
                 {"mean", true, ARG_MEAN},
                 {"noise", false, ARG_NOISE},
                 {"noise-cv", true, ARG_NOISE_CV},
                 {"shuffle", true, ARG_SHUFFLE},
                 {"policy", true, ARG_POLICY},
                 {"set", true, ARG_SET},
                 {"sweep", true, ARG_SWEEP},
                 {"plugins", true, ARG_PLUGINS},
                 {"delay", true, ARG_DELAY},
                 {"delay-cv", true, ARG_DELAY_CV},
                 {"tick", true, ARG_TICK},
                 {"exact", false, ARG_EXACT},
                 {"lead", true, ARG_LEAD},
                 {"need", true, ARG_NEED},
                 {"seed", true, ARG_SEED},
                 {"seeds", true, ARG_SEEDS},
                 {"slots", true, ARG_SLOTS},
                 {"service", true, ARG_SERVICE},
                 {"service-cv", true, ARG_SERVICE_CV},
                 {"objective", true, ARG_OBJECTIVE},
                 {"share", true, ARG_SHARE},
                 {"patience", true, ARG_PATIENCE},
                 {"min", true, ARG_MIN},
                 {"max", true, ARG_MAX},
                 {"initial", true, ARG_INITIAL},
                 {"warmup", true, ARG_WARMUP},
                 {"timeline", true, ARG_TIMELINE},
                 {"decisions", true, ARG_DECISIONS},
                 {"header", false, ARG_HEADER},
                 {"progress", false, ARG_PROGRESS},
                 {"help", false, ARG_HELP}};

static const char help[] =
    "autoscale --load LOAD --policy NAME [options]\n"
    "  --load trace:FILE[:FROM:SECONDS] | constant:RATE:SECONDS | step:RATE:FACTOR:AT:SECONDS |\n"
    "         ramp:RATE:FACTOR:AT:OVER:SECONDS | spike:RATE:FACTOR:AT:FOR:SECONDS |\n"
    "         sine:RATE:SHARE:PERIOD:SECONDS | onoff:RATE:LOW:PERIOD:SECONDS\n"
    "         [,slower=FACTOR@FROM-UNTIL] [,bottleneck=FACTOR@FROM-UNTIL] [,failure=SHARE@AT]\n"
    "  --mean RATE        scale the load to this mean\n"
    "  --noise            stepwise, with gamma noise of CV 0.2 a second, instead of linear\n"
    "  --noise-cv 0.2     of that noise; 0: stepwise only\n"
    "  --shuffle SECONDS  blocks of a trace in random order\n"
    "  --policy NAME      a baseline (below), a plugin, or the path of a .so\n"
    "  --set KEY=VALUE    a setting of it, as often as needed\n"
    "  --sweep KEY=A,B,…  a run for each of these values\n"
    "  --plugins DIR      plugin folder (COXSWAIN_PLUGIN_DIR, or plugins)\n"
    "  --delay 10 --delay-cv 0      seconds from order to ready; CV of a lognormal law\n"
    "  --service 0.1 --service-cv 0 service time; 0: exponential, else lognormal (needs --exact)\n"
    "  --slots 10         a member serves so many at once\n"
    "  --objective 0.1 --share 1e-4 longest wait that is fine; the share that may be above it, for the "
    "demand\n"
    "  --patience 30      who waits longer is sent away\n"
    "  --tick 1           seconds between samples (0.1 with --exact)\n"
    "  --exact            request by request; --lead SECONDS: of the warm-up only these\n"
    "  --need MEMBERS     step loads: what is right after the jump (what the policy settles at)\n"
    "  --seed 1 --seeds 1 the first, and how many\n"
    "  --min 1 --max 5000 --initial 0 --warmup 600\n"
    "  --timeline FILE    a line a second; --decisions FILE: a line a change (of the last run)\n"
    "  --header           print the names of the columns first;  --progress: a bar on standard error\n";

static double number(const char *text, const char *what)
{
    char *end;
    const double x = strtod(text, &end);
    if (*end || end == text || !isfinite(x) || x < 0.0) {
        fprintf(stderr, "--%s: %s is no number of the kind\n", what, text);
        exit(2);
    }
    return x;
}

static FILE *opened(const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    return f;
}

static void parse_sweep(struct job *j, const char *text)
{
    char *copy = must(strdup(text)), *is = strchr(copy, '='), *save = NULL;
    if (!is) {
        fprintf(stderr, "--sweep: %s is not KEY=A,B,…\n", text);
        exit(2);
    }
    *is = 0;
    j->sweep_key = copy;
    for (char *v = strtok_r(is + 1, ",", &save); v && j->sweep_count < SWEEP_MAX;
         v = strtok_r(NULL, ",", &save))
        j->sweep[j->sweep_count++] = v;
}

static void print_help(void)
{
    fputs(help, stdout);
    for (const struct baseline *b = baselines; b->name; b++) {
        printf("  %-12s %s\n              ", b->name, b->help);
        for (size_t i = 0; i < BASELINE_KNOBS && b->knobs[i].name; i++)
            printf(" %s=%g", b->knobs[i].name, b->knobs[i].value);
        puts("");
    }
}

/* Numbers go where their option says. */
static double *place_of(struct job *j, int option)
{
    struct run_config *c = &j->config;
    switch (option) {
    case ARG_MEAN:
        return &j->spec.mean;
    case ARG_NOISE_CV:
        return &j->spec.noise_cv;
    case ARG_LEAD:
        return &c->lead_s;
    case ARG_NEED:
        return &c->need;
    case ARG_SHUFFLE:
        return &j->spec.shuffle_s;
    case ARG_DELAY:
        return &c->delay_s;
    case ARG_DELAY_CV:
        return &c->delay_cv;
    case ARG_TICK:
        return &c->tick_s;
    case ARG_SERVICE:
        return &c->law.mean_s;
    case ARG_SERVICE_CV:
        return &c->service_cv;
    case ARG_OBJECTIVE:
        return &c->law.objective_s;
    case ARG_SHARE:
        return &c->share;
    case ARG_PATIENCE:
        return &c->patience_s;
    case ARG_WARMUP:
        return &c->warmup_s;
    default:
        return NULL;
    }
}

static void parse_one(struct job *j, int option, const char *name, const char *value)
{
    struct run_config *c = &j->config;
    double *place = place_of(j, option);
    if (place) {
        *place = number(value, name);
        return;
    }
    switch (option) {
    case ARG_LOAD:
        j->spec.text = value;
        break;
    case ARG_POLICY:
        j->policy = value;
        break;
    case ARG_PLUGINS:
        j->plugins = value;
        break;
    case ARG_SET:
        if (j->setting_count < SETTINGS_MAX - 1)
            j->settings[j->setting_count++] = value;
        break;
    case ARG_SWEEP:
        parse_sweep(j, value);
        break;
    case ARG_NOISE:
        j->spec.is_noisy = true;
        break;
    case ARG_EXACT:
        c->is_exact = true;
        break;
    case ARG_SEED:
        c->seed = (uint64_t)number(value, name);
        break;
    case ARG_SEEDS:
        j->seeds = (uint64_t)number(value, name);
        break;
    case ARG_SLOTS:
        c->law.slots = (uint32_t)number(value, name);
        break;
    case ARG_MIN:
        c->min = (uint32_t)number(value, name);
        break;
    case ARG_MAX:
        c->max = (uint32_t)number(value, name);
        break;
    case ARG_INITIAL:
        c->initial = (uint32_t)number(value, name);
        break;
    case ARG_TIMELINE:
        c->timeline = opened(value);
        break;
    case ARG_DECISIONS:
        c->decisions = opened(value);
        break;
    case ARG_HEADER:
        j->has_header = true;
        break;
    case ARG_PROGRESS:
        j->has_progress = true;
        break;
    case ARG_HELP:
        print_help();
        exit(0);
    default:
        exit(2);
    }
}

static void parse(struct job *j, int argc, char **argv)
{
    struct run_config *c = &j->config;
    *j = (struct job){.seeds = 1,
                      .spec = {.noise_cv = 0.2},
                      .config = {.law = {.mean_s = 0.1, .objective_s = 0.1, .slots = 10},
                                 .delay_s = 10.0,
                                 .patience_s = 30.0,
                                 .warmup_s = 600.0,
                                 .share = 1e-4,
                                 .lead_s = -1.0,
                                 .min = 1,
                                 .max = 5000,
                                 .seed = 1}};
    for (int i = 1; i < argc; i++) {
        const size_t known = sizeof(arguments) / sizeof(arguments[0]);
        size_t k = 0;
        while (k < known && (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, arguments[k].name) != 0))
            k++;
        if (k == known || (arguments[k].has_value && i + 1 == argc)) {
            fprintf(stderr, "%s is not known, or lacks its value; --help\n", argv[i]);
            exit(2);
        }
        i += arguments[k].has_value;
        parse_one(j, arguments[k].code, arguments[k].name, argv[i]);
    }
    c->warmup_s = ceil(c->warmup_s);
    c->lead_s = ceil(c->lead_s);
    if (c->tick_s <= 0.0)
        c->tick_s = c->is_exact ? 0.1 : 1.0;
    j->spec.seed = c->seed;
    const char *const wrong = !j->spec.text || !j->policy           ? "--load and --policy are needed; --help"
                              : c->service_cv > 0.0 && !c->is_exact ? "--service-cv needs --exact"
                              : c->service_cv > 0.0 && c->lead_s >= 0.0 ? "--lead and --service-cv: not both"
                              : c->law.slots < 1 || c->law.mean_s <= 0.0 || c->law.objective_s <= 0.0
                                  ? "slots, service and objective must be above 0"
                              : c->tick_s > 1.0 || fabs(1.0 / c->tick_s - floor(1.0 / c->tick_s + 0.5)) > 1e-9
                                  ? "--tick must go into a second"
                              : c->min > c->max ? "--min is above --max"
                                                : NULL;
    if (wrong) {
        fprintf(stderr, "%s\n", wrong);
        exit(2);
    }
}

static const char columns[] = "policy,setting,seed,cost,requests,over,share,response_p99,wait_p99,theta_u,"
                              "theta_o,tau_u,tau_o,upsilon,jitter,"
                              "actions,reversals,abandoned,failed,peak,mean_members,first_right,not_capacity,"
                              "last_over,decisions,unforeseeable,first_enough,fluid,whole,seconds";

static void print_row(const struct job *j, const char *setting, uint64_t seed, const struct run_result *r,
                      double took_s)
{
    const double each = j->config.law.slots / j->config.law.mean_s;
    printf("%s,%s,%llu,%.1f,%.0f,%.2f,%.4g,%.4g,%.4g,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%llu,%llu,%.0f,%.0f,%.0f,%"
           ".4f,%.4g,"
           "%.4g,%.7g,%llu,%.3g,%.4g,%.1f,%.0f,%.3f\n",
           j->policy, setting, (unsigned long long)seed, r->cost_s, r->requests, r->over,
           r->requests > 0.0 ? r->over / r->requests : 0.0, r->response_p99_s, r->wait_p99_s, r->theta_under,
           r->theta_over, r->tau_under, r->tau_over, r->instability, r->jitter,
           (unsigned long long)r->actions, (unsigned long long)r->reversals, r->abandoned, r->failed,
           r->peak_members, r->cost_s / (double)j->load->seconds, r->first_right_s, r->not_capacity_s,
           r->last_over_s, (unsigned long long)r->decisions, load_unforeseeable(j->load, j->config.delay_s),
           r->first_enough_s, load_members(j->load, each, j->config.min, false),
           load_members(j->load, each, j->config.min, true), took_s);
    fflush(stdout);
}

static void show_progress(const struct job *j, uint64_t done, uint64_t all)
{
    enum { WIDTH = 40 };
    if (!j->has_progress)
        return;
    const double took = (double)(clock_now_ns() - j->began_ns) / 1e9;
    const int filled = (int)(done * WIDTH / all);
    fprintf(stderr, "\r[%.*s%*s] %llu/%llu  %.0f s, %.0f s to go ", filled,
            "########################################", WIDTH - filled, "", (unsigned long long)done,
            (unsigned long long)all, took, done ? took / (double)done * (double)(all - done) : 0.0);
    if (done == all)
        fputc('\n', stderr);
}

static int run_all(struct job *j, struct buf *why)
{
    const size_t values = j->sweep_count ? j->sweep_count : 1;
    const struct policy_world world = {.load = j->load,
                                       .law = j->config.law,
                                       .delay_s = j->config.delay_s,
                                       .delay_cv = j->config.delay_cv,
                                       .warmup_s = j->config.warmup_s,
                                       .min = j->config.min,
                                       .max = j->config.max,
                                       .table = &j->table};
    const uint64_t first = j->config.seed;
    for (size_t v = 0; v < values; v++) {
        char setting[256] = "";
        size_t n = j->setting_count;
        if (j->sweep_count) {
            snprintf(setting, sizeof(setting), "%s=%s", j->sweep_key, j->sweep[v]);
            j->settings[n++] = setting;
        }
        struct policy policy;
        if (!policy_open(&policy, j->policy, loader_dir(j->plugins), j->settings, n, &world, why))
            return 2;
        for (uint64_t i = 0; i < j->seeds; i++) {
            struct run_result result;
            const uint64_t began_ns = clock_now_ns();
            show_progress(j, v * j->seeds + i, values * j->seeds);
            j->config.seed = first + i;
            run(&j->config, &policy, &result);
            print_row(j, setting, j->config.seed, &result, (double)(clock_now_ns() - began_ns) / 1e9);
        }
        policy_close(&policy);
    }
    show_progress(j, values * j->seeds, values * j->seeds);
    return 0;
}

int main(int argc, char **argv)
{
    static struct job job;
    struct buf why;
    buf_init(&why);
    parse(&job, argc, argv);
    if (!job.plugins && !getenv("COXSWAIN_PLUGIN_DIR"))
        job.plugins = "plugins";
    job.began_ns = clock_now_ns();
    job.load = load_create(&job.spec, &why);
    if (job.has_header)
        puts(columns);
    job.config.load = job.load;
    const int status = job.load ? run_all(&job, &why) : 2;
    if (status)
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&why)));
    over_table_fini(&job.table);
    load_destroy(&job.load);
    free(job.sweep_key);
    buf_fini(&why);
    if (job.config.timeline)
        fclose(job.config.timeline);
    if (job.config.decisions)
        fclose(job.config.decisions);
    return status;
}
