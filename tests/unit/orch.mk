unit_tests += tests/unit/orch/test_members
tests_unit_orch_test_members_SOURCES = tests/unit/orch/test_members.c
unit_tests += tests/unit/orch/test_probe
tests_unit_orch_test_probe_SOURCES = tests/unit/orch/test_probe.c
unit_tests += tests/unit/orch/test_probe_talk
tests_unit_orch_test_probe_talk_SOURCES = tests/unit/orch/test_probe_talk.c
unit_tests += tests/unit/orch/test_state
tests_unit_orch_test_state_SOURCES = tests/unit/orch/test_state.c
