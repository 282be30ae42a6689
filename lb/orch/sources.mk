lb_orch_sources = lb/orch/actuation.c lb/orch/admin.c lb/orch/check.c lb/orch/discovery.c lb/orch/discovery.h \
	lb/orch/host.c lb/orch/host.h lb/orch/host_post.c lb/orch/host_process.c lb/orch/loader.c lb/orch/loader.h \
	lb/orch/members.c lb/orch/members.h lb/orch/members_facts.c lb/orch/members_keep.c lb/orch/members_number.c lb/orch/members_left.c lb/orch/members_part.h lb/orch/members_place.c lb/orch/members_sets.c lb/orch/names.c lb/orch/names.h lb/orch/observers.c lb/orch/resolve.c lb/orch/resolve.h lb/orch/orch.c lb/orch/orch.h \
	lb/orch/plugin.c lb/orch/plugin.h lb/orch/probe.c lb/orch/probe.h lb/orch/probe_h2.c lb/orch/probe_h2.h lb/orch/probe_talk.c lb/orch/probe_talk.h \
	lb/orch/proxies.c lb/orch/proxies.h lb/orch/schema.c lb/orch/schema.h lb/orch/state.c lb/orch/state.h \
	lb/orch/seal.c lb/orch/seal.h \
	lb/orch/eager.c lb/orch/eager.h \
	lb/orch/orch_scale.c lb/orch/scale.c lb/orch/scale.h lb/orch/scale_priv.h lb/orch/scale_chain.c lb/orch/scale_codec.c \
	lb/orch/scale_codec.h lb/orch/scale_decide.c lb/orch/scale_explain.c lb/orch/scale_factors.c lb/orch/scale_find.c lb/orch/scale_hands.c \
	lb/orch/scale_keep.c lb/orch/scale_log.c lb/orch/scale_log.h lb/orch/scale_policy.c lb/orch/scale_sample.c lb/orch/scale_schedule.c \
	lb/orch/scale_state.c lb/orch/scale_view.c
