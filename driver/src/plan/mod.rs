//! From the cluster's intent and a node's facts to links, ports, flows and groups.
