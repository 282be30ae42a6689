/* Any bytes as the wire form of options: refused, or equal to themselves after another trip. The first byte
 * chooses the table. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/panic.h"
#include "conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct option_table *table, const void *obj)
{
    struct buf first, second;
    void *again = must(malloc(table->struct_size));
    buf_init(&first);
    buf_init(&second);
    options_encode(table, obj, &first);
    ASSERT(options_decode(table, again, buf_str(&first)));
    options_encode(table, again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    options_free(table, again);
    free(again);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct option_table *const tables[] = {&cluster_options_table, &cluster_table,
                                                        &listener_table, &settings_table};
    if (size == 0)
        return 0;
    const struct option_table *table = tables[data[0] % 4];
    void *obj = must(malloc(table->struct_size));
    if (options_decode(table, obj, str_make((const char *)data + 1, size - 1))) {
        round_trip(table, obj);
        options_free(table, obj);
    }
    free(obj);
    return 0;
}
