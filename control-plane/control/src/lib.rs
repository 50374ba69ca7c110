//! The control plane: operations, issuing, watch, leases and the fence.
