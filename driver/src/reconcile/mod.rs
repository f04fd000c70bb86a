//! What has to change, in which order.
