plugin_LTLIBRARIES += plugins/scale_predict/scale_predict.la
plugins_scale_predict_scale_predict_la_SOURCES = plugins/scale_predict/scale_predict.c plugins/scale_predict/predict.h \
	plugins/scale_predict/rates.c plugins/scale_predict/change.c plugins/scale_predict/forecast.c \
	plugins/scale_predict/shadow.c plugins/scale_predict/lanes.c plugins/scale_predict/staffing.c plugins/scale_predict/service.c \
	plugins/scale_predict/words.c plugins/scale_predict/prior.c
plugins_scale_predict_scale_predict_la_CPPFLAGS = -I$(top_srcdir)/include -D_GNU_SOURCE
plugins_scale_predict_scale_predict_la_CFLAGS = $(AM_CFLAGS) -ffp-contract=off -fno-trapping-math
plugins_scale_predict_scale_predict_la_LDFLAGS = -module -avoid-version -shared
plugins_scale_predict_scale_predict_la_LIBADD =
EXTRA_DIST += plugins/scale_predict/README.md
