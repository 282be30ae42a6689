/* Tables of partitions, network partitions, deployment policies, and of scale in a cluster. */
#include "conf/settings_rows.h"

static const char *const algorithm_words[] = {"one_after_another", "round_robin", "weighted", NULL};

#define P(member) offsetof(struct partition_settings, member)
static const struct option partition_rows[] = {
    ROW_REQUIRED("name", P(name), "What network partitions, policies and coxctl call it."),
    ROW_STRING("actuator", P(actuator), NULL,
               "Name of the plugin instance that runs members here. Unset: that of the cartridge."),
    ROW_INT("max", P(max), "0", 0, 1000000,
            "Members of all sets together that there is room for, those that are leaving included. 0: no limit; the "
            "actuator may still say that it is full."),
};
const struct option_table partition_table = {
    .name = "partition",
    .help = "A place where members can run: a zone, a machine, a cluster of another system.",
    ROWS(partition_rows),
    .struct_size = sizeof(struct partition_settings),
    .unique_key = "name",
};

#define N(member) offsetof(struct network_partition_settings, member)
static const struct option network_partition_rows[] = {
    ROW_REQUIRED("name", N(name), "What deployment policies call it."),
    ROW_STRINGS("partitions", N(partitions), NULL,
                "Its partitions, in the order they are used; at least one. A partition belongs to one network partition."),
};
const struct option_table network_partition_table = {
    .name = "network partition",
    .help = "Partitions that are near each other: a region, a data centre, a cloud.",
    ROWS(network_partition_rows),
    .struct_size = sizeof(struct network_partition_settings),
    .unique_key = "name",
};

#define Q(member) offsetof(struct policy_partition_settings, member)
static const struct option policy_partition_rows[] = {
    ROW_REQUIRED("name", Q(name), "The partition."),
    ROW_INT("max", Q(max), "0", 0, 10000,
            "Members of one set that may be here at a time. 0: no limit but the partition's own."),
    ROW_INT("weight", Q(weight), "1", 1, 1000, "Share of the members in relation to the others, for \"weighted\"."),
};
static const struct option_table policy_partition_table = {
    .name = "partition of a policy",
    .help = "What a policy says of one partition. A plain string is its name.",
    ROWS(policy_partition_rows),
    .struct_size = sizeof(struct policy_partition_settings),
    .unique_key = "name",
    .short_key = "name",
};

#define W(member) offsetof(struct policy_network_settings, member)
static const struct option policy_network_rows[] = {
    ROW_REQUIRED("name", W(name), "The network partition."),
    ROW_ENUM("algorithm", W(algorithm), "one_after_another", algorithm_words,
             "Which partition the next member goes to: \"one_after_another\" fills the first before the second, "
             "\"round_robin\" takes the one with the fewest, \"weighted\" the one with the fewest for its weight. One that "
             "is full is passed over. Members leave in the opposite order."),
    ROW_LIST("partitions", W(partitions), &policy_partition_table,
             "Which of its partitions are used, in this order. Unset: all of them, in its own order."),
};
static const struct option_table policy_network_table = {
    .name = "network partition of a policy",
    .help = "What a policy says of one network partition. A plain string is its name.",
    ROWS(policy_network_rows),
    .struct_size = sizeof(struct policy_network_settings),
    .unique_key = "name",
    .short_key = "name",
};

#define D(member) offsetof(struct deployment_policy_settings, member)
static const struct option deployment_policy_rows[] = {
    ROW_REQUIRED("name", D(name), "What the cartridges of applications call it."),
    ROW_LIST("network_partitions", D(network_partitions), &policy_network_table,
             "Where members go, in this order; at least one. The next is used only while no partition of those before it "
             "has room, and its members are the first to leave."),
};
const struct option_table deployment_policy_table = {
    .name = "deployment policy",
    .help = "How the members of a set are spread over partitions.",
    ROWS(deployment_policy_rows),
    .struct_size = sizeof(struct deployment_policy_settings),
    .unique_key = "name",
};

#define S(member) offsetof(struct scale_settings, member)
static const struct option scale_rows[] = {
    ROW_STRING("cartridge", S(cartridge), NULL,
               "The cartridge that its members are made of; it has one port, which is served here with the settings of this "
               "cluster."),
    ROW_STRING("actuator", S(actuator), NULL,
               "Instead of a cartridge: name of the plugin instance that makes members of this cluster, when that needs to "
               "know no more than how many."),
    ROW_INT("min", S(min), "1", 0, 10000, "Members that there are at least."),
    ROW_INT("max", S(max), "1", 1, 10000, "Members that there are at most. Unset: as many as min."),
    ROW_STRING("deployment_policy", S(deployment_policy), NULL,
               "Name of the policy that says where its members run. Unset: wherever the actuator puts them."),
    ROW_STRING("autoscaling_policy", S(scaling.policy), NULL,
               "Name of the policy that decides how many there are between min and max. Unset: min, or what coxctl scale "
               "and schedules say."),
    ROW_INLINE(S(scaling), &scaling_table, NULL),
};
const struct option_table scale_table = {
    .name = "scale",
    .help = "Members that come and go in a cluster without an application.",
    ROWS(scale_rows),
    .struct_size = sizeof(struct scale_settings),
};
