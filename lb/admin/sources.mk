coxctl_sources =
