//! The tasks of the agent.
