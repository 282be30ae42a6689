/* The topology on disk: what is written is read; a torn, foreign or missing file is told apart and harms
 * nobody. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "topo/topology_file.h"

struct place {
    char dir[64], file[80];
};

static struct place make_place(void)
{
    struct place p = {.dir = "/tmp/coxswain-test-XXXXXX"};
    assert_non_null(mkdtemp(p.dir));
    snprintf(p.file, sizeof p.file, "%s/topology", p.dir);
    return p;
}

static void remove_place(const struct place *p)
{
    unlink(p->file);
    assert_int_equal(rmdir(p->dir), 0); /* nothing else is left behind */
}

static struct topology *make_topology(void)
{
    struct model *m = model_create(3, 16, 64);
    assert_true(put_cluster(m, "php"));
    assert_true(put_endpoint(m, "php", "10.0.0.1:9000"));
    assert_true(model_put_route(m, OWNER, STR("*"), STR("/"), STR("php"), NULL));
    struct topology *t = model_publish(m);
    model_destroy(&m);
    return t;
}

static void write_topology(const struct place *p, const struct topology *t)
{
    struct buf bytes;
    buf_init(&bytes);
    topology_encode(t, &bytes);
    assert_true(topology_file_write(p->dir, buf_str(&bytes)));
    buf_fini(&bytes);
}

/* What reading gives; with `says` whether a reason was given. */
static struct topology *read_topology(const struct place *p, bool *says)
{
    struct buf error;
    buf_init(&error);
    struct topology *t = topology_file_read(p->dir, &error);
    *says = error.len > 0;
    buf_fini(&error);
    return t;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct place p = make_place();
    struct topology *t = make_topology(), *back;
    struct stat st;
    bool says;
    write_topology(&p, t);
    write_topology(&p, t); /* over the old one */
    assert_int_equal(stat(p.file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_non_null(back = read_topology(&p, &says));
    assert_false(says);
    assert_same_topology(t, back);
    topology_unref(&t);
    topology_unref(&back);
    remove_place(&p);
}

static void none_is_no_error(void **state)
{
    (void)state;
    struct place p = make_place();
    bool says;
    assert_null(read_topology(&p, &says));
    assert_false(says);
    remove_place(&p);
}

static void every_cut_and_every_changed_byte_is_refused(void **state)
{
    (void)state;
    struct place p = make_place();
    struct topology *t = make_topology();
    char good[4096], byte;
    bool says;
    write_topology(&p, t);
    int fd = open(p.file, O_RDWR);
    ssize_t n = read(fd, good, sizeof good);
    assert_true(n > 0 && n < (ssize_t)sizeof good);
    for (ssize_t i = 0; i < n; i++) {
        byte = (char)(good[i] ^ 0x01);
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
        assert_null(read_topology(&p, &says));
        assert_true(says);
        assert_int_equal(pwrite(fd, &good[i], 1, i), 1);
    }
    for (ssize_t cut = n - 1; cut >= 0; cut--) {
        assert_int_equal(ftruncate(fd, cut), 0);
        assert_null(read_topology(&p, &says));
        assert_true(says);
    }
    close(fd);
    topology_unref(&t);
    remove_place(&p);
}

static void a_pipe_or_a_link_is_not_followed(void **state)
{
    (void)state;
    struct place p = make_place();
    bool says;
    assert_int_equal(mkfifo(p.file, 0600), 0);
    assert_null(read_topology(&p, &says)); /* and returns */
    assert_true(says);
    unlink(p.file);
    assert_int_equal(symlink("/etc/passwd", p.file), 0);
    assert_null(read_topology(&p, &says));
    assert_true(says);
    remove_place(&p);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    assert_false(topology_file_write("/nonexistent/folder", STR("x")));
    assert_int_equal(errno, ENOENT);
}

static bool is_never(void *ctx, const char *owner)
{
    (void)ctx;
    return strcmp(owner, "test") != 0;
}

static void objects_of_other_owners_go(void **state)
{
    (void)state;
    struct topology *t = make_topology();
    struct model *m = model_create(4, 16, 64);
    model_load(m, t);
    model_keep_owners(m, t, is_never, NULL);
    struct topology *next = model_publish(m);
    assert_non_null(next);
    assert_int_equal(next->cluster_count, 0);
    topology_unref(&next);
    topology_unref(&t);
    model_destroy(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(none_is_no_error),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_refused),
        cmocka_unit_test(a_pipe_or_a_link_is_not_followed),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
        cmocka_unit_test(objects_of_other_owners_go),
    };
    return cmocka_run_group_tests_name("topology_file", tests, NULL, NULL);
}
