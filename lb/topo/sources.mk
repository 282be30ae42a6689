lb_topo_sources = lb/topo/balance.c lb/topo/balance.h lb/topo/balance_hash.c lb/topo/balance_hash.h \
	lb/topo/balance_least.c lb/topo/balance_p2c.c lb/topo/balance_policy.h \
	lb/topo/balance_round_robin.c lb/topo/cluster.c lb/topo/cluster.h lb/topo/gate.c lb/topo/gate.h lb/topo/places.c lb/topo/places.h lb/topo/outlier.c lb/topo/outlier.h lb/topo/index.c lb/topo/index.h \
	lb/topo/model.c lb/topo/model.h lb/topo/model_part.h lb/topo/model_publish.c lb/topo/model_settings.c \
	lb/topo/model_slots.c lb/topo/model_state.c lb/topo/route.c lb/topo/route.h lb/topo/route_rules.c lb/topo/route_rules.h lb/topo/snapshot.h lb/topo/token.c lb/topo/token.h lb/topo/topology.c \
	lb/topo/topology.h lb/topo/topology_diff.c lb/topo/topology_file.c lb/topo/topology_file.h lb/topo/topology_wire.c \
	lb/topo/topology_wire.h lb/topo/wire.c lb/topo/wire.h
