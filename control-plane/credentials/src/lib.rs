//! Tenants, devices, certificates and authorities: states, commands, events, view.
