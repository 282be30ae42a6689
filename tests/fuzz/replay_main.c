/* replay_main: the main() of a fuzz target that was built without libFuzzer. Runs every file named on the
 * command line, and every file of every folder named there, through the target once. Status 1 when there was
 * none. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED_BYTES_MAX (1u << 20)

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(SEED_BYTES_MAX);
    if (!file || !data) {
        perror(path);
        exit(2);
    }
    size_t n = fread(data, 1, SEED_BYTES_MAX, file);
    fclose(file);
    uint8_t *exact = realloc(data, n ? n : 1); /* so that a sanitizer sees a read beyond it */
    if (!exact)
        exit(2);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 1;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(2);
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort), ran = 0;
    for (int i = 0; i < count; i++) {
        char full[4096];
        int n = snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && n > 0 && (size_t)n < sizeof full)
            ran += run_path(full);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return ran;
}

int main(int argc, char **argv)
{
    int ran = 0;
    for (int i = 1; i < argc; i++)
        ran += run_path(argv[i]);
    printf("%d inputs\n", ran);
    return ran ? 0 : 1;
}
