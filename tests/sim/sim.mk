sim_tests += tests/sim/test_exchange
tests_sim_test_exchange_SOURCES = tests/sim/test_exchange.c tests/sim/stage.c tests/sim/stage.h
sim_tests += tests/sim/test_random
tests_sim_test_random_SOURCES = tests/sim/test_random.c tests/sim/stage.c tests/sim/stage.h
sim_tests += tests/sim/test_balance
tests_sim_test_balance_SOURCES = tests/sim/test_balance.c
sim_tests += tests/sim/test_hold
tests_sim_test_hold_SOURCES = tests/sim/test_hold.c tests/sim/stage.c tests/sim/stage.h
