//! revoqctl: the administrator's command line.
