unit_tests += tests/unit/run/test_channel
tests_unit_run_test_channel_SOURCES = tests/unit/run/test_channel.c
unit_tests += tests/unit/run/test_pack
tests_unit_run_test_pack_SOURCES = tests/unit/run/test_pack.c
unit_tests += tests/unit/run/test_deadline
tests_unit_run_test_deadline_SOURCES = tests/unit/run/test_deadline.c
unit_tests += tests/unit/run/test_mailbox
tests_unit_run_test_mailbox_SOURCES = tests/unit/run/test_mailbox.c
