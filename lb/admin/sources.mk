lb_admin_sources = lb/admin/admin.c lb/admin/admin.h lb/admin/api.c lb/admin/dashboard.c lb/admin/dashboard.h \
	lb/admin/events.c lb/admin/events.h lb/admin/json_view.c lb/admin/json_view.h lb/admin/metrics.c \
	lb/admin/metrics.h lb/admin/metrics_text.c lb/admin/metrics_text.h lb/admin/metrics_tls.c lb/admin/metrics_tls.h lb/admin/metrics_scale.c lb/admin/metrics_scale.h lb/admin/api_scale.c lb/admin/server.c lb/admin/server.h lb/admin/survey.c lb/admin/survey.h
coxctl_sources = lb/admin/coxctl.c lb/admin/client.c lb/admin/client.h lb/admin/ctl_arguments.c \
	lb/admin/ctl_arguments.h lb/admin/show.h lb/admin/show_json.c lb/admin/show_text.c lb/admin/top.c lb/admin/top.h \
	lb/admin/survey_client.c

# The page as C: every line of it becomes a string literal.
BUILT_SOURCES += lb/admin/dashboard.inc
CLEANFILES += lb/admin/dashboard.inc
EXTRA_DIST += lb/admin/dashboard.html
lb/admin/dashboard.inc: lb/admin/dashboard.html
	$(AM_V_GEN)$(MKDIR_P) lb/admin && sed -e 's/[\\"]/\\&/g' -e 's/^/"/' -e 's/$$/\\n"/' $(srcdir)/lb/admin/dashboard.html > $@.tmp && mv $@.tmp $@
lb/admin/dashboard.$(OBJEXT): lb/admin/dashboard.inc
