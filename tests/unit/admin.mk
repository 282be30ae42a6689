unit_tests += tests/unit/admin/test_metrics
tests_unit_admin_test_metrics_SOURCES = tests/unit/admin/test_metrics.c tests/unit/topo/support.h
unit_tests += tests/unit/admin/test_events
tests_unit_admin_test_events_SOURCES = tests/unit/admin/test_events.c tests/unit/topo/support.h
unit_tests += tests/unit/admin/test_survey
tests_unit_admin_test_survey_SOURCES = tests/unit/admin/test_survey.c tests/unit/topo/support.h
