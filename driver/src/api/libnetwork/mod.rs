//! Docker's remote-driver and IPAM plugin protocol.
