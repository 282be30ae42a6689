/* settings_place: where members run: partitions, network partitions, and the policies that say how members
 * are spread over them. Part of settings.h. */
#ifndef COX_CONF_SETTINGS_PLACE_H
#define COX_CONF_SETTINGS_PLACE_H

#include "conf/options.h"
#include "conf/settings_scale.h"

enum place_algorithm { PLACE_ONE_AFTER_ANOTHER, PLACE_ROUND_ROBIN, PLACE_WEIGHTED };

/* A place where members can run: a zone, a machine, a cluster of another system. */
struct partition_settings {
    char *name;
    char *actuator; /* plugin instance; NULL: that of the cartridge */
    int64_t max;    /* members of all sets together; 0: no limit */
};

/* Partitions that are near each other: a region, a data centre. */
struct network_partition_settings {
    char *name;
    struct strings partitions; /* in the order they are used; each belongs to one network partition */
};

/* What a deployment policy says of one partition; a plain string in the file is its name. */
struct policy_partition_settings {
    char *name;
    int64_t max; /* members of one set; 0: no limit but the partition's */
    int64_t weight;
};

struct policy_network_settings {
    char *name;                    /* a network partition */
    int algorithm;                 /* enum place_algorithm */
    struct option_list partitions; /* struct policy_partition_settings; empty: all of it, in its order */
};

struct deployment_policy_settings {
    char *name;
    struct option_list network_partitions; /* struct policy_network_settings; the next when one is full */
};

/* Scaling of a cluster without an application: it is then a set of members of its own. */
struct scale_settings {
    char *cartridge; /* what its members are; it has one port */
    char *actuator;  /* instead of a cartridge: members that need no more than being asked for */
    int64_t min, max;
    char *deployment_policy; /* NULL: wherever the actuator puts them */
    struct scaling_settings scaling;
};

#define SCALE_IS_SET(scale) ((scale)->cartridge || (scale)->actuator)

extern const struct option_table partition_table, network_partition_table, deployment_policy_table,
    scale_table;

#endif
