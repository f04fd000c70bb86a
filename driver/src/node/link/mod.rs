//! Network links by rtnetlink.
