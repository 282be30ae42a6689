coxctl_sources = lb/admin/coxctl.c lb/admin/client.c lb/admin/client.h lb/admin/ctl_arguments.c \
	lb/admin/ctl_arguments.h lb/admin/show.h lb/admin/show_json.c \
	lb/admin/show_text.c lb/admin/view.c lb/admin/view.h
